"""Resamples are those of numpy's own generators, and their means those of numpy's own sums."""

from __future__ import annotations

import numpy as np
import pytest

from perpwalk.uncertainty.draws import Draws, draw, draws_of


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


@pytest.mark.parametrize("n", [1, 9, 150, 4000])
def test_means_are_summed_as_numpy_sums(n: int) -> None:
    """Below eight blocks, up to 128 and beyond, the means are the same to the bit."""
    values = np.random.default_rng(1).normal(3.0, size=n)
    prefix = np.concatenate([[0.0], np.cumsum(np.tile(values - values.mean(), 2))])
    draws = draw(n, 2.0, 30, np.random.default_rng(2))
    blocks = prefix[draws.starts + draws.lengths] - prefix[draws.starts]
    expected = np.add.reduceat(blocks, draws.first) / n + float(values.mean())

    assert expected.tolist() == draws.means(values).tolist()


def test_what_is_done_to_means_stays_outside() -> None:
    """A statistic may change what it was given; the next one gets the means themselves."""
    values = np.arange(20.0)
    draws = draw(20, 2.0, 5, np.random.default_rng(3))
    expected = draws.means(values).tolist()
    draws.means(values)[:] = 0.0

    assert expected == draws.means(values).tolist()


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
