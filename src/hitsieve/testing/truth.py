"""The truth about a simulated run, as Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hitsieve.testing.images import Truth
from hitsieve.testing.settings import SimulateSettings


def write_truth(per_image: Path, per_spot: Path, truths: Sequence[Truth], settings: SimulateSettings) -> None:
    """Write one row an image to `per_image`, one row a spot to `per_spot`; the settings go in as metadata."""
    about = {b"hitsieve.simulation": settings.model_dump_json().encode()}
    pq.write_table(_images(truths).replace_schema_metadata(about), per_image)
    pq.write_table(_spots(truths).replace_schema_metadata(about), per_spot)


def _images(truths: Sequence[Truth]) -> pa.Table:
    return pa.table(
        {
            "image": pa.array([t.image for t in truths], pa.int64()),
            "state": pa.array(["hit" if t.hit else "blank" for t in truths]),
            "jet": pa.array(["running" if t.jet else "stopped" for t in truths]),
            "jet_thickness": pa.array([t.jet_thickness for t in truths], pa.float32()),
            "background": pa.array([t.background for t in truths], pa.float32()),
            "n_lattices": pa.array([len(t.a_matrices) for t in truths], pa.int8()),
            "a_matrices": pa.array(
                [[float(v) for matrix in t.a_matrices for v in matrix.ravel()] for t in truths], pa.list_(pa.float64())
            ),
            "n_spots": pa.array([len(t.spots) for t in truths], pa.int32()),
            "n_spots_snr6": pa.array([t.n_spots_snr6 for t in truths], pa.int32()),
            "ice": pa.array([t.ice for t in truths]),
            "n_ice_spots": pa.array([t.n_ice_spots for t in truths], pa.int32()),
            "n_flickers": pa.array([t.n_flickers for t in truths], pa.int32()),
            "pump": pa.array([t.pump for t in truths], pa.string()),
        }
    )


def _spots(truths: Sequence[Truth]) -> pa.Table:
    spots = [t.spots for t in truths]
    hkl = np.concatenate([s.hkl for s in spots])
    columns = {
        "image": np.repeat(np.array([t.image for t in truths], dtype=np.int64), [len(s) for s in spots]),
        **{name: np.concatenate([getattr(s, name) for s in spots]) for name in ("x", "y", "photons", "landed", "snr")},
        "h": hkl[:, 0],
        "k": hkl[:, 1],
        "l": hkl[:, 2],
        "lattice": np.concatenate([s.lattice for s in spots]),
        "d": np.concatenate([s.d for s in spots]),
    }
    return pa.table(columns)
