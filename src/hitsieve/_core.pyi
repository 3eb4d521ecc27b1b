"""Types of the compiled core."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

class SpotFinder:
    """Finds spots on images of one geometry and type; immutable, safe to share between threads.

    Raises ValueError for arguments that do not fit together.
    """

    def __init__(
        self,
        *,
        bins: npt.NDArray[np.uint16],
        valid: npt.NDArray[np.bool_],
        dtype: str,
        underload: int,
        saturation: int | None,
        error_value: int | None,
        background_bins: npt.NDArray[np.bool_],
        panels: npt.NDArray[np.uint16] | None = None,
        algorithm: str = "radial",
        snr: float = 6.0,
        min_count: int = 5,
        min_pixels: int = 2,
        max_pixels: int = 200,
        spot_snr: float = 6.0,
        ring_width: int = 3,
        max_spots: int = 2000,
    ) -> None: ...
    @property
    def sample(self) -> npt.NDArray[np.uint32]:
        """Numbers of the 4096-pixel units that the background is taken from."""
    def find(self, image: npt.NDArray[np.generic]) -> Batch:
        """Search one unpacked image (slow, fast)."""
    def profile(
        self, image: npt.NDArray[np.generic]
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Background of each bin of one unpacked image: pixels, mean, sigma and threshold, as the search takes them.

        Where there are no pixels the others mean nothing.
        """
    def find_stored(self, stored: bytes | npt.NDArray[np.uint8], codec: str) -> Batch:
        """Search one image in its stored form; a corrupt one gets a reason in the batch, no exception."""
    def scan(
        self,
        paths: Sequence[str],
        codecs: Sequence[str],
        file: npt.NDArray[np.int32],
        offset: npt.NDArray[np.int64],
        size: npt.NDArray[np.int64],
        workers: int,
        batch: int,
    ) -> Scan:
        """Search many stored images in order, with `workers` threads, `batch` images an item.

        Memory is bounded. Images that cannot be read or decoded get a reason; those with a negative file number are
        passed over, with an empty one. Where the system has fewer threads to give, those do it; raises OSError where it
        has none.
        """

class Scan(Iterator[Batch]):
    """A search under way."""

    def __iter__(self) -> Scan: ...
    def __next__(self) -> Batch: ...
    def close(self) -> None:
        """Stop the workers."""

class Batch:
    """Results of consecutive images, as columns."""

    @property
    def reasons(self) -> dict[int, str]:
        """Why an image (by position in the batch) could not be searched."""
    @property
    def n_spots(self) -> npt.NDArray[np.int32]: ...
    @property
    def n_strong(self) -> npt.NDArray[np.int32]: ...
    @property
    def n_saturated(self) -> npt.NDArray[np.int32]: ...
    @property
    def max_count(self) -> npt.NDArray[np.int64]: ...
    @property
    def background(self) -> npt.NDArray[np.float32]: ...
    @property
    def offsets(self) -> npt.NDArray[np.int64]: ...
    @property
    def x(self) -> npt.NDArray[np.float32]: ...
    @property
    def y(self) -> npt.NDArray[np.float32]: ...
    @property
    def intensity(self) -> npt.NDArray[np.float32]: ...
    @property
    def spot_background(self) -> npt.NDArray[np.float32]: ...
    @property
    def snr(self) -> npt.NDArray[np.float32]: ...
    @property
    def n_pixels(self) -> npt.NDArray[np.int32]: ...
    @property
    def peak(self) -> npt.NDArray[np.float32]: ...
    @property
    def flags(self) -> npt.NDArray[np.uint8]: ...

class CellIndexer:
    """Finds lattices of one cell; immutable, safe to share between threads.

    Raises ValueError for an impossible cell or an unknown centring.
    """

    def __init__(
        self,
        cell: tuple[float, float, float, float, float, float],
        centring: str,
        *,
        min_spots: int,
        min_fraction: float,
        max_chance: float,
        max_lattices: int,
        length_tolerance: float,
        angle_tolerance: float,
    ) -> None: ...
    def index(self, q: npt.NDArray[np.float64]) -> list[FoundLattice]:
        """Lattices in spots with reciprocal vectors `q` (n, 3) in 1/angstrom, the best first."""
    def begin(self, q: list[npt.NDArray[np.float64]]) -> CellSearches:
        """The searches of many images, which have not begun."""

class CellSearches:
    """Searches of many images that go on together. Each stops wherever it wants trials made.

    What is wanted comes as the length of the vectors (angstrom) and columns over the images that want it, which
    `trials.cu` names; `images` are their numbers.
    """

    def go_on(self, workers: int) -> None:
        """Go on with all that have their answer, in so many threads, until they want trials or end."""
    def first(self) -> tuple[float, dict[str, npt.NDArray[Any]]] | None:
        """First vectors that are wanted."""
    def answer_first(
        self,
        images: npt.NDArray[np.int64],
        begin: npt.NDArray[np.int64],
        keys: npt.NDArray[np.uint64],
        scores: npt.NDArray[np.float64],
        moved: npt.NDArray[np.float64],
    ) -> None:
        """The best of them, in any order: those of image i are begin[i] to begin[i + 1]."""
    def second(self) -> tuple[float, dict[str, npt.NDArray[Any]]] | None:
        """Second vectors that are wanted."""
    def answer_second(
        self,
        images: npt.NDArray[np.int64],
        begin: npt.NDArray[np.int64],
        scores: npt.NDArray[np.float32],
        numbers: npt.NDArray[np.int32],
    ) -> None:
        """A row for each first vector: scores and numbers of the best turns; number -1: none."""
    def found(self) -> list[list[FoundLattice]]:
        """Lattices of each image; none of those whose search goes on."""

def golden_turns(n: int) -> npt.NDArray[np.float64]:
    """Cosine and sine of turns by the golden angle, shape (n, 2)."""

class FoundLattice:
    """One lattice in the setting of the known cell."""

    @property
    def reciprocal(self) -> npt.NDArray[np.float64]:
        """Columns a*, b*, c* (1/angstrom)."""
    @property
    def cell(self) -> tuple[float, float, float, float, float, float]: ...
    @property
    def spots(self) -> npt.NDArray[np.int64]: ...
    @property
    def hkl(self) -> npt.NDArray[np.int32]: ...
    @property
    def residual(self) -> float: ...
    @property
    def chance(self) -> float: ...

def index_unknown(
    q: npt.NDArray[np.float64],
    *,
    min_spots: int,
    min_fraction: float,
    max_chance: float,
    min_length: float,
    max_length: float,
) -> FoundLattice | None:
    """The lattice of unknown primitive cell that explains most spots, in its reduced cell."""

def consensus_cell(
    cells: list[tuple[float, float, float, float, float, float]], length_tolerance: float, angle_tolerance: float
) -> (
    tuple[
        tuple[float, float, float, float, float, float],
        list[int],
        list[tuple[float, float, float, float, float, float]],
    ]
    | None
):
    """Cell, members and their cells in its setting, of the largest group of like primitive cells.

    None without cells or with an impossible one.
    """

def sha256_all(things: Sequence[bytes]) -> list[bytes]:
    """SHA-256 of each; two take little longer than one."""

def hashes_fast() -> bool:
    """Whether this processor has instructions for SHA-256; without them the core is slower than hashlib."""

class Comparison:
    """Compares chunks of a file with bytes of others, in one pass over the file, read past the page cache if possible.

    Chunks (offset, size) are in the order of the file and apart; chunk i is compared with as many bytes of the file
    `sources[source[i]]` from `source_offset[i]` on. Raises OSError where the file cannot be read, or the system has no
    thread to give.
    """

    def __init__(
        self,
        path: str,
        offset: npt.NDArray[np.int64],
        size: npt.NDArray[np.int64],
        sources: Sequence[str],
        source: npt.NDArray[np.int32],
        source_offset: npt.NDArray[np.int64],
    ) -> None: ...
    def take(self, n: int) -> tuple[npt.NDArray[np.bool_], bytes]:
        """Of the next chunks, at most n: whether each is that of its source, and their SHA-256, one after the other.

        Bytes of a source that cannot be read are not the same.
        """
    def finish(self) -> bytes:
        """SHA-256 of the whole file, which is read to its end."""

def hold_memory() -> None:
    """Hold memory that is free, so that images that come and go do not need to ask the system for it."""

def cpu_features() -> str:
    """Which variant of the kernels this machine runs: avx512, avx2 or portable."""

class ImagePainter:
    """Draws simulated images of one detector; immutable, safe to share between threads."""

    def __init__(self, *, levels: npt.NDArray[np.uint16], blind_value: int, most: int) -> None:
        """Levels of the pixels (slow, fast), 65535 for gaps; the value of gaps; the most counts a pixel holds."""
    def paint(
        self,
        out: npt.NDArray[np.generic],
        seed: int,
        means: npt.NDArray[np.float64],
        spots: npt.NDArray[np.float64],
        extra: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.uint32]:
        """Draw one image into `out` (8, 16 or 32-bit integers) and give each spot's photons on sensitive pixels.

        `means`: counts a pixel for each level (fewer than 2048); `spots`: rows (x, y, sigma, photons);
        `extra`: rows (flat pixel number, counts) added to single pixels.
        """
