"""The time of an epoch on several workers: compute + all-reduce + input.

    step = fixed + examples of a worker x compute + all-reduce + examples of all workers x input
    all-reduce = start + tensors x latency (workers - 1) + 2 bytes (workers - 1) / workers / speed

The ring of Patarasuk & Yuan (2009), https://doi.org/10.1016/j.jpdc.2008.09.002, whose 2 (workers
- 1) rounds each wait for the network. Nothing is thought to overlap, and each worker reads the
whole input, as `fit` lets it. scaling_cost.py measures the terms.
"""

from typing import NamedTuple

import numpy as np
import scipy.optimize

PROJECTED = (1, 2, 8, 16, 32, 64)


class AllReduce(NamedTuple):
    """Cost of a sum over workers."""

    start: float  # seconds of a call
    latency: float  # seconds of a tensor, for each worker but one
    speed: float  # bytes a second

    def seconds(self, *, workers: int, tensors: int, size: float) -> float:
        """Of one sum of so many tensors with so many bytes in all."""
        if workers == 1:
            return 0.0
        moved = 2 * size * (workers - 1) / workers
        return self.start + tensors * self.latency * (workers - 1) + moved / self.speed


class Cost(NamedTuple):
    """Cost of a step, in seconds."""

    fixed: float
    compute: float  # of an example
    input: float  # of an example
    all_reduce: AllReduce
    tensors: int  # summed in a step
    size: float  # their bytes

    def summing(self, workers: int) -> float:
        """Of the sums of a step."""
        return self.all_reduce.seconds(workers=workers, tensors=self.tensors, size=self.size)

    def step(self, *, workers: int, batch: float) -> float:
        """Of a step in which each worker has `batch` examples."""
        own = self.fixed + batch * self.compute
        return own + self.summing(workers) + workers * batch * self.input

    def epoch(self, *, workers: int, batch: float, examples: int) -> float:
        """Of an epoch of so many examples."""
        return examples / (workers * batch) * self.step(workers=workers, batch=batch)


def fit_all_reduce(sums: list[dict]) -> AllReduce:
    """Fits sums of two workers, {"tensors", "bytes", "seconds"}: least squares of relative errors.

    No term is negative.
    """
    terms = np.array([[1, one["tensors"], one["bytes"]] for one in sums])  # 2 (2 - 1) / 2 = 1
    seconds = np.array([one["seconds"] for one in sums])
    found, _ = scipy.optimize.nnls(terms / seconds[:, None], np.ones(len(sums)))
    return AllReduce(start=found[0], latency=found[1], speed=1 / max(found[2], 1e-15))


def fit_cost(half: dict, whole: dict, sums: list[dict], *, batch: int) -> Cost:
    """The terms, from what was measured with half a batch and with a whole one, and from sums."""
    computing = [one["step"] - one["input"] for one in (half, whole)]
    compute = (computing[1] - computing[0]) / (batch / 2)
    return Cost(
        fixed=computing[1] - batch * compute,
        compute=compute,
        input=whole["input"] / batch,
        all_reduce=fit_all_reduce(sums),
        tensors=2 * whole["tensors"],  # ClippedAdam sums them for the norm, Keras for the update
        size=2.0 * whole["bytes"],
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
    """What stands in docs/scaling.md."""
    parts = ("compute", "all_reduce", "input", "epoch")
    lines = ["| workers | compute s | all-reduce s | input s | epoch s | efficiency |"]
    lines.append("|" + "---|" * 6)
    for row in report["epochs"]:
        cells = [str(row["workers"]), *(f"{row[part]:.2f}" for part in parts)]
        lines.append(f"| {' | '.join([*cells, format(row['efficiency'], '.0%')])} |")
    cost, two = report["cost"], report["two_workers"]
    ring = cost["all_reduce"]
    predicted, measured = two["predicted_step"], two["measured_step"]
    found = "not measured"
    if measured:
        found = f"{1e3 * measured:.1f} ms measured ({predicted / measured - 1:+.0%})"
    lines.append(
        f"\nOne thread: {1e3 * cost['fixed']:.1f} ms a step and {1e3 * cost['compute']:.2f} ms an "
        f"example of compute, {1e3 * cost['input']:.3f} ms an example of input. A sum over two "
        f"workers on loopback: {1e3 * ring['start']:.2f} ms, {1e3 * ring['latency']:.3f} ms a "
        f"tensor, {ring['speed'] / 1e9:.2f} GB/s; {cost['tensors']} tensors, "
        f"{cost['size'] / 1e6:.2f} MB a step. Two workers with a batch of "
        f"{report['batch']} together: {1e3 * predicted:.1f} ms a step by the model, {found}."
    )
    return "\n".join(lines)
