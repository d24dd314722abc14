"""The script that perpwalk is timed against in ``benchmarks/`` answers the same question."""

import sys
from pathlib import Path

import pytest

from perpwalk import config as configuration

ROOT = Path(__file__).parents[2]
SMALL = [
    "market.simulate.bars=1600",
    "walk_forward.train=30d",
    "walk_forward.validation=8d",
    "walk_forward.test=8d",
    "walk_forward.max_folds=9",
    "walk_forward.min_train_rows=100",
    "model.lstm.epochs=1",
    "model.lstm.hidden=8",
    "model.lstm.dense=4",
    "model.xgb.rounds=5",
]


@pytest.fixture
def obvious_way(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import obvious_way

    yield obvious_way
    del sys.modules["obvious_way"]


def test_the_obvious_script_still_does_the_whole_job(obvious_way):
    """It forecasts every labelled decision of the test spans, and its account moves."""
    config = configuration.load(ROOT / "configs/demo.yaml", SMALL)
    from engine import stages
    from perpwalk import data

    (prepared,) = stages.prepare(config, data.load_markets(config))
    labelled = sum((prepared.labels.label[f.test.rows] >= 0).sum() for f in prepared.folds)

    found = obvious_way.run(config)

    assert labelled == found.decisions
    assert 0 < found.auc < 1
    assert config.broker.cash != found.equity
