"""The numbers of a run: the documented, versioned schema of `<stem>_summary.json`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from hitsieve.write.summarypart import Count, Share
from hitsieve.write.summarypart import SummaryPart as _Part
from hitsieve.write.vetosummary import VetoSummary


class SourceSummary(_Part):
    """What the images came from."""

    path: str
    """The file that the user named."""
    stem: str
    """Prefix of the outputs' names."""
    style: str
    """How the images are arranged: vds, external, single, files or images."""
    n_files: Count
    """Files that hold images."""
    image_shape: tuple[Count, Count]
    """(slow, fast) number of pixels."""
    dtype: str
    """NumPy type of a pixel."""


class Percentiles(_Part):
    """Percentiles of one number over images."""

    p10: float
    p25: float
    p50: float
    p75: float
    p90: float


class HitRuleSummary(_Part):
    """The rule that made the verdict, as it was applied."""

    rule: Literal["either", "spots", "indexed", "both"]
    """What makes a hit: enough spots, a lattice, either, or both; spots where the run is not indexed."""
    min_spots: Annotated[int, Field(ge=1)]
    """Fewest spots that are enough."""
    origin: Literal["given", "blanks", "default"]
    """given: by the user; blanks: found from the run's blanks; default: they could not tell."""
    reason: str = ""
    """In words: how min_spots came about."""


class BlanksSummary(_Part):
    """How often blanks have enough spots, from the counted spots of images at or below the mode of blanks."""

    n: Count
    """Images taken as blanks."""
    mean: Annotated[float, Field(ge=0)]
    """Mean number of counted spots of a blank."""
    false_hit_rate: Share
    """Expected share of blanks with min_spots counted spots or more."""
    false_hit_rate_interval: tuple[Share, Share]
    """95 % interval (low, high) of it, if the spots of blanks spread as thickness and beam make them."""
    at_most: Share | None = None
    """Share with min_spots counted spots or more of all images without a lattice: no more of the blanks can be false
    hits by their spots, whatever their distribution. null where the run is not indexed."""


class MissedSummary(_Part):
    """Hits among the misses, at least: those that a lattice tells, estimated by a second, more sensitive look at some.

    A crystal of which no lattice can be told, for want of spots or because it is of another cell, is not among them.
    """

    n: Count
    """Misses without a lattice that were looked at again, drawn at random."""
    n_hits: Count
    """Those that show a lattice then."""
    rate: Share
    """n_hits / n: estimate of the share of hits among the misses without a lattice."""
    interval: tuple[Share, Share]
    """95 % Wilson interval (low, high) of it."""
    n_indexed: Count
    """Misses with a lattice, which the rule does not heed or which is not enough for it: all known, not estimated."""
    n_unknown: Count = 0
    """Misses without a lattice that were hits when images were drawn, before a rethink: nothing is said of them."""
    n_lost: Annotated[float, Field(ge=0)]
    """Expected number of hits among all misses: n_indexed, and rate times those without a lattice and not unknown."""
    n_lost_interval: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]]
    """95 % interval (low, high) of it."""
    lost_share: Share | None
    """n_lost / (hits of the run + n_lost): share of all hits that the run lost; null where there are none."""
    lost_share_interval: tuple[Share, Share] | None
    """95 % interval (low, high) of it."""
    how: str
    """In words: what the second look was."""


class CellSummary(_Part):
    """A unit cell."""

    parameters: tuple[float, float, float, float, float, float]
    """a, b, c (angstrom), alpha, beta, gamma (degrees)."""
    centring: str
    """P, A, B, C, I, F or R (hexagonal axes)."""
    origin: str
    """In words: who says so."""


class GeometrySummary(_Part):
    """What the indexed spots say about the detector geometry; a positive shift moves the beam centre that way."""

    n_lattices: Count
    """Lattices used."""
    n_spots: Count
    """Spots used."""
    residual: Annotated[float, Field(ge=0)]
    """Median distance between spots and predictions (pixels)."""
    residual_after: Annotated[float, Field(ge=0)]
    """The same with the shift and distance below (pixels)."""
    shift_x: float
    """Suggested shift of the beam centre along the fast axis (pixels)."""
    shift_x_error: float
    """Its standard error (pixels), from the scatter between lattices alone: what all of them share is not in it."""
    shift_y: float
    """Suggested shift of the beam centre along the slow axis (pixels)."""
    shift_y_error: float
    """Its standard error (pixels), likewise."""
    distance: float | None = None
    """Suggested detector distance (m), if the cell is right; null where the cell came from this run itself."""
    distance_error: float | None = None
    """Its standard error (m), likewise."""
    warning: str = ""
    """What is wrong, in words; empty where the geometry fits."""
    mend: str = ""
    """Flags of `hitsieve run` that mend it; empty where the geometry fits."""


class IndexSummary(_Part):
    """Lattices of the run."""

    cell: CellSummary
    """Cell that was looked for."""
    n_tried: Count
    """Searched images with enough spots to be indexed."""
    n_indexed: Count
    """Images with a lattice."""
    indexing_rate: Share | None
    """Indexed share of the hits; null without hits."""
    indexing_rate_interval: tuple[Share, Share] | None
    """95 % interval (low, high) of it, likewise."""
    n_lattices: Count
    """Lattices of all images."""
    multi_lattice_fraction: Share | None
    """Share of the indexed images with more than one lattice; null without any."""
    cell_mean: tuple[float, float, float, float, float, float] | None
    """Mean of each cell parameter over the lattices (angstrom, degrees); null without any."""
    cell_std: tuple[float, float, float, float, float, float] | None
    """Standard deviation of each; lattices are restrained to the cell, so it is a lower bound."""
    residual_median: float | None
    """Median over lattices of the residual (1/angstrom)."""
    spots_indexed_median: float | None
    """Median over indexed images of the share of counted spots that is indexed."""
    geometry: GeometrySummary | None = None
    """null with too few lattices to tell."""


class SegmentSummary(_Part):
    """A stretch of the run in one condition."""

    kind: Literal["jet running", "jet stopped", "beam off", "ice", "unknown"]
    """unknown: nothing tells, as in a run without hits, or in a stretch of lower background with too few."""
    first: Count
    """First image, from 0."""
    last: Count
    """Last image."""
    hit_rate: Share | None
    """Hit rate of the stretch; null where nothing was searched."""
    background: float | None
    """Median background (counts a pixel)."""


class SegmentsSummary(_Part):
    """Conditions along the run."""

    segments: tuple[SegmentSummary, ...]
    """In order, without gaps or overlaps."""
    n_without_jet: Count
    """Images with the jet stopped or the beam off."""
    files_without_jet: tuple[str, ...] = ()
    """Data files in which the jet never ran."""
    files_in_doubt: tuple[str, ...] = ()
    """Data files all of whose images have a background as without a jet, in a run whose hits are too few to tell."""


class PumpStateSummary(_Part):
    """Images of one pump state."""

    name: str
    n_images: Count
    n_hits: Count
    n_misses: Count
    hit_rate: Share | None
    hit_rate_interval: tuple[Share, Share] | None
    """95 % interval (low, high)."""
    n_indexed: Count
    """Hits with a lattice; 0 where the run is not indexed."""
    indexing_rate: Share | None
    """n_indexed / n_hits; null without hits or where the run is not indexed."""
    indexing_rate_interval: tuple[Share, Share] | None
    """95 % interval (low, high)."""
    n_spots_median_hits: float | None
    resolution_median_hits: float | None
    """Median resolution estimate of the hits (angstrom)."""
    hits_file: str | None = None
    """Name of the hit-only file of this state, where one was asked for."""


class BiasTest(_Part):
    """Whether one quantity differs between pump states, or drifts along the run."""

    quantity: Literal["hit rate", "indexing rate", "resolution", "spots"]
    across: Literal["pump state", "run"]
    test: str
    """Name of the statistical test; empty where it was left out."""
    p: Share | None
    """Probability of a difference as large by chance; null where the test was left out."""
    differs: bool
    """p is below 0.01, after Holm's correction for the number of tests."""
    statement: str
    """In plain words, with the numbers."""


class PumpSummary(_Part):
    """A time-resolved run by pump state."""

    origin: str
    """In words: who says which image has which state."""
    n_unknown: Count
    """Images whose state is unknown."""
    states: tuple[PumpStateSummary, ...]


class TimeLine(_Part):
    """The run in bins of (nearly) equally many consecutive images, at most 100."""

    first: tuple[Count, ...]
    """First image of each bin."""
    n_searched: tuple[Count, ...]
    """Hits and misses of each bin."""
    n_hits: tuple[Count, ...]
    n_indexed: tuple[Count, ...]
    """Hits with a lattice."""
    background: tuple[float | None, ...]
    """Median background (counts a pixel)."""


class AuditSummary(_Part):
    """The random sample of misses kept in the hit-only file."""

    n: Count
    """Misses kept."""
    seed: Count
    """Seed of numpy.random.default_rng."""
    fraction: Share
    """Share of the misses that was asked for."""


class Facts(_Part):
    """Detector and beam as used; null where the source says nothing."""

    detector: str | None = None
    """Description of the detector."""
    n_panels: Count = 0
    """Panels with geometry; 0 where it is unknown."""
    n_masked: Count | None = None
    """Pixels with a nonzero pixel_mask; null without a mask."""
    distance: float | None = None
    """Sample to detector (m)."""
    beam_center_x: float | None = None
    """Beam centre along the fast axis (pixels)."""
    beam_center_y: float | None = None
    """Beam centre along the slow axis (pixels)."""
    pixel_size_fast: float | None = None
    """Pixel size along the fast axis (m)."""
    pixel_size_slow: float | None = None
    """Pixel size along the slow axis (m)."""
    sensor_material: str | None = None
    sensor_thickness: float | None = None
    """Sensor thickness (m)."""
    saturation_value: int | None = None
    """Counts above this are saturated."""
    underload_value: int | None = None
    """Counts below this are not data."""
    wavelength: float | None = None
    """Incident wavelength (angstrom); the mean where each image has its own."""


class Summary(_Part):
    """The numbers of one run of hitsieve."""

    schema_version: Literal["2.0"] = "2.0"
    """Version of this schema; the first number changes when a reader must change."""
    program: Literal["hitsieve"] = "hitsieve"
    version: str
    """Version of hitsieve."""
    date: datetime
    """When the run ended (UTC, ISO 8601)."""
    verdict_on: str | None = None
    """Summary of the run on which this is another verdict (hitsieve rethink), absolute; null for a run itself."""
    settings: dict[str, Any]
    """All settings of the run, as RunSettings."""
    source: SourceSummary
    n_images: Count
    """Images of the run; each is in exactly one of the four states."""
    n_hits: Count
    n_misses: Count
    n_unreadable: Count
    """Images whose bytes are there but cannot be decoded."""
    n_missing: Count
    """Images that the run announces but that are not there."""
    hit_rate: Share | None
    """n_hits / (n_hits + n_misses); null where both are 0."""
    hit_rate_interval: tuple[Share, Share] | None
    """95 % interval (low, high) of the hit rate, as wide as bursts of hits make it; null where there is no hit rate."""
    rule: HitRuleSummary
    blanks: BlanksSummary | None = None
    """null where too few images are blanks to tell."""
    missed: MissedSummary | None = None
    """null where no miss was looked at again."""
    index: IndexSummary | None = None
    """null where the run is not indexed."""
    segments: SegmentsSummary | None = None
    """null where nothing was searched."""
    pump: PumpSummary | None = None
    """null where no pump states are known."""
    bias: tuple[BiasTest, ...] = ()
    """Differences between pump states and drifts along the run."""
    timeline: TimeLine
    n_spots_median_hits: float | None = None
    """Median number of spots of a hit; null without hits."""
    resolution_hits: Percentiles | None = None
    """Percentiles of the hits' resolution estimate d (angstrom); null where none has one."""
    background_median: float | None = None
    """Median over searched images of the background (counts a pixel)."""
    n_saturated_images: Count = 0
    """Images with at least one saturated good pixel."""
    saturated_fraction: Share | None = None
    """Their share of the searched images; null where none was searched."""
    ice_fraction: Share | None = None
    """Share of the searched images with ice; null where no resolution is known."""
    audit: AuditSummary
    veto: VetoSummary | None = None
    """null where all images were written, of a stream or of a stored run."""
    n_dropped: Count = 0
    """Images of a stream of which nothing is kept once what was received is removed: misses, but for the random sample,
    and unreadable ones, where the user wanted that. They are counted as what they are. 0 for stored runs."""
    seconds: Annotated[float, Field(ge=0)]
    """Wall time of the run (s)."""
    images_per_second: Annotated[float, Field(ge=0)]
    """Images of the run over wall time."""
    workers: Annotated[int, Field(ge=1)]
    """Worker threads."""
    source_bytes: Count | None
    """Stored bytes of all images of the source; null where they cannot be known (read through a library)."""
    hit_bytes: Count
    """Stored bytes of the hits in the hit-only file, without the audit sample."""
    miss_bytes: Count | None = None
    """Stored bytes of the misses in the misses file; null where there is none."""
    facts: Facts
    problems: tuple[str, ...] = ()
    """What the user should know about the source, one line each."""
    overrides: dict[str, str] = Field(default_factory=dict)
    """Metadata that the user set, by name, as given."""

    @model_validator(mode="after")
    def _add_up(self) -> Summary:
        total = self.n_hits + self.n_misses + self.n_unreadable + self.n_missing
        if total != self.n_images:
            raise ValueError(f"the four states hold {total} images, the run has {self.n_images}")
        return self

    @model_validator(mode="after")
    def _rate_fits(self) -> Summary:
        searched = self.n_hits + self.n_misses
        if (self.hit_rate is None) != (searched == 0) or (self.hit_rate is None) != (self.hit_rate_interval is None):
            raise ValueError("hit_rate and hit_rate_interval are given exactly where images were searched")
        if self.hit_rate is not None and abs(self.hit_rate * searched - self.n_hits) > 1e-6 * searched:
            raise ValueError(f"hit_rate {self.hit_rate} is not {self.n_hits} of {searched}")
        return self
