"""Whether data is enough: what is demanded, what is drawn, what is said."""

from collections import Counter

import pytest

from common.inputs import datasets
from common.inputs.data_checks import (
    Demand,
    Report,
    Tally,
    commonest,
    frequent_share,
    unknown_share,
)


@pytest.mark.parametrize(
    ("got", "most", "met"), [(5, False, True), (4, False, False), (4, True, True), (6, True, False)]
)
def test_a_demand_is_met_at_its_bound_and_beyond(got, most, met):
    assert Demand("images", got, 5, "add some", most=most).met == met


def test_counts_and_shares_are_written_as_such():
    assert str(Demand("images", 1234, 1000, "")) == "1,234 images, at least 1,000"
    assert str(Demand("images", 1, 1000, "")) == "1 images, at least 1,000"
    assert str(Demand("seconds", 2.5, 60, "")) == "2.5 seconds, at least 60"
    assert str(Demand("of the words", 0.125, 0.05, "", most=True)) == (
        "12.5% of the words, at most 5.0%"
    )


def test_every_record_has_the_same_chance_to_be_in_the_sample():
    chosen = Counter()
    tally = Tally(50)
    for number in range(1000):
        tally.offer({"number": number})
    chosen.update(one["number"] // 500 for one in tally.sample)
    assert len({one["number"] for one in tally.sample}) == 50
    assert 13 <= chosen[0] <= 37  # 25, give or take 3.4 standard deviations


def test_shares_of_words():
    known, asked = Counter(a=10, b=9), Counter(a=1, c=3)
    assert unknown_share(known, asked) == 0.75
    assert frequent_share(known, 10) == 10 / 19
    assert (unknown_share(known, Counter()), frequent_share(Counter(), 1)) == (1.0, 0.0)
    assert commonest(Counter(a=3, b=1), 1) == "a 75%"


def test_the_verdict_names_what_is_missing_and_what_to_do():
    broken = datasets.BrokenRows("x")
    for number in range(10):
        broken.use(f"x.csv:{number}", "empty" if number == 3 else None)
    report = Report(Tally(1), [], broken, [Demand("images", 3, 5, "add images")])
    assert report.verdict() == (
        "Not enough to train: 3 images, at least 5: add images; 10.0% of the rows broken, "
        "at most 1.0%: correct or remove them, training would stop."
    )
    assert "x.csv:3: empty" in report.as_text()
    assert Report(Tally(1), [], datasets.BrokenRows("x"), []).verdict() == "Enough to train."
