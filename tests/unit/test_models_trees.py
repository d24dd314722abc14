"""Trees alone, trees on an embedding, and the simple baselines."""

import numpy as np
import pytest

from perpwalk.config import ModelSection, XgbSection
from perpwalk.errors import UserError
from perpwalk.models import FitContext, Sample, build_model, hybrid, lstm
from perpwalk.models.base import History
from perpwalk.models.baselines import LogisticModel
from perpwalk.models.boost import TreeInput, XgbModel, _parameters, train_trees
from perpwalk.models.hybrid import stacking_parts

CPU = FitContext(seed=1, device="cpu", threads=1)
TINY = {
    "lstm": {"timesteps": 3, "hidden": 6, "dense": 5, "embedding": 4, "epochs": 1},
    "xgb": {"rounds": 5, "early_stopping": 5},
}


def span(first, last, edge=1.0, seed=0):
    """Rows ``first`` to ``last`` of a market whose first feature tells the direction."""
    chance = np.random.default_rng(seed)
    values = chance.standard_normal((900, 2)).astype(np.float32)
    label = (edge * values[:, 0] + chance.standard_normal(900) > 0).astype(np.int8)
    rows = np.arange(first, last)
    return Sample(values, rows, label[rows])


# ── trees ────────────────────────────────────────────────────────────────────────────────────────


def test_depth_rate_and_sampling_are_the_predecessors():
    """
    binary:logistic, histogram trees, depth 6, learning rate 0.1, both samples 0.8.
    """
    parameters = _parameters(XgbSection(), 1000, CPU)

    expected = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "max_depth": 6,
        "learning_rate": 0.1,
        "subsample": 0.8,
        "colsample_bytree": 0.8,
    }
    assert expected == {key: parameters[key] for key in expected}


def test_the_least_leaf_is_a_share_of_the_rows_unless_its_weight_is_given():
    """
    A tenth of 1,000 rows weighs a quarter each; a weight of 0 is a weight.
    """
    by_share = _parameters(XgbSection(min_leaf_share=0.1), 1000, CPU)
    by_weight = _parameters(XgbSection(min_child_weight=0.0), 1000, CPU)

    assert 25.0 == by_share["min_child_weight"]
    assert 0.0 == by_weight["min_child_weight"]


def test_only_the_best_rounds_are_kept():
    """
    Rounds after the lowest validation loss are cut off the model, not merely ignored.
    """
    greedy = XgbSection(rounds=200, early_stopping=10, min_leaf_share=0, reg_lambda=0)

    model = XgbModel(greedy).fit(span(0, 400, edge=0.3), span(400, 600, edge=0.3), CPU)

    losses = [report.validation_loss for report in model.training]
    assert int(np.argmin(losses)) + 1 == model.booster.num_boosted_rounds()
    assert len(losses) == model.booster.num_boosted_rounds() + 10


def test_trees_report_no_auc_where_validation_is_one_sided():
    """
    Xgboost would say 0.5 or NaN; the report says None.
    """
    validation = span(400, 500)
    one_sided = Sample(validation.values, validation.rows, np.zeros(100, np.int8))

    model = XgbModel(XgbSection(rounds=2)).fit(span(0, 400), one_sided, CPU)

    assert {None} == {report.validation_auc for report in model.training}


def test_trees_are_fitted_on_what_their_start_leaves_unexplained():
    """
    Started from log-odds that are right, the first round's loss is already low.
    """
    sample = span(0, 400)
    inputs = sample.values[sample.rows]
    right = np.where(sample.label == 1, 3, -3).astype(np.float32)
    losses = {}
    for name, start in (("right", right), ("none", None)):
        history = History()
        given = TreeInput(inputs, sample.label, start)
        train_trees(XgbSection(rounds=1), given, given, CPU, history)
        losses[name] = history.reports[0].train_loss

    assert losses["right"] == pytest.approx(np.log1p(np.exp(-3)), abs=0.01)
    assert losses["none"] > 0.5


# ── stacking ─────────────────────────────────────────────────────────────────────────────────────


def test_the_purge_between_stacking_parts_counts_bars_not_rows():
    """
    With a horizon of 3, the trees' first row lies more than 3 bars after the network's last,
    whatever rows are missing between.
    """
    rows = np.array([0, 1, 2, 3, 6, 7, 8, 9])
    train = Sample(np.zeros((10, 1), np.float32), rows, np.zeros(8, np.int8))

    first, rest = stacking_parts(train, share=0.5, purge=3)

    assert [0, 1, 2, 3] == first.rows.tolist()
    assert [7, 8, 9] == rest.rows.tolist()


@pytest.mark.parametrize(("rows", "share", "purge"), [(3, 0.1, 1), (10, 0.9, 5)])
def test_a_train_span_too_short_to_split_is_an_error(rows, share, purge):
    """
    The message names what to change.
    """
    train = Sample(np.zeros((rows, 1), np.float32), np.arange(rows), np.zeros(rows, np.int8))

    with pytest.raises(UserError, match=r"model\.stacking=same_rows"):
        stacking_parts(train, share, purge)


@pytest.fixture
def seen(monkeypatch):
    """What the network and the trees were fitted on."""
    rows = {}

    def watch_network(settings, train, *rest, original=lstm.train_network):
        rows["network"] = train.rows
        return original(settings, train, *rest)

    def watch_trees(view, sample, original=hybrid._TreeView.labelled):
        rows.setdefault("trees", sample.rows)
        return original(view, sample)

    monkeypatch.setattr(lstm, "train_network", watch_network)
    monkeypatch.setattr(hybrid._TreeView, "labelled", watch_trees)
    return rows


@pytest.mark.parametrize(
    ("stacking", "network", "trees"),
    [("split", (2, 281), (285, 400)), ("same_rows", (2, 399), (2, 399))],
)
def test_trees_learn_from_rows_the_network_has_not_seen_unless_told(seen, stacking, network, trees):
    """
    ``split`` keeps network and trees apart by the purge; ``same_rows`` gives both all of train.
    """
    section = ModelSection.model_validate({**TINY, "stacking": stacking})
    train = span(2, 401 if stacking == "split" else 400)

    build_model(section).fit(train, span(500, 600), FitContext(seed=1, device="cpu", purge=4))

    assert network == (seen["network"][0], seen["network"][-1] + (stacking == "split"))
    assert trees == (seen["trees"][0], seen["trees"][-1])


def test_one_sided_stacking_parts_are_named():
    """
    Both classes in train are not enough: each part must hold both.
    """
    label = np.r_[np.zeros(280, np.int8), np.ones(120, np.int8)]
    train = Sample(span(0, 1).values, np.arange(2, 402), label)

    with pytest.raises(UserError, match=r"network's part of the train span.*\(0 up, 280 down\)"):
        build_model(ModelSection.model_validate(TINY)).fit(train, span(500, 600), CPU)


def test_trees_that_find_nothing_leave_the_networks_ranking():
    """
    Started from its log-odds and unable to split, they change no order; started from a constant,
    they have no opinion.
    """
    unable = {**TINY, "xgb": {"rounds": 3, "min_child_weight": 1e9}}
    forecasts = {}
    for start in ("logit", "prior"):
        section = ModelSection.model_validate({**unable, "trees_start": start})
        model = build_model(section).fit(span(2, 400), span(500, 600), CPU)
        forecasts[start] = model.predict(span(0, 1).values, np.arange(700, 800)).p_up

    network = model.view.embedder(span(0, 1).values, np.arange(700, 800))[1]
    np.testing.assert_array_equal(np.argsort(network), np.argsort(forecasts["logit"]))
    assert 1 == len(np.unique(forecasts["prior"]))


def test_raw_features_stand_beside_the_embedding_on_request():
    """
    The trees see embedding plus features of the decision's own bar.
    """
    widths = []
    for raw in (False, True):
        section = ModelSection.model_validate({**TINY, "raw_features": raw})
        model = build_model(section).fit(span(2, 400), span(500, 600), CPU)
        widths.append(model.booster.num_features())

    assert [4, 4 + 2] == widths


# ── baselines ────────────────────────────────────────────────────────────────────────────────────


def test_logistic_is_scikit_learns_at_the_penalty_validation_likes_best():
    """
    Same probabilities as the library's own, and no other penalty does better on validation.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    train, validation = span(0, 400, edge=0.2), span(400, 700, edge=0.2)

    model = LogisticModel().fit(train, validation, CPU)

    losses = {}
    for strength in (1e-4, 1e-3, 1e-2, 1e-1, 1.0):
        library = LogisticRegression(C=strength, max_iter=1000).fit(
            train.values[train.rows], train.label
        )
        p_up = library.predict_proba(validation.values[validation.rows])[:, 1]
        losses[strength] = log_loss(validation.label, p_up)
        if strength == model.strength:
            mine = model.predict(validation.values, validation.rows).p_up
            np.testing.assert_allclose(p_up, mine, atol=1e-3)
    assert min(losses, key=losses.get) == model.strength


def test_majority_says_the_share_of_ups_in_train():
    """
    Three of four labels up is 0.75, everywhere.
    """
    train = Sample(np.zeros((4, 1), np.float32), np.arange(4), np.array([1, 1, 0, 1], np.int8))

    model = build_model(ModelSection(kind="majority")).fit(train, train, CPU)

    assert [0.75, 0.75] == model.predict(train.values, np.array([0, 3])).p_up.tolist()
