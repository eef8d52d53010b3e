"""Facts about card.json."""

import json

from common.export import card


def test_stored_metrics_stand_by_split(tmp_path):
    for split, value in (("validation", 0.5), ("test", 0.4)):
        stored = {"app": "x", "split": split, "metrics": {"accuracy": value}, "baselines": {}}
        (tmp_path / f"metrics-{split}.json").write_text(json.dumps(stored))
    assert card.stored_metrics(tmp_path) == {
        "test": {"metrics": {"accuracy": 0.4}, "baselines": {}},
        "validation": {"metrics": {"accuracy": 0.5}, "baselines": {}},
    }


def test_a_run_that_was_not_evaluated_has_no_metrics(tmp_path):
    assert card.stored_metrics(tmp_path) == {}
