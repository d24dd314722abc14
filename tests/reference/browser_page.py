"""A page in a real browser: what it logged, what it asked for, and how to look at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


@dataclass
class Opened:
    """An open page."""

    page: Page
    logged: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def draw_all(self) -> int:
        """Scroll through the page until every visible chart has drawn; return how many."""
        plots = self.page.locator(".plot:visible")
        for number in range(plots.count()):
            plots.nth(number).scroll_into_view_if_needed()
            plots.nth(number).locator("svg.main-svg").first.wait_for()
        return plots.count()

    def open_all(self) -> None:
        """Open everything that can be folded."""
        for summary in self.page.locator("details > summary").all():
            summary.click()

    def text(self, selector: str) -> str:
        """Return what a reader sees of an element."""
        return self.page.locator(selector).first.inner_text()

    def spans(self) -> list[list[float]]:
        """Return the time axis of every panel as its plot has it, in milliseconds."""
        found: list[list[float]] = self.page.evaluate(
            "[...document.querySelectorAll('.panel .plot')]"
            ".map((plot) => plot._fullLayout.xaxis.range.map((at) => +new Date(at)))"
        )
        return found

    def settle(self) -> None:
        """Wait until a change has been drawn."""
        self.page.evaluate(
            """new Promise((done) => {
                const stale = () => document.querySelector(".panels")?.dataset.stale === "yes";
                const look = () => (stale() ? requestAnimationFrame(look) : done());
                requestAnimationFrame(() => requestAnimationFrame(look));
            })"""
        )

    def serious(self) -> list[str]:
        """Return axe's serious and critical findings, with where they are.

        Of the long tables' rows, all made by the same lines of script, the first few stand for all.
        """
        found = Axe().run(self.page, context={"exclude": [[".grid tbody tr:nth-child(n+5)"]]})
        return [
            f"{one['id']}: {one['help']}: {[node['html'][:120] for node in one['nodes'][:3]]}"
            for one in found.response["violations"]
            if one["impact"] in ("serious", "critical")
        ]


Visit = Callable[..., Opened]
