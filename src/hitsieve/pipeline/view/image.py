"""What there is to be seen of the images of a run: their counts, what was found on them, and why they are hits or not.

Nothing is asked of the run but what one image needs: the original files may be gone, or some of them, and a run may
have a million images.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Literal

import numpy as np
import numpy.typing as npt

from hitsieve.errors import HitsieveError, SourceError
from hitsieve.model import Beam, ImageTable, Place, Run, Spots, State
from hitsieve.picture import IceBands, Scene
from hitsieve.pipeline.account import Account
from hitsieve.pipeline.facts import disagreements, facts_of
from hitsieve.pipeline.recorded import original_place, recorded
from hitsieve.pipeline.scene import Finders, scene_of, searched_again, spot_kinds
from hitsieve.pipeline.view.lattice import Prediction, predictions
from hitsieve.pipeline.view.pyramid import Pyramid, Recent
from hitsieve.pipeline.view.sheet import Sheet, sheet_of
from hitsieve.source import metadata_of, read_image
from hitsieve.spots import good_pixels
from hitsieve.write import StoredResults, held_at, mask_digest

Floats = npt.NDArray[np.float64]
Kind = Literal["image", "hit", "miss", "unreadable", "missing", "indexed"]
KINDS: tuple[Kind, ...] = ("image", "hit", "miss", "unreadable", "missing", "indexed")
"""What one can go on to; image: any."""
MOST_SHEETS = 16
"""Layouts of the detector that are kept: of a run whose images have a wavelength each."""


class NotShown(SourceError):
    """An image has no picture: it could not be read, or is nowhere to be found."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What the outputs tell of one image; its counts are not needed for it."""

    account: Account
    n_images: int
    around: dict[Kind, tuple[int | None, int | None]]
    """The image before it and the one after it of each kind."""
    kinds: npt.NDArray[np.uint8]
    """SpotKind of each of its spots."""
    sheet: Sheet
    predicted: tuple[Prediction, ...]
    """Reflections of each of its lattices; empty where geometry or wavelength is unknown."""
    saturated_above: int | None


@dataclass(frozen=True, slots=True)
class Picture:
    """The counts of one image, and where they are from."""

    pyramid: Pyramid
    place: Place
    original: bool
    """False: from the outputs, as the original is gone or cannot be read."""
    why_not_original: str
    """Empty where it is the original."""

    @property
    def n_bytes(self) -> int:
        """Memory that it takes."""
        return self.pyramid.n_bytes


@dataclass(frozen=True, slots=True)
class Shown:
    """What the search sees on an image: background and thresholds, and what it finds now."""

    angle: Floats | None
    """Scattering angle 2 theta (rad) of each bin; None where bins are tiles of the image, in reading order."""
    mean: Floats
    """Counts a pixel of each bin; NaN where it has none."""
    threshold: Floats
    """A pixel above it is strong; NaN where thresholds are local."""
    local: bool
    """Thresholds were local, of each pixel's surroundings, and not of bins."""
    wavelength: float | None
    spots: Spots
    kinds: npt.NDArray[np.uint8]
    """SpotKind of each spot."""
    bins: npt.NDArray[np.int64]
    """Bin of each spot."""
    ice: IceBands | None
    account: Account
    """With what another search found."""

    @classmethod
    def of(cls, scene: Scene, account: Account) -> Shown:
        """Without the image, which takes much memory."""
        curve, spots = scene.curve, scene.spots
        slow, fast = scene.image.shape
        rows, columns = (np.clip(v.astype(np.int64), 0, n - 1) for v, n in ((spots.y, slow), (spots.x, fast)))
        return cls(
            angle=curve.angle,
            mean=curve.mean,
            threshold=curve.threshold,
            local=curve.local,
            wavelength=scene.beam.wavelength,
            spots=spots,
            kinds=scene.kinds,
            bins=curve.bins[rows, columns].astype(np.int64),
            ice=scene.ice,
            account=account,
        )


Hold = Callable[[Path, bool], AbstractContextManager[Path]]
"""Gives the path by which a file is to be opened, and raises HitsieveError for one that is not to be read; told whether
the run was made from it."""


class RunImages:
    """The images of one run; may be shared between threads.

    Parameters
    ----------
    stored : StoredResults
        Stays open as long as this is used; whoever opened it closes it.
    recent : Recent, optional
        Keeps images that were unpacked; may be shared between runs.
    hold : callable, optional
        Asked before a file is read; all may be, by default.
    confined : bool
        Files that lead to other files by links or virtual datasets are not followed.
    """

    def __init__(
        self,
        stored: StoredResults,
        recent: Recent[Picture] | None = None,
        hold: Hold | None = None,
        *,
        confined: bool = False,
    ) -> None:
        self.stored = stored
        self._recent = Recent() if recent is None else recent
        self._hold = hold or (lambda path, _: nullcontext(path))
        self._confined = confined
        self._lock = Lock()
        self._building = Lock()
        self._key = object()
        self._sheets: dict[float | None, Sheet] = {}

    def __len__(self) -> int:
        return len(self.stored)

    @cached_property
    def run(self) -> Run:
        """Detector and beam of the run, as its outputs state them; of its images it knows nothing.

        Raises
        ------
        SourceError
            They cannot be read, or are not those of the results.
        """
        stored, source = self.stored, self.stored.summary.source
        path, dtype = stored.outputs.annotated, np.dtype(source.dtype)
        with self._hold(path, False) as there:
            said = metadata_of(there, source.image_shape, len(stored), dtype)
        none = np.zeros(0, dtype=np.int64)
        table = ImageTable(none.astype(np.int32), none, none, none)
        run = Run(path, source.stem, (), table, dtype, said.detector, said.beam, "described")
        differs = list(disagreements(facts_of(run), stored.summary.facts))
        mask = said.detector.pixel_mask
        if stored.mask_sha256 != (None if mask is None else mask_digest(mask)):
            differs.append("the pixel mask is not the one recorded")
        if differs:
            raise SourceError(f"{path}: is not as it was: {'; '.join(differs)}", mend="copy it again")
        return run

    @cached_property
    def _finders(self) -> Finders:
        return Finders.of(self.run, self.stored.settings.spots)

    @cached_property
    def _of_kind(self) -> dict[Kind, npt.NDArray[np.int64]]:
        """Images of each kind but image, ascending."""
        state = self.stored.column("state")
        found: dict[Kind, npt.NDArray[np.int64]] = {
            "hit": np.flatnonzero(state == State.HIT),
            "miss": np.flatnonzero(state == State.MISS),
            "unreadable": np.flatnonzero(state == State.UNREADABLE),
            "missing": np.flatnonzero(state == State.MISSING),
            "indexed": np.flatnonzero(self.stored.column("n_lattices") > 0),
        }
        return found

    def around(self, image: int, kind: Kind) -> tuple[int | None, int | None]:
        """The nearest images of a kind before and after one; None where there is none. `image` may be outside."""
        if kind == "image":
            before, after = min(image, len(self)) - 1, max(image, -1) + 1
            return (before if before >= 0 else None), (after if after < len(self) else None)
        images = self._of_kind[kind]
        left, right = int(np.searchsorted(images, image)), int(np.searchsorted(images, image, side="right"))
        return int(images[left - 1]) if left else None, int(images[right]) if right < len(images) else None

    def account(self, image: int) -> Account:
        """What is recorded of an image.

        Raises
        ------
        SourceError
            The run has no such image, or its outputs cannot be read.
        """
        return recorded(self.stored, image)

    def facts(self, image: int) -> ImageFacts:
        """What the outputs tell of an image.

        Raises
        ------
        SourceError
            The run has no such image, or its outputs cannot be read.
        """
        account = self.account(image)
        run, beam = self.run, self.run.beam.of(image)
        return ImageFacts(
            account=account,
            n_images=len(self),
            around={kind: self.around(image, kind) for kind in KINDS},
            kinds=spot_kinds(account.results.spots, ice=account.verdict.ice),
            sheet=self._sheet(beam),
            predicted=self._predicted(account, beam),
            saturated_above=run.detector.saturation_value,
        )

    def _sheet(self, beam: Beam) -> Sheet:
        """The detector, laid out once for each wavelength."""
        with self._lock:
            found = self._sheets.get(beam.wavelength)
        if found is None:
            found = sheet_of(self.run.detector, beam)
            with self._lock:
                if len(self._sheets) >= MOST_SHEETS:
                    self._sheets.clear()
                self._sheets[beam.wavelength] = found
        return found

    def _predicted(self, account: Account, beam: Beam) -> tuple[Prediction, ...]:
        index = self.stored.summary.index
        return predictions(account.results, self.run.detector, beam, "P" if index is None else index.cell.centring)

    def picture(self, image: int) -> Picture:
        """Counts of an image: of the original, or of the outputs where that is gone or cannot be read.

        Raises
        ------
        NotShown
            It could not be read when the run was searched, or is nowhere to be found now.
        SourceError
            The run has no such image.
        """
        self._check_read(image)
        return self._recent.get((self._key, image), lambda: self._made(image))

    def _check_read(self, image: int) -> None:
        """Raise NotShown for an image that could not be read when the run was searched."""
        if not 0 <= image < len(self):
            raise SourceError(f"{self.stored.outputs.annotated}: has no image {image}, only {len(self)}")
        state = State(int(self.stored.read_column("state", [image])[0]))
        if state not in (State.HIT, State.MISS):
            why = self.account(image).results.reasons.get(image) or "no reason is recorded"
            raise NotShown(f"image {image} is {state.name.lower()}: {why}")

    def _made(self, image: int) -> Picture:
        pixels, place, original, why = self._read(image)
        return Picture(Pyramid.of(pixels, good_pixels(self.run, pixels)), place, original, why)

    def _read(self, image: int) -> tuple[npt.NDArray[np.generic], Place, bool, str]:
        """Counts, where they are from, whether that is the original, and why not."""
        place, why = original_place(self.stored, image), "no file is known for it"
        if place is not None:
            try:
                return self._read_at(place, source=True), place, True, ""
            except HitsieveError as error:
                why = error.what
        try:
            held = held_at(self.stored.outputs, image, lambda path: self._hold(path, False))
            kept = None if held is None else (self._read_at(held, source=False), held, False, why)
        except HitsieveError as error:
            raise NotShown(f"image {image} cannot be shown: {why}; {error.what}", mend=error.mend) from error
        if kept is None:
            what = f"image {image} cannot be shown: {why}; and no output holds it"
            raise NotShown(what, mend="bring the original file back (hitsieve recall says which)")
        return kept

    def _read_at(self, place: Place, *, source: bool) -> npt.NDArray[np.generic]:
        with self._hold(place.path, source) as path:
            there = replace(place, path=path)
            return read_image(there, self.run.detector, self.run.dtype, confined=self._confined)

    def shown(self, image: int) -> Shown:
        """What the search sees on an image now.

        Raises
        ------
        NotShown
            There is no picture of it.
        SourceError
            The run has no such image.
        """
        self._check_read(image)
        account = self.account(image)
        with self._building:
            finders = self._finders

        def see(picture: Picture) -> Shown:
            pixels = picture.pyramid.pixels
            again = searched_again(finders, account, pixels)
            known = replace(account, again=again)
            return Shown.of(scene_of(self.run, finders.finder, known, pixels, self.stored), known)

        return self._recent.use((self._key, image), lambda: self._made(image), see)
