"""`hitsieve explain`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hitsieve.cli.options import AsJson, Messages, Switch, Whole
from hitsieve.errors import OutputError

if TYPE_CHECKING:
    from hitsieve.pipeline.account import Account


def explain(
    results: Path,
    image: Whole,
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    hit: Switch = False,
    picture: Annotated[bool, Parameter(negative="--no-picture", show_default=False)] = True,
    overwrite: Switch = False,
    source: list[Path] | None = None,
    json: AsJson = False,
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
        PNG file of the picture, or a folder for <stem>_<image>.png; by default the working directory.
    hit
        IMAGE is the row of the image in the hit-only file; in that of a pump state, where RUN is one.
    picture
        Draw the picture. Without it the original images are not opened, and nothing that only they tell is told.
    overwrite
        Replace the file whatever it is; without it only a picture that explain drew is replaced.
    source
        Master file of the run, or all its data files or images, each with its own --source, if they have moved.
    json
        Print the facts as JSON on stdout, and nothing else there.
    """
    messages.set_up_logging()

    from hitsieve.pipeline.explain import explain as account_of

    asked = partial(account_of, results, image, hit=hit, source=source or [])
    try:
        found = asked(picture=output if picture else False, overwrite=overwrite)
    except OutputError:
        # Who asks why is answered, also where no picture can be drawn.
        _tell(asked(picture=False), json=json, quiet=messages.quiet)
        raise
    _tell(found, json=json, quiet=messages.quiet)
    return 0


def _tell(found: Account, *, json: bool, quiet: bool) -> None:
    if json:
        from json import dumps

        from hitsieve.pipeline.numbers import numbers

        print(dumps(numbers(found), indent=2))
    elif not quiet:
        from hitsieve.pipeline.words import headline, rows

        print(f"image {found.image} of {found.stem}")
        print(headline(found))
        print()
        for name, text in rows(found):
            print(f"{name:<13}{text}")
