"""How close training comes to the machine's matrix product, and stretches to windows.

Seconds differ from machine to machine; the ratios carry over. Whatever is compared is measured in
turns in one run, a round of one and a round of the other, and the ratio is the median over rounds:
other work on the machine then slows both. With one thread the clock is the process's own CPU time;
with several it is wall time, in which waiting for each other counts. Run with
``pytest -m benchmark benchmarks/test_lstm_speed.py -s``.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed

from perpwalk.config import LstmSection
from perpwalk.models import FitContext, Sample
from perpwalk.models.lstm import LstmModel, Training
from perpwalk.models.network import Embedder, Network, seeded, threads_limited
from perpwalk.models.passes import passes

pytestmark = pytest.mark.benchmark

CPU = torch.device("cpu")
FEATURES = 10
ROUNDS = 9
PRODUCT = 2048
PATIENCE = 120  # seconds for the other processes
WINDOW = LstmSection(batch_size=256)
STREAM = LstmSection(sequence="stream")


def sample(decisions, before=200):
    chance = np.random.default_rng(0)
    values = chance.standard_normal((decisions + before, FEATURES)).astype(np.float32)
    rows = np.arange(before, decisions + before)
    return Sample(values, rows, chance.integers(0, 2, decisions).astype(np.int8))


def flops_per_window(settings):
    """Forward and back: multiply-adds count two, a backward pass costs two forward ones."""
    width, flops = FEATURES, 0
    for _ in range(settings.layers):
        flops += settings.timesteps * 2 * 4 * settings.hidden * (width + settings.hidden)
        width = settings.hidden
    head = settings.hidden * settings.dense + settings.dense * settings.embedding
    return 3 * (flops + 2 * (head + settings.embedding))


class Epoch:
    """An epoch of training again and again: the steady state, without what a fit does once."""

    def __init__(self, settings: LstmSection, decisions: int, threads: int) -> None:
        self._train = sample(decisions)
        with seeded(0, CPU):
            network = Network(FEATURES, settings)
        self._passes = passes(network, settings, CPU, threads, 0)
        through = self._passes.__enter__()
        self._training = Training(settings, self._train, self._train, network, 1e-3, through, 0)
        self()

    def __call__(self) -> None:
        """Train one epoch."""
        self._training.train_epoch(1)

    def close(self) -> None:
        """Let the threads go and give torch its settings back."""
        self._passes.__exit__(None, None, None)


def in_turns(clock: Callable[[], float], *works: Callable[[], None]) -> list[list[float]]:
    """Return the seconds of each work in each round."""
    rounds = []
    for _ in range(ROUNDS):
        seconds = []
        for work in works:
            began = clock()
            work()
            seconds.append(clock() - began)
        rounds.append(seconds)
    return rounds


def share_of_product(name: str, rounds: list[list[float]], products: int, windows: int) -> float:
    """Return and print the rate of training as a share of the product's, seconds of both given."""
    limit = [products * 2 * PRODUCT**3 / product for product, _ in rounds]
    rate = [windows * flops_per_window(WINDOW) / training for _, training in rounds]
    share = statistics.median(r / most for r, most in zip(rate, limit, strict=True))
    print(
        f"\n{name}: product {statistics.median(limit) / 1e9:.0f}, training "
        f"{statistics.median(rate) / 1e9:.0f} GFLOP/s: {share:.0%} (median of {ROUNDS} rounds), "
        f"{max(rate) / max(limit):.0%} (best of each)"
    )
    return share


@pytest.mark.parametrize("threads", [1, 2])
def test_windowed_training_against_the_matrix_product(benchmark, threads):
    """An epoch of 1,024 windows per thread, beside products of as much arithmetic."""
    windows = 1024 * threads
    left, out = torch.rand(PRODUCT, PRODUCT), torch.empty(PRODUCT, PRODUCT)
    epoch = Epoch(WINDOW, windows, threads)

    def product() -> None:
        with threads_limited(threads):
            for _ in range(threads):
                torch.mm(left, left, out=out)

    clock = time.process_time if threads == 1 else time.perf_counter
    rounds = in_turns(clock, product, epoch)
    benchmark.pedantic(epoch, rounds=1)
    epoch.close()

    share = share_of_product(f"{threads} threads", rounds, threads, windows)
    benchmark.extra_info.update(share_of_product=share)


def trains(windows: int, rounds: int, ready: Barrier, done: Barrier) -> None:
    """Train so many epochs on one thread, each when all are ready; a process of its own."""
    epoch = Epoch(WINDOW, windows, 1)
    for _ in range(rounds):
        ready.wait(PATIENCE)
        epoch()
        done.wait(PATIENCE)


def test_folds_side_by_side_against_the_matrix_product(benchmark):
    """Two processes that train on one thread each, beside products on two threads, wall time.

    This is what ``--jobs 2`` does, or ``--jobs auto`` on two cores.
    """
    windows, rounds = 1024, ROUNDS + 2
    context = multiprocessing.get_context("spawn")
    ready, done = context.Barrier(3), context.Barrier(3)
    processes = [
        context.Process(target=trains, args=(windows, rounds, ready, done), daemon=True)
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    left, out = torch.rand(PRODUCT, PRODUCT), torch.empty(PRODUCT, PRODUCT)

    def product() -> None:
        with threads_limited(2):
            for _ in range(2):
                torch.mm(left, left, out=out)

    def side_by_side() -> None:
        ready.wait(PATIENCE)
        done.wait(PATIENCE)

    side_by_side()  # starts them
    measured = in_turns(time.perf_counter, product, side_by_side)
    benchmark.pedantic(side_by_side, rounds=1)
    for process in processes:
        process.join(PATIENCE)

    share = share_of_product("two processes of one thread", measured, 2, 2 * windows)
    benchmark.extra_info.update(share_of_product=share)


@pytest.mark.parametrize("fused", [True, False], ids=["onednn", "plain"])
def test_torch_lstm_against_the_matrix_product(benchmark, fused):
    """The same network as ``nn.LSTM`` under autograd, by oneDNN's fused layer and without it."""
    windows = WINDOW.batch_size
    left, out = torch.rand(PRODUCT, PRODUCT), torch.empty(PRODUCT, PRODUCT)
    network = Network(FEATURES, WINDOW)
    given = torch.rand(windows, WINDOW.timesteps, FEATURES)

    def product() -> None:
        torch.mm(left, left, out=out)

    def step() -> None:
        with torch.backends.mkldnn.flags(enabled=fused):
            network.zero_grad()
            network(given).sum().backward()

    with threads_limited(1):
        step()
        rounds = in_turns(time.process_time, product, step)
        benchmark.pedantic(step, rounds=1)

    arithmetic = windows * flops_per_window(WINDOW) / (2 * PRODUCT**3)
    share = statistics.median(arithmetic * p / s for p, s in rounds)
    print(f"\nnn.LSTM, {'oneDNN' if fused else 'plain'}, 1 thread: {share:.0%} of the product")
    benchmark.extra_info.update(share_of_product=share)


def test_fits_side_by_side_against_one_after_the_other(benchmark):
    """Four fits, two processes of one thread each against one process with two threads."""
    given = sample(4096)
    settings = LstmSection(epochs=1)

    def fit(threads: int) -> None:
        LstmModel(settings).fit(given, given, FitContext(device="cpu", threads=threads))

    with Parallel(n_jobs=2) as workers:

        def side_by_side() -> None:
            workers(delayed(fit)(1) for _ in range(4))

        def in_sequence() -> None:
            for _ in range(4):
                fit(2)

        side_by_side()  # starts the workers and loads what they need
        in_sequence()
        rounds = in_turns(time.perf_counter, side_by_side, in_sequence)[:5]
        benchmark.pedantic(side_by_side, rounds=1)

    ratio = statistics.median(sequence / side for side, sequence in rounds)
    print(f"\nfour fits on two cores: side by side {ratio:.2f} times as fast as in sequence")
    benchmark.extra_info.update(ratio=ratio)


def test_stretches_against_windows_in_training(benchmark):
    """Bars per CPU second of training, one thread."""
    windowed, streamed = Epoch(LstmSection(), 1024, 1), Epoch(STREAM, 16_384, 1)

    rounds = in_turns(time.process_time, windowed, streamed)
    benchmark.pedantic(streamed, rounds=1)
    windowed.close()
    streamed.close()

    ratio = statistics.median((16_384 / s) / (1024 / w) for w, s in rounds)
    print(f"\ntraining: stretches take {ratio:.1f} times as many bars a second as windows")
    benchmark.extra_info.update(ratio=ratio)


def test_stretches_against_windows_in_forecasts(benchmark):
    """Bars per CPU second of forecasts (float64, one thread): a year of hours against windows."""
    few, year = sample(1024), sample(8760)
    windowed, streamed = (
        Embedder(Network(FEATURES, settings).state_dict(), settings, FEATURES)
        for settings in (LstmSection(), STREAM)
    )

    rounds = in_turns(
        time.process_time,
        lambda: windowed(few.values, few.rows, 1),
        lambda: streamed(year.values, year.rows, 1),
    )
    benchmark.pedantic(lambda: streamed(year.values, year.rows, 1), rounds=1)

    ratio = statistics.median((8760 / s) / (1024 / w) for w, s in rounds)
    print(f"\nforecasts: stretches take {ratio:.1f} times as many bars a second as windows")
    benchmark.extra_info.update(ratio=ratio)


@pytest.mark.parametrize("settings", [LstmSection(epochs=1), STREAM], ids=["window", "stream"])
def test_forecast_of_one_bar(benchmark, settings):
    """What a decision costs bar by bar (``compute.signals: online``)."""
    settings = settings.model_copy(update={"epochs": 1})
    given = sample(512)
    model = LstmModel(settings).fit(given, given, FitContext(device="cpu", threads=1))
    row = given.rows[-1:]

    benchmark.pedantic(lambda: model.predict(given.values, row), rounds=50, warmup_rounds=2)

    print(f"\none bar: {1e3 * benchmark.stats.stats.median:.2f} ms")
