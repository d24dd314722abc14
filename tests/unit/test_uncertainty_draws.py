"""Resamples are those of numpy's own generators, and their means those of numpy's own sums."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest

from perpwalk.uncertainty import draws as draws_module
from perpwalk.uncertainty.draws import Draws, draw, draws_of, kept


def plainly_drawn(n: int, block: float, resamples: int, rng: np.random.Generator) -> Draws:
    """The same resamples, with one geometric number per block and whole arrays."""
    total, reached, parts = n * resamples, 0, []
    while reached < total:
        count = int((total - reached) / block * 1.05) + 16
        parts.append(reached + np.cumsum(rng.geometric(1 / block, size=count)))
        reached = int(parts[-1][-1])
    edges = np.concatenate(parts)
    edges, own = edges[edges < total], np.arange(resamples) * n
    before = np.searchsorted(edges, own)
    begins = np.insert(edges, before, own)
    starts = rng.integers(0, n, size=len(begins))
    return Draws(n, starts, np.diff(begins, append=total), before + np.arange(resamples))


@pytest.mark.parametrize("block", [1.0, 1.5, 2.0, 2.99, 3.0, 3.01, 17.3])
@pytest.mark.parametrize("n", [1, 7, 300])
def test_blocks_are_those_of_numpy(n: int, block: float) -> None:
    """Lengths, starts and the generator's state afterwards are the same to the bit."""
    for seed in range(5):
        one, other = np.random.default_rng(seed), np.random.default_rng(seed)
        expected, found = plainly_drawn(n, block, 40, one), draw(n, block, 40, other)

        assert expected.lengths.tolist() == found.lengths.tolist()
        assert expected.starts.tolist() == found.starts.tolist()
        assert expected.first.tolist() == found.first.tolist()
        assert one.random() == other.random()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("n", [1, 9, 150, 4000])
def test_means_of_columns_are_those_of_their_rows(n: int, count: int) -> None:
    """However many are given together, each comes to the mean of the rows that were drawn."""
    columns = list(np.random.default_rng(1).normal(3.0, size=(count, n)))
    draws = draw(n, 2.0, 30, np.random.default_rng(2))
    rows = draws.rows()

    for column, found in zip(columns, draws.means(*columns), strict=True):
        assert column[rows].mean(axis=1) == pytest.approx(found, rel=1e-13)


def test_what_is_done_to_means_stays_outside() -> None:
    """A statistic may change what it was given; the next one gets the means themselves."""
    values = np.arange(20.0)
    draws = draw(20, 2.0, 5, np.random.default_rng(3))
    expected = draws.means(values)[0].tolist()
    draws.means(values)[0][:] = 0.0

    assert expected == draws.means(values)[0].tolist()


def test_draws_depend_on_their_arguments_alone() -> None:
    """Asked again at once or after others, the same blocks come, in the same parts."""
    one = list(draws_of(50_000, 5.0, 100, seed=4))
    at_once = list(draws_of(50_000, 5.0, 100, seed=4))
    other = list(draws_of(50_000, 5.0, 100, seed=5))
    later = list(draws_of(50_000, 5.0, 100, seed=4))
    expected = [part.starts.tolist() for part in one]

    assert [80, 20] == [len(part.first) for part in one]
    assert expected == [part.starts.tolist() for part in at_once]
    assert expected != [part.starts.tolist() for part in other]
    assert expected == [part.starts.tolist() for part in later]


def test_what_others_ask_for_again_is_drawn_twice_at_most() -> None:
    """The last resamples are kept, and from their second time on those that come again."""
    made: list[int] = []

    def draw_it(n: int) -> tuple[Draws, ...]:
        made.append(n)
        return (draw(n, 2.0, 3, np.random.default_rng(1)),)

    def ask(n: int) -> Draws:
        return kept(("test", n, 2.0, 3, 1), lambda: draw_it(n))[0]

    for n in (11, 11, 12, 11, 13, 11, 12, 12, 11):
        found = ask(n)
        assert n == found.n
        assert draw(n, 2.0, 3, np.random.default_rng(1)).starts.tolist() == found.starts.tolist()
    assert [11, 12, 11, 13, 12] == made


def test_kept_resamples_keep_no_means() -> None:
    """Means are of arrays of whoever asked: they go with them."""
    asked = ("test", 21, 2.0, 3, 1)
    values = np.arange(21.0)
    for _ in range(4):
        (found,) = kept(asked, lambda: (draw(21, 2.0, 3, np.random.default_rng(1)),))

        assert {} == found._known
        found.means(values)


def test_kept_resamples_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it, those not asked for longest leave."""
    monkeypatch.setattr(draws_module, "KEPT_BLOCKS", 100)
    monkeypatch.setattr(draws_module, "_OFTEN", OrderedDict())
    for n in (31, 32, 33, 31, 32, 33):
        kept(("bound", n, 2.0, 3, 1), lambda n=n: (draw(n, 2.0, 3, np.random.default_rng(1)),))

    assert [32, 33] == [asked[1] for asked in draws_module._OFTEN]
