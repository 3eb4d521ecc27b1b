"""What there is to be seen of one image: its counts, what was found on it, and what another search finds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hitsieve.model import ImageResults, Run, SpotFlag, Spots, State
from hitsieve.picture import Curve, IceBands, RunCounts, Scene, SpotKind
from hitsieve.pipeline.account import Account, Again, Rejected
from hitsieve.pipeline.words import headline, near, rows
from hitsieve.settings import SpotSettings
from hitsieve.spots import Finder, Searched, background_profile, build_finder, good_pixels
from hitsieve.verdict import ICE_RINGS
from hitsieve.write import StoredResults

Image = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Finders:
    """What an image is searched with again."""

    finder: Finder
    """With the settings of the run."""
    lenient: Finder
    """Takes every group of strong pixels for a spot."""
    settings: SpotSettings

    @classmethod
    def of(cls, run: Run, settings: SpotSettings) -> Finders:
        """Set both up for a run."""
        finder, most = build_finder(run, settings), run.detector.shape[0] * run.detector.shape[1]
        anything = {"min_pixels": 1, "max_pixels": most, "spot_snr": 0.0, "max_spots": most}
        return cls(finder, finder.retuned(settings.model_copy(update=anything)), settings)


def searched_again(finders: Finders, account: Account, pixels: Image) -> Again:
    """Search an image again, and compare what is found with what is recorded."""
    found = finders.finder.find(pixels)
    return Again(_difference(found, account.results), _rejected(finders, pixels))


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


def _rejected(finders: Finders, pixels: Image) -> Rejected:
    """Count the groups of strong pixels that are no spots."""
    found, settings = finders.lenient.find(pixels), finders.settings
    small, large = found.n_pixels < settings.min_pixels, found.n_pixels > settings.max_pixels
    weak = ~small & ~large & (found.snr < settings.spot_snr)
    snr = found.snr[weak]
    return Rejected(
        small=int(small.sum()),
        large=int(large.sum()),
        weak=len(snr),
        weak_snr=(float(snr.min()), float(snr.max())) if len(snr) else None,
    )


def scene_of(run: Run, finder: Finder, account: Account, pixels: Image, stored: StoredResults) -> Scene:
    """Put together what a picture of an image shows.

    Parameters
    ----------
    run : Run
        With the detector and beam of the run; where its images lie plays no part.
    finder : Finder
        Built for the run with its recorded settings.
    account : Account
        Of the image.
    pixels : array, shape (slow, fast)
        Its counts.
    stored : StoredResults
    """
    settings, spots = stored.settings, account.results.spots
    profile = background_profile(finder, settings.spots, pixels)
    beam = run.beam.of(account.image)
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
        kinds=spot_kinds(spots, ice=verdict.ice),
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


def spot_kinds(spots: Spots, *, ice: bool) -> npt.NDArray[np.uint8]:
    """SpotKind of each spot; `ice`: spots in ice bands do not count."""
    left_out = SpotFlag.OUT_OF_RANGE | (SpotFlag.ICE if ice else SpotFlag(0))
    kinds = np.where(spots.flags & int(left_out), SpotKind.NOT_COUNTED, SpotKind.COUNTED)
    return np.where(spots.lattice >= 0, SpotKind.INDEXED, kinds).astype(np.uint8)
