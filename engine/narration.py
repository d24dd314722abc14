"""What a run tells while it works: facts for people, in words, and the log that keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from engine.progress import Reporter
from engine.walkforward import FoldResult
from perpwalk import owned
from perpwalk.data import layouts
from perpwalk.data.tables import STORE, title_of
from perpwalk.domain import DataSource, Finding, Fold, Level, Market


class Log:
    """Passes everything on to the reporter and keeps what was said, with times, in ``run.log``."""

    def __init__(self, tell: Reporter, path: Path) -> None:
        self._tell = tell
        self._path = path

    def _keep(self, text: str) -> None:
        stamp = pd.Timestamp.now("UTC").strftime("%Y-%m-%dT%H:%M:%SZ")
        with owned.opened(self._path, "ab") as stream:
            stream.write(f"{stamp} {text}\n".encode())

    def say(self, message: str) -> None:
        """Tell and keep."""
        self._keep(message)
        self._tell.say(message)

    def stage(self, name: str, steps: int | None = None) -> None:
        """Tell and keep."""
        self._keep(f"stage {name}" + ("" if steps is None else f" ({steps})"))
        self._tell.stage(name, steps)

    def step(self, detail: str = "") -> None:
        """Tell and keep."""
        self._keep(f"done: {detail}")
        self._tell.step(detail)

    def detail(self, text: str) -> None:
        """Tell only."""
        self._tell.detail(text)


def say_what_was_read(market: Market, tell: Reporter) -> None:
    """Tell the market's size and range, and every finding of reading it."""
    bars = market.bars
    span = f"{bars.open_time[0]:%Y-%m-%d %H:%M} … {bars.open_time[-1]:%Y-%m-%d %H:%M} UTC"
    tell.say(f"{bars.symbol}: {len(bars):,} bars, {span}; {len(market.funding):,} settlements")
    for source in market.sources:
        if source.layout:
            title = title_of(Path(source.path), source.file_format)
            tell.say(f"{source.kind} {title}: {taken_for(source)}")
    for finding in market.findings:
        tell.say(finding_line(finding))


def taken_for(source: DataSource) -> str:
    """Say whose file a source was taken for."""
    if source.file_format == STORE:
        return "from the store"
    return f"read as {layouts.named(source.layout).title} ({source.file_format})"


def finding_line(finding: Finding) -> str:
    """Return a finding in one line."""
    mark = {Level.INFO: "note", Level.WARN: "WARNING", Level.ERROR: "ERROR"}[finding.level]
    return f"{mark} {finding.code} {finding.where}: {finding.message}"


def fold_lines(cut: Sequence[Fold]) -> Iterator[str]:
    """Say what each segment of a lone fold lost, or the range and sizes of many folds."""
    first, last = cut[0], cut[-1]
    if len(cut) == 1:
        for name in ("train", "validation", "test"):
            span = getattr(first, name)
            yield f"{name}: {span.bars:,} bars, {len(span):,} decisions used"
        yield (
            f"lost: warm-up and window {first.warmup}, purged {first.purged}, embargoed "
            f"{first.embargoed}, unlabelled {first.unlabelled}, tied {first.ties}"
        )
        return
    tested = sum(len(fold.test) for fold in cut)
    yield (
        f"{len(cut)} folds: train {len(first.train):,} … {len(last.train):,} decisions, "
        f"validation {len(first.validation):,}, test {len(first.test):,}; "
        f"{tested:,} test decisions {first.test.start:%Y-%m-%d} … {last.test.end:%Y-%m-%d}"
    )


def fold_summary(result: FoldResult) -> str:
    """Return what became of one fold, in one line."""
    number = result.fitted.fold.number
    if result.resumed:
        return f"fold {number}: kept from the interrupted run"
    if result.recalled:
        return f"fold {number}: from the cache"
    aucs = [
        report.validation_auc for report in result.training if report.validation_auc is not None
    ]
    best = f", best validation AUC {max(aucs):.4f}" if aucs else ""
    return f"fold {number}: {len(result.training)} epochs{best}"
