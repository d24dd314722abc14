"""What the network is run over: a window of its own for each decision, or stretches they share.

``model.lstm.sequence: window`` runs the network afresh over the ``timesteps`` bars that end at a
decision: a bar is computed ``timesteps`` times. ``stretch`` bars of ``stream`` share one run::

    |-- burn-in: timesteps - 1 --|-- stretch: every step is a decision --|

so a bar is computed ``1 + (timesteps - 1) / stretch`` times. A decision's state has then seen
``timesteps`` to ``timesteps + stretch - 1`` bars, depending on its place.

**Where a stretch begins** must be the same for whoever asks, or forecasts would depend on how much
history was handed over and on what else was asked. In forecasts it is fixed by time: bars are
numbered since 1970 (close time over interval), and a stretch is the bars whose numbers have the
same quotient by ``stretch``. So a decision depends on at most ``timesteps + stretch - 1`` rows, its
own the last, and on nothing before them; a table must hold them all. In training the beginnings are
drawn anew for each epoch, so that every bar is seen at every age of the state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from perpwalk.config import LstmSection
from perpwalk.domain import BoolArray, Float32Array, IntArray
from perpwalk.models.base import Sample


@dataclass(frozen=True, eq=False)
class Batch:
    """What one step of training learns from.

    Attributes
    ----------
    steps
        Table rows (t, b) of each piece, oldest first.
    label
        float32 (s, b): of the last s steps.
    counts
        float32 (s, b): 1 where the label counts, 0 where there is none.
    """

    steps: IntArray
    label: Float32Array
    counts: Float32Array

    def __len__(self) -> int:
        return int(np.count_nonzero(self.counts))

    def part(self, chosen: slice) -> Batch:
        """Return some of the pieces."""
        return Batch(self.steps[:, chosen], self.label[:, chosen], self.counts[:, chosen])


@dataclass(frozen=True, eq=False)
class Question:
    """Pieces (t, b) to run forward, and where the answers are: step and piece of each place."""

    steps: IntArray
    step: IntArray
    piece: IntArray
    place: IntArray


@dataclass(frozen=True)
class Windows:
    """A window for each decision; only its last step is supervised."""

    timesteps: int

    @property
    def reach(self) -> int:
        """How many bars a forecast may depend on, its own included."""
        return self.timesteps

    def epoch(self, sample: Sample, size: int, chance: np.random.Generator) -> Iterator[Batch]:
        """Yield every decision once, in random order, ``size`` at a time."""
        order = chance.permutation(len(sample))
        label = sample.label.astype(np.float32)
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            yield Batch(
                self._steps(sample.rows[chosen]),
                label[chosen][None],
                np.ones((1, len(chosen)), np.float32),
            )

    def questions(
        self, rows: IntArray, clock: IntArray | None, size: int, *, padded: bool = False
    ) -> Iterator[Question]:
        """Yield ``rows``, ``size`` at a time; ``padded`` repeats the last one up to ``size``."""
        del clock  # a window begins wherever its decision wants it
        for start in range(0, len(rows), size):
            chosen = rows[start : start + size]
            count = len(chosen)
            if padded:
                chosen = np.pad(chosen, (0, size - count), mode="edge")
            piece = np.arange(count)
            last = np.full(count, self.timesteps - 1)
            yield Question(self._steps(chosen), last, piece, start + piece)

    def _steps(self, rows: IntArray) -> IntArray:
        steps: IntArray = np.arange(1 - self.timesteps, 1)[:, None] + rows
        return steps


@dataclass(frozen=True)
class Stretches:
    """Stretches of ``length`` decisions after a burn-in of ``timesteps - 1`` bars."""

    timesteps: int
    length: int

    @property
    def reach(self) -> int:
        """How many bars a forecast may depend on, its own included."""
        return self.timesteps + self.length - 1

    def epoch(self, sample: Sample, size: int, chance: np.random.Generator) -> Iterator[Batch]:
        """Yield every decision once, in stretches that begin anew, ``size`` stretches at a time."""
        first, count = self._drawn(sample, int(chance.integers(self.length)))
        label = np.zeros(len(sample.values), np.float32)
        known = np.zeros(len(sample.values), np.float32)
        label[sample.rows], known[sample.rows] = sample.label, 1
        order = chance.permutation(len(first))
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            steps = self._steps(first[chosen], count[chosen])
            supervised = steps[self.timesteps - 1 :]
            whole = np.arange(self.length)[:, None] < count[chosen]
            yield Batch(steps, label[supervised], known[supervised] * whole)

    def questions(
        self, rows: IntArray, clock: IntArray | None, size: int, *, padded: bool = False
    ) -> Iterator[Question]:
        """Yield the stretches that hold ``rows``, ``size`` at a time, each cut at its last row.

        ``padded`` repeats the last stretch up to ``size`` and runs each over its full length (its
        last row asked repeated), so that shapes, and with them every bit, are always the same.
        """
        numbers = np.arange(int(rows.max()) + 1) if clock is None else clock
        stretch = numbers[: int(rows.max()) + 1] // self.length
        asked, piece = np.unique(stretch[rows], return_inverse=True)
        first = np.searchsorted(stretch, asked)
        last = np.zeros(len(asked), np.int64)
        np.maximum.at(last, piece, rows)
        for start in range(0, len(asked), size):
            stop = min(start + size, len(asked))
            begin, count = first[start:stop], last[start:stop] - first[start:stop] + 1
            if padded:
                begin, count = (
                    np.pad(each, (0, size - (stop - start)), mode="edge") for each in (begin, count)
                )
            place = np.flatnonzero((piece >= start) & (piece < stop))
            within = piece[place] - start
            steps = self._steps(begin, count)
            if not padded:
                steps = steps[: self.timesteps - 1 + int(count.max())]
            step = rows[place] - begin[within] + self.timesteps - 1
            yield Question(steps, step, within, place)

    def _steps(self, first: IntArray, count: IntArray) -> IntArray:
        """Return rows (reach, c) of stretches; past its end a stretch repeats its last row."""
        along = np.arange(1 - self.timesteps, self.length)[:, None]
        steps: IntArray = first + np.minimum(along, count - 1)
        return steps

    def _drawn(self, sample: Sample, offset: int) -> tuple[IntArray, IntArray]:
        """Cut a sample's bars into stretches: first supervised rows and their counts.

        A stretch never passes over a row that is not finite; one without a label is left out.
        """
        begin, end = int(sample.rows[0]), int(sample.rows[-1]) + 1
        firsts, lasts = [], []
        for start, stop in _finite_runs(sample.values, begin - self.timesteps + 1, end):
            start += self.timesteps - 1
            cuts = np.arange(start - offset, stop, self.length)
            firsts.append(np.maximum(cuts, start))
            lasts.append(np.minimum(cuts + self.length, stop))
        first, last = np.concatenate(firsts), np.concatenate(lasts)
        labelled = np.searchsorted(sample.rows, last) > np.searchsorted(sample.rows, first)
        return first[labelled], (last - first)[labelled]


def _finite_runs(values: Float32Array, start: int, stop: int) -> list[tuple[int, int]]:
    """Return where rows are finite without a break, as (first, one past the last)."""
    finite: BoolArray = np.asarray(np.isfinite(values[start:stop]).all(axis=1))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], finite, [False]]).astype(np.int8)))
    return [(start + int(a), start + int(b)) for a, b in edges.reshape(-1, 2)]


Sequence = Windows | Stretches


def sequence_of(settings: LstmSection) -> Sequence:
    """Return what ``model.lstm.sequence`` names."""
    if settings.sequence == "stream":
        return Stretches(settings.timesteps, settings.stretch)
    return Windows(settings.timesteps)
