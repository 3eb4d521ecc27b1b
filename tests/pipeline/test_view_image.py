"""What there is to be seen of one image of a run, whatever has become of its files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock

import h5py
import hdf5plugin
import numpy as np
import pytest

from hitsieve import pipeline
from hitsieve.errors import SourceError
from hitsieve.model import Detector, Lattices, Place, Spots, State
from hitsieve.pipeline.reopen import reopen
from hitsieve.pipeline.view.image import KINDS, NotShown, RunImages
from hitsieve.pipeline.view.lattice import MOST_PREDICTED, Prediction, predictions
from hitsieve.pipeline.view.pyramid import OVERVIEW, Pyramid, Recent
from hitsieve.pipeline.view.sheet import sheet_of
from hitsieve.settings import RunSettings
from hitsieve.source import open_run, read_image
from hitsieve.testing import Simulated, SimulateSettings, simulate
from hitsieve.write import open_results

BROKEN = 5
DATA = "entry/data/data"


def spoil(path: Path, row: int) -> None:
    """Make the chunk of an image one that cannot be decoded."""
    with h5py.File(path, "r+") as file:
        images = file[DATA].id
        images.write_direct_chunk((row, 0, 0), images.read_direct_chunk((row, 0, 0))[1][:100] + b"\xff" * 900)


def sieve(made: Simulated, folder: Path) -> Path:
    settings = {"write": {"output": folder, "audit_min": 2, "misses": "keep"}, "verdict": {"min_spots": 9}}
    pipeline.run([made.master], RunSettings.model_validate({**settings, "workers": 2}))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """A run of 24 images in two files; one cannot be decoded."""
    settings = SimulateSettings(
        name="few", detector="test-256k", images=24, images_per_file=12, hit_fraction=0.4, seed=11
    )
    made = simulate(tmp_path_factory.mktemp("few"), settings)
    spoil(made.data_files[0], BROKEN)
    return made


@pytest.fixture(scope="module")
def results(made: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sieve(made, tmp_path_factory.mktemp("results"))


@pytest.fixture
def seen(results: Path) -> Iterator[RunImages]:
    with open_results(results) as stored:
        yield RunImages(stored)


@pytest.fixture
def alone(made: Simulated, tmp_path: Path) -> Iterator[tuple[RunImages, Path]]:
    """The run in a folder of its own, to do damage to, and its results."""
    folder = tmp_path / "run"
    shutil.copytree(made.master.parent, folder)
    here = replace(made, master=folder / made.master.name)
    sieve(here, tmp_path / "results")
    with open_results(tmp_path / "results") as stored:
        yield RunImages(stored), folder


def test_pixels_are_those_of_the_original(seen: RunImages) -> None:
    with reopen(seen.stored) as opened:
        for image in (0, 11, 12, 23):
            picture = seen.picture(image)
            assert picture.original
            assert "few_data_" in picture.place.path.name
            np.testing.assert_array_equal(picture.pyramid.pixels, opened.pixels(image))


def test_detector_and_beam_are_those_of_the_original(seen: RunImages) -> None:
    """The outputs alone say what the original says, so that a page needs none of its files."""
    with reopen(seen.stored) as opened:
        assert seen.run.detector.panels == opened.run.detector.panels
        assert seen.run.beam.wavelength == opened.run.beam.wavelength
        assert seen.run.detector.saturation_value == opened.run.detector.saturation_value


def test_next_and_previous(seen: RunImages) -> None:
    state = seen.stored.column("state")
    of_kind = {
        "image": np.arange(24),
        "indexed": np.flatnonzero(seen.stored.column("n_lattices") > 0),
        **{kind.name.lower(): np.flatnonzero(state == kind) for kind in State},
    }
    assert set(of_kind) == set(KINDS)
    for kind in KINDS:
        images = of_kind[kind].tolist()
        for image in (0, 1, BROKEN, 12, 23):
            before = max((other for other in images if other < image), default=None)
            after = min((other for other in images if other > image), default=None)
            assert seen.around(image, kind) == (before, after), (kind, image)
    assert seen.around(10**12, "image") == (23, None)
    assert seen.around(-(10**12), "image") == (None, 0)


def test_spots_of_a_lattice_lie_on_its_predictions(seen: RunImages) -> None:
    indexed = np.flatnonzero(seen.stored.column("n_lattices") > 0).tolist()
    assert indexed
    for image in indexed:
        facts = seen.facts(image)
        spots = facts.account.results.spots
        for number, predicted in enumerate(one.reflections for one in facts.predicted):
            own = spots.take(spots.lattice == number)
            at = {tuple(h): (x, y) for h, x, y in zip(predicted.hkl.tolist(), predicted.x, predicted.y, strict=True)}
            named = list(zip(own.h.tolist(), own.k.tolist(), own.l.tolist(), strict=True))
            off = [np.hypot(at[h][0] - x, at[h][1] - y) for h, x, y in zip(named, own.x, own.y, strict=True) if h in at]
            assert len(off) >= 0.8 * len(named)
            assert max(off) < 3.0
            assert len(predicted) < 6 * len(named), "so many that any spot lies on one"


def test_lattices_of_any_numbers_are_told_of_and_not_looked_through(seen: RunImages) -> None:
    """Miller indices far beyond the crystal's, a cell of a millimetre, and thousands of lattices in one image."""
    image = int(np.flatnonzero(seen.stored.column("n_lattices") > 0)[0])
    results, detector, beam = seen.stored.read([image]), seen.run.detector, seen.run.beam.of(image)

    def predicted(spots: Spots, lattices: Lattices) -> tuple[Prediction, ...]:
        return predictions(replace(results, spots=spots, lattices=lattices), detector, beam, "P")

    spots, lattices = results.spots, results.lattices
    assert len(predicted(spots, lattices)[0].reflections) and not predicted(spots, lattices)[0].why_not
    far = replace(spots, h=spots.h * 0 + 32000)
    assert "reflections on this image" in predicted(far, replace(lattices, A=lattices.A / 20))[0].why_not
    assert "an axis" in predicted(spots, replace(lattices, A=lattices.A * 1e-6))[0].why_not
    many = lattices.take(np.zeros(3000, dtype=np.int64))
    numbers = replace(spots, lattice=(np.arange(len(spots)) % 100).astype(spots.lattice.dtype))
    found = predicted(numbers, many)
    assert len(found) == 3000
    assert sum(len(one.reflections) for one in found) <= MOST_PREDICTED
    assert len(found[0].reflections) and [bool(one.why_not) for one in found[15:18]] == [False, True, False]


def test_an_unreadable_image_says_why_and_is_not_decoded(seen: RunImages) -> None:
    facts = seen.facts(BROKEN)
    assert facts.account.state == State.UNREADABLE
    with pytest.raises(NotShown, match=r"image 5 is unreadable: .*few_data_000001\.h5"):
        seen.picture(BROKEN)
    with pytest.raises(NotShown, match="unreadable"):
        seen.shown(BROKEN)


@pytest.mark.parametrize("image", [-1, 24, 10**15])
def test_no_such_image(seen: RunImages, image: int) -> None:
    for ask in (seen.facts, seen.picture, seen.shown):
        with pytest.raises(SourceError, match="has no image"):
            ask(image)


def test_images_are_shown_from_the_outputs_where_the_original_is_gone(alone: tuple[RunImages, Path]) -> None:
    seen, folder = alone
    state = seen.stored.column("state")
    hit, miss = (int(np.flatnonzero(state == kind)[0]) for kind in (State.HIT, State.MISS))
    before = {image: seen.picture(image).pyramid.pixels for image in (hit, miss)}
    shutil.rmtree(folder)
    afresh = RunImages(seen.stored)
    for image, name in ((hit, "few_hits.h5"), (miss, "few_misses.h5")):
        picture = afresh.picture(image)
        assert not picture.original
        assert picture.place.path.name == name
        assert "there is no such file" in picture.why_not_original
        np.testing.assert_array_equal(picture.pyramid.pixels, before[image])
    assert not afresh.shown(hit).account.differs

    assert seen.stored.outputs.misses is not None
    seen.stored.outputs.misses.unlink()
    with open_results(seen.stored.outputs.summary) as stored, h5py.File(stored.outputs.hits) as file:
        sample = file["entry/hit_finding/audit/source_image"][()].tolist()
        lost = int(np.setdiff1d(np.flatnonzero(state == State.MISS), sample)[0])
        without = RunImages(stored)
        picture = without.picture(sample[0])
        assert picture.place == Place(stored.outputs.hits, "/entry/hit_finding/audit/data", 0)
        with pytest.raises(NotShown, match=f"image {lost} cannot be shown: .* and no output holds it"):
            without.picture(lost)
        # What was found on it is known all the same.
        assert without.facts(lost).account.state == State.MISS


def test_one_file_of_several_is_enough(alone: tuple[RunImages, Path]) -> None:
    """As after hitsieve recall: only some files are back."""
    seen, folder = alone
    next(folder.glob("*_data_000001.h5")).unlink()
    next(folder.glob("*_master.h5")).unlink()
    assert seen.picture(20).original
    assert not seen.picture(0).original


def test_an_original_that_is_damaged_since_is_told(alone: tuple[RunImages, Path]) -> None:
    seen, folder = alone
    image = int(np.flatnonzero(seen.stored.column("state") == State.HIT)[0])
    spoil(next(folder.glob("*_data_000001.h5")), image)
    picture = seen.picture(image)
    assert picture.place.path.name == "few_hits.h5"
    assert "cannot be decoded" in picture.why_not_original
    spoil(seen.stored.outputs.hits, 0)
    with pytest.raises(NotShown, match=f"image {image} cannot be shown: .*cannot be decoded.*few_hits.h5.*cannot be"):
        RunImages(seen.stored).picture(image)


def test_files_outside_of_what_may_be_read_are_not(results: Path) -> None:
    @contextmanager
    def hold(path: Path, source: bool) -> Iterator[Path]:
        if source:
            raise SourceError(f"{path.name} is none of your business")
        yield path

    with open_results(results) as stored:
        seen = RunImages(stored, hold=hold)
        picture = seen.picture(int(np.flatnonzero(stored.column("state") == State.HIT)[0]))
        assert picture.place.path == stored.outputs.hits
        assert picture.why_not_original == "few_data_000001.h5 is none of your business"


def test_what_the_search_sees(seen: RunImages) -> None:
    image = int(np.flatnonzero(seen.stored.column("state") == State.HIT)[0])
    shown = seen.shown(image)
    assert not shown.account.differs
    assert shown.angle is not None and not shown.local
    assert (shown.spots.peak > shown.threshold[shown.bins]).all()
    d = shown.wavelength / (2 * np.sin(shown.angle[shown.bins] / 2))
    np.testing.assert_allclose(d, shown.spots.resolution, rtol=0.12)


def test_levels_keep_the_largest_count_of_the_used_pixels() -> None:
    random = np.random.default_rng(2)
    pixels = random.poisson(1.0, (2111, 2003)).astype(np.uint16)
    used = random.random(pixels.shape) > 0.3
    used[100:164, :70] = False
    pixels[~used] = 60_000
    pixels[2110, 2002], used[2110, 2002] = 65_534, True
    made = Pyramid.of(pixels, used)
    assert not made.wide and made.levels == 2
    assert made.overview().size <= OVERVIEW
    counts = np.where(used, pixels.astype(int), -1)
    padded = np.pad(counts, ((0, 1), (0, 1)), constant_values=-1)
    wanted = padded.reshape(1056, 2, 1002, 2).max(axis=(1, 3))
    np.testing.assert_array_equal(made.overview().astype(int) - made.offset, wanted)
    np.testing.assert_array_equal(made.tile(0, 3, 4).astype(int) - made.offset, counts[2048:, 1536:])
    np.testing.assert_array_equal(made.tile(1, 0, 1), made.overview()[512:1024, :512])
    for level, column, row in ((2, 0, 0), (-1, 0, 0), (0, 4, 0), (0, 0, 5), (0, -1, 0), (0, 10**9, 0)):
        with pytest.raises(SourceError, match="no tile"):
            made.tile(level, column, row)


@pytest.mark.parametrize(
    ("dtype", "low", "high", "wide"),
    [("int32", -5, 70_000, True), ("uint32", 0, 2**32 - 2, True), ("uint16", 0, 65_535, True), ("int16", 0, 9, False)],
)
def test_cells_hold_all_counts(dtype: str, low: int, high: int, wide: bool) -> None:
    pixels = np.array([[low, high], [3, 0]], dtype=dtype)
    used = np.array([[True, True], [True, False]])
    made = Pyramid.of(pixels, used)
    assert made.wide == wide
    cells = made.overview().astype(int)
    assert cells[1, 1] == made.no_data
    assert (cells - made.offset)[used].tolist() == [low, min(high, 2**31 - 1), 3]


def test_an_image_without_used_pixels() -> None:
    made = Pyramid.of(np.full((3, 4), -1, dtype=np.int16), np.zeros((3, 4), dtype=np.bool_))
    assert (made.overview() == made.no_data).all()
    assert made.contrast() == (0.0, 4.0)


def test_few_images_are_unpacked_at_a_time_and_few_are_kept() -> None:
    pixels = np.zeros((64, 64), dtype=np.uint8)
    one = Pyramid.of(pixels, np.ones(pixels.shape, dtype=np.bool_))
    recent: Recent[Pyramid] = Recent(most_bytes=3 * one.n_bytes, at_once=2)
    lock, now, most = Lock(), 0, 0
    made: list[int] = []

    def make(key: int) -> Pyramid:
        nonlocal now, most
        with lock:
            now, most = now + 1, max(most, now + 1)
            made.append(key)
        copy = Pyramid.of(pixels.copy(), np.ones(pixels.shape, dtype=np.bool_))
        with lock:
            now -= 1
        return copy

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: recent.get(key, lambda: make(key)), [n % 10 for n in range(200)]))
    assert most <= 2
    assert recent.n_bytes <= 3 * one.n_bytes
    made.clear()
    recent.get("a", lambda: make(0))
    recent.get("a", lambda: make(0))
    assert len(made) == 1


def test_rings_lie_at_their_resolution(seen: RunImages, data_dir: Path) -> None:
    with open_run(data_dir / "images" / "lcls_cxi_thermolysin_cspad.h5") as opened:
        panels = opened.run.detector, opened.run.beam.of(0)
    for detector, beam in ((seen.run.detector, seen.run.beam), panels):
        sheet = sheet_of(detector, beam)
        assert len(sheet.rings) >= 4
        assert beam.wavelength is not None
        for ring in (*sheet.rings, *sheet.ice):
            for line in ring.lines:
                x, y = np.array(line).T
                positions = sheet.panels[0].lab(x, y) if len(sheet.panels) == 1 else detector.lab(x, y)
                cosine = positions[:, 2] / np.linalg.norm(positions, axis=1)
                d = beam.wavelength / (2 * np.sin(np.arccos(cosine) / 2))
                np.testing.assert_allclose(d, ring.d, rtol=1e-6)
    assert sheet_of(panels[0], panels[1]).assembled
    assert not sheet_of(seen.run.detector, seen.run.beam).assembled
    assert sheet_of(Detector((10, 10)), seen.run.beam).rings == ()


def test_rings_reach_the_edges_of_small_panels(data_dir: Path) -> None:
    with open_run(data_dir / "images" / "lcls_cxi_thermolysin_cspad.h5") as opened:
        detector, beam = opened.run.detector, opened.run.beam.of(0)
    ring = sheet_of(detector, beam).rings[1]
    drawn = sum(np.hypot(*np.diff(np.array(line), axis=0).T).sum() for line in ring.lines)
    assert beam.wavelength is not None
    angle, azimuth = 2 * np.arcsin(beam.wavelength / (2 * ring.d)), np.linspace(0, 2 * np.pi, 20_001)
    rays = np.stack([np.sin(angle) * np.cos(azimuth), np.sin(angle) * np.sin(azimuth), 0 * azimuth + np.cos(angle)], -1)
    whole = 0.0
    for panel in detector.panels:
        x, y = panel.meets(rays)
        inside = panel.holds(x, y)
        whole += np.hypot(np.diff(x), np.diff(y))[inside[1:] & inside[:-1]].sum()
    assert 0.98 * whole < drawn <= whole


def test_beam_centre_between_panels_is_where_the_beam_is(data_dir: Path) -> None:
    with open_run(data_dir / "images" / "lcls_cxi_thermolysin_cspad.h5") as opened:
        detector, beam = opened.run.detector, opened.run.beam.of(0)
    sheet = sheet_of(detector, beam)
    assert sheet.centre is not None
    # It lies beyond the edge of its panel, where the image array holds pixels of another one.
    assert detector.panel_of(*sheet.centre) != sheet.centre_panel
    np.testing.assert_allclose(sheet.panels[sheet.centre_panel].lab(*sheet.centre)[:2], 0, atol=1e-6)
    tilted = [
        replace(panel, origin=(*panel.origin[:2], panel.origin[2] + 0.1 * (i % 2)))
        for i, panel in enumerate(detector.panels)
    ]
    as_stored = sheet_of(replace(detector, panels=tuple(tilted)), beam)
    assert not as_stored.assembled
    assert as_stored.centre is None


@pytest.mark.parametrize("packing", ["gzip", "blosc", "none", "bslz4"])
def test_an_image_packed_in_any_way_is_read_by_itself(packing: str, tmp_path: Path) -> None:
    images = np.random.default_rng(4).poisson(2.0, (3, 60, 40)).astype(np.int32)
    ways = {"gzip": {"compression": "gzip"}, "blosc": hdf5plugin.Blosc(), "none": {}, "bslz4": hdf5plugin.Bitshuffle()}
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file.create_dataset(DATA, data=images, chunks=(1, 60, 40), **ways[packing])
    place, detector, dtype = Place(tmp_path / "images.h5", f"/{DATA}", 2), Detector((60, 40)), np.dtype(np.int32)
    np.testing.assert_array_equal(read_image(place, detector, dtype), images[2])
    with pytest.raises(SourceError, match="there is no such image, only 3"):
        read_image(replace(place, row=3), detector, dtype)
    with pytest.raises(SourceError, match="has no images at /elsewhere"):
        read_image(replace(place, dataset="/elsewhere"), detector, dtype)
    with pytest.raises(SourceError, match=r"the run is int32 \(60, 41\)"):
        read_image(place, Detector((60, 41)), dtype)
    if packing != "none":
        spoil(tmp_path / "images.h5", 2)
        with pytest.raises(SourceError, match=r"images.h5.*(cannot be decoded|cannot read it)"):
            read_image(place, detector, dtype)
    (tmp_path / "images.h5").unlink()
    with pytest.raises(SourceError, match="there is no such file"):
        read_image(place, detector, dtype)


def test_files_that_lead_elsewhere_are_not_followed_where_folders_confine(tmp_path: Path) -> None:
    images = np.arange(60, dtype=np.uint16).reshape(2, 5, 6)
    with h5py.File(tmp_path / "elsewhere.h5", "w") as file:
        file[DATA] = images
    images.tofile(tmp_path / "raw")
    layout = h5py.VirtualLayout(images.shape, images.dtype)
    layout[:] = h5py.VirtualSource(tmp_path / "elsewhere.h5", DATA, images.shape)
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["linked"] = h5py.ExternalLink("elsewhere.h5", DATA)
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("external", images.shape, images.dtype, external=[(tmp_path / "raw", 0, images.nbytes)])
        file["own"] = images
    detector, dtype = Detector((5, 6)), np.dtype(np.uint16)
    for name in ("linked", "virtual", "external"):
        place = Place(tmp_path / "images.h5", name, 1)
        with pytest.raises(SourceError, match="not followed"):
            read_image(place, detector, dtype, confined=True)
        np.testing.assert_array_equal(read_image(place, detector, dtype), images[1])
    own = Place(tmp_path / "images.h5", "own", 1)
    np.testing.assert_array_equal(read_image(own, detector, dtype, confined=True), images[1])


@pytest.mark.long
@pytest.mark.parametrize("packing", ["bslz4", "gzip"])
def test_no_damage_crashes(packing: str, tmp_path: Path) -> None:
    """Chunks with random bytes changed, cut or made longer: an image, or a plain word."""
    random = np.random.default_rng(5)
    images = random.poisson(2.0, (1, 128, 96)).astype(np.uint16)
    ways = {"gzip": {"compression": "gzip"}, "bslz4": hdf5plugin.Bitshuffle()}
    with h5py.File(tmp_path / "images.h5", "w") as file:
        made = file.create_dataset(DATA, data=images, chunks=(1, 128, 96), **ways[packing])
        whole = np.frombuffer(made.id.read_direct_chunk((0, 0, 0))[1], dtype=np.uint8)
    told = 0
    for _ in range(1500):
        stored = whole.copy()
        for _ in range(random.integers(1, 6)):
            stored[random.integers(0, min(len(stored), 60 if random.random() < 0.5 else len(stored)))] = (
                random.integers(256)
            )
        stored = stored[: random.integers(1, len(stored) + 1)] if random.random() < 0.3 else stored
        with h5py.File(tmp_path / "images.h5", "r+") as file:
            file[DATA].id.write_direct_chunk((0, 0, 0), stored.tobytes())
        try:
            read_image(Place(tmp_path / "images.h5", DATA, 0), Detector((128, 96)), np.dtype(np.uint16))
        except SourceError:
            told += 1
    assert told > 500
