"""Whatever bytes a reader is given: read and right, or refused. `make fuzz` is the long profile."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from fuzz_mutations import inputs
from fuzz_targets import TARGETS, outcome
from hypothesis import given, settings

EXAMPLES = {"zip": 300, "config": 30, "overrides": 30, "run": 15}
CHEAP = [name for name, target in TARGETS.items() if not target.dear]
LONG = settings.default is not None and settings.default.max_examples > 1000


@pytest.mark.parametrize("name", CHEAP)
def test_any_bytes_are_read_right_or_refused(name: str) -> None:
    """No crash, no traceback, no silent misreading of any reader."""
    target = TARGETS[name]
    found: set[str] = set()

    with tempfile.TemporaryDirectory() as folder:

        @settings(max_examples=EXAMPLES.get(name, 60) * (10 if LONG else 1), database=None)
        @given(inputs(target))
        def read(data: bytes) -> None:
            found.add(outcome(target, data, Path(folder)))

        read()

    assert found <= {"read", "refused"}
    assert found


@pytest.mark.parametrize("name", CHEAP)
def test_good_inputs_are_read(name: str, tmp_path: Path) -> None:
    """What the mutations start from is good: most of it is read, so refusals are earned."""
    target = TARGETS[name]

    outcomes = [outcome(target, seed, tmp_path) for seed in target.seeds()]

    assert "read" in outcomes or name == "store"  # its partition is named and not there


# Inputs that once broke a reader: found by this search, each mended since.
BROKEN = [
    ("config", b"!!timestamp 2024-99-99"),
    ("config", b"name: !!timestamp 2024-99-99\n"),
    ("config", b"features:\n !!timestamp 2024-99-99 excl00du-dl:\n  horizon: 2bars\n"),
    ("config", b'seed: !!int ""\n'),
    ("config", b"report: {html: !!bool maybe}\n"),
    ("config", b"strategy: {params: {day: 2024-01-01}}\n"),
    ("config", b"market: {since: 2024}\n"),
    ("config", b"model: {params: {x: .nan}}\n"),
    ("config", b"walk_forward: {train: 999999999999d}\n"),
    ("config", b"[" * 5000),
    ("config", b"name: nul\n"),
    ("config", b"extends: ~nobody\n"),
    ("config", b"market: {ohlcv: ~nobody/bars.csv}\n"),
    ("config", b"seed: " + b"9" * 5000),
    ("config", b"a: &a [1]\nb: [" + b"*a," * 9 + b"]\n"),
    ("overrides", b"--grid\nstrategy.threshold=0.4:0.6:100100100"),
    ("bars", b"\x93NUMPY\x01\x00v\x00{'de, 'fortran_order': True, 'shape': (12, 6), }" + b" " * 58),
    ("bars", b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, "
             b"'shape': (999999999999, 6), }".ljust(117) + b"\n"),
    ("bars", b"PK\x03\x04" + b"\x00" * 30 + b"PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x006\x00\x00"
             b"\x00\xff\xff\xff\x7f\x00\x00"),
    ("bars", b'[{"t": 1, "o": 1, "o": 2}]'),
    ("bars", b"time,open,high,low,close,volume\n2824-01-09 11:00:00,1,1,1,1,1\n"
             b"2824-01-09 12:00:00,1,1,1,1,1\n"),
    ("trials", b'{"event":"declared","id":"8","time":"x","priorswept":3,"after":"0","check":"1"}'),
    ("trials", b'{"event":"swept","id":"8","time":"x","file":"../../x","after":"0","check":"1" }'),
    ("trials", b'{"event":"begun","id":"7","time":"x","experiment":"x","variant":"b","digest":"d",'
               b'"status":"5d"}'),
    ("store", b'{"format": 1, "covered": [], "gaps": [], "notes": [], "partitions": [{"year": 2024,'
              b'"file": "../../../x", "rows": 1, "first": "2024-01-01T00:00:00Z", "last": '
              b'"2024-01-01T00:00:00Z", "sha256": "", "months": {}}]}'),
    ("preprocessor", b'\x00{"format": 1, "method": "mrmr", "selected": ["b", "a"], "candidates": '
                     b'["a", "b"], "constant": [], "scores": {}, "rows_seen": [1e400, 2]}'),
    ("run", b"\x03PAR1"),
    ("run", b"\x02period_kind,start\nall,2021e400-01-03\n"),
    ("run", b"\x0a\xf2\xff"),
    ("run", b'\x0a"'),
    ("run", b'\x00{"status": "failed", "status": "finished"}'),
    ("run", b'\x00{"status": "finished", "seed": NaN}'),
    ("run", b'\x00{"status": "finished", "files": {"../../x": "' + b"0" * 64 + b'"}}'),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data"), BROKEN)
def test_what_once_broke_a_reader_is_refused_or_read(
    name: str, data: bytes, tmp_path: Path
) -> None:
    """Every input that was a bug stays a test."""
    assert outcome(TARGETS[name], data, tmp_path) in ("read", "refused")
