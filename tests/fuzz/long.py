"""The long profile: each reader for so many seconds, coverage-guided where atheris is at hand.

``make fuzz`` runs it; ``FUZZ_SECONDS`` per target, ``FUZZ_TARGETS`` for some of them only. Each
target runs in a process of its own, under a limit of memory and of time per input. What breaks one
is kept under ``.fuzz/`` by libFuzzer (``crash-…``, ``timeout-…``, ``oom-…``): make it a line of
``BROKEN`` in tests/unit/test_fuzz.py. Without atheris (there are wheels for CPython 3.11 to 3.13 on
Linux x86-64), and for targets that are ``blind``, hypothesis searches, without coverage.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
KEPT = ROOT / ".fuzz"
sys.path.insert(0, str(ROOT / "tests" / "reference"))
LIMITS = ("-timeout=60", "-rss_limit_mb=4096", "-max_len=65536", "-print_final_stats=1")


def compiled() -> list[str]:
    """Return the modules that numba compiles: it cannot compile what is instrumented.

    Without what it compiles a page takes minutes.
    """
    sources = ROOT / "src"
    return [
        ".".join(path.relative_to(sources).with_suffix("").parts)
        for path in sources.rglob("*.py")
        if re.search(
            r"^(from|import) numba|import kernels", path.read_text(encoding="utf-8"), re.MULTILINE
        )
    ]


def search(name: str, seconds: int) -> None:
    """Run one target in this process; does not return where atheris has it."""
    import atheris

    with atheris.instrument_imports(include=["perpwalk", "engine"], exclude=compiled()):
        from fuzz_targets import TARGETS, outcome

        target = TARGETS[name]
        folder = Path(tempfile.mkdtemp(prefix="perpwalk-fuzz-"))
        seeds = [bytes(seed) for seed in target.seeds()]
        for seed in seeds:
            outcome(target, seed, folder)
    corpus, words = KEPT / name / "corpus", KEPT / name / "words.txt"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    words.write_text(
        "".join('"' + "".join(f"\\x{b:02x}" for b in token) + '"\n' for token in target.tokens)
    )
    options = [*LIMITS, f"-max_total_time={seconds}", f"-artifact_prefix={KEPT / name}/"]
    options += [f"-dict={words}"] if target.tokens else []
    atheris.Setup([sys.argv[0], *options, str(corpus)], lambda data: outcome(target, data, folder))
    atheris.Fuzz()


def search_blindly(name: str, seconds: int) -> None:
    """Run one target with hypothesis until the time is up."""
    from fuzz_mutations import inputs
    from fuzz_targets import TARGETS, outcome
    from hypothesis import HealthCheck, given, settings

    target, end, count = TARGETS[name], time.monotonic() + seconds, 0
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:

            @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
            @given(inputs(target))
            def read(data: bytes) -> None:
                outcome(target, data, Path(folder))

            read()
            count += 200
    print(f"stat::number_of_executed_units: {count}")


def main() -> int:
    """Run every target, one after another; 1 where one broke."""
    from fuzz_targets import TARGETS

    seconds = os.environ.get("FUZZ_SECONDS", "300")
    names = os.environ.get("FUZZ_TARGETS", " ".join(TARGETS)).split()
    if not seconds.isdecimal() or int(seconds) == 0 or not names or set(names) - set(TARGETS):
        print(f"FUZZ_SECONDS is a whole number, FUZZ_TARGETS are some of: {' '.join(TARGETS)}")
        return 2
    broken = []
    for name in names:
        began = time.monotonic()
        blind = TARGETS[name].blind or importlib.util.find_spec("atheris") is None
        way = "blind" if blind else "guided"
        words = [sys.executable, "-W", "ignore", __file__, name, seconds, way]
        with tempfile.TemporaryDirectory(prefix="perpwalk-fuzz-") as folder:
            done = subprocess.run(
                words, capture_output=True, text=True, errors="replace", check=False,
                env={**os.environ, "TMPDIR": folder, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        output = done.stdout + done.stderr
        tried = re.search(r"number_of_executed_units: *(\d+)", output)
        count = f"{int(tried[1]):,}" if tried else "?"
        word = "holds" if done.returncode == 0 else f"BROKEN (exit {done.returncode})"
        print(f"{name}: {count} inputs, {time.monotonic() - began:.0f} s, {word}", flush=True)
        if done.returncode:
            broken.append(name)
            print(output[-3000:], flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit(main())
    way = {"guided": search, "blind": search_blindly}[sys.argv[3]]
    way(sys.argv[1], int(sys.argv[2]))
