"""Look at what is installed: licences by an allow-list, known vulnerabilities by pip-audit.

Run by ``make scan``, which names the program pip-audit (in an environment of its own), or in its
place a file of advisories for where there is no network (``advisories.py``). Exit codes:
0 nothing found; 1 a licence that is not allowed, or a known vulnerability; 3 the database
of vulnerabilities could not be asked, so that half is not known.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable

import advisories

LOCK = pathlib.Path(__file__).with_name("lock.txt")
FOUND, UNKNOWN = 1, 3
# The index's own interface, and where an index or a mirror has none, OSV's.
SERVICES = ("pypi", "osv")

OFFLINE = (
    "Where there is no network, carry an export of the advisories here and name it:"
    " make scan ADVISORIES=all.zip (docs/reliability.md, Dependencies)"
)

# What may be used beside Apache-2.0 code without asking anything of who uses it.
ALLOWED = re.compile(
    r"\b(MIT|BSD|APACHE|ISC|PSF|PYTHON SOFTWARE FOUNDATION|MPL|MOZILLA|ZLIB|UNLICENSE|0BSD|HPND|CC0"
    r"|PUBLIC DOMAIN|BOOST|BSL|NCSA)",
)
# By name, each with its reason: a licence that asks for more, or metadata that err.
EXCEPTIONS = {
    "backtrader": "GPL-3, behind the wall of engine and strategies; README, Licence",
    "nvidia-nccl-cu12": "its metadata say proprietary, the licence file in its wheel is the BSD's",
    "nvidia-nccl-cu13": "its metadata say proprietary, the licence file in its wheel is the BSD's",
}
# How the licences begin that stand in a file while the metadata name none.
TEXTS = {
    "Permission is hereby granted, free of charge": "MIT",
    "Redistribution and use in source and binary forms": "BSD",
}


def normal(name: str) -> str:
    """Return a package's name as the index writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> list[str]:
    """Return what the lock pins, a requirement a line, and torch, which has a file of its own."""
    text = LOCK.read_text() + LOCK.with_name("torch.txt").read_text()
    return [m[0].rstrip(" \\") for m in re.finditer(r"^[\w.-]+==.*", text, re.M)]


def locked() -> set[tuple[str, str]]:
    """Return the names and versions that are pinned, for whatever Python."""
    return {
        (normal(m[1]), m[2]) for m in map(re.compile(r"([\w.-]+)==([^\s;]+)").match, pins()) if m
    }


def licence(found: importlib.metadata.Distribution) -> str:
    """Return what a distribution says of its licence: expression, classifiers, first line."""
    meta = found.metadata
    said = [meta.get("License-Expression") or ""]
    said += [c for c in meta.get_all("Classifier") or () if c.startswith("License ::")]
    said += (meta.get("License") or "").strip().splitlines()[:1]
    return "; ".join(one for one in said if one) or _of_file(found)


def _of_file(found: importlib.metadata.Distribution) -> str:
    for name in found.metadata.get_all("License-File") or ():
        text = found.read_text(f"licenses/{name}") or found.read_text(name) or ""
        for beginning, called in TEXTS.items():
            if beginning in " ".join(text.split()):
                return f"{called}, by its file"
    return ""


def licences() -> list[str]:
    """Return a line for each locked and installed package whose licence is not allowed."""
    wanted, wrong = locked(), []
    for found in importlib.metadata.distributions():
        name = normal(found.metadata["Name"])
        said = licence(found)
        pinned = (name, found.version.partition("+")[0]) in wanted
        if pinned and name not in EXCEPTIONS and not ALLOWED.search(said.upper()):
            wrong.append(f"{name} {found.version}: {said or 'says no licence'}")
    return sorted(wrong)


def vulnerabilities(program: str) -> tuple[list[str], list[str]]:
    """Ask pip-audit about what is pinned; return what it found, and what no service knew."""
    found: set[str] = set()
    silent = {name: list[str]() for name, _ in locked()}
    for service in SERVICES:
        known, unasked = _asked(program, service, silent)
        found |= set(known)
        silent = {name: [*silent[name], f"{service}: {why}"] for name, why in unasked.items()}
        if not silent:
            break
    return sorted(found), [f"{name}: {'; '.join(why)}" for name, why in sorted(silent.items())]


def _asked(program: str, service: str, names: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Return what one service knows of the packages named, and why it knows nothing of some."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answer = pathlib.Path(folder) / "pins.txt", pathlib.Path(folder) / "audit.json"
        lines = [pin for pin in pins() if normal(pin.partition("==")[0]) in set(names)]
        asked.write_text("\n".join(lines) + "\n")
        command = [
            program, "-r", str(asked), "--no-deps", "--disable-pip", "-s", service,
            "--progress-spinner", "off", "-f", "json", "-o", str(answer),
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        except OSError as error:
            return [], dict.fromkeys(names, f"{program}: {error.strerror}")
        if not answer.exists():
            last = (done.stderr.strip().splitlines() or ["pip-audit gave no answer"])[-1]
            return [], dict.fromkeys(names, textwrap.shorten(last, 160))
        told = json.loads(answer.read_text())["dependencies"]
    found = [
        f"{one['name']} {one['version']}: {vulnerability['id']}, fixed in "
        f"{', '.join(vulnerability['fix_versions']) or 'no version'}"
        for one in told
        for vulnerability in one.get("vulns", ())
    ]
    return found, {normal(o["name"]): o["skip_reason"] for o in told if "skip_reason" in o}


def main() -> int:
    """Print what was found and return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("program", nargs="?", default="pip-audit")
    parser.add_argument("--advisories", type=pathlib.Path, help="a file to ask in its place")
    chosen = parser.parse_args()
    wrong = licences()
    print(f"licences: {len(wrong)} not on the allow-list", *wrong, sep="\n  ")
    if chosen.advisories:
        today = datetime.datetime.now(datetime.UTC).date()
        found, unknown = advisories.about(locked(), chosen.advisories, today)
    else:
        found, unknown = vulnerabilities(chosen.program)
    print(f"vulnerabilities: {len(found)} known", *found, sep="\n  ")
    if unknown:
        print(f"NOT KNOWN, {len(unknown)} times no answer. The first:\n  {unknown[0]}\n{OFFLINE}")
    if wrong or found:
        return FOUND
    return UNKNOWN if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
