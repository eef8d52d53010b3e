"""Metrics for Prometheus: https://prometheus.io/docs/practices/naming."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("serving_requests", "Answers by HTTP status.", ["model", "status"])
SECONDS = Histogram(
    "serving_request_seconds",
    "From the arrival of a request to its answer.",
    ["model"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
BATCH_ROWS = Histogram(
    "serving_batch_rows",
    "Rows of one run of a model.",
    ["model"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128),
)
WAITING = Gauge("serving_waiting_rows", "Rows in the queues of a model.", ["model"])
PENDING = Gauge("serving_pending_bytes", "Bodies of requests that are not yet answered.")
LOADS = Counter("serving_loads", "Versions that were loaded.", ["model", "result"])
VERSION = Gauge("serving_model_version", "The version that answers.", ["model"])
