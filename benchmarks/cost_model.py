"""The time of an epoch on several workers: compute + all-reduce + input.

    step = fixed + examples of a worker x compute + all-reduce + examples of all workers x input
    all-reduce = sums x wait (workers - 1) + 2 bytes (workers - 1) / workers / speed

The ring of Patarasuk & Yuan (2009), https://doi.org/10.1016/j.jpdc.2008.09.002, whose 2 (workers
- 1) rounds each wait for the network. The sums of a step follow one another, for TensorFlow puts
them into an order; a list of tensors is one sum. Nothing is thought to overlap, and each worker
reads the whole input, as `fit` lets it. scaling_cost.py measures the terms.
"""

from typing import NamedTuple

import numpy as np
import scipy.optimize

PROJECTED = (1, 2, 8, 16, 32, 64)


class AllReduce(NamedTuple):
    """Cost of sums over workers."""

    wait: float  # seconds of a sum, for each worker but one
    speed: float  # bytes a second

    def seconds(self, *, workers: int, sums: int, size: float) -> float:
        """Of so many sums one after another, of so many bytes in all."""
        moved = 2 * size * (workers - 1) / workers
        return sums * self.wait * (workers - 1) + moved / self.speed


class Cost(NamedTuple):
    """Cost of a step, in seconds."""

    fixed: float
    compute: float  # of an example
    input: float  # of an example
    all_reduce: AllReduce
    sums: int  # of a step
    size: float  # their bytes

    def summing(self, workers: int) -> float:
        """Of the sums of a step."""
        return self.all_reduce.seconds(workers=workers, sums=self.sums, size=self.size)

    def step(self, *, workers: int, batch: float) -> float:
        """Of a step in which each worker has `batch` examples."""
        own = self.fixed + batch * self.compute
        return own + self.summing(workers) + workers * batch * self.input

    def epoch(self, *, workers: int, batch: float, examples: int) -> float:
        """Of an epoch of so many examples."""
        return examples / (workers * batch) * self.step(workers=workers, batch=batch)


def fit_all_reduce(measured: list[dict]) -> AllReduce:
    """Fits sums of two workers, {"sums", "bytes", "seconds"}: least squares of relative errors.

    No term is negative.
    """
    terms = np.array([[one["sums"], one["bytes"]] for one in measured])  # 2 (2 - 1) / 2 = 1
    seconds = np.array([one["seconds"] for one in measured])
    found, _ = scipy.optimize.nnls(terms / seconds[:, None], np.ones(len(measured)))
    return AllReduce(wait=found[0], speed=1 / max(found[1], 1e-15))


def fit_cost(half: dict, whole: dict, measured: list[dict], *, batch: int) -> Cost:
    """The terms, from what was measured with half a batch and with a whole one, and from sums."""
    computing = [one["step"] - one["input"] for one in (half, whole)]
    compute = (computing[1] - computing[0]) / (batch / 2)
    return Cost(
        fixed=computing[1] - batch * compute,
        compute=compute,
        input=whole["input"] / batch,
        all_reduce=fit_all_reduce(measured),
        sums=whole["sums"],
        size=float(whole["bytes"]),
    )


def project(cost: Cost, *, batch: int, examples: int) -> list[dict]:
    """Seconds of an epoch by number of workers, each with a batch of its own."""
    alone = cost.epoch(workers=1, batch=batch, examples=examples)
    rows = []
    for workers in PROJECTED:
        steps = examples / (workers * batch)
        epoch = cost.epoch(workers=workers, batch=batch, examples=examples)
        parts = {
            "workers": workers,
            "compute": steps * (cost.fixed + batch * cost.compute),
            "all_reduce": steps * cost.summing(workers),
            "input": examples * cost.input,
        }
        rows.append({**parts, "epoch": epoch, "efficiency": alone / (workers * epoch)})
    return rows


def as_markdown(report: dict) -> str:
    """What stands in docs/guides/scaling.md."""
    parts = ("compute", "all_reduce", "input", "epoch")
    larger = f"efficiency, batch of {report['larger_batch']}"
    lines = [f"| workers | compute s | all-reduce s | input s | epoch s | efficiency | {larger} |"]
    lines.append("|" + "---|" * 7)
    for row, other in zip(report["epochs"], report["epochs_of_larger_batches"], strict=True):
        cells = [str(row["workers"]), *(f"{row[part]:.2f}" for part in parts)]
        cells += [f"{one['efficiency']:.0%}" for one in (row, other)]
        lines.append(f"| {' | '.join(cells)} |")
    cost, two = report["cost"], report["two_workers"]
    ring = cost["all_reduce"]
    predicted, measured = two["predicted_step"], two["measured_step"]
    found = "not measured"
    if measured:
        found = f"{1e3 * measured:.1f} ms measured ({predicted / measured - 1:+.0%})"
    lines.append(
        f"\nOne thread: {1e3 * cost['fixed']:.1f} ms a step and {1e3 * cost['compute']:.2f} ms an "
        f"example of compute, {1e3 * cost['input']:.3f} ms an example of input. A sum over two "
        f"workers on loopback: {1e3 * ring['wait']:.2f} ms, {ring['speed'] / 1e9:.2f} GB/s; "
        f"{cost['sums']} sums, {cost['size'] / 1e6:.2f} MB a step. Two workers with a batch of "
        f"{report['batch']} together: {1e3 * predicted:.1f} ms a step by the model, {found}."
    )
    return "\n".join(lines)
