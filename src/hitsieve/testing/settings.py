"""Settings of the simulator."""

from __future__ import annotations

from importlib import resources
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from hitsieve.settings import Settings, pump_pattern

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Style = Literal["vds", "vds-strided", "external", "single"]
Compression = Literal["bslz4", "bszstd", "lz4", "gzip", "none"]
PixelType = Literal["u8", "i8", "u16", "i16", "u32", "i32"]


def detector_names() -> tuple[str, ...]:
    """Names of the detectors that can be simulated."""
    folder = resources.files("hitsieve.testing") / "detectors"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


def _known_detector(name: str) -> str:
    if name not in detector_names():
        raise ValueError(f"unknown detector {name!r}; there are {', '.join(detector_names())}")
    return name


def _ascending(pair: tuple[float, float]) -> tuple[float, float]:
    if not 0 < pair[0] <= pair[1]:
        raise ValueError("the range must be two positive numbers, the smaller first")
    return pair


def jet_stop(text: str) -> tuple[int, int, int | None]:
    """Read a jet stop: FIRST:LAST gives (first, last, None), COUNTxLENGTH gives (0, length, count)."""
    first, colon, last = text.partition(":")
    count, times, length = text.partition("x")
    if colon and first.isdecimal() and last.isdecimal() and int(first) < int(last):
        return int(first), int(last), None
    if times and count.isdecimal() and length.isdecimal() and int(length) > 0:
        return 0, int(length), int(count)
    raise ValueError(f"jet stop {text!r} is neither FIRST:LAST (images, LAST not included) nor COUNTxLENGTH")


class SimulateSettings(Settings):
    """What run is simulated. Image i depends on the settings and i alone."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "simulated"
    """Prefix of the file names."""
    images: Annotated[int, Field(ge=1)] = 200
    """Images of the run."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Equal seeds give equal images."""
    overwrite: bool = False
    """Replace files that exist."""

    detector: Annotated[str, AfterValidator(_known_detector)] = "jungfrau-4m"
    """eiger2-16m, jungfrau-1m, jungfrau-4m, pilatus-6m or test-256k."""
    distance: Positive | None = None
    """Sample to detector (m); by default the detector's usual one."""
    beam_center_x: float | None = None
    """Beam centre along the fast axis (pixels)."""
    beam_center_y: float | None = None
    """Beam centre along the slow axis (pixels)."""
    wavelength: Annotated[float, Field(gt=0.01, lt=20)] = 1.0
    """Wavelength (angstrom)."""

    style: Style = "vds"
    """How the master file refers to the images."""
    modules: bool = False
    """Describe every module of the detector by itself, as panels; else the whole detector as one."""
    images_per_file: Annotated[int, Field(ge=1)] = 1000
    """Most images of a data file."""
    compression: Compression = "bslz4"
    """Compression of the images, one image a chunk."""
    dtype: PixelType | None = None
    """Type of the pixels; by default the detector's usual one."""

    hit_fraction: Fraction = 0.05
    """Probability that an image is a hit while the jet runs."""
    second_lattice: Fraction = 0.1
    """Probability that a hit holds two crystals."""
    cell: tuple[Positive, Positive, Positive, Positive, Positive, Positive] = (79.0, 79.0, 38.0, 90.0, 90.0, 90.0)
    """Unit cell: a, b, c (angstrom), alpha, beta, gamma (degrees)."""
    centering: Literal["P", "A", "B", "C", "I", "F"] = "P"
    """Lattice centering."""
    d_min: Annotated[float, Field(ge=0.5)] = 1.8
    """Resolution limit (angstrom) of the crystals."""
    b_factor: NotNegative = 20.0
    """Overall B factor (square angstrom)."""
    mosaicity: NotNegative = 0.05
    """Mosaic spread (degrees, standard deviation)."""
    bandwidth: NotNegative = 1e-3
    """Relative width of the spectrum (standard deviation)."""
    divergence: NotNegative = 0.02
    """Divergence of the beam (degrees, standard deviation)."""
    rlp_size: NotNegative = 3e-4
    """Radius of a reciprocal lattice point (1/angstrom, standard deviation)."""
    spot_size: NotNegative = 0.9
    """Standard deviation (pixels) of a spot along each axis."""
    intensities: Literal["wilson", "uniform-log"] = "wilson"
    """wilson: Wilson statistics, partiality and B factor, scaled so that `spots` reflections have an snr of 6;
    uniform-log: `spots` reflections chosen at random, photons uniform in the logarithm over `photons`."""
    spots: Annotated[tuple[Positive, Positive], AfterValidator(_ascending)] = (15, 200)
    """Range of the number of spots a crystal; uniform in the logarithm for wilson, uniform for uniform-log."""
    scale: Annotated[float, Field(gt=0, le=1e4)] = 1.0
    """Factor on the photons of all reflections for wilson: above 1 there are more and brighter spots than `spots`."""
    scale_spread: Annotated[float, Field(ge=0, le=3)] = 0.3
    """Spread of that factor from crystal to crystal (standard deviation of its logarithm)."""
    photons: Annotated[tuple[Positive, Positive], AfterValidator(_ascending)] = (10, 250)
    """Range of the photons of a spot for uniform-log."""

    background: NotNegative = 0.48
    """Mean counts a pixel while the jet runs."""
    background_shape: Literal["water", "flat"] = "water"
    """water: ring of the jet and air scatter; flat: the same for all pixels and images, but for jet stops."""
    jet_spread: NotNegative = 0.2
    """Spread of the jet's thickness (standard deviation of its logarithm)."""
    jet_stops: tuple[str, ...] = ()
    """When the jet does not run: FIRST:LAST (images, LAST not included), or COUNTxLENGTH for stops at random; may be
    given more than once."""
    beamstop: NotNegative = 0.002
    """Radius (m) of the beamstop's shadow on the detector."""
    ice_fraction: Fraction = 0.0
    """Probability that an image shows ice rings."""
    flickers: NotNegative = 25.0
    """Mean number of unmasked pixels an image that light up once, with 4 to 60 counts."""
    hot_pixels: Annotated[int, Field(ge=0)] = 50
    """Hot pixels that the pixel mask knows."""
    unmasked_hot_pixels: Annotated[int, Field(ge=0)] = 3
    """Hot pixels that it does not know, each with a constant value."""
    dead_pixels: Annotated[int, Field(ge=0)] = 200
    """Dead pixels, all in the pixel mask."""
    pump: str = ""
    """Pump pattern: NAME:IMAGES,NAME:IMAGES... repeated over the run, as dark:1,light:3."""

    @model_validator(mode="after")
    def _readable(self) -> SimulateSettings:
        for stop in self.jet_stops:
            jet_stop(stop)
        if self.pump:
            pump_pattern(self.pump)
        return self

    @classmethod
    def weak(cls, **changes: object) -> SimulateSettings:
        """The weak preset: half of the images hits, 10 to 60 spots of 10 to 250 photons over 0.5 counts a pixel.

        The number of spots is uniform, the photons are uniform in the logarithm, the background is flat, and spots
        lie where a crystal in random orientation has reflections. Flickers and bad pixels are on.
        """
        preset: dict[str, object] = {
            "name": "weak",
            "hit_fraction": 0.5,
            "second_lattice": 0.0,
            "intensities": "uniform-log",
            "spots": (10, 60),
            "photons": (10, 250),
            "background": 0.5,
            "background_shape": "flat",
        }
        return cls.model_validate(preset | changes)


class StreamSettings(Settings):
    """How a series is sent, and what goes wrong on the way."""

    rate: Annotated[float, Field(ge=0)] = 0.0
    """Images a second; 0: as fast as they are taken."""
    series_id: Annotated[int, Field(ge=0)] = 1
    """Number of the series."""
    lose: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the images that are lost on the way."""
    double: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the images that are sent twice."""
    disorder: Annotated[int, Field(ge=0)] = 0
    """Places by which images may come too early or too late."""
    die_after: Annotated[int, Field(ge=0)] | None = None
    """Images after which the detector dies: no more images, and no end."""
    no_start: bool = False
    """The start is lost."""
    fault_seed: Annotated[int, Field(ge=0)] = 0
    """Which images are lost, doubled and out of order."""
