"""The command palette's list: every deed, and every theme once one looks for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from rich.text import Text
from textual.app import App
from textual.command import DiscoveryHit, Hit, Hits, Provider

from workbench.tui.deeds import Deed, deeds

THEME = "Theme"


class Deeds(Provider):
    """What does nothing now is dim, with the reason; choosing it says the reason again."""

    async def startup(self) -> None:
        """Looks once, when the palette opens."""
        self._deeds = deeds(self.screen)
        self._themes = list(themes(self.app))

    async def discover(self) -> Hits:
        """All of them, in groups."""
        for deed in self._deeds:
            yield DiscoveryHit(shown(deed), self._chosen(deed), text=deed.title, help=said(deed))

    async def search(self, query: str) -> Hits:
        """Those that match, best first."""
        matcher = self.matcher(query)
        for deed in (*self._deeds, *self._themes):
            score = matcher.match(deed.title)
            if score > 0:
                yield Hit(score, shown(deed), self._chosen(deed), text=deed.title, help=said(deed))

    def _chosen(self, deed: Deed) -> Callable[[], Awaitable[None]]:
        async def refuse() -> None:
            self.app.notify(f"{deed.name}: {deed.reason}", severity="warning", markup=False)

        return refuse if deed.reason else deed.run


def shown(deed: Deed) -> Text:
    """The line of a deed, grey where it does nothing now."""
    return Text(deed.title, "dim" if deed.reason else "")


def said(deed: Deed) -> str:
    """The line under it, as markup in which nothing is markup."""
    text = f"not now: {deed.reason}" if deed.reason else deed.more if deed.more != deed.name else ""
    return text.replace("[", "\\[")


def themes(app: App[Any]) -> Iterator[Deed]:
    """A deed for every theme."""
    for name in sorted(app.available_themes):

        async def run(name: str = name) -> None:
            app.theme = name

        here = ", the present one" if name == app.theme else ""
        yield Deed(THEME, name, "", f"Draws the screen in these colours{here}", run)
