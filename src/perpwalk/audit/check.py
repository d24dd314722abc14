"""``perpwalk check``: does the run clear its bars, or can it not be judged at all.

Everything is computed afresh from ``predictions.parquet`` and the thresholds in ``folds.csv``;
``metrics.json`` is not looked at. A pass needs an interval whose lower end clears the bar, a lower
end above the best constant call, and a run that is neither invalid nor under suspicion. What
cannot be judged is said to be so, with the likely cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pandas as pd

from perpwalk import seal
from perpwalk.audit.evidence import RULES, naive_rules
from perpwalk.audit.predictions import PredictionContext, audit_pooled, audit_predictions
from perpwalk.config import Config, parse_duration
from perpwalk.costs import CostSummary
from perpwalk.domain import Finding, FloatArray, Level, about
from perpwalk.errors import UsageError
from perpwalk.labels import duration_bars
from perpwalk.metrics import Scored, of_symbol, scored_rows
from perpwalk.run_config import config_of
from perpwalk.runs import Run
from perpwalk.simulate_truth import reachable
from perpwalk.uncertainty.auc import delong_interval, placements
from perpwalk.uncertainty.bootstrap import Target, bootstrap_estimates
from perpwalk.uncertainty.estimate import Estimate
from perpwalk.uncertainty.proportions import wilson

RESAMPLES, AUC_RESAMPLES = 2000, 1000
FEW_EFFECTIVE_ROWS = 100
SHIFTS = (-3, -2, -1, 1, 2, 3)
RELIED_ON = (seal.MANIFEST, "predictions.parquet", "folds.csv", "audit.json", "config.yaml")
MEANING = (
    "The answer speaks of direction only. It does not say that trading the signal earns money "
    "after fees, slippage and funding, nor that the next year will be like the tested one."
)


class Answer(StrEnum):
    """What ``check`` says."""

    PASS = "PASS"  # noqa: S105 - no password
    FAIL = "FAIL"
    CANNOT_JUDGE = "CANNOT JUDGE"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One line of the table: a number, two intervals around it, and the bar it has to clear.

    ``estimate`` is by stationary bootstrap, which stays right where decisions depend on each
    other; ``twin`` is the textbook interval. Both lower ends have to clear ``bar``; ``clears`` is
    None where that cannot be said.
    """

    name: str
    estimate: Estimate
    twin: Estimate | None
    bar: float

    @property
    def clears(self) -> bool | None:
        """Whether every lower end lies above the bar."""
        lows = [self.estimate.low, *([] if self.twin is None else [self.twin.low])]
        known = [low for low in lows if low is not None]
        return min(known) > self.bar if len(known) == len(lows) else None


@dataclass(frozen=True, kw_only=True)
class ClassCounts:
    """How the classes are spread: labels, raw moves of the same decisions, and calls."""

    decisions: int
    labels_up: int
    labels_down: int
    moves_up: int
    moves_down: int
    moves_none: int
    called_up: int
    called_down: int


@dataclass(frozen=True, kw_only=True)
class CheckAnswer:
    """The answer and all it rests on.

    ``exit_code``: 0 pass, 1 fail, 3 cannot be judged because the run is invalid, 4 because it is
    under suspicion.
    """

    run: str
    answer: Answer
    exit_code: int
    reasons: tuple[str, ...]
    table: tuple[Measure, ...]
    counts: ClassCounts
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """Return what ``--json`` prints."""
        return {
            "run": self.run,
            "answer": str(self.answer),
            "exit_code": self.exit_code,
            "reasons": list(self.reasons),
            "measures": [
                {
                    "name": one.name,
                    **asdict(one.estimate),
                    "twin": None if one.twin is None else asdict(one.twin),
                    "bar": one.bar,
                    "clears": one.clears,
                }
                for one in self.table
            ],
            "counts": asdict(self.counts),
            "notes": list(self.notes),
        }


def check_run(
    run: Run,
    *,
    min_accuracy: float = 0.55,
    min_auc: float = 0.5,
    confidence: float = 0.95,
    seed: int | None = None,
) -> CheckAnswer:
    """Judge a run's forecasts.

    Parameters
    ----------
    min_accuracy, min_auc
        Bars that the lower ends of the intervals have to lie above.
    seed
        Of the bootstrap; the run's own where none is given, as in ``audit.json``.

    Raises
    ------
    UsageError
        A bar or level is no fraction, or the folder lacks a file or column.
    """
    _check_fractions(min_accuracy=min_accuracy, min_auc=min_auc, confidence=confidence)
    case = _Case.of(run, confidence, seed)
    table = (
        _accuracy(case, min_accuracy),
        _edge(case),
        _auc(case, min_auc),
    )
    counts = _counts(case.predictions)
    obstacles = list(dict.fromkeys(_obstacles(case, table)))
    alarms = [] if _accepted(run) else list(dict.fromkeys(_alarms(case)))
    answer, exit_code, reasons = _weigh(table, obstacles, alarms)
    return CheckAnswer(
        run=str(run.path),
        answer=answer,
        exit_code=exit_code,
        reasons=tuple(reasons),
        table=table,
        counts=counts,
        notes=tuple(_notes(case)),
    )


def _weigh(
    table: Sequence[Measure], obstacles: list[str], alarms: list[str]
) -> tuple[Answer, int, list[str]]:
    if obstacles:
        return Answer.CANNOT_JUDGE, 3, obstacles
    missed = [_missed(one) for one in table if not one.clears]
    if missed:
        return Answer.FAIL, 1, missed
    if alarms:
        return Answer.CANNOT_JUDGE, 4, alarms
    return Answer.PASS, 0, [_cleared(one) for one in table]


# ── what is judged ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class _Case:
    run: Run
    config: Config
    predictions: pd.DataFrame
    parts: Sequence[tuple[str | None, pd.DataFrame]]
    scored: Scored
    horizon: int
    findings: tuple[Finding, ...]
    confidence: float
    seed: int

    @classmethod
    def of(cls, run: Run, confidence: float, seed: int | None) -> _Case:
        config = config_of(run)
        predictions = predictions_with_thresholds(run)
        interval = parse_duration(config.market.interval, pd.Timedelta(0))
        horizon = duration_bars(config.label.horizon, interval, key="label.horizon")
        whole = PredictionContext(
            horizon=horizon,
            bar_interval=interval,
            confidence=confidence,
            known_best=_known_best(config),
            constant_by_design=config.model.kind == "majority",
        )
        parts = _by_contract(config, predictions)
        findings = [
            finding
            for name, part in parts
            for finding in _named(name, audit_predictions(part, whole))
        ]
        if len(parts) > 1:
            findings += audit_pooled(predictions, whole)
        return cls(
            run=run,
            config=config,
            predictions=predictions,
            scored=scored_rows(predictions),
            horizon=horizon,
            parts=parts,
            findings=tuple(findings),
            confidence=confidence,
            seed=config.seed if seed is None else seed,
        )


def _by_contract(
    config: Config, predictions: pd.DataFrame
) -> list[tuple[str | None, pd.DataFrame]]:
    """Return each contract's decisions under its name; None is the name of one alone."""
    if len(config.symbols) == 1:
        return [(None, predictions)]
    return [(symbol, of_symbol(predictions, symbol)) for symbol in config.symbols]


def _named(name: str | None, findings: Sequence[Finding]) -> Sequence[Finding]:
    return findings if name is None else about(name, findings)


def predictions_with_thresholds(run: Run) -> pd.DataFrame:
    """Return ``predictions.parquet`` with each fold's ``threshold`` from ``folds.csv``.

    Raises
    ------
    UsageError
        A column is missing, or a fold has predictions and no threshold.
    """
    predictions, folds = run.predictions, run.folds
    needed = {"close_time", "fold", "p_up", "label", "forward_return"}
    for name, frame, columns in (
        ("predictions.parquet", predictions, needed),
        ("folds.csv", folds, {"fold", "threshold"}),
    ):
        missing = sorted(columns - set(frame.columns))
        if missing:
            raise UsageError(
                f"{run.path / name} has no column '{missing[0]}'; make the run again (--force)"
            )
    keys = ["symbol", "fold"] if "symbol" in predictions else ["fold"]
    missing = sorted({*keys} - {*folds.columns})
    if missing:
        raise UsageError(
            f"{run.path / 'folds.csv'} has no column '{missing[0]}'; make the run again (--force)"
        )
    of_fit = folds.drop_duplicates(keys)[[*keys, "threshold"]]
    threshold = predictions[keys].merge(of_fit, on=keys, how="left")["threshold"].to_numpy()
    if np.isnan(threshold).any():
        fold = " ".join(map(str, predictions[keys][np.isnan(threshold)].iloc[0]))
        raise UsageError(f"{run.path / 'folds.csv'} has no threshold for fold {fold}")
    return predictions.assign(threshold=threshold.astype(float))


def _known_best(config: Config) -> dict[str, float] | None:
    """Return what the best forecast of a simulated market reaches; None on real data."""
    if not config.is_simulated:
        return None
    markets = [one.market for one in config.each_market()]
    interval = parse_duration(markets[0].interval, pd.Timedelta(0))
    bars = duration_bars(config.label.horizon, interval, key="label.horizon")
    reached = [reachable(one.simulate.edge, one.simulate.edge_bars, bars) for one in markets]
    auc, accuracy, error = max(reached)
    return {"best_auc": auc + 2 * error, "best_accuracy": accuracy + 2 * error}


def _check_fractions(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < 1:
            raise UsageError(f"--{name.replace('_', '-')} {value}: give a fraction such as 0.55")


# ── the measures ─────────────────────────────────────────────────────────────────────────────────


def _undefined(case: _Case, reason: str) -> Estimate:
    return Estimate(value=None, level=case.confidence, n=len(case.scored), reason=reason)


def _bootstrap(case: _Case, target: Target, vif: float, resamples: int = RESAMPLES) -> Estimate:
    (found,), _ = bootstrap_estimates(
        [target],
        horizon=case.horizon,
        confidence=case.confidence,
        resamples=resamples,
        seed=case.seed,
    )
    return replace(found, n_eff=found.n / vif)


def _accuracy(case: _Case, bar: float) -> Measure:
    n = len(case.scored)
    if n == 0:
        return Measure(
            name="accuracy", estimate=_undefined(case, "no scored decisions"), twin=None, bar=bar
        )
    hits = case.scored.hits.astype(np.float64)
    vif = case.scored.vif(hits, case.horizon)
    interval = wilson(float(hits.sum()) / vif, n / vif, case.confidence)
    twin = Estimate(
        value=float(hits.mean()),
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        level=case.confidence,
        method="Wilson" if vif == 1 else f"Wilson, variance inflated {vif:.2f} times",
        n=n,
        n_eff=n / vif,
    )
    estimate = _bootstrap(case, Target.mean("accuracy", hits, case.scored.groups), vif)
    return Measure(name="accuracy", estimate=estimate, twin=twin, bar=bar)


def _edge(case: _Case) -> Measure:
    """Accuracy beyond always calling the commoner class: a share of ups is no skill."""
    name = "accuracy beyond the commoner class"
    if len(case.scored) == 0:
        return Measure(
            name=name, estimate=_undefined(case, "no scored decisions"), twin=None, bar=0.0
        )
    called = naive_rules(case.predictions, case.scored, pd.Timedelta(0))[RULES[0]]
    difference = case.scored.hits.astype(np.float64) - (case.scored.up == called)
    target = Target.mean(name, difference, case.scored.groups)
    estimate = _bootstrap(case, target, case.scored.vif(difference, case.horizon))
    return Measure(name=name, estimate=estimate, twin=None, bar=0.0)


def _auc(case: _Case, bar: float) -> Measure:
    up, p_up = case.scored.up, case.scored.p_up
    placed = placements(up, p_up)
    if placed is None:
        reason = "the labels have one class only" if len(up) else "no scored decisions"
        return Measure(name="AUC", estimate=_undefined(case, reason), twin=None, bar=bar)
    vif = case.scored.auc_vif(placed, case.horizon)
    interval = delong_interval(placed, case.confidence, vif=vif)
    twin = Estimate(
        value=placed.auc,
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        level=case.confidence,
        method="DeLong" if vif == 1 else f"DeLong, variance inflated {vif:.2f} times",
        n=len(up),
        n_eff=len(up) / vif,
    )
    target = Target.auc("AUC", placed, up, p_up, case.scored.groups)
    estimate = _bootstrap(case, target, vif, AUC_RESAMPLES)
    return Measure(name="AUC", estimate=estimate, twin=twin, bar=bar)


def _counts(predictions: pd.DataFrame) -> ClassCounts:
    forward = predictions["forward_return"].to_numpy(dtype=np.float64)
    label = _labels(predictions)
    called = predictions["p_up"].to_numpy() > predictions["threshold"].to_numpy()
    return ClassCounts(
        decisions=len(label),
        labels_up=int((label == 1).sum()),
        labels_down=int((label == 0).sum()),
        moves_up=int((forward > 0).sum()),
        moves_down=int((forward < 0).sum()),
        moves_none=int((forward == 0).sum()),
        called_up=int(called.sum()),
        called_down=int((~called).sum()),
    )


def _labels(predictions: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return labels as numbers, NaN where there is none."""
    label = predictions["label"].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(label == -1, np.nan, label)


# ── why a run cannot be judged ───────────────────────────────────────────────────────────────────


def _obstacles(case: _Case, table: Sequence[Measure]) -> Iterator[str]:
    for name, part in case.parts:
        for sentence in _wrong_labels(part, _counts(part)):
            yield sentence if name is None else f"{name} {sentence}"
    yield from _broken_files(case.run)
    for finding in case.findings:
        if finding.level is Level.ERROR:
            yield told(finding)
    for entry in case.run.audit.get("findings", ()):
        if entry.get("level") == Level.ERROR:
            yield f"{entry['code']} {entry['where']}: {entry['message']} ({entry['observed']})"
    if _verdict(case.run, "overall") == "invalid":
        yield "the run's own audit calls it invalid"
    for one in table:
        if one.clears is None:
            yield f"{one.name} has no interval: {one.estimate.reason or 'too few rows of a class'}"
    rows = table[0].estimate.n_eff
    if rows is not None and rows < FEW_EFFECTIVE_ROWS:
        yield f"U003: the test is worth about {rows:.0f} independent decisions; 100 are the least"


def told(finding: Finding) -> str:
    """Return a finding as one sentence."""
    observed = "" if finding.observed is None else f" ({finding.observed})"
    return f"{finding.code} {finding.where}: {finding.message}{observed}"


def _wrong_labels(predictions: pd.DataFrame, counts: ClassCounts) -> Iterator[str]:
    """Hold the labels against the raw moves of the same decisions, and name the likely cause."""
    forward = predictions["forward_return"].to_numpy(dtype=np.float64)
    label = _labels(predictions)
    moved = np.isfinite(label) & np.isfinite(forward) & (forward != 0)
    wrong = moved & ((label == 1) != (forward > 0))
    labelled = counts.labels_up + counts.labels_down
    one_class = labelled > 0 and min(counts.labels_up, counts.labels_down) == 0
    beside = (
        f"{counts.labels_up:,} up and {counts.labels_down:,} down, beside raw moves of "
        f"{counts.moves_up:,} up, {counts.moves_down:,} down and {counts.moves_none:,} unchanged"
    )
    if one_class:
        yield f"L001: all {labelled:,} test labels are one class: {beside}"
    elif wrong.any():
        yield f"L005: the labels do not count what the prices did: {beside}"
    if wrong.any():
        yield (
            f"L004: {int(wrong.sum()):,} of {int(moved.sum()):,} labels disagree with the sign of "
            f"their own move; {_likely_cause(label, forward, counts, one_class=one_class)}"
        )


def _likely_cause(
    label: FloatArray, forward: FloatArray, counts: ClassCounts, *, one_class: bool
) -> str:
    if one_class and counts.labels_up:
        return (
            "likely cause: price levels were used as labels (a price is always above 0, so "
            "'price > 0' is always up); label the sign of the return, not the price"
        )
    if one_class:
        return "likely cause: labels filled with 0, or a threshold that no return reaches"
    agreement = {shift: _agreement(label, forward, shift) for shift in (0, *SHIFTS)}
    best = max(agreement, key=lambda shift: agreement[shift])
    if agreement[0] < 0.02:
        return "likely cause: the classes are turned over (1 means down)"
    if best and agreement[best] > 0.98:
        side = "before" if best < 0 else "after"
        return (
            f"likely cause: the labels are shifted; {agreement[best]:.1%} of them fit the move "
            f"{abs(best)} bar(s) {side} their own"
        )
    return "the labels follow something else than the move they claim to judge"


def _agreement(label: FloatArray, forward: FloatArray, shift: int) -> float:
    """Return how often the label is the sign of the move ``shift`` decisions later."""
    n = len(label)
    rows = np.arange(max(0, -shift), min(n, n - shift))
    move = forward[rows + shift]
    usable = np.isfinite(label[rows]) & np.isfinite(move) & (move != 0)
    if not usable.any():
        return 0.0
    return float(((label[rows] == 1) == (move > 0))[usable].mean())


def _broken_files(run: Run) -> Iterator[str]:
    """Name the files this answer rests on that are not as the run left them."""
    if "files" not in run.manifest:
        return
    for one in seal.broken(run.manifest, run.path):
        if one.file in RELIED_ON:
            yield f"R010: {one.file} is {one.what} since the run was made (`perpwalk verify`)"


# ── why a run may not be believed, and what else to know ─────────────────────────────────────────


def _alarms(case: _Case) -> Iterator[str]:
    for finding in case.findings:
        if finding.code == "P011":
            yield told(finding)
    if _verdict(case.run, "overall") == "suspect":
        yield (
            "the run is under suspicion; look for the cause, or record why it may be believed "
            "(--accept-suspect REASON)"
        )


def _accepted(run: Run) -> bool:
    """Whether a person has recorded why a suspicion may be set aside."""
    return bool(run.audit.get("verdict", {}).get("accepted"))


def _verdict(run: Run, kind: str) -> str:
    return str(run.audit.get("verdict", {}).get(kind, "unknown"))


def _notes(case: _Case) -> Iterator[str]:
    yield MEANING
    equity = case.run.equity
    if len(equity):
        summary = CostSummary.of(equity)
        net, gross = (x / summary.initial_equity for x in (summary.net, summary.gross))
        yield (
            f"The replay of {len(equity):,} bars came to {net:+.2%} after costs ({gross:+.2%} "
            f"before); the run's economic verdict: {_verdict(case.run, 'economic')}."
        )
    if "files" not in case.run.manifest:
        yield "The run carries no seal: its files could not be held against what it wrote."


def _missed(one: Measure) -> str:
    value, low = one.estimate.value, _lowest(one)
    return f"{one.name} {value:.4f}: lower end {low:.4f} is not above {one.bar:g}"


def _cleared(one: Measure) -> str:
    value, low = one.estimate.value, _lowest(one)
    return f"{one.name} {value:.4f}: lower end {low:.4f} is above {one.bar:g}"


def _lowest(one: Measure) -> float:
    lows = [e.low for e in (one.estimate, one.twin) if e is not None and e.low is not None]
    return min(lows)
