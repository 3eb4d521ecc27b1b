"""`hitsieve explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hitsieve.cli.options import COMMON, Messages, Whole


def explain(
    results: Path,
    image: Whole,
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    hit: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    picture: Annotated[bool, Parameter(negative="--no-picture", show_default=False)] = True,
    overwrite: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    source: list[Path] | None = None,
    json: Annotated[bool, Parameter(negative=(), show_default=False, group=COMMON)] = False,
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Say why an image is, or is not, a hit, in words and numbers and with a picture.

    Parameters
    ----------
    results
        An output of hitsieve run, or the folder with those of one run.
    image
        Number of the image in the run, from 0.
    output
        PNG file of the picture; by default <stem>_<image>.png in the working directory.
    hit
        IMAGE is the number of the image in the hit-only file.
    picture
        Draw the picture. Without it the original images are not opened, and nothing that only they tell is told.
    overwrite
        Replace the picture if it exists.
    source
        Master file of the run, or all its data files or images, each with its own --source, if they have moved.
    json
        Print the facts as JSON on stdout, and nothing else there.
    """
    messages.set_up_logging()

    from hitsieve.pipeline.explain import explain as account_of

    found = account_of(
        results, image, hit=hit, source=source or [], picture=output if picture else False, overwrite=overwrite
    )
    if json:
        from json import dumps

        from hitsieve.pipeline.account import numbers

        print(dumps(numbers(found), indent=2))
    elif not messages.quiet:
        from hitsieve.pipeline.words import headline, rows

        print(f"image {found.image} of {found.stem}")
        print(headline(found))
        print()
        for name, text in rows(found):
            print(f"{name:<13}{text}")
    return 0
