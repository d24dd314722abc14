"""Look at what is installed: licences by an allow-list, known vulnerabilities by pip-audit.

Run by ``make scan``, which names the program pip-audit (in an environment of its own). Exit codes:
0 nothing found; 1 a licence that is not allowed, or a known vulnerability; 3 the database
of vulnerabilities could not be asked, so that half is not known.
"""

from __future__ import annotations

import importlib.metadata
import json
import pathlib
import re
import subprocess
import sys
import tempfile

LOCK = pathlib.Path(__file__).with_name("lock.txt")
FOUND, UNKNOWN = 1, 3

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


def locked() -> set[tuple[str, str]]:
    """Return the names and versions in the lock; torch has a file of its own."""
    pins = LOCK.read_text() + LOCK.with_name("torch.txt").read_text()
    return {(normal(m[1]), m[2]) for m in re.finditer(r"^([\w.-]+)==([^\s;]+)", pins, re.M)}


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
    """Ask pip-audit about the lock; return what it found, and what it could not ask about."""
    with tempfile.TemporaryDirectory() as folder:
        answer = pathlib.Path(folder) / "audit.json"
        asked = [
            program, "-r", str(LOCK), "--require-hashes", "--disable-pip",
            "--progress-spinner", "off", "-f", "json", "-o", str(answer),
        ]  # fmt: skip
        try:
            done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
        except OSError as error:
            return [], [f"{program}: {error.strerror}"]
        if not answer.exists():
            return [], [(done.stderr.strip().splitlines() or ["pip-audit gave no answer"])[-1]]
        told = json.loads(answer.read_text())["dependencies"]
    found = [
        f"{one['name']} {one['version']}: {vulnerability['id']}, fixed in "
        f"{', '.join(vulnerability['fix_versions']) or 'no version'}"
        for one in told
        for vulnerability in one.get("vulns", ())
    ]
    return found, [f"{one['name']}: {one['skip_reason']}" for one in told if "skip_reason" in one]


def main() -> int:
    """Print what was found and return the exit code."""
    wrong = licences()
    print(f"licences: {len(wrong)} not on the allow-list", *wrong, sep="\n  ")
    found, unasked = vulnerabilities(sys.argv[1] if len(sys.argv) > 1 else "pip-audit")
    print(f"vulnerabilities: {len(found)} known", *found, sep="\n  ")
    if unasked:
        print(f"NOT KNOWN: the database of vulnerabilities gave no answer about {len(unasked)} "
              f"packages. The first: {unasked[0]}")  # fmt: skip
    if wrong or found:
        return FOUND
    return UNKNOWN if unasked else 0


if __name__ == "__main__":
    sys.exit(main())
