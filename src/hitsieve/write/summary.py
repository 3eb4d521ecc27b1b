"""The numbers of a run: the documented, versioned schema of `<stem>_summary.json`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, ser_json_inf_nan="null")


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

    schema_version: Literal["1.0"] = "1.0"
    """Version of this schema; the first number changes when a reader must change."""
    program: Literal["hitsieve"] = "hitsieve"
    version: str
    """Version of hitsieve."""
    date: datetime
    """When the run ended (UTC, ISO 8601)."""
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
    """95 % Wilson interval (low, high) of the hit rate; null where there is no hit rate."""
    n_spots_median_hits: float | None = None
    """Median number of spots of a hit; null without hits."""
    resolution_hits: Percentiles | None = None
    """Percentiles of the hits' resolution estimate d (angstrom); null where none has one."""
    background_median: float | None = None
    """Median over searched images of the background (counts a pixel)."""
    n_saturated_images: Count = 0
    """Images with at least one saturated good pixel."""
    audit: AuditSummary
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
