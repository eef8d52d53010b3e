"""Facts about the model of cost: it finds the terms that made its data, and adds them up."""

import pytest

from benchmarks import cost_model

TRUE = cost_model.AllReduce(wait=3e-4, speed=5e8)
COST = cost_model.Cost(fixed=0.01, compute=0.002, input=0.001, all_reduce=TRUE, sums=10, size=1e6)


def test_terms_are_found_again_in_what_they_made():
    sums = [
        {"sums": sums, "bytes": size, "seconds": TRUE.seconds(workers=2, sums=sums, size=size)}
        for sums, size in ((1, 1000), (16, 1000), (1, 10**6), (4, 10**7))
    ]
    measured = [
        {"step": 0.01 + batch * 0.003, "input": batch * 0.001, "sums": 10, "bytes": 10**6}
        for batch in (8, 16)
    ]
    found = cost_model.fit_cost(*measured, sums, batch=16)
    for name in ("fixed", "compute", "input", "sums", "size"):
        assert getattr(found, name) == pytest.approx(getattr(COST, name), rel=1e-6)
    assert found.all_reduce == pytest.approx(TRUE, rel=1e-6)


def test_terms_are_added_up_as_by_hand():
    assert COST.step(workers=1, batch=16) == pytest.approx(0.01 + 0.032 + 0.016)
    # 10 sums x 0.3 ms x 3 + 1.5 MB at 0.5 GB/s; an input of 4 x 16 examples.
    four = 0.042 + (0.009 + 0.003) + 0.064
    assert COST.step(workers=4, batch=16) == pytest.approx(four)
    assert COST.epoch(workers=4, batch=16, examples=640) == pytest.approx(10 * four)


def test_the_parts_of_a_projected_epoch_are_its_whole():
    rows = cost_model.project(COST, batch=16, examples=4000)
    assert rows[0]["efficiency"] == 1.0
    for row in rows:
        assert row["compute"] + row["all_reduce"] + row["input"] == pytest.approx(row["epoch"])
    assert rows[-1]["input"] == rows[0]["input"]  # each worker reads the whole input
