"""Small charts as inline SVG: no script, no request, colours from the page's own variables."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from perpwalk.domain import FloatArray, to_ns

WIDTH, HEIGHT = 860, 240
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 26
MOST_POINTS = 800


@dataclass(frozen=True, eq=False)
class Line:
    """One curve: values at the chart's stamps, drawn in the page's colour ``--name``."""

    label: str
    colour: str
    values: FloatArray
    fill: bool = False


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)


def line_chart(
    stamps: pd.DatetimeIndex, lines: Sequence[Line], *, title: str, percent: bool = False
) -> Markup:
    """Return curves over time; thinned to the extremes of each stretch, so no peak is lost."""
    if len(stamps) < 2:
        return Markup("")
    times = to_ns(stamps).astype(float)
    across = _Scale(times[0], times[-1], LEFT, WIDTH - RIGHT)
    values = np.concatenate([line.values for line in lines])
    up = _value_scale(float(np.nanmin(values)), float(np.nanmax(values)))
    body = [_grid(up, percent), _time_axis(stamps, across)]
    for line in lines:
        kept = _thinned(line.values)
        points = [f"{across(times[i]):.1f},{up(line.values[i]):.1f}" for i in kept.tolist()]
        if line.fill:
            floor = f"{up(max(up.low, min(0.0, up.high))):.1f}"
            area = [f"{points[0].split(',')[0]},{floor}", *points,
                    f"{points[-1].split(',')[0]},{floor}"]  # fmt: skip
            body.append(
                f'<polygon points="{" ".join(area)}" fill="var(--{line.colour})" opacity=".25"/>'
            )
        body.append(
            f'<polyline points="{" ".join(points)}" fill="none" stroke="var(--{line.colour})" '
            'stroke-width="1.5" stroke-linejoin="round"/>'
        )
    return _figure(title, body, [(line.label, line.colour) for line in lines])


def interval_chart(
    names: Sequence[str],
    values: Sequence[float | None],
    lows: Sequence[float | None],
    highs: Sequence[float | None],
    *,
    title: str,
    reference: float,
) -> Markup:
    """Return one dot with its interval per name, and a line at ``reference``; gaps stay gaps."""
    known = [v for v in (*values, *lows, *highs) if v is not None]
    if not known:
        return Markup("")
    up = _value_scale(min(*known, reference), max(*known, reference))
    across = _Scale(-0.5, max(len(names) - 0.5, 0.5), LEFT, WIDTH - RIGHT)
    body = [_grid(up, percent=False, digits=2)]
    level = f"{up(reference):.1f}"
    body.append(
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{level}" y2="{level}" '
        'stroke="var(--bad)" stroke-dasharray="5 4"/>'
    )
    step = max(1, math.ceil(len(names) / 12))
    for i, (name, value, low, high) in enumerate(zip(names, values, lows, highs, strict=True)):
        x = f"{across(i):.1f}"
        if value is not None:
            body.append(_dot(x, name, up(value), value, low, high, up))
        if i % step == 0:
            body.append(_text(x, HEIGHT - 8, name, "middle"))
    return _figure(title, body, [])


def _dot(
    x: str,
    name: str,
    y: float,
    value: float,
    low: float | None,
    high: float | None,
    up: _Scale,
) -> str:
    whisker, told = "", f"{name}: {value:.4f}"
    if low is not None and high is not None:
        whisker = (
            f'<line x1="{x}" x2="{x}" y1="{up(low):.1f}" y2="{up(high):.1f}" '
            'stroke="var(--strategy)" stroke-width="2" opacity=".5"/>'
        )
        told += f" [{low:.4f}, {high:.4f}]"
    return (
        f'<g><title>{escape(told)}</title>{whisker}<circle cx="{x}" cy="{y:.1f}" r="4" '
        'fill="var(--strategy)"/></g>'
    )


# ── parts ────────────────────────────────────────────────────────────────────────────────────────


def _thinned(values: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return row numbers that keep the first, last, lowest and highest value of each stretch."""
    n = len(values)
    if n <= MOST_POINTS:
        return np.arange(n)
    edges = np.linspace(0, n, MOST_POINTS // 2 + 1).astype(int)
    kept = {0, n - 1}
    for start, stop in itertools.pairwise(edges.tolist()):
        part = values[start:stop]
        kept.add(int(start + np.argmin(part)))
        kept.add(int(start + np.argmax(part)))
    return np.array(sorted(kept))


def _value_scale(low: float, high: float) -> _Scale:
    flat = high - low < 1e-12
    margin = max(abs(high) * 0.01, 1e-9) if flat else 0.06 * (high - low)
    return _Scale(low - margin, high + margin, HEIGHT - BOTTOM, TOP)


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Return round numbers between ``low`` and ``high``.

    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    rough = (high - low) / wanted
    unit = 10 ** math.floor(math.log10(rough))
    step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _grid(up: _Scale, percent: bool, digits: int = 0) -> str:
    lines = []
    for tick in ticks(up.low, up.high):
        y = up(tick)
        told = f"{100 * tick:.{digits}f} %" if percent else _short(tick)
        lines.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="var(--line)"/>{_text(str(LEFT - 6), y + 4, told, "end")}'
        )
    return "".join(lines)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _time_axis(stamps: pd.DatetimeIndex, across: _Scale) -> str:
    days = (stamps[-1] - stamps[0]) / pd.Timedelta(days=1)
    form = "%Y-%m" if days > 120 else "%m-%d" if days > 3 else "%m-%d %H:%M"
    shares = np.linspace(0.06, 0.94, 6)
    marks = [stamps[0] + (stamps[-1] - stamps[0]) * float(share) for share in shares]
    return "".join(
        _text(f"{across(float(to_ns(mark))):.1f}", HEIGHT - 8, f"{mark:{form}}", "middle")
        for mark in marks
    )


def _text(x: str, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _figure(title: str, body: Sequence[str], legend: Sequence[tuple[str, str]]) -> Markup:
    keys = "".join(
        f'<span class="key"><i style="background:var(--{colour})"></i>{escape(label)}</span>'
        for label, colour in legend
    )
    # Everything in `body` was made above from numbers and escaped text.
    return Markup(  # noqa: S704
        f"<figure><figcaption>{escape(title)} {keys}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(body)}</svg></figure>"
    )
