"""Series held against each other: two sources of one thing, funding and the prices it is for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from perpwalk.data.bars import iso
from perpwalk.data.examine.salvage import error
from perpwalk.data.examine.series import Series
from perpwalk.data.premium import Premium, follows_own_marks, follows_premium
from perpwalk.data.validate import utc
from perpwalk.data.venues import Origin, other_venue
from perpwalk.domain import Finding, FloatArray, FundingFrame, IntArray, Level, from_ns

HOUR = 3600 * 10**9
SHORT = 0.5
FAR = 0.2
FEWEST = 50


@dataclass(frozen=True)
class Comparison:
    """Two sources of one thing on the stamps they share."""

    one: str
    two: str
    kind: str
    common: int
    only_one: int
    only_two: int
    equal_share: float | None
    median_difference: float | None
    largest_difference: float | None
    largest_at: str | None
    correlation: float | None
    shift_hours: float
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as ``--json`` holds them."""
        return {key: value for key, value in vars(self).items() if key != "findings"}


def compare_sources(series: Sequence[Series]) -> list[Comparison]:
    """Compare every two series of one kind and one interval."""
    return [
        _compare(one, two)
        for one, two in combinations(series, 2)
        if one.kind == two.kind and one.interval == two.interval and len(one.ns) and len(two.ns)
    ]


def label(series: Series) -> str:
    """Return a file's name with its folder's."""
    return _origin(series).label


def _compare(one: Series, two: Series) -> Comparison:
    common, at_one, at_two = np.intersect1d(one.ns, two.ns, return_indices=True)
    a, b = one.values[at_one], two.values[at_two]
    relative = one.kind != "funding"  # a rate may be 0: rates are compared by their difference
    apart: FloatArray = np.abs(a / b - 1) if relative else np.abs(a - b)
    worst = int(np.argmax(apart)) if len(apart) else 0
    shift, here, best = _shift(one, two)
    return Comparison(
        one=str(one.path), two=str(two.path), kind=one.kind, common=len(common),
        only_one=len(one.ns) - len(common), only_two=len(two.ns) - len(common),
        equal_share=float((apart <= 1e-9).mean()) if len(apart) else None,
        median_difference=float(np.median(apart)) if len(apart) else None,
        largest_difference=float(apart[worst]) if len(apart) else None,
        largest_at=iso(common[worst]) if len(apart) else None,
        correlation=here, shift_hours=shift,
        findings=tuple(_differences(one, two, apart, common, shift, here, best)),
    )  # fmt: skip


def _shift(one: Series, two: Series) -> tuple[float, float | None, float | None]:
    """Return by how many hours ``two`` is best moved to fit ``one``, and both correlations."""
    found: dict[int, float] = {}
    for hours in range(-14, 15):
        common, at_one, at_two = np.intersect1d(one.ns, two.ns + hours * HOUR, return_indices=True)
        if len(common) < max(FEWEST, 0.5 * min(len(one.ns), len(two.ns))):
            continue
        a, b = _changes(one, at_one), _changes(two, at_two)
        if a.std() > 0 and b.std() > 0:
            found[hours] = float(np.corrcoef(a, b)[0, 1])
    here = found.get(0)
    if not found:
        return 0.0, here, None
    best = max(found, key=lambda hours: (round(found[hours], 3), -abs(hours)))
    return float(best), here, found[best]


def _changes(series: Series, rows: IntArray) -> FloatArray:
    """Return what is correlated: rates as they are, else relative changes, without wild ones."""
    values = series.values[rows]
    moves = values[1:] if series.kind == "funding" else np.diff(np.log(np.maximum(values, 1e-300)))
    bound = 10 * np.median(np.abs(moves)) + 1e-12
    clipped: FloatArray = np.clip(moves, -bound, bound)
    return clipped


def _differences(
    one: Series, two: Series, apart: FloatArray, common: IntArray, shift: float,
    here: float | None, best: float | None,
) -> Iterator[Finding]:  # fmt: skip
    where = f"{label(one)} and {label(two)}"
    if shift and best is not None and best > 0.5 and (here is None or best > here + 0.2):
        yield error(
            "D022", where,
            f"{label(two)} fits {label(one)} best when its stamps are moved by "
            f"{shift:+g} h (correlation {best:.2f}"
            + (")" if here is None else f" instead of {here:.2f})"),
            why="one of them is in local time, or named by another moment of its bars",
        )  # fmt: skip
        return
    if not len(common):
        yield Finding(code="D022", level=Level.WARN, where=where, message="no stamp in common")
        return
    if one.kind != "funding" and float(np.median(apart)) > FAR:
        yield Finding(
            code="D022", level=Level.WARN, where=where,
            message=f"values are {float(np.median(apart)):.0%} apart (median): another contract",
        )  # fmt: skip
        return
    median, limit = float(np.median(apart)), 1e-4 if one.kind == "funding" else 0.002
    unlike = here is not None and here < 0.9
    scale = "" if one.kind == "funding" else " of the value"
    yield Finding(
        code="D022",
        level=Level.WARN if median > limit or unlike else Level.INFO,
        where=where,
        message=f"{len(common):,} stamps in common, {(apart <= 1e-9).mean():.2%} with equal values",
        observed=f"median difference {median:.3g}{scale}, the largest {apart.max():.3g} at "
        f"{utc(common[int(np.argmax(apart))])}"
        + ("" if here is None else f"; correlation {here:.3f}"),
    )


# ── lengths ──────────────────────────────────────────────────────────────────────────────────────


def far_shorter(series: Sequence[Series]) -> Iterator[Finding]:
    """Notice a series that covers little of the time the longest one covers."""
    spans = [int(s.ns[-1] - s.ns[0]) for s in series]
    longest = int(np.argmax(spans))
    for s, span in zip(series, spans, strict=True):
        if span < SHORT * spans[longest]:
            yield Finding(
                code="D024",
                level=Level.WARN,
                where=s.where,
                message=f"covers {span / spans[longest]:.1%} of the time that "
                f"{series[longest].title} covers",
                observed=f"{utc(s.ns[0])} to {utc(s.ns[-1])}, {len(s.ns):,} rows",
                expected=f"{utc(series[longest].ns[0])} to {utc(series[longest].ns[-1])}",
            )


# ── funding and its prices ───────────────────────────────────────────────────────────────────────


def funding_belongs(series: Sequence[Series]) -> Iterator[Finding]:
    """Ask of each funding series whether scale, venue and premium fit the prices beside it."""
    bars = [s for s in series if s.kind == "ohlcv"]
    marks = [s for s in series if s.kind == "mark"]
    for funding in (s for s in series if s.kind == "funding"):
        for prices in bars[:1]:
            yield from _far_marks(funding, prices)
            yield from _other_venue(funding, prices)
            yield from _premium(funding, prices, marks[0] if marks else None)


def _far_marks(funding: Series, prices: Series) -> Iterator[Finding]:
    if funding.marks is None or not np.isfinite(funding.marks).any():
        return
    closes = prices.ns + prices.interval.as_unit("ns").value
    known = np.isfinite(funding.marks)
    _, at, of = np.intersect1d(closes, funding.ns[known], return_indices=True)
    if not len(at):
        return
    apart = float(np.median(np.abs(funding.marks[known][of] / prices.values[at] - 1)))
    if apart > FAR:
        yield error(
            "D016", f"funding {label(funding)}",
            f"its mark prices are {apart:.0%} away from the closes of {prices.title}: it "
            "belongs to another contract",
        )  # fmt: skip


def _other_venue(funding: Series, prices: Series) -> Iterator[Finding]:
    if prices.prices is not None:
        opened, closed = prices.prices.open, prices.prices.close
        yield from other_venue(_origin(funding), _origin(prices), opened, closed)


def _origin(series: Series) -> Origin:
    return Origin(series.path, series.names, series.layout.name)


def _premium(funding: Series, prices: Series, mark: Series | None) -> Iterator[Finding]:
    """Hold rates against the premium of trades over a mark file, or over their own marks."""
    where, step = f"funding {label(funding)}", prices.interval.as_unit("ns").value
    rates = FundingFrame.of(from_ns(funding.ns), funding.values, funding.marks, symbol="")
    if mark is None:
        yield from follows_own_marks(where, rates, prices.ns + step, prices.values)
    elif prices.prices is not None and mark.prices is not None:
        _, at, of = np.intersect1d(prices.ns, mark.ns, return_indices=True)
        premium = Premium.of(prices.ns + step, step, prices.prices, at, mark.prices, of)
        yield from follows_premium(where, rates, premium, _origin(funding).venues)
