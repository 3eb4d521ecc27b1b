"""Settings: one frozen model per room. The same models make the command line's flags, the TOML file and the help."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

LONGEST_CYCLE = 10**7
"""Most images of a cycle of a pump pattern."""
LOCAL = "local"
"""The scheduler that stands for processes on this computer."""
OWN_PATHS = ("api", "commands", "files", "live", "runs", "static")
"""What the addresses of the pages begin with."""
_BASE_PATH = re.compile(r"(/(?!\.)[A-Za-z0-9._~-]+)+")


def pump_pattern(text: str) -> tuple[tuple[str, int], ...]:
    """One cycle of a pump pattern as (state, images): "dark:1,light:3" is (("dark", 1), ("light", 3)).

    Raises
    ------
    ValueError
        It is not NAME:IMAGES,NAME:IMAGES..., or its cycle is longer than ten million images.
    """
    cycle: list[tuple[str, int]] = []
    for part in text.split(","):
        name, _, count = (piece.strip() for piece in part.partition(":"))
        good = name and name.isprintable() and count.isascii() and count.isdecimal() and count.strip("0")
        if not good or len(count) > len(str(LONGEST_CYCLE)):
            raise ValueError(f"pump pattern {text!r} is not NAME:IMAGES,NAME:IMAGES..., such as dark:1,light:3")
        cycle.append((name, int(count)))
    if sum(count for _, count in cycle) > LONGEST_CYCLE:
        raise ValueError(f"pump pattern {text!r} has a cycle of more than {LONGEST_CYCLE} images")
    return tuple(cycle)


def _is_pattern(text: str | None) -> str | None:
    if text is not None:
        pump_pattern(text)
    return text


def _absolute(path: Path | None) -> Path | None:
    """The outputs record it, and may be read from another folder."""
    return None if path is None else path.absolute()


def _resolved(path: Path) -> Path:
    """Symbolic links are followed once, here; what is compared with it is resolved as well."""
    return path.resolve()


def _is_base_path(text: str) -> str:
    """Without a slash at its end; a page's own address must not look like one below it."""
    path = text.rstrip("/")
    if path and not _BASE_PATH.fullmatch(path):
        raise ValueError(f"base path {text!r} is not a path of letters, digits and -._~, such as /hits")
    if path.split("/")[1:2] and path.split("/")[1] in OWN_PATHS:
        raise ValueError(f"base path {text!r} begins like a page of hitsieve: {', '.join(OWN_PATHS)} are taken")
    return path


Input = Annotated[Path | None, AfterValidator(_absolute)]
Folder = Annotated[Path, AfterValidator(_resolved)]
BasePath = Annotated[str, AfterValidator(_is_base_path)]


class Settings(BaseModel):
    """Base: frozen, and unknown names are errors."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class SourceSettings(Settings):
    """How the input is read."""

    geometry: Input = None
    """CrystFEL .geom file that overrides the geometry of the input."""
    set: tuple[str, ...] = ()
    """Metadata overrides NAME=VALUE; may be given more than once. Names: distance (m), wavelength (angstrom),
    beam_center_x, beam_center_y (pixels), pixel_size (m), saturation_value, underload_value (counts), sensor_material
    (Si, CdTe, ...), sensor_thickness (m), sample_name. Recorded in the outputs."""
    mask: Input = None
    """HDF5 (FILE:/path) or NumPy file with a pixel mask that is added to that of the input (not 0: not used)."""
    pump: Annotated[str | None, AfterValidator(_is_pattern)] = None
    """Pump states by pattern, repeated over the run: NAME:IMAGES,NAME:IMAGES; "dark:1,light:3" is dark, light, light,
    light, dark, ... With pump_dataset it is counted along the pulse numbers there, not along the images."""
    pump_dataset: str | None = None
    """Pump states by a per-image dataset of the input (HDF5 path, such as /entry/instrument/laser_on): images of equal
    value are of one state."""
    pump_csv: Input = None
    """Pump states by a CSV file: header image,state and a line for each image, or header state and all states."""

    @model_validator(mode="after")
    def _one_way_to_label(self) -> SourceSettings:
        given = [name for name in ("pump", "pump_dataset", "pump_csv") if getattr(self, name) is not None]
        if len(given) > 1 and "pump_csv" in given:
            raise ValueError(f"{' and '.join(given)} exclude each other: give one")
        return self


class SpotSettings(Settings):
    """How strong pixels and spots are found."""

    algorithm: Literal["radial", "dispersion"] = "radial"
    """radial: threshold per radial bin; dispersion: DIALS' local variance test (reference, slow)."""
    snr: Annotated[float, Field(gt=0)] = 6.0
    """A strong pixel lies this many standard deviations above the mean of its radial bin."""
    min_count: Annotated[int, Field(ge=1)] = 5
    """A strong pixel has at least this many counts."""
    min_pixels: Annotated[int, Field(ge=1)] = 2
    """Fewest pixels of a spot."""
    max_pixels: Annotated[int, Field(ge=1)] = 200
    """Most pixels of a spot."""
    spot_snr: Annotated[float, Field(ge=0)] = 6.0
    """Least intensity of a spot over the standard deviation of its local background."""
    ring_width: Annotated[int, Field(ge=1, le=16)] = 3
    """Width (pixels) of the frame around a spot that gives its local background."""
    bin_width: Annotated[float, Field(gt=0)] = 4.0
    """Width (pixels) of a radial bin."""
    max_spots: Annotated[int, Field(ge=1)] = 2000
    """Most spots kept for an image, strongest first; n_spots still counts all."""

    @model_validator(mode="after")
    def _sizes_in_order(self) -> SpotSettings:
        if self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels {self.min_pixels} is above max_pixels {self.max_pixels}: no spot would do")
        return self


class IndexSettings(Settings):
    """Which lattices are looked for and believed."""

    indexing: Literal["auto", "off"] = "auto"
    """auto: images with enough spots are indexed, where geometry and wavelength are known; off: spots only."""
    cell: str | None = None
    """Unit cell: a,b,c,alpha,beta,gamma (angstrom, degrees), a PDB, mmCIF or CrystFEL cell file, or `unknown`. By
    default that of the input's sample, else the one that some of the run's hits agree on."""
    centring: Literal["P", "A", "B", "C", "I", "F", "R"] | None = None
    """Centring of a cell given as numbers (R: hexagonal axes); P by default."""
    min_indexed: Annotated[int, Field(ge=3)] = 8
    """Fewest reflections indexed of a lattice; images with fewer spots are not tried."""
    min_fraction: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Least share of the image's spots, less those of lattices found before, that a lattice indexes."""
    max_chance: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    """Largest probability that as many random spots would give such a lattice."""
    max_lattices: Annotated[int, Field(ge=1, le=100)] = 3
    """Most lattices of an image."""
    length_tolerance: Annotated[float, Field(gt=0, le=0.2)] = 0.04
    """Largest deviation of a cell length from the known one, as a share of it."""
    angle_tolerance: Annotated[float, Field(gt=0, le=20)] = 3.0
    """Largest deviation of a cell angle from the known one (degrees)."""
    min_length: Annotated[float, Field(ge=5)] = 15.0
    """Shortest vector (angstrom) of an unknown cell."""
    max_length: Annotated[float, Field(le=400)] = 170.0
    """Longest vector (angstrom) of an unknown primitive cell; the search coarsens as it grows."""

    @model_validator(mode="after")
    def _lengths_in_order(self) -> IndexSettings:
        if self.min_length >= self.max_length:
            raise ValueError(
                f"min_length {self.min_length} is not below max_length {self.max_length}: no cell would do"
            )
        return self


class VerdictSettings(Settings):
    """When an image is a hit."""

    rule: Literal["either", "spots", "indexed", "both"] = "either"
    """An image is a hit if it has enough spots (spots), a lattice (indexed), one of the two (either), or both."""
    min_spots: Annotated[int, Field(ge=1)] | None = None
    """Fewest spots, in the resolution range and outside ice bands, that are enough; by default found from the run's own
    blanks, so that few of them have as many."""
    false_hit_rate: Annotated[float, Field(gt=0, lt=0.5)] = 1e-3
    """Share of the blanks that may have enough spots, where min_spots is found from them."""
    second_look: Annotated[int, Field(ge=0)] = 1000
    """Most misses that are searched again, more sensitively, for hits that were missed; 0: none."""
    second_look_fraction: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Share of the misses that are, but no fewer than the random sample that is kept has. Each takes about as long as
    three images of the run."""
    d_min: Annotated[float, Field(gt=0)] | None = None
    """High-resolution limit (angstrom) of spots that count."""
    d_max: Annotated[float, Field(gt=0)] | None = None
    """Low-resolution limit (angstrom) of spots that count."""
    ice: bool = True
    """Leave spots in ice bands out of the count."""
    ice_half_width: Annotated[float, Field(gt=0)] = 0.0048
    """Half width of an ice band in 1/d (1/angstrom); 0.03 in 2 pi/d."""

    @model_validator(mode="after")
    def _limits_in_order(self) -> VerdictSettings:
        if self.d_min is not None and self.d_max is not None and self.d_min >= self.d_max:
            raise ValueError(f"d_min {self.d_min} is not below d_max {self.d_max}: no spot would count")
        return self


class WriteSettings(Settings):
    """What is written, and where."""

    output: Path = Path()
    """Folder for the outputs; made if absent."""
    overwrite: bool = False
    """Replace outputs that exist."""
    audit_fraction: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of the misses kept verbatim as a random sample."""
    audit_min: Annotated[int, Field(ge=0)] = 20
    """Fewest misses kept."""
    audit_seed: Annotated[int, Field(ge=0)] = 20140829
    """Seed of the random sample; recorded."""
    misses: Literal["sample", "keep"] = "sample"
    """sample: keep a random sample of the misses, in the hit-only file; keep: also write all misses, and the bytes of
    unreadable images, to a file of their own. With the hits they are the whole run."""
    split_pump: bool = False
    """Also write a hit-only file for each pump state."""


class CatalogueSettings(Settings):
    """Where a finished run is entered, to be found again."""

    catalogue: Input = None
    """File of the local catalogue; made if absent. By default what HITSIEVE_CATALOGUE names, else
    hitsieve/catalogue.sqlite in the user's folder for data (XDG_DATA_HOME, or ~/.local/share)."""
    no_catalogue: bool = False
    """Do not enter the run into any."""


class SlurmSettings(Settings):
    """Jobs of Slurm in which workers search; what is not said here is left to Slurm and to Dask's own settings."""

    jobs: Annotated[int, Field(ge=1)] = 1
    """Jobs."""
    cores: Annotated[int, Field(ge=1)] = 8
    """Cores of a job."""
    processes: Annotated[int, Field(ge=0)] = 0
    """Workers of a job, which share its cores; 0: one a core."""
    memory: str = "16 GiB"
    """Memory of a job."""
    walltime: str = "01:00:00"
    """Longest time of a job."""
    queue: str | None = None
    """Partition."""
    account: str | None = None
    """Account."""
    interface: str | None = None
    """Network interface over which workers and scheduler talk, such as ib0."""
    python: str | None = None
    """Python of the workers, as they see it; by default the one that runs here."""
    logs: Path | None = None
    """Folder for the logs of the jobs."""
    directives: tuple[str, ...] = ()
    """Further lines for #SBATCH, such as --constraint=cpu."""
    prologue: tuple[str, ...] = ()
    """Commands before the workers start, such as module load."""


class ClusterSettings(Settings):
    """Who searches the images, if not this process alone."""

    scheduler: str | None = None
    """Address of a Dask scheduler whose workers search the images, such as tcp://host:8786; local: processes on this
    computer, as many as --workers says."""
    slurm: bool = False
    """Have Slurm start workers, as the table [cluster.jobs] of the settings file says."""
    wait: Annotated[float, Field(gt=0)] = 300.0
    """Longest time (s) without any worker: then the run fails; and without an answer about some images: then they are
    searched by this process."""
    patience: Annotated[float, Field(ge=0)] = 3600.0
    """Longest time (s) that the scan of an archive waits for another cluster where its own has gone; then all other
    runs fail."""
    resume: bool = False
    """Keep what is found in a hidden folder beside the outputs until these are whole, and go on from what a run that
    was cut off has left there."""
    jobs: SlurmSettings = SlurmSettings()
    """Jobs of Slurm."""


class RunSettings(Settings):
    """All settings of `hitsieve run`."""

    source: SourceSettings = SourceSettings()
    spots: SpotSettings = SpotSettings()
    index: IndexSettings = IndexSettings()
    verdict: VerdictSettings = VerdictSettings()
    write: WriteSettings = WriteSettings()
    catalogue: CatalogueSettings = CatalogueSettings()
    cluster: ClusterSettings = ClusterSettings()
    workers: Annotated[int, Field(ge=0, le=1024)] = 0
    """Worker threads; 0: one a core."""
    engine: Literal["auto", "cpu", "gpu"] = "auto"
    """Who finds the spots, and the lattices of a known cell: cores (cpu), or graphics cards (gpu), of this computer or,
    for spots, of the workers of a cluster; auto: cards where they can be used and the run is long. What is found is the
    same."""

    @model_validator(mode="after")
    def _enough_spots_kept(self) -> RunSettings:
        if self.verdict.min_spots is not None and self.spots.max_spots < self.verdict.min_spots:
            raise ValueError(
                f"max_spots {self.spots.max_spots} is below min_spots {self.verdict.min_spots}: no image could be a hit"
            )
        return self


class LiveSettings(Settings):
    """How a stream is received, and who is told."""

    spool: Path | None = None
    """Folder where received images lie until the outputs of their series are whole; by default the folder received in
    the output folder. It must take the whole stream: name a fast disk, or one in memory (/dev/shm)."""
    keep_received: bool = False
    """Keep the received images, an NXmx master with data files for each series, and the annotated master over them."""
    parts: bool = False
    """Write hits while a series comes: for each thousand images, once all of them have come, a file
    NAME_part_000001_hits.h5, by spots alone. They stay; the hits of the whole series come at its end all the same."""
    veto: Literal["off", "spots"] = "off"
    """spots: images that surely are misses, by --min-spots, are dropped before they are written, but for a random
    sample; their numbers stay in the outputs. off: all images are written."""
    buffer: Annotated[int, Field(ge=1)] = 2048
    """Most received data (MiB) that wait to be written and searched; beyond, images are dropped and told as missing."""
    end_wait: Annotated[float, Field(ge=0)] = 5.0
    """Longest time (s) for the rest of a series to come through other sockets, after its end, or the start of another,
    came through one."""
    idle: Annotated[float, Field(gt=0)] = 300.0
    """Time (s) without any message after which a series has ended: its detector died."""
    hung: Annotated[float, Field(gt=0)] = 900.0
    """Time (s) without progress, and a minute more for each GB received, after which the sieving of a series that has
    ended is taken for hung: its process is ended, and another one tries once more. What was received stays."""
    series: Annotated[int, Field(ge=0)] = 0
    """Stop after so many series; 0: go on until Ctrl-C."""
    publish: str | None = None
    """Address where results are published (ZeroMQ PUB), such as tcp://*:5556."""
    publish_format: Literal["json", "cbor"] = "json"
    """What each published message is: JSON, or CBOR with the same keys and values."""
    metrics: str | None = None
    """Where Prometheus reads metrics: [HOST]:PORT, such as :9100."""


class ServeSettings(Settings):
    """What is shown in the browser, and to whom."""

    catalogue: Input = None
    """File of the local catalogue, only read. By default what HITSIEVE_CATALOGUE names, else that of the user."""
    host: str = "127.0.0.1"
    """Address to listen at; any but this computer's own (127.0.0.1, ::1, localhost) needs a token or behind_proxy."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port; 0: a free one."""
    root: tuple[Folder, ...] = ()
    """Folders that files may come from, sources included; by default the folders of the runs in the catalogue for
    outputs, and the files that each run was made from."""
    token_file: Input = None
    """File with the token that a visitor must show, and that nobody but its owner may read; HITSIEVE_TOKEN may hold it
    instead."""
    behind_proxy: bool = False
    """A proxy in front lets in only whom it may, and says who asks; no token is needed then."""
    allow_host: tuple[str, ...] = ()
    """Names by which visitors reach the server, beside localhost and the address it listens at."""
    base_path: BasePath = ""
    """Path below which a proxy shows the pages, such as /hits; links and cookies hold it. No header can change it."""
    live: str | None = None
    """Where hitsieve live publishes (its --publish), such as tcp://detector:5556; shown on a page of its own."""
    live_spool: Folder | None = None
    """Folder where that hitsieve live keeps what it receives (its --spool, or the folder received of its output), for
    a picture of the last hit."""
