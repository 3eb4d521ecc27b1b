"""Explains the verdict on one image of a run, from what the run recorded and from the original image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from hitsieve.errors import OutputError, SettingsError, SourceError
from hitsieve.model import ImageResults, Run, SpotFlag, Spots, State
from hitsieve.picture import Curve, IceBands, RunCounts, Scene, SpotKind, draw, is_drawn
from hitsieve.pipeline.account import Account, Again, Rejected
from hitsieve.pipeline.reopen import reopen
from hitsieve.pipeline.words import headline, near, rows
from hitsieve.settings import RunSettings, SpotSettings
from hitsieve.spots import Finder, Searched, background_profile, build_finder, good_pixels
from hitsieve.verdict import ICE_RINGS
from hitsieve.write import StoredResults, open_results
from hitsieve.write.export import writing_files

Image = npt.NDArray[np.generic]


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
        account = _recorded(stored, image)
        if picture is False or not account.searched:
            return account
        target = _target(picture, account, overwrite=overwrite)
        with reopen(stored, source) as opened:
            run, settings = opened.run, stored.settings
            inputs = [run.path, *(file.path for file in run.files), *stored.outputs]
            # What cannot be written is known before the image is searched.
            with writing_files([target], overwrite=overwrite or is_drawn(target), inputs=inputs) as write:
                pixels = opened.pixels(image)
                finder = build_finder(run, settings.spots)
                account = replace(account, again=_searched_again(run, finder, settings, account, pixels))
                write(target, draw(_scene(run, finder, account, pixels, stored)))
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


def _row(stored: StoredResults, image: int) -> tuple[int, Path] | None:
    """Row and hit-only file of an image: the file in use where it has it, else that of all hits."""
    every = np.flatnonzero(stored.column("state") == State.HIT)
    for path, hits in ((stored.hits_file, stored.hits), (stored.outputs.hits, every)):
        row = int(np.searchsorted(hits, image))
        if row < len(hits) and hits[row] == image:
            return row, path
    return None


def _recorded(stored: StoredResults, image: int) -> Account:
    """What the outputs say about an image."""
    results = stored.read([image])
    summary, settings = stored.summary, stored.settings
    row, hits_file = _row(stored, image) or (None, stored.hits_file)
    segments = () if summary.segments is None else summary.segments.segments
    pump = int(results.pump[0])
    return Account(
        stem=summary.source.stem,
        image=image,
        results=results,
        hit=row,
        hits_file=hits_file.name,
        place=_place(stored, image),
        rule=summary.rule,
        verdict=settings.verdict,
        min_indexed=settings.index.min_indexed,
        rethought=summary.verdict_on is not None,
        segment=next((segment for segment in segments if segment.first <= image <= segment.last), None),
        resolved=summary.facts.n_panels > 0 and summary.facts.wavelength is not None,
        background_median=summary.background_median,
        pump=stored.pump.names[pump] if stored.pump is not None and pump >= 0 else None,
    )


def _place(stored: StoredResults, image: int) -> str:
    file, row = int(stored.column("source_file")[image]), int(stored.column("source_row")[image])
    if file < 0:
        return ""
    dataset = stored.source_datasets[file]
    return f"{stored.source_files[file]}" + (f", {dataset}" if dataset else "") + f", row {row}"


def _searched_again(run: Run, finder: Finder, settings: RunSettings, account: Account, pixels: Image) -> Again:
    found = finder.find(pixels)
    return Again(_difference(found, account.results), _rejected(run, settings.spots, pixels))


def _difference(found: Searched, recorded: ImageResults) -> str:
    """In words: how the search of now differs from that of the run; empty where it does not."""
    said = []
    for name, what in (("n_strong", "strong pixels"), ("n_spots", "spots"), ("max_count", "as largest count")):
        now, then = int(getattr(found, name)[0]), int(getattr(recorded, name)[0])
        if now != then:
            said.append(f"{now} {what} now, {then} recorded")
    if not said and not (np.array_equal(found.x, recorded.spots.x) and np.array_equal(found.y, recorded.spots.y)):
        said.append("spots lie elsewhere than recorded")
    if not said:
        return ""
    return f"searched again, the image gives {'; '.join(said)}: another version, or another image"


def _rejected(run: Run, settings: SpotSettings, pixels: Image) -> Rejected:
    """Count the groups of strong pixels that are no spots: the same search, but everything accepted."""
    anything = {"min_pixels": 1, "max_pixels": pixels.size, "spot_snr": 0.0, "max_spots": pixels.size}
    found = build_finder(run, settings.model_copy(update=anything)).find(pixels)
    small, large = found.n_pixels < settings.min_pixels, found.n_pixels > settings.max_pixels
    weak = ~small & ~large & (found.snr < settings.spot_snr)
    snr = found.snr[weak]
    return Rejected(
        small=int(small.sum()),
        large=int(large.sum()),
        weak=len(snr),
        weak_snr=(float(snr.min()), float(snr.max())) if len(snr) else None,
    )


def _scene(run: Run, finder: Finder, account: Account, pixels: Image, stored: StoredResults) -> Scene:
    settings, spots = stored.settings, account.results.spots
    profile = background_profile(run, finder, settings.spots, pixels)
    beam = run.beam
    if beam.wavelengths is not None:
        own = float(beam.wavelengths[account.image])
        beam = replace(beam, wavelength=own if np.isfinite(own) else None, wavelengths=None)
    known = bool(run.detector.panels) and beam.wavelength is not None
    state = stored.column("state")
    searched = (state == State.HIT) | (state == State.MISS)
    verdict = settings.verdict
    facts = dict(rows(account))
    verdict_in_short, why = headline(account).split(": ", 1)
    return Scene(
        title=f"{account.stem}, image {account.image}: {verdict_in_short}",
        lines=(
            *([account.differs] if account.differs else []),
            why,
            near(account),
            f"background {facts['background']}; resolution {facts['resolution']}"
            + (f"; {facts['segment']}" if "segment" in facts else ""),
        ),
        image=pixels,
        used=good_pixels(run, pixels),
        detector=run.detector,
        beam=beam,
        spots=spots,
        kinds=_kinds(spots, ice=verdict.ice),
        curve=Curve(
            profile.angle, profile.mean, profile.threshold, profile.number, settings.spots.algorithm == "dispersion"
        ),
        counts=RunCounts(
            stored.column("n_spots_counted")[searched],
            account.counted,
            account.rule.min_spots if account.by_spots else None,
        ),
        ice=IceBands(np.sort(1.0 / np.array(ICE_RINGS)), verdict.ice_half_width, verdict.ice) if known else None,
    )


def _kinds(spots: Spots, *, ice: bool) -> npt.NDArray[np.uint8]:
    left_out = SpotFlag.OUT_OF_RANGE | (SpotFlag.ICE if ice else SpotFlag(0))
    kinds = np.where(spots.flags & int(left_out), SpotKind.NOT_COUNTED, SpotKind.COUNTED)
    return np.where(spots.lattice >= 0, SpotKind.INDEXED, kinds).astype(np.uint8)
