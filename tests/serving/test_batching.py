import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from serving.batching import Batcher, request_error
from serving.errors import RequestError
from serving.signatures import Field, Signature

FLOAT, INT = np.dtype("float32"), np.dtype("int32")
SOUND = Signature(
    {
        "num_samples": Field(dtype=INT, shape=(None,), dims=("batch",)),
        "waveform": Field(dtype=FLOAT, shape=(None, None), dims=("batch", "samples")),
    },
    {
        "start_s": Field(dtype=FLOAT, shape=(None,), dims=("frames",)),
        "twice": Field(dtype=FLOAT, shape=(None, None), dims=("batch", "frames")),
    },
)


class Doubler:
    """Doubles waveforms; the first run waits for `go`; a negative sample is an error."""

    def __init__(self):
        self.go, self.started, self.rows = threading.Event(), threading.Event(), []

    def __call__(self, inputs):
        self.rows.append(len(inputs["waveform"]))
        self.started.set()
        assert self.go.wait(10)
        if (inputs["waveform"] < 0).any():
            raise tf.errors.InvalidArgumentError(None, None, "negative")
        frames = inputs["waveform"].shape[1]
        return {"twice": 2 * inputs["waveform"], "start_s": np.arange(frames, dtype=FLOAT)}


@contextlib.asynccontextmanager
async def queue(call, signature=SOUND, max_batch=32, max_queue=99, workers=1):
    with ThreadPoolExecutor(4) as executor:
        yield Batcher(
            call, signature, executor, max_batch=max_batch, max_queue=max_queue, workers=workers
        )


def sound(*samples):
    return {"num_samples": np.int32([len(samples)]), "waveform": np.float32([samples])}


async def together(batcher, requests, call, part=0.0, timeout_s=10):
    """Answers of `requests`, of which all but the first wait while that runs."""
    first = asyncio.create_task(batcher.submit(requests[0], 1, part, timeout_s))
    await asyncio.to_thread(call.started.wait)
    others = [
        asyncio.create_task(batcher.submit(inputs, 1, part, timeout_s)) for inputs in requests[1:]
    ]
    await asyncio.sleep(0)
    call.go.set()
    return await asyncio.gather(first, *others, return_exceptions=True)


def test_answers_in_company_are_those_alone():
    requests = [sound(1), sound(2, 3, 4), sound(5), sound(6, 7)]

    async def run():
        call = Doubler()
        async with queue(call) as batcher:
            return await together(batcher, requests, call), call.rows

    answers, rows = asyncio.run(run())
    assert rows == [1, 3]  # the first found the model idle, the others gathered behind it
    for request, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer["twice"], 2 * request["waveform"])
        np.testing.assert_array_equal(answer["start_s"], np.arange(len(request["waveform"][0])))


def test_one_bad_request_spoils_no_other():
    async def run():
        call = Doubler()
        async with queue(call) as batcher:
            return await together(batcher, [sound(1), sound(2), sound(-3), sound(4)], call)

    answers = asyncio.run(run())
    assert [type(answer) for answer in answers] == [dict, dict, RequestError, dict]
    assert (answers[2].status, str(answers[2])) == (400, "negative")
    assert answers[3]["twice"] == 8


@pytest.mark.parametrize(
    ("max_batch", "part", "rows"), [(2, 0, [1, 2, 1]), (32, 0.5, [1, 2, 1]), (1, 0, [1, 1, 1, 1])]
)
def test_a_batch_is_no_larger_than_it_may_be(max_batch, part, rows):
    async def run():
        call = Doubler()
        async with queue(call, max_batch=max_batch) as batcher:
            await together(batcher, [sound(n) for n in (1, 2, 3, 4)], call, part)
        return call.rows

    assert asyncio.run(run()) == rows


def test_requests_of_other_shapes_do_not_share_a_batch():
    fields = {"waveform": SOUND.inputs["waveform"]}  # no lengths: zeros would change the answer
    signature = Signature(fields, SOUND.outputs)

    async def run():
        call = Doubler()
        requests = [{"waveform": np.ones((1, size), FLOAT)} for size in (3, 2, 3, 2)]
        async with queue(call, signature) as batcher:
            return await together(batcher, requests, call), call.rows

    answers, rows = asyncio.run(run())
    assert rows == [1, 2, 1]
    assert [answer["twice"].shape[1] for answer in answers] == [3, 2, 3, 2]


def test_a_full_queue_and_late_answers_are_told():
    async def run():
        call = Doubler()
        async with queue(call, max_queue=2) as batcher:
            full = asyncio.create_task(
                together(batcher, [sound(n) for n in (1, 2, 3, 4)], call, timeout_s=10)
            )
            answers = await full
            call.go.clear()
            late = await asyncio.gather(
                *(batcher.submit(sound(n), 1, 0.0, 0.05) for n in (1, 2)), return_exceptions=True
            )
            runs = len(call.rows)
            call.go.set()
            await batcher.submit(sound(1), 1, 0.0, 10)
        return answers, late, call.rows[runs:], batcher.waiting

    answers, late, after, waiting = asyncio.run(run())
    assert [getattr(answer, "status", 200) for answer in answers] == [200, 200, 200, 503]
    assert answers[3].retry_after_s == 1
    assert [answer.status for answer in late] == [504, 504]
    assert after == [1]  # what nobody waits for any more is not run
    assert waiting == 0


def test_a_signature_without_batch_runs_every_request_alone():
    assert not Signature({"n": Field(dtype=INT, shape=())}, SOUND.outputs).batchable
    loose = {"x": Field(dtype=FLOAT, shape=(None,), dims=("other",))}
    assert not Signature(SOUND.inputs, {**SOUND.outputs, **loose}).batchable


def test_clients_read_one_line_of_tensorflows_errors():
    text = "Graph execution error:\n\nDetected at node X\n{{function_node f}} too [Op:Y]\n\t [[X]]"
    assert str(request_error(tf.errors.InvalidArgumentError(None, None, text))) == "too"
    assert request_error(tf.errors.ResourceExhaustedError(None, None, "memory")).status == 429
    assert request_error(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "")).status == 400
    assert request_error(KeyError("x")).status == 500
