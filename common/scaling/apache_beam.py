"""Preparing data sets on Apache Beam: each row is read by one of many workers.

Beam is an optional package. Without the options of a pipeline, both functions are those of
`inputs.datasets`.
"""

import functools
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from common.inputs import datasets
from common.runs.errors import UserError

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

_NAMESPACE = "cellstate"


def examples(
    listed: Iterable, read: Callable[..., Iterator], broken: datasets.BrokenRows, *, on_beam: bool
) -> Any:
    """What a builder's `_generate_examples` returns; arguments as those of `datasets.examples`.

    With `on_beam` these are the steps of a pipeline, whose workers read the rows: `listed` and
    `read`, a function of a module, can be pickled.
    """
    if not on_beam:
        return datasets.examples(listed, read, broken)
    import apache_beam as beam

    # The list is read by one worker, and would be worked off by it.
    return (
        beam.Create(list(listed))
        | beam.Reshuffle()
        | beam.FlatMap(functools.partial(_counted, read, broken.source))
    )


def _counted(read: Callable[..., Iterator], source: str, row) -> list:
    from apache_beam.metrics import Metrics  # pyright: ignore[reportPrivateImportUsage]

    broken = datasets.BrokenRows(source)
    records = list(read(row, broken))
    Metrics.counter(_NAMESPACE, "rows").inc(broken.num_rows)
    for problem in broken.skipped:
        Metrics.string_set(_NAMESPACE, "skipped").add(problem)
    return records


def prepare(
    builder: "tfds.core.DatasetBuilder", broken: datasets.BrokenRows, *, options: str | None
) -> None:
    """As `datasets.prepare`, with a pipeline where its options are given.

    They stand without dashes: "runner=FlinkRunner flink_master=host:1".

    Raises:
        UserError: Beam is not installed, the source is incomplete or too many rows are broken.
    """
    run = functools.partial(_run_pipeline, builder, broken, options) if options else None
    datasets.prepare(builder, broken, run=run)


def _run_pipeline(
    builder: "tfds.core.DatasetBuilder", broken: datasets.BrokenRows, options: str
) -> None:
    try:
        from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
        from apache_beam.runners import create_runner  # pyright: ignore[reportPrivateImportUsage]
    except ImportError:
        raise UserError(
            "expected the package apache-beam, for --data.beam, it is not installed: run "
            "`pip install apache-beam==2.77.0`"
        ) from None
    import tensorflow_datasets as tfds

    flags = PipelineOptions([f"--{option}" for option in shlex.split(options)])
    runner = _keeps_result(create_runner(flags.view_as(StandardOptions).runner or "DirectRunner"))
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(beam_runner=runner, beam_options=flags)
    )
    metrics = runner.result.metrics().query()
    counters = [count for count in metrics["counters"] if count.key.metric.name == "rows"]
    broken.num_rows = sum(count.result for count in counters)
    for problems in metrics["string_sets"]:
        if problems.key.metric.name == "skipped":
            broken.skipped += sorted(problems.result)
    try:
        broken.check()
    except UserError:
        shutil.rmtree(builder.data_dir)
        raise


def _keeps_result(runner: Any) -> Any:
    """The runner, with the result of its last pipeline: tensorflow-datasets drops it."""
    run = runner.run_pipeline

    def run_pipeline(pipeline, options):
        runner.result = run(pipeline, options)  # type: ignore[attr-defined]
        return runner.result  # type: ignore[attr-defined]

    runner.run_pipeline = run_pipeline  # type: ignore[method-assign]
    return runner
