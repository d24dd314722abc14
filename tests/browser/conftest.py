"""A real browser for the pages: Chromium, offline, with everything it logs and asks for kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser_page import Opened
from compared import kept_comparison
from hand_made_run import replay, write_run
from playwright.sync_api import Browser, sync_playwright

from perpwalk import reports
from perpwalk.comparison import Comparison
from perpwalk.runs import Run

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
]  # fmt: skip
PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 900}
SLOW = 60_000  # a loaded machine may need long; nothing waits for longer than it takes


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    found = os.environ.get("PERPWALK_CHROMIUM") or shutil.which("chromium")
    if found is None:
        pytest.skip("no Chromium: install Debian's `chromium`, or name one in PERPWALK_CHROMIUM")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Callable[..., Opened]]:
    """Open a file in a fresh context, and wait until its script says that it is ready."""
    contexts = []

    def open_file(path: Path, *, phone: bool = False, dark: bool = False) -> Opened:
        context = chromium.new_context(
            viewport=PHONE if phone else DESKTOP,
            color_scheme="dark" if dark else "light",
            is_mobile=phone,
            has_touch=phone,
        )
        contexts.append(context)
        context.set_default_timeout(SLOW)
        opened = Opened(context.new_page())
        page = opened.page
        page.on("console", lambda said: opened.logged.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: opened.logged.append(f"error: {error}"))
        page.on("request", lambda request: opened.asked.append(request.url))
        page.goto(path.as_uri())
        page.locator("html[data-ready=yes]").wait_for()
        return opened

    yield open_file
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run with its page."""
    made = write_run(tmp_path_factory.mktemp("honest"), replay(900))
    reports.write_page_of(made)
    return made


@pytest.fixture(scope="session")
def found(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """A comparison with its page."""
    made = kept_comparison(tmp_path_factory.mktemp("comparison"))
    reports.write_comparison_page(made)
    return made
