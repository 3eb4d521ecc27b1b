"""The one record of a run: the facts of the data set as a whole, from which every catalogue is written.

It is flat: one field is one number, word or list of words, so that it is one column here and one key elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field

from hitsieve.catalogue.about import HIT_FINDING, About, Home, Kind

Count = Annotated[int, Field(ge=0, lt=2**63)]
"""As the column of the catalogue takes it."""
Share = Annotated[float, Field(ge=0, le=1)]
FileKind = Literal["hits", "annotated", "images", "summary", "pump", "misses"]
CellParameters = tuple[float, float, float, float, float, float]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class StoredFile(_Part):
    """A file of the run."""

    kind: FileKind
    """Which output it is; pump: the hits of one pump state."""
    name: str
    """Its name in the folder of the run."""
    size: Count
    """Bytes."""
    sha256: str | None = None
    """SHA-256 of the file, hexadecimal; null where it was not computed."""


class PumpState(_Part):
    """Rates of one pump state."""

    name: str
    n_images: Count
    n_hits: Count
    hit_rate: Share | None = None
    hit_rate_low: Share | None = None
    hit_rate_high: Share | None = None
    indexing_rate: Share | None = None


_ANGLES = HIT_FINDING + "unit_cell_alphabetagamma"


class Record(_Part):
    """The facts of one run as a data set; null where they are not known."""

    id: Annotated[str, About("Run id", scicat="hitsieve_id", crate="identifier")]
    """Identity of the run: SHA-256 over source, date and verdict_on, 32 hexadecimal digits."""
    place: Annotated[str, About("Summary file", scicat=None, crate="")]
    """Absolute path of the summary."""
    date: Annotated[datetime, About("Date of sieving", nxmx=HIT_FINDING + "date", crate="dateCreated")]
    """When the run of hitsieve ended (UTC)."""
    program: Annotated[
        str, About("Program", nxmx=HIT_FINDING + "program", scicat="/usedSoftware", crate="instrument")
    ] = "hitsieve"
    """Program that found the hits."""
    version: Annotated[
        str, About("Program version", nxmx=HIT_FINDING + "version", scicat="/usedSoftware", crate="softwareVersion")
    ]
    """Version of the program."""
    verdict_on: Annotated[str | None, About("Verdict on", crate="isBasedOn")] = None
    """Summary of the run on which this is another verdict (hitsieve rethink)."""

    title: Annotated[str | None, About("Title", nxmx="/entry/title", scicat="/datasetName", crate="name")] = None
    """Title of the measurement, as the source states it."""
    sample_name: Annotated[str | None, About("Sample", nxmx="/entry/sample/name", crate="about")] = None
    """Name of the sample, as the source or the user states it."""
    sample_id: Annotated[str | None, About("Sample id", nxmx="/entry/sample/identifier", crate="about")] = None
    """Identifier of the sample, as the source states it (a field of NXsample whose name begins with identifier)."""
    experiment: Annotated[
        str | None, About("Experiment", nxmx="/entry/experiment_identifier", scicat="/proposalIds", crate="recordedAt")
    ] = None
    """Identifier of the experiment or proposal."""
    instrument: Annotated[
        str | None,
        About("Instrument", nxmx="/entry/instrument/name", scicat="/creationLocation", crate="locationCreated"),
    ] = None
    """Beamline."""
    facility: Annotated[str | None, About("Facility", nxmx="/entry/source/name", crate="locationCreated")] = None
    """Source of the beam."""
    start_time: Annotated[
        str | None,
        About("Start of measurement", nxmx="/entry/start_time", scicat="/creationTime", crate="temporalCoverage"),
    ] = None
    """When the measurement began, as the source states it (ISO 8601)."""
    end_time: Annotated[
        str | None, About("End of measurement", nxmx="/entry/end_time", scicat="/endTime", crate="temporalCoverage")
    ] = None
    """When it ended, likewise."""

    source_path: Annotated[str, About("Source", scicat="/sourceFolder", crate="isBasedOn")]
    """The file that was sieved, absolute."""
    stem: Annotated[str, About("Run name", scicat="run_name", crate="alternateName")]
    """Prefix of the outputs' names."""
    n_files: Annotated[Count, About("Source files")]
    """Files that hold the images of the source."""
    n_images: Annotated[Count, About("Images", nxmx=HIT_FINDING + "n_images")]
    """Images of the run."""
    n_hits: Annotated[Count, About("Hits", nxmx=HIT_FINDING + "n_hits")]
    """Images that are hits."""
    n_misses: Annotated[Count, About("Misses", nxmx=HIT_FINDING + "n_misses")]
    """Images that are misses."""
    n_unreadable: Annotated[Count, About("Unreadable images", nxmx=HIT_FINDING + "n_unreadable")]
    """Images whose bytes cannot be decoded."""
    n_missing: Annotated[Count, About("Missing images", nxmx=HIT_FINDING + "n_missing")]
    """Images that the source announces but that are not there."""
    hit_rate: Annotated[Share | None, About("Hit rate", nxmx=HIT_FINDING + "hit_rate")] = None
    """n_hits / (n_hits + n_misses)."""
    hit_rate_low: Annotated[Share | None, About("Hit rate, lower limit", nxmx=HIT_FINDING + "hit_rate_interval[0]")] = (
        None
    )
    """Lower end of the 95 % interval of the hit rate."""
    hit_rate_high: Annotated[
        Share | None, About("Hit rate, upper limit", nxmx=HIT_FINDING + "hit_rate_interval[1]")
    ] = None
    """Upper end of it."""
    hit_rate_line: Annotated[tuple[Share | None, ...], About("Hit rate along the run", scicat=None, crate="")] = ()
    """Hit rate of consecutive stretches of (nearly) equally many images, at most 32; null where none was searched."""
    rule: Annotated[str, About("Hit rule", nxmx=HIT_FINDING + "rule")]
    """What made a hit: spots, indexed, either or both."""
    min_spots: Annotated[Count, About("Spots of a hit, at least", nxmx=HIT_FINDING + "min_spots")]
    """Fewest counted spots that were enough."""
    false_hit_rate: Annotated[Share | None, About("False hits among blanks")] = None
    """Expected share of the blanks that are called hits by their spots."""
    lost_share: Annotated[Share | None, About("Hits lost")] = None
    """Estimated share of all hits that were missed, at least, by lattices found at a second look."""
    lost_share_high: Annotated[Share | None, About("Hits lost, upper limit")] = None
    """Upper end of its 95 % interval."""

    n_indexed: Annotated[Count | None, About("Indexed images")] = None
    """Images with a lattice; null where the run is not indexed, as below."""
    n_lattices: Annotated[Count | None, About("Lattices")] = None
    """Lattices of all images."""
    indexing_rate: Annotated[Share | None, About("Indexing rate", nxmx=HIT_FINDING + "indexing_rate")] = None
    """Share of the hits that have a lattice."""
    indexing_rate_low: Annotated[
        Share | None, About("Indexing rate, lower limit", nxmx=HIT_FINDING + "indexing_rate_interval[0]")
    ] = None
    """Lower end of its 95 % interval."""
    indexing_rate_high: Annotated[
        Share | None, About("Indexing rate, upper limit", nxmx=HIT_FINDING + "indexing_rate_interval[1]")
    ] = None
    """Upper end of it."""
    cell_a: Annotated[float | None, About("Cell a", "angstrom", HIT_FINDING + "unit_cell_abc[0]")] = None
    """Axis a of the cell that was looked for."""
    cell_b: Annotated[float | None, About("Cell b", "angstrom", HIT_FINDING + "unit_cell_abc[1]")] = None
    """Axis b."""
    cell_c: Annotated[float | None, About("Cell c", "angstrom", HIT_FINDING + "unit_cell_abc[2]")] = None
    """Axis c."""
    cell_alpha: Annotated[float | None, About("Cell alpha", "degrees", _ANGLES + "[0]")] = None
    """Angle of b and c."""
    cell_beta: Annotated[float | None, About("Cell beta", "degrees", _ANGLES + "[1]")] = None
    """Angle of a and c."""
    cell_gamma: Annotated[float | None, About("Cell gamma", "degrees", _ANGLES + "[2]")] = None
    """Angle of a and b."""
    centring: Annotated[str | None, About("Cell centring", nxmx=HIT_FINDING + "unit_cell_centring")] = None
    """P, A, B, C, I, F or R (hexagonal axes)."""
    cell_origin: Annotated[str | None, About("Cell origin", nxmx=HIT_FINDING + "unit_cell_origin")] = None
    """In words: who says so."""
    geometry_residual: Annotated[float | None, About("Prediction residual", "pixels")] = None
    """Median distance between indexed spots and predictions."""

    resolution: Annotated[float | None, About("Resolution of hits", "angstrom")] = None
    """Median of the hits' resolution estimate d."""
    resolution_best: Annotated[float | None, About("Resolution of the best hits", "angstrom")] = None
    """10th percentile of it: one hit in ten is better."""
    n_spots_hits: Annotated[float | None, About("Spots of a hit")] = None
    """Median number of spots of a hit."""
    background: Annotated[float | None, About("Background", "counts/pixel")] = None
    """Median over searched images of the background."""
    ice_fraction: Annotated[Share | None, About("Images with ice")] = None
    """Share of the searched images with ice."""
    saturated_fraction: Annotated[Share | None, About("Saturated images")] = None
    """Share of the searched images with a saturated pixel."""
    n_jet_stops: Annotated[Count | None, About("Jet stops")] = None
    """Stretches of the run without a jet or a beam."""
    n_without_jet: Annotated[Count | None, About("Images without jet")] = None
    """Images in them."""
    pump: Annotated[
        tuple[str, ...] | None, About("Pump states", nxmx=HIT_FINDING + "pump_names", scicat="pump_states")
    ] = None
    """Names of the pump states; null where the run is not known to be time-resolved."""

    detector: Annotated[str | None, About("Detector", nxmx="/entry/instrument/detector/description")] = None
    """Description of the detector."""
    distance: Annotated[float | None, About("Detector distance", "mm", "/entry/instrument/detector/distance")] = None
    """Sample to detector; m in NXmx."""
    wavelength: Annotated[
        float | None, About("Wavelength", "angstrom", "/entry/instrument/beam/incident_wavelength")
    ] = None
    """Incident wavelength; the mean where each image has its own."""
    photon_energy: Annotated[float | None, About("Photon energy", "keV")] = None
    """12.39842 / wavelength."""

    source_bytes: Annotated[Count | None, About("Size of the source's images", "bytes", scicat="source_bytes")] = None
    """Stored bytes of all images of the source; null where they cannot be known."""
    hit_bytes: Annotated[Count, About("Size of the hits", "bytes")]
    """Stored bytes of the hits in the hit-only file, without the audit sample."""
    miss_bytes: Annotated[Count | None, About("Size of the misses", "bytes")] = None
    """Stored bytes of the misses in the misses file; null where they are not kept."""
    n_audit: Annotated[Count, About("Misses in the sample", nxmx=HIT_FINDING + "audit/n")]
    """Misses kept as a random sample."""
    hits_digest: Annotated[str | None, About("Digest of the hits", crate="identifier")] = None
    """SHA-256 over the SHA-256 (hexadecimal, in order) of all stored chunks of hits: equal for equal hits."""
    seconds: Annotated[float, About("Time of sieving", "s")]
    """Wall time of the run of hitsieve."""

    pump_states: Annotated[tuple[PumpState, ...], About("Rates of pump states", scicat=None)] = ()
    """Rates of each; in SciCat one key each and state, as hit_rate_light."""
    files: Annotated[tuple[StoredFile, ...], About("Files", scicat="/dataFileList", crate="hasPart")] = ()
    """The outputs, with sizes."""
    problems: Annotated[tuple[str, ...], About("Problems", nxmx=HIT_FINDING + "problems", crate="description")] = ()
    """What the user should know about the source, one line each."""
    overrides: Annotated[
        dict[str, str], About("Overrides", nxmx=HIT_FINDING + "overrides", scicat="/jobParameters", crate="object")
    ] = Field(default_factory=dict)
    """Metadata that the user set, by name, as given."""
    settings: Annotated[
        dict[str, Any],
        About("Settings", nxmx=HIT_FINDING + "settings", scicat="/jobParameters", crate="object"),
    ] = Field(default_factory=dict)
    """All settings of the run."""

    @property
    def cell(self) -> CellParameters | None:
        """a, b, c (angstrom), alpha, beta, gamma (degrees); None where the run is not indexed."""
        a, b, c, alpha, beta, gamma = (getattr(self, name) for name in CELL_FIELDS)
        return None if a is None else (a, b, c, alpha, beta, gamma)


CELL_FIELDS = ("cell_a", "cell_b", "cell_c", "cell_alpha", "cell_beta", "cell_gamma")


def homes() -> Iterator[Home]:
    """Each field of a record with its name, unit and places."""
    for name, field in Record.model_fields.items():
        about = next(item for item in field.metadata if isinstance(item, About))
        meaning, share = " ".join((field.description or "").split()), Share in get_args(field.annotation)
        yield Home(name, about, meaning, _kind(field.annotation), share)


def _kind(annotation: Any) -> Kind | None:
    """What a column holds; None for what is more than a number or words."""
    inner = [item for item in get_args(annotation) if item is not NoneType]
    while len(inner) == 1 or (inner and get_origin(annotation) is Annotated):
        annotation = inner[0]
        inner = [item for item in get_args(annotation) if item is not NoneType]
    kinds: dict[Any, Kind] = {int: "number", float: "number", str: "text", datetime: "time", tuple[str, ...]: "names"}
    return kinds.get(annotation)
