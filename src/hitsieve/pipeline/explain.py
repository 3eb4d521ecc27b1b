"""Explains the verdict on one image of a run, from what the run recorded and from the original image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from hitsieve.errors import OutputError, SettingsError, SourceError
from hitsieve.picture import draw, is_drawn
from hitsieve.pipeline.account import Account
from hitsieve.pipeline.recorded import recorded
from hitsieve.pipeline.reopen import reopen
from hitsieve.pipeline.scene import Finders, scene_of, searched_again
from hitsieve.write import StoredResults, open_results
from hitsieve.write.export import writing_files


def explain(
    results: str | Path,
    image: int,
    *,
    hit: bool = False,
    source: Sequence[Path] = (),
    picture: Path | Literal[False] | None = None,
    overwrite: bool = False,
) -> Account:
    """Say why an image of a run is, or is not, a hit.

    Parameters
    ----------
    results : str or Path
        Any output of the run, or the folder that holds them.
    image : int
        Index in the run.
    hit : bool
        `image` is a row of the hit-only file instead: of that of a pump state, where `results` is one.
    source : sequence of Path, optional
        Where the original run is, if it has moved.
    picture : Path or False, optional
        PNG file to draw, or a folder for <stem>_<image>.png; by default the working directory. False: none, and the
        original is not opened. An image that could not be searched has no picture.
    overwrite : bool
        Replace the file whatever it is. Without it only a picture that explain drew is replaced.

    Returns
    -------
    Account

    Raises
    ------
    SourceError
        There is no such run or image, or the original cannot be opened.
    SettingsError
        The name of the picture is none of a PNG file.
    OutputError
        The picture would replace another file, or cannot be written.
    """
    with open_results(results) as stored:
        if hit:
            image = _image_of_hit(stored, image)
        account = recorded(stored, image)
        if picture is False or not account.searched:
            return account
        target = _target(picture, account, overwrite=overwrite)
        with reopen(stored, source) as opened:
            run, settings = opened.run, stored.settings
            inputs = [run.path, *(file.path for file in run.files), *stored.outputs]
            # What cannot be written is known before the image is searched.
            with writing_files([target], overwrite=overwrite or is_drawn(target), inputs=inputs) as write:
                pixels = opened.pixels(image)
                finders = Finders.of(run, settings.spots)
                account = replace(account, again=searched_again(finders, account, pixels))
                write(target, draw(scene_of(run, finders.finder, account, pixels, stored)))
    return replace(account, picture=target)


def _target(picture: Path | None, account: Account, *, overwrite: bool) -> Path:
    """File of the picture; refused where it would replace what explain did not draw."""
    folder = Path() if picture is None else picture
    target = folder / f"{account.stem}_{account.image}.png" if folder.is_dir() else folder
    if target.suffix.lower() != ".png":
        mend = "give a name that ends in .png, or a folder that exists"
        raise SettingsError(f"{target}: the picture is a PNG file", mend=mend)
    if target.is_file() and not overwrite and not is_drawn(target):
        mend = "give --overwrite, or another file with --output"
        raise OutputError(f"{target}: exists, and is no picture that hitsieve explain drew", mend=mend)
    return target


def _image_of_hit(stored: StoredResults, hit: int) -> int:
    if not 0 <= hit < len(stored.hits):
        raise SourceError(f"{stored.hits_file}: has no hit {hit}, only {len(stored.hits)}", mend="count from 0")
    return int(stored.hits[hit])
