"""How close training and forecasting come to what the machine's matrix product allows.

Seconds differ from machine to machine; the ratios carry over. The limit is the float32 product of
two 2048 x 2048 matrices with as many threads, measured in the same run. Run with
``pytest -m benchmark benchmarks/test_lstm_speed.py -s``.
"""

import time

import numpy as np
import pytest
import torch

from perpwalk.config import LstmSection
from perpwalk.models import FitContext, Sample
from perpwalk.models.lstm import LstmModel
from perpwalk.models.network import threads_limited

pytestmark = pytest.mark.benchmark

FEATURES = 10
TRAIN_WINDOWS = 8192
THREADS = 2


def sample(windows, timesteps=20):
    chance = np.random.default_rng(0)
    values = chance.standard_normal((windows + timesteps, FEATURES)).astype(np.float32)
    rows = np.arange(timesteps, windows + timesteps)
    return Sample(values, rows, chance.integers(0, 2, windows).astype(np.int8))


def product_flops_per_second(size=2048, repeats=8):
    """Return the machine's limit: the best of several square products."""
    left, right = torch.rand(size, size), torch.rand(size, size)
    seconds = []
    with threads_limited(THREADS):
        for _ in range(repeats):
            began = time.perf_counter()
            left @ right
            seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds)


def flops_per_window(settings, *, backward):
    """Multiply-adds count two; a backward pass costs two forward ones."""
    width, flops = FEATURES, 0
    for _ in range(settings.layers):
        flops += settings.timesteps * 2 * 4 * settings.hidden * (width + settings.hidden)
        width = settings.hidden
    head = settings.hidden * settings.dense + settings.dense * settings.embedding
    return (flops + 2 * (head + settings.embedding)) * (3 if backward else 1)


def test_training_rate(benchmark):
    """One epoch of the default network, validation and bookkeeping included."""
    settings = LstmSection(epochs=1)
    train, validation = sample(TRAIN_WINDOWS), sample(64)
    limit = product_flops_per_second()

    benchmark.pedantic(
        lambda: LstmModel(settings).fit(
            train, validation, FitContext(device="cpu", threads=THREADS)
        ),
        rounds=3,
        warmup_rounds=1,
    )

    rate = TRAIN_WINDOWS / benchmark.stats.stats.min
    share = rate * flops_per_window(settings, backward=True) / limit
    print(
        f"\ntraining: {rate:,.0f} windows/s with {THREADS} threads = {share:.0%} of the matrix "
        f"product's {limit / 1e9:.0f} GFLOP/s"
    )
    benchmark.extra_info.update(windows_per_second=rate, share_of_product=share)


@pytest.mark.parametrize("windows", [1, 2048])
def test_forecast_rate(benchmark, windows):
    """One bar alone (online) and many at once (batched), both in float64."""
    settings = LstmSection(epochs=1)
    model = LstmModel(settings).fit(
        sample(256), sample(64), FitContext(device="cpu", threads=THREADS)
    )
    asked = sample(windows)
    limit = product_flops_per_second()

    benchmark.pedantic(
        lambda: model.predict(asked.values, asked.rows),
        rounds=50 if windows == 1 else 5,
        warmup_rounds=1,
    )

    seconds = benchmark.stats.stats.min
    share = windows * flops_per_window(settings, backward=False) / seconds / limit
    print(
        f"\nforecast of {windows}: {1e3 * seconds / windows:.3f} ms each = {share:.0%} of the "
        "float32 matrix product's rate"
    )
    benchmark.extra_info.update(ms_per_window=1e3 * seconds / windows, share_of_product=share)
