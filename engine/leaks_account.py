"""``perpwalk audit`` of whatever a configuration names: one contract, or several in one account.

Each of several contracts is searched as the pipeline of its own that it is: features, labels,
folds, fits, signals. The strategy is searched in the account it trades: all contracts are replayed
together while the future of one of them is replaced, so that what it reads of another contract is
seen too; and on markets without any edge, one coin turning all contracts at a stamp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine import leaks, replay, stages
from engine.null_account import NullAccount
from engine.parts import Prepared, Walked
from engine.progress import Reporter, Silent
from engine.walkforward import WalkForward
from perpwalk import data
from perpwalk.audit.leaks.contract import Outcome, PipelineOutput
from perpwalk.audit.leaks.null_account import audit_null_account
from perpwalk.audit.leaks.null_market import null_seed
from perpwalk.audit.leaks.strategy import StrategyTrace, audit_strategy
from perpwalk.audit.leaks.suite import LeakReport, power_of
from perpwalk.audit.leaks.surrogates import sign_flipped_together
from perpwalk.config import Config
from perpwalk.domain import IntArray, Market, about
from perpwalk.errors import LookAheadError
from perpwalk.signals import PrecomputedSignals


def audit(
    config: Config,
    *,
    full: bool = False,
    markets: Sequence[Market] | None = None,
    reporter: Reporter | None = None,
) -> LeakReport:
    """Run all leak detectors on what ``config`` names; arguments as in ``leaks.audit``."""
    tell = reporter or Silent()
    if markets is None:
        tell.stage("load")
        markets = data.load_markets(config)
    markets = [replace(market, inside=None) for market in markets]  # as `leaks.audit` does
    if len(markets) == 1:
        return leaks.audit(config, full=full, market=markets[0], reporter=tell)
    prepared = stages.prepare(config, markets, reporter=tell)
    reports = []
    for one in prepared:
        tell.say(f"searching {one.market.symbol}")
        found = leaks.audit(
            _as_it_is_cut(one), full=full, market=one.market, strategy=False, reporter=tell
        )
        reports.append(_named(one.market.symbol, found))
    account, nulls = _Account(config, prepared), leaks.plan_of(full).null_markets
    tell.stage("strategy", len(prepared) + (nulls > 0))
    return _joined(reports, [*account.audited(tell), *account.on_noise(nulls, tell)])


def _as_it_is_cut(prepared: Prepared) -> Config:
    """Return a contract's configuration whose folds begin where the account's do."""
    section = prepared.config.walk_forward
    if section.scheme == "holdout":
        return prepared.config
    start = prepared.folds[0].test.start.isoformat().replace("+00:00", "Z")
    cut = section.model_copy(update={"start": start})
    return prepared.config.model_copy(update={"walk_forward": cut})


def _forecast(prepared: Prepared, market: Market) -> PipelineOutput:
    """Let a contract's pipeline, with the stand-in, forecast another market."""
    config = leaks.with_stand_in(_as_it_is_cut(prepared))
    return leaks.ConfiguredPipeline(config, market)(market, config.seed)


def _named(symbol: str, report: LeakReport) -> LeakReport:
    """Return a contract's report whose outcomes say whose they are."""
    outcomes = tuple(
        replace(
            outcome,
            detector=f"{symbol}: {outcome.detector}",
            findings=about(symbol, outcome.findings),
        )
        for outcome in report.outcomes
    )
    power = tuple(f"{symbol}: {line}" for line in report.power)
    return replace(report, outcomes=outcomes, power=power)


def _joined(reports: Sequence[LeakReport], strategy: Sequence[Outcome]) -> LeakReport:
    first = reports[0]
    power = [line for one in reports for line in one.power] + power_of(strategy)
    joined = replace(first, power=tuple(power))
    return joined.with_outcomes(
        *(outcome for one in reports[1:] for outcome in one.outcomes), *strategy
    )


@dataclass(frozen=True, eq=False)
class _Account:
    """All contracts with the signals of a stand-in, replayed together."""

    config: Config
    prepared: Sequence[Prepared]

    def audited(self, tell: Reporter) -> list[Outcome]:
        """Replace the future of one contract after the other."""
        walked, outcomes = [self._walked(one) for one in self.prepared], []
        for number, one in enumerate(self.prepared):
            outcomes.append(self._audited(walked, number))
            tell.step(one.market.symbol)
        return outcomes

    def on_noise(self, markets: int, tell: Reporter) -> list[Outcome]:
        """Let all contracts trade together where none of them has an edge, ``markets`` times."""
        if markets == 0:
            return []
        keep, gains = NullAccount(self.config), []
        for number in range(markets):
            surrogates = sign_flipped_together(
                [one.market for one in self.prepared], null_seed(self.config.seed, number)
            )
            pairs = zip(self.prepared, surrogates, strict=True)
            gains.append(keep.together([(other, _forecast(one, other)) for one, other in pairs]))
        tell.step("null account")
        return [audit_null_account(gains, self.prepared[0].market.bars.interval)]

    def _walked(self, prepared: Prepared) -> Walked:
        config = leaks.with_stand_in(prepared.config)
        walk = WalkForward(config, prepared.features, prepared.labels)
        return Walked(prepared, list(walk.run(prepared.folds[:1])))

    def _audited(self, walked: Sequence[Walked], number: int) -> Outcome:
        first, chosen = walked[0], self.prepared[number].market
        rows: IntArray = first.results[0].forecast.rows[: leaks.STRATEGY_BARS]
        closes = first.prepared.closes
        sources = [PrecomputedSignals([one.results[0].forecast], one.thresholds) for one in walked]

        def box(other: Market) -> StrategyTrace:
            markets = [one.market for one in self.prepared]
            markets[number] = other
            book = replay.replay(
                [replay.ReplayMarket(*pair) for pair in zip(markets, sources, strict=True)],
                first.prepared.strategy,
                first.prepared.strategy_params,
                self.config.broker,
                start=closes[rows[0]],
                end=closes[rows[-1]],
                forming=replay.forming_length(self.config.strategy),
            )
            return StrategyTrace.of(book, chosen.symbol)

        try:
            outcome = audit_strategy(box, chosen, self.config.seed)
        except LookAheadError as error:
            outcome = leaks.refused(error)
        if self.config.broker.cheat_on_open:
            outcome = replace(outcome, findings=(*outcome.findings, leaks.CHEATS))
        return replace(
            outcome,
            detector=f"{chosen.symbol}: strategy",
            findings=about(chosen.symbol, outcome.findings),
        )
