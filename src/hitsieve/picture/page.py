"""The page: all drawings of one image, as a PNG of 1600 x 1000 pixels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from hitsieve.picture.curve import draw_curve
from hitsieve.picture.scene import Scene
from hitsieve.picture.sheet import draw_sheet
from hitsieve.picture.spread import draw_spread
from hitsieve.picture.zoom import draw_zoom, places_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = (1600, 1000)
"""Width and height in pixels."""
DPI = 100
MANY = 6
"""From so many kinds of marks on, the legend is set smaller."""
LINE = 150
"""Characters of a line of text that fit on the page."""
SOFTWARE = "hitsieve explain"
"""What a picture states that it was drawn by."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEAD = 4096
"""Bytes in which a picture states it: texts come before the image."""


def draw(scene: Scene) -> bytes:
    """Draw an image with its spots, two close-ups, its profile, and its place among the run's images.

    Returns
    -------
    bytes
        A PNG file of 1600 x 1000 pixels.
    """
    figure = _page(scene)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Title": scene.title, "Software": SOFTWARE})
    return buffer.getvalue()


def is_drawn(path: Path) -> bool:
    """Whether a file is a picture that `draw` made, as it states itself."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return head.startswith(_SIGNATURE) and b"tEXtSoftware\0" + SOFTWARE.encode("ascii") in head


def _page(scene: Scene) -> Figure:
    from matplotlib.figure import Figure

    # Not through pyplot: that keeps figures, and chooses a display.
    figure = Figure(figsize=(SIZE[0] / DPI, SIZE[1] / DPI), dpi=DPI, facecolor="white")
    figure.text(0.012, 0.978, scene.title, fontsize=15, fontweight="bold", va="top")
    figure.text(0.012, 0.945, "\n".join(map(_cut, scene.lines)), fontsize=10.5, va="top", linespacing=1.35)
    top = 0.905 - 0.0235 * len(scene.lines)
    whole = figure.add_gridspec(
        1, 2, left=0.035, right=0.985, top=top, bottom=0.055, width_ratios=(1.5, 1), wspace=0.12
    )
    explained = draw_sheet(figure.add_subplot(whole[0]), scene)
    # Above the image, where it covers nothing.
    figure.legend(
        handles=explained,
        loc="lower left",
        bbox_to_anchor=(0.03, top + 0.004),
        ncol=len(explained),
        fontsize=9 if len(explained) < MANY else 7.5,
        frameon=False,
        columnspacing=1.4,
        handletextpad=0.4,
    )
    side = whole[1].subgridspec(3, 2, height_ratios=(1.25, 1, 0.8), hspace=0.42, wspace=0.16)
    for column, place in enumerate(places_of(scene)):
        draw_zoom(figure.add_subplot(side[0, column]), scene, place)
    draw_curve(figure.add_subplot(side[1, :]), scene)
    draw_spread(figure.add_subplot(side[2, :]), scene)
    return figure


def _cut(line: str) -> str:
    return line if len(line) <= LINE else line[: LINE - 4].rstrip() + " ..."
