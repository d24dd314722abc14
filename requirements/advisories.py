"""Known vulnerabilities without a network: out of a file that was carried here.

The file is OSV's export of the advisories about PyPI, a zip of one JSON document per advisory
(https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip; the format is
https://ossf.github.io/osv-schema/), or a folder into which it was unpacked.
"""

from __future__ import annotations

import datetime
import json
import pathlib
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

# An older file would say "none" of everything that has been found since.
FRESH = datetime.timedelta(days=30)
Pins = Iterable[tuple[str, str]]


def about(pins: Pins, place: pathlib.Path, today: datetime.date) -> tuple[list[str], list[str]]:
    """Return what the advisories at a place say of pins, and why that is not the whole truth."""
    try:
        told = [one for one in _documents(place) if _of_pypi(one)]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        return [], [f"{place}: {error}"]
    dates = [str(one["modified"])[:10] for one in told if "modified" in one]
    if not dates:
        return [], [f"{place} holds no advisory about a package of PyPI"]
    found, unjudged = _matches({(canonicalize_name(n), v) for n, v in pins}, told)
    if datetime.date.fromisoformat(max(dates)) < today - FRESH:
        unjudged.append(f"{place} ends on {max(dates)}: what was found since is not in it")
    return found, unjudged


def _documents(place: pathlib.Path) -> Iterator[dict[str, Any]]:
    if place.is_dir():
        for path in sorted(place.rglob("*.json")):
            yield json.loads(path.read_bytes())
        return
    with zipfile.ZipFile(place) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".json"):
                yield json.loads(archive.read(name))


def _of_pypi(advisory: Any) -> bool:
    """Tell whether a document is an advisory that stands, about some package of the index."""
    return (
        isinstance(advisory, dict) and not advisory.get("withdrawn") and bool(_affected(advisory))
    )


def _affected(advisory: dict[str, Any]) -> list[dict[str, Any]]:
    entries = advisory.get("affected") or ()
    return [one for one in entries if one.get("package", {}).get("ecosystem") == "PyPI"]


def _matches(pins: set[tuple[str, str]], told: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Return a line for each pin and vulnerability; one that has several names is told once."""
    by_name: dict[str, list[str]] = {}
    for name, version in sorted(pins):
        by_name.setdefault(name, []).append(version)
    found, unjudged, named = [], [], set[tuple[str, str, str]]()
    for advisory in told:
        for entry in _affected(advisory):
            name = canonicalize_name(entry["package"]["name"])
            for version in by_name.get(name, ()):
                names = {(name, version, one) for one in _names(advisory)}
                try:
                    hit = _hits(Version(version), entry)
                except InvalidVersion as error:
                    unjudged.append(f"{name} {version}: {advisory['id']}: {error}")
                    continue
                if hit and not names & named:
                    fixed = ", ".join(_fixes(Version(version), entry)) or "no version"
                    found.append(
                        f"{name} {version}: {', '.join(_names(advisory))}, fixed in {fixed}"
                    )
                named |= names if hit else set()
    return sorted(found), unjudged


def _names(advisory: dict[str, Any]) -> list[str]:
    return [advisory["id"], *sorted(advisory.get("aliases") or ())]


def _hits(version: Version, entry: dict[str, Any]) -> bool:
    """Tell whether a version is listed, or lies in a range, as the format defines it."""
    if any(str(version) == one or _same(version, one) for one in entry.get("versions") or ()):
        return True
    return any(_within(version, events) for events in _ranges(entry))


def _same(version: Version, text: str) -> bool:
    try:
        return version == Version(text)
    except InvalidVersion:  # releases from before versions had a grammar
        return False


def _ranges(entry: dict[str, Any]) -> Iterator[list[tuple[Version, str]]]:
    """Return the ranges of versions (not of commits) as events in order."""
    for one in entry.get("ranges") or ():
        if one.get("type") == "ECOSYSTEM":
            yield sorted(
                (Version(at), what)
                for event in one["events"]
                for what, at in event.items()
                if what in ("introduced", "fixed", "last_affected")
            )


def _within(version: Version, events: list[tuple[Version, str]]) -> bool:
    inside = False
    for at, what in events:
        if what == "introduced" and version >= at:
            inside = True
        elif (what == "fixed" and version >= at) or (what == "last_affected" and version > at):
            inside = False
    return inside


def _fixes(version: Version, entry: dict[str, Any]) -> list[str]:
    """Return the versions that mend it and are newer, the next one first."""
    later = {at for events in _ranges(entry) for at, what in events if what == "fixed"}
    return [str(at) for at in sorted(later) if at > version]
