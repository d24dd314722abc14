"""Put a page together: template, style, script, plotting library and data in one file.

The page may load nothing: its content security policy forbids every request and allows exactly the
two scripts whose hashes it names, the page's own and plotly.js, which lies in the file compressed
and is taken from the ``plotly`` package.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from perpwalk.reports import words
from perpwalk.reports.pages.packing import compressed

FOLDER = Path(__file__).parent
STYLE = "page.css"
SCRIPTS = (
    "core.js", "unpack.js", "overtime.js", "figures.js", "grid.js", "run.js", "comparison.js",
    "start.js",
)  # fmt: skip
# The page of several contracts is started by another script, which has a chooser for them.
CHOOSER_STYLE = "contracts.css"
CHOOSER_SCRIPTS = (
    "core.js", "unpack.js", "overtime.js", "figures.js", "grid.js", "shown.js", "contracts.js",
    "start.js",
)  # fmt: skip


def render(template: str, context: Mapping[str, Any], data: str, *, chooser: bool = False) -> str:
    """Return a page as text.

    Parameters
    ----------
    template
        Name of a file under ``templates``.
    context
        What the template shows; its texts are escaped.
    data
        A sealed ``Pack``.
    chooser
        Whether the page shows several contracts, to choose one from.
    """
    script = page_script(CHOOSER_SCRIPTS if chooser else SCRIPTS)
    styles = (STYLE, CHOOSER_STYLE) if chooser else (STYLE,)
    return (
        _environment()
        .get_template(template)
        .render(
            **context,
            policy=content_policy((script, library())),
            # Ours, and base64: nothing of a run's is in them unescaped.
            style=Markup("\n".join(_asset(name) for name in styles)),  # noqa: S704
            script=Markup(script),  # noqa: S704
            library=packed_library(),
            library_version=library_version(),
            data=data,
        )
    )


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"stamp": words.stamp, "count": words.count}
    return environment


def content_policy(scripts: Sequence[str]) -> str:
    """Return the policy under which only these scripts run and nothing is fetched."""
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


@functools.cache
def page_script(names: Sequence[str] = SCRIPTS) -> str:
    """Return the page's own script: all files as one."""
    return "\n".join(_asset(name) for name in names)


def _asset(name: str) -> str:
    return (FOLDER / "assets" / name).read_text(encoding="utf-8")


@functools.cache
def library() -> str:
    """Return plotly.js as its package ships it."""
    from plotly import offline

    return str(offline.get_plotlyjs())


def library_version() -> str:
    """Return the version of plotly.js."""
    from plotly import offline

    return str(offline.get_plotlyjs_version())


@functools.cache
def packed_library() -> str:
    """Return plotly.js compressed, as base64: 2 MB in place of 5."""
    return compressed(library().encode())
