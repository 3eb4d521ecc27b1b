"""Files of a run that has everything that hit_finding can say."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest

import hitsieve
from hitsieve import pipeline
from hitsieve.pipeline.known import Known
from hitsieve.pipeline.veto import Dropped, Veto
from hitsieve.pipeline.view.subset import Choice, SubsetRequest, write_subset
from hitsieve.settings import RunSettings
from hitsieve.testing import SimulateSettings, simulate

HOME = Path(__file__).parents[2] / "definitions"
SIMULATION = {
    "name": "made",
    "detector": "test-256k",
    "images": 60,
    "images_per_file": 20,
    "hit_fraction": 0.4,
    "seed": 5,
    "pump": "dark:1,light:2",
}


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Outputs of a run with pump states, of which an image is damaged and a file is lost."""
    folder = tmp_path_factory.mktemp("definitions")
    made = simulate(folder / "in", SimulateSettings.model_validate(SIMULATION))
    made.data_files[2].unlink()
    with h5py.File(made.data_files[0], "r+") as handle:
        images = handle["entry/data/data"].id
        images.write_direct_chunk((3, 0, 0), images.read_direct_chunk((3, 0, 0))[1][:100] + b"\xff" * 900)
    geometry = folder / "made.geom"
    geometry.write_text(GEOMETRY)
    out = folder / "out"
    settings = {
        "source": {"pump": "dark:1,light:2", "set": ["sample_name=lysozyme"], "geometry": geometry},
        "write": {"misses": "keep", "split_pump": True},
        "index": {"cell": "79,79,38,90,90,90"},
        "workers": 2,
    }
    hitsieve.run(made.master, output=out, settings=RunSettings.model_validate(settings))
    write_subset(SubsetRequest(out / "made_hits.h5", folder / "few.h5", Choice(first=3, pump="light")))
    return {
        "few": folder / "few.h5",
        "hits": out / "made_hits.h5",
        "misses": out / "made_misses.h5",
        "annotated": out / "made_annotated.h5",
        "dark": out / "made_dark_hits.h5",
        "vetoed": _vetoed(made.master, folder / "vetoed"),
    }


def _vetoed(master: Path, out: Path) -> Path:
    """Hits of images that came as a stream, most misses of which were dropped."""
    rooms = {"write": {"output": out}, "verdict": {"min_spots": 8}, "index": {"indexing": "off"}, "workers": 2}
    settings = RunSettings.model_validate(rooms | {"catalogue": {"no_catalogue": True}})
    known = Known(dropped=Dropped(Veto.of(settings, 8, None), rest=True))
    return pipeline.run([master], settings, known=known).outputs.hits


GEOMETRY = """clen = 0.05
res = 13333.333
p/min_fs = 0
p/max_fs = 513
p/min_ss = 0
p/max_ss = 523
p/corner_x = -257
p/corner_y = -232
p/fs = x
p/ss = y
data = /entry/data/data
dim0 = %
dim1 = ss
dim2 = fs
"""
