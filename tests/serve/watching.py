"""A tab of the browser in which nothing may go wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .conftest import WAIT

SIZES = (("1280-light", 1280, "light"), ("400-dark", 400, "dark"))
"""Name, width and colours that pages are looked at in."""


@contextmanager
def watched(chromium: Any, allowed: str, *, told: str = "", **context: Any) -> Iterator[Any]:
    """A fresh tab; errors of scripts, what the policy refuses, and requests for what is not `allowed` are failures.

    What the browser says of an answer with the status `told` is none.
    """
    made = chromium.new_context(viewport={"width": 1280, "height": 800}, **context)
    made.set_default_timeout(WAIT)
    tab = made.new_page()
    wrong: list[str] = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    tab.on("crash", lambda: wrong.append("the tab crashed"))
    tab.on("dialog", lambda dialog: wrong.append(dialog.message))
    fetched = (allowed, "data:", "blob:")
    tab.on("request", lambda sent: None if sent.url.startswith(fetched) else wrong.append(sent.url))
    try:
        yield tab
    finally:
        made.close()
    assert [words for words in wrong if not told or f"status of {told}" not in words] == []


def look(tab: Any, name: str) -> None:
    """At both sizes: nothing is wider than the window; pictures are kept."""
    for size, width, colours in SIZES:
        tab.emulate_media(color_scheme=colours)
        tab.set_viewport_size({"width": width, "height": 800})
        tab.wait_for_function("() => document.documentElement.scrollWidth <= innerWidth")
        keep(tab, f"{name}-{size}")
    tab.set_viewport_size({"width": 1280, "height": 800})


def keep(tab: Any, name: str) -> None:
    """Keep a picture of the page, where HITSIEVE_SCREENSHOTS names a folder for them."""
    folder = os.environ.get("HITSIEVE_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tab.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
