"""DIALS: an experiment list (`.expt`, JSON) and a reflection table (`.refl`, MessagePack).

DIALS works in the frame of imgCIF, ours is that of McStas: x and z change sign, a half turn about y, so that Miller
indices stay. Lengths are millimetres there. The reflection table is a MessagePack array of its name, version 1, and a
map of `identifiers`, `nrows` and `data`; a column is [type, [rows, little-endian bytes]].
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import numpy.typing as npt

from hitsieve.model import Panel
from hitsieve.model.detector import Vector
from hitsieve.write.export.images import Experiment, Floats, Images

TO_DIALS = np.array([-1.0, 1.0, -1.0])
"""Signs of x, y, z."""
STRONG, INDEXED = 1 << 5, 1 << 2
"""Bits of DIALS' reflection flags."""
PIXEL_VARIANCE = 1.0 / 12.0
"""Of a place known to the pixel (pixels squared): spots come without a variance of their own."""

Identifiers = tuple[str, ...]


@dataclass(slots=True)
class DialsFiles:
    """Collects images; gives both files.

    Parameters
    ----------
    experiment : Experiment
        What the images share.
    indexed : bool
        True: one experiment a lattice, and the spots it indexes. False: one experiment an image, without a crystal, and
        all its spots, to be indexed by DIALS.

    Raises
    ------
    MetadataError
        Geometry or wavelength is unknown.
    """

    experiment: Experiment
    indexed: bool = True
    _experiments: list[dict[str, Any]] = field(default_factory=list)
    _imagesets: list[dict[str, Any]] = field(default_factory=list)
    _crystals: list[dict[str, Any]] = field(default_factory=list)
    _beams: dict[float, int] = field(default_factory=dict)
    _columns: list[dict[str, npt.NDArray[Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.experiment.need_geometry()

    def __len__(self) -> int:
        return len(self._experiments)

    def add(self, images: Images) -> None:
        """Append a batch of images; those without a lattice are passed over where `indexed`."""
        images.need_wavelength(self.experiment.file)
        owner = images.lattice_image() if self.indexed else np.arange(len(images))
        first = len(self)
        self._columns.append(self._reflections(images, first))
        sets: dict[int, int] = {}
        # A lattice has the number of its place in the batch; an image has that of its row.
        numbers = np.arange(len(owner)) - np.searchsorted(owner, owner)
        for image, number in zip(owner.tolist(), numbers.tolist(), strict=True):
            row = int(images.row[image])
            if image not in sets:
                sets[image] = len(self._imagesets)
                self._imagesets.append(self._imageset(row))
            wavelength = float(images.wavelength[image])
            made = {
                "__id__": "Experiment",
                "identifier": str(uuid5(NAMESPACE_URL, f"{self.experiment.file}#{row}/{number}")),
                "beam": self._beams.setdefault(wavelength, len(self._beams)),
                "detector": 0,
                "imageset": sets[image],
            }
            if self.indexed:
                made["crystal"] = len(self._experiments)
            self._experiments.append(made)
        if self.indexed:
            self._crystals += _crystals(images.results.lattices.A, self._hall_symbol())

    def _reflections(self, images: Images, first: int) -> dict[str, npt.NDArray[Any]]:
        """Columns of the batch's reflections, sorted by experiment."""
        detector = self.experiment.detector
        owner = images.spot_lattice() if self.indexed else images.spot_image()
        spots = images.results.spots
        panel = detector.panel_of(spots.x, spots.y)
        kept = np.flatnonzero((owner >= 0) & (panel < len(detector.panels)))
        kept = kept[np.argsort(owner[kept], kind="stable")]
        spots, panel = spots.take(kept), panel[kept]
        image = images.spot_image()[kept]
        n = len(kept)
        corner, pixel = _corners_and_pixels(detector.panels)
        place = np.column_stack([spots.x, spots.y, images.row[image] + 0.5]).astype(np.float64)
        place[:, :2] -= corner[panel]
        size = np.column_stack([pixel[panel], np.zeros(n)])
        intensity = spots.intensity.astype(np.float64)
        variance = np.maximum(intensity, 0) + np.maximum(spots.background, 0) * spots.n_pixels
        columns = {
            "id": (owner[kept] + first).astype("<i4"),
            "panel": panel.astype("<u8"),
            "flags": np.full(n, STRONG | (INDEXED if self.indexed else 0), "<u8"),
            "xyzobs.px.value": place,
            "xyzobs.px.variance": np.full((n, 3), PIXEL_VARIANCE),
            "xyzobs.mm.value": place * size,
            "xyzobs.mm.variance": PIXEL_VARIANCE * size**2,
            "intensity.sum.value": intensity,
            "intensity.sum.variance": np.asarray(variance, dtype=np.float64),
            "n_signal": spots.n_pixels.astype("<i4"),
        }
        if self.indexed:
            s1, s0 = images.waves(self.experiment)
            columns["s1"] = s1[kept] * TO_DIALS
            columns["rlp"] = (s1 - s0)[kept] * TO_DIALS
            columns["miller_index"] = np.column_stack([spots.h, spots.k, spots.l]).astype("<i4")
        return columns

    def _imageset(self, row: int) -> dict[str, Any]:
        return {
            "__id__": "ImageSet",
            "images": [str(self.experiment.file)],
            "single_file_indices": [row],
            "mask": None,
            "gain": None,
            "pedestal": None,
            "dx": None,
            "dy": None,
            "params": {"dynamic_shadowing": "Auto", "multi_panel": False},
        }

    def _hall_symbol(self) -> str:
        """No symmetry but the centring: that of the lattice is for DIALS and its user to impose."""
        return f"{self.experiment.cell.centring if self.experiment.cell else 'P'} 1"

    def expt(self) -> bytes:
        """The experiment list."""
        everything = {
            "__id__": "ExperimentList",
            "experiment": self._experiments,
            "imageset": self._imagesets,
            "beam": [_beam(wavelength, self.experiment.direction) for wavelength in self._beams],
            "detector": [_detector(self.experiment)],
            "goniometer": [],
            "scan": [],
            "crystal": self._crystals,
            "profile": [],
            "scaling_model": [],
        }
        return json.dumps(everything, allow_nan=False).encode()

    def refl(self) -> bytes:
        """The reflection table."""
        import msgpack

        names = self._columns[0] if self._columns else {}
        data = {name: _column(np.concatenate([part[name] for part in self._columns])) for name in sorted(names)}
        _rename(data, {"miller_index": "cctbx::miller::index<>", "panel": "std::size_t", "flags": "std::size_t"})
        n = sum(len(part["id"]) for part in self._columns)
        identifiers = {i: made["identifier"] for i, made in enumerate(self._experiments)}
        table = ["dials::af::reflection_table", 1, {"identifiers": identifiers, "nrows": n, "data": data}]
        packed: bytes = msgpack.packb(table, use_bin_type=True)
        return packed


def _column(values: npt.NDArray[Any]) -> list[Any]:
    kind = "int" if values.dtype.kind == "i" else "double" if values.ndim == 1 else "vec3<double>"
    return [kind, [len(values), np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()]]


def _rename(data: dict[str, list[Any]], kinds: dict[str, str]) -> None:
    """Give the columns whose type their numbers do not tell its name."""
    for name in data.keys() & kinds.keys():
        data[name][0] = kinds[name]


def _corners_and_pixels(panels: tuple[Panel, ...]) -> tuple[Floats, Floats]:
    """First pixel (x, y) and pixel size (mm) of each panel, shape (panels, 2)."""
    corner = np.array([(panel.first[1], panel.first[0]) for panel in panels], dtype=np.float64)
    pixel = 1e3 * np.array([(np.linalg.norm(panel.fast), np.linalg.norm(panel.slow)) for panel in panels])
    return corner, pixel


def _crystals(A: Floats, hall_symbol: str) -> Iterable[dict[str, Any]]:
    direct = np.linalg.inv(A) * TO_DIALS
    return [
        {
            "__id__": "crystal",
            "real_space_a": a,
            "real_space_b": b,
            "real_space_c": c,
            "space_group_hall_symbol": hall_symbol,
        }
        for a, b, c in direct.tolist()
    ]


def _beam(wavelength: float, direction: Vector) -> dict[str, Any]:
    # DIALS' direction is that from the sample to the source.
    to_source = -TO_DIALS * direction + 0.0
    return {"__id__": "monochromatic", "direction": to_source.tolist(), "wavelength": wavelength}


def _detector(experiment: Experiment) -> dict[str, Any]:
    return {"panels": [_panel(panel, experiment) for panel in experiment.detector.panels]}


def _panel(panel: Panel, experiment: Experiment) -> dict[str, Any]:
    detector = experiment.detector
    steps = [np.asarray(step) for step in (panel.fast, panel.slow)]
    sizes = [float(np.linalg.norm(step)) for step in steps]
    fast, slow = ((TO_DIALS * step / size).tolist() for step, size in zip(steps, sizes, strict=True))
    made: dict[str, Any] = {
        "name": panel.name,
        "type": "SENSOR_PAD",
        "fast_axis": fast,
        "slow_axis": slow,
        "origin": (1e3 * TO_DIALS * panel.origin).tolist(),
        "raw_image_offset": [panel.first[1], panel.first[0]],
        "image_size": [panel.shape[1], panel.shape[0]],
        "pixel_size": [1e3 * size for size in sizes],
        "trusted_range": list(_trusted(experiment)),
        "thickness": 1e3 * (detector.sensor_thickness or 0.0),
        "material": detector.sensor_material or "",
        "mu": 0.0,
        "identifier": "",
        "mask": [],
        "gain": 1.0,
        "pedestal": 0.0,
        # The lattices were found without a correction for the depth at which photons are absorbed.
        "px_mm_strategy": {"type": "SimplePxMmStrategy"},
    }
    return made


def _trusted(experiment: Experiment) -> tuple[float, float]:
    """Least and largest count that is data, as stated, or else what a pixel can hold."""
    detector = experiment.detector
    kind: Any = experiment.dtype
    limits: Any = np.iinfo(kind) if kind.kind in "iu" else np.finfo(kind)
    low = limits.min if detector.underload_value is None else detector.underload_value
    high = limits.max if detector.saturation_value is None else detector.saturation_value
    return float(low), float(high)
