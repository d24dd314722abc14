"""What a stage's answer depends on besides its input: code, packages, the machine's arithmetic.

The code is everything that a stage's modules can reach by import, wherever in a file the import
stands, as far as it is perpwalk's or the user's own: one line changed in a file that the user's
feature imports is another code, one changed on a report page is none of the features' business.
What is reached in installed packages counts by version, and so do the packages they need.

Not seen are files that code reads as data, and imports by a name put together at run time.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import platform
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

OWN = ("perpwalk", "engine", "strategies")
# Import names that are not the distribution's; others are looked up where they occur.
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "pyyaml", "talib": "ta-lib"}
_REQUIREMENT = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")
# What the processor can do decides how sums are rounded.
_ARITHMETIC = re.compile(r"^(avx|fma|amx|sse4|f16c|asimd|sve)")


@dataclass(frozen=True)
class Provenance:
    """Code and packages behind an answer."""

    code: str
    packages: Mapping[str, str | None]

    def as_dict(self) -> dict[str, object]:
        """Return what enters a key."""
        return {"code": self.code, "packages": dict(self.packages)}


def provenance(modules: Sequence[str] = (), files: Sequence[Path] = ()) -> Provenance:
    """Return what ``modules`` and the user's ``files`` depend on, as it lies on disk now.

    Parameters
    ----------
    modules
        Dotted names; one that cannot be found is named in the hash and otherwise passed over.
    files
        Python files that belong to no package.

    Examples
    --------
    >>> found = provenance(["perpwalk.thresholds"])
    >>> "numpy" in found.packages, "torch" in found.packages
    (True, False)
    """
    walk = _Walk()
    for name in modules:
        walk.follow(name)
    for number, file in enumerate(files):
        walk.read(f"file {number}", file)
    walk.run()
    digest = hashlib.sha256()
    for name, content in sorted(walk.sources.items()):
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return Provenance(digest.hexdigest(), package_versions(walk.installed))


@functools.cache
def machine() -> tuple[str, ...]:
    """Return what decides the last bits on this machine: Python, system, vector instructions."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    line = next((s for s in text.splitlines() if s.lower().startswith(("flags", "features"))), "")
    able = sorted(word for word in set(line.split()) if _ARITHMETIC.match(word))
    return (platform.python_version(), sys.platform, platform.machine(), *able)


# ── code ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class _Walk:
    """Follows imports from file to file; collects own sources and installed packages."""

    sources: dict[str, bytes] = field(default_factory=dict)
    installed: set[str] = field(default_factory=set)
    _waiting: list[tuple[str, bytes, bool]] = field(default_factory=list)
    _whole: set[str] = field(default_factory=set)

    def run(self) -> None:
        """Read what is waiting until nothing is."""
        while self._waiting:
            name, content, deep = self._waiting.pop()
            for imported in _imports(content, name, deep):
                self.follow(imported)

    def follow(self, name: str) -> None:
        """Take in the module ``name`` and, as far as they run when it loads, its packages."""
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names:
            return
        found: list[tuple[str, Path]] = []
        path: Sequence[str] | None = None
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            dotted = ".".join(parts[:depth])
            spec = _find(dotted, path)
            if spec is None:  # `from package import name` may name something in the package
                break
            if top not in OWN and _is_installed(spec):
                self.installed.add(top)
                return
            path = spec.submodule_search_locations
            if spec.origin is not None:
                found.append((dotted if path is None else f"{dotted}.__init__", Path(spec.origin)))
            if path is None:
                break
        if not found:
            self.sources.setdefault(f"{top} (not found)", b"")
        for place, (label, file) in enumerate(found, start=1):
            self.read(label, file, deep=place == len(found))

    def read(self, name: str, file: Path, *, deep: bool = True) -> None:
        """Take in one file; ``deep`` follows the imports inside its functions too."""
        if name in self._whole or (name in self.sources and not deep):
            return
        if name not in self.sources:
            try:
                self.sources[name] = file.read_bytes()
            except OSError:
                self.sources[name] = b"(not readable)"
        if deep:
            self._whole.add(name)
        if file.suffix == ".py":
            self._waiting.append((name, self.sources[name], deep))


def _find(dotted: str, path: Sequence[str] | None) -> ModuleSpec | None:
    try:
        return PathFinder.find_spec(dotted, path)
    except (ImportError, ValueError):
        return None


@functools.cache
def _packages_folders() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    return tuple({Path(paths[key]).resolve() for key in ("purelib", "platlib", "stdlib")})


def _is_installed(spec: ModuleSpec) -> bool:
    where = spec.origin or next(iter(spec.submodule_search_locations or ()), None)
    if where is None:
        return True
    place = Path(where).resolve()
    return "site-packages" in place.parts or any(
        place.is_relative_to(folder) for folder in _packages_folders()
    )


@functools.lru_cache(maxsize=1024)
def _imports(content: bytes, name: str, deep: bool) -> tuple[str, ...]:
    """Return the dotted names a file imports: anywhere, or only at its top."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return ()  # said when the file is loaded
    package = name.rpartition(".")[0].split(".")
    nodes = _running(tree.body, deep=deep)
    return tuple(dict.fromkeys(found for node in nodes for found in _named(node, package)))


def _running(body: Iterable[ast.AST], *, deep: bool) -> Iterator[ast.AST]:
    """Yield the nodes that run when a module loads; ``deep`` also those inside its functions."""
    for node in body:
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from _running(node.orelse, deep=deep)
        elif deep or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _running(ast.iter_child_nodes(node), deep=deep)


def _named(node: ast.AST, package: Sequence[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name
    elif isinstance(node, ast.ImportFrom):
        above = list(package[: len(package) - node.level + 1]) if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        if base:
            yield from (f"{base}.{alias.name}" for alias in node.names)


# ── packages ─────────────────────────────────────────────────────────────────────────────────────


def package_versions(imported: Iterable[str]) -> dict[str, str | None]:
    """Return the versions of packages by the names they are imported by, and of what they need."""
    wanted = [_distribution(name) for name in sorted(imported)]
    found: dict[str, str | None] = {}
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
            continue
        wanted += _needs(name, found[name])
    return {name: found[name] for name in sorted(found) if found[name] is not None}


def needs(distribution: str) -> tuple[str, ...]:
    """Return what a distribution says it needs, extras aside; nothing where it is not installed.

    >>> "numpy" in needs("perpwalk"), "pytest" in needs("perpwalk")
    (True, False)
    """
    try:
        return _needs(distribution, importlib.metadata.version(distribution))
    except importlib.metadata.PackageNotFoundError:
        return ()


@functools.lru_cache(maxsize=1024)
def _needs(distribution: str, version: str | None) -> tuple[str, ...]:
    del version  # another version may need others
    lines = importlib.metadata.distribution(distribution).requires or ()
    names = (_REQUIREMENT.match(line) for line in lines if "extra ==" not in line)
    return tuple(_normal(match[0]) for match in names if match is not None)


@functools.cache
def _distribution(imported: str) -> str:
    known = _DISTRIBUTIONS.get(imported, imported)
    try:
        importlib.metadata.distribution(known)
    except importlib.metadata.PackageNotFoundError:
        places = importlib.metadata.packages_distributions().get(imported, [known])
        known = places[0]
    return _normal(known)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
