"""The result of `evaluate` in every app: metrics of the model beside those of blind baselines."""

import dataclasses
import json


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One evaluation of one split. Metrics are fractions, not per cent; `cider` is 0 to 10.

    Attributes:
        num_examples: that were scored.
        metrics: by name, of the model.
        baselines: by name, the same metrics of rivals that do not get the decisive input.
        details: metrics by group of examples, and diagnostics, by name.
        notes: what a reader must know to read the figures.
    """

    app: str
    data: str
    split: str
    num_examples: int
    metrics: dict[str, float]
    baselines: dict[str, dict[str, float]]
    details: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_json(self) -> str:
        """One JSON object on one line."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    def as_table(self) -> str:
        """The same as a table for people."""
        names = list(self.metrics)
        width = max(14, 2 + max(map(len, names), default=0))
        rows = [("", names), ("model", [f"{self.metrics[name]:.4f}" for name in names])]
        for baseline, metrics in self.baselines.items():
            rows.append(
                (baseline, [f"{metrics[name]:.4f}" if name in metrics else "" for name in names])
            )
        lines = [f"{self.app} on {self.data}, {self.split}: {self.num_examples} examples"]
        lines += [
            f"  {label:<22}" + "".join(f"{cell:>{width}}" for cell in cells)
            for label, cells in rows
        ]
        for title, values in self.details.items():
            cells = "  ".join(f"{name} {_short(value)}" for name, value in values.items())
            lines.append(f"  {title}: {cells}")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def _short(value: float) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
