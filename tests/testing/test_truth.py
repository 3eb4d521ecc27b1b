"""What is true about simulated images agrees with their pixels and with the file's geometry."""

from __future__ import annotations

import json
from typing import Any

import h5py
import hdf5plugin  # noqa: F401
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from scipy import stats

from hitsieve._core import ImagePainter
from hitsieve.errors import SettingsError
from hitsieve.model.detector import inverse_d
from hitsieve.testing import Simulated, SimulateSettings, Simulator
from hitsieve.testing.crystals import Structure, random_rotation


def _columns(path: object) -> dict[str, npt.NDArray[Any]]:
    table = pq.read_table(path)
    return {
        name: np.array(table[name].to_pylist(), dtype=object if name == "a_matrices" else None)
        for name in table.column_names
    }


def test_truth_of_images_and_spots_agree(small: Simulated, small_settings: SimulateSettings) -> None:
    images, spots = _columns(small.truth), _columns(small.truth_spots)
    assert images["image"].tolist() == list(range(24))
    assert np.bincount(spots["image"], minlength=24).tolist() == images["n_spots"].tolist()
    assert np.bincount(spots["image"][spots["snr"] >= 6], minlength=24).tolist() == images["n_spots_snr6"].tolist()
    hit = images["state"] == "hit"
    assert 0 < hit.sum() < 20
    assert np.all((images["n_lattices"] > 0) == hit) and images["n_lattices"].max() == 2
    assert [len(a) for a in images["a_matrices"]] == (9 * images["n_lattices"]).tolist()
    about = pq.read_schema(small.truth).metadata[b"hitsieve.simulation"]
    assert SimulateSettings.model_validate(json.loads(about)) == small_settings


def test_spots_obey_bragg(small: Simulated, small_settings: SimulateSettings) -> None:
    images, spots = _columns(small.truth), _columns(small.truth_spots)
    place = Simulator(small_settings).instrument
    seen = inverse_d(place.detector, place.beam, spots["x"], spots["y"])
    np.testing.assert_allclose(seen, 1 / spots["d"], atol=2e-3)
    assert np.abs(seen - 1 / spots["d"]).mean() < 2e-4
    # q = A h, and the scattered wave ends on the Ewald sphere where the ray meets the detector.
    lab = place.detector.lab(spots["x"], spots["y"])
    scattered = lab / np.linalg.norm(lab, axis=1)[:, None] - [0, 0, 1]
    for k in np.random.default_rng(1).choice(len(lab), 200, replace=False):
        matrices = np.reshape(images["a_matrices"][spots["image"][k]], (-1, 3, 3))
        q = matrices[spots["lattice"][k]] @ [spots["h"][k], spots["k"][k], spots["l"][k]]
        assert np.linalg.norm(q) == pytest.approx(1 / spots["d"][k])
        np.testing.assert_allclose(q, scattered[k] / small_settings.wavelength, atol=5e-3)


def test_photons_are_in_the_pixels(small: Simulated) -> None:
    spots, images = _columns(small.truth_spots), _columns(small.truth)
    with h5py.File(small.master) as file:
        counts = file["/entry/data/data"][()].astype(np.int64)
        good = file["/entry/instrument/detector/pixel_mask"][()] == 0
    above = wanted = 0.0
    strong = np.flatnonzero(spots["photons"] > 30)
    for k in strong:
        x, y, i = int(spots["x"][k]), int(spots["y"][k]), int(spots["image"][k])
        window = (slice(max(0, y - 4), y + 5), slice(max(0, x - 4), x + 5))
        mates = spots["image"] == i
        near = mates & (abs(spots["x"] - spots["x"][k]) < 9) & (abs(spots["y"] - spots["y"][k]) < 9)
        if near.sum() > 1 or not good[window].all() or good[window].size < 81:
            continue
        ring = (slice(max(0, y - 8), y + 9), slice(max(0, x - 8), x + 9))
        above += counts[i][window].sum() - 81 * _local(counts[i], good, window, ring)
        wanted += spots["landed"][k]
    assert wanted > 2000
    assert above == pytest.approx(wanted, rel=0.03)
    assert np.all(images["background"] > 0)
    ratio = spots["landed"][strong].sum() / spots["photons"][strong].sum()
    assert ratio == pytest.approx(1, abs=0.03)


def _local(
    image: npt.NDArray[Any], good: npt.NDArray[np.bool_], window: tuple[slice, slice], ring: tuple[slice, slice]
) -> float:
    """Mean of the good pixels of the ring around a window; clipped at 6 counts, which drops flickers and neighbours."""
    use = np.zeros(image.shape, dtype=bool)
    use[ring] = True
    use[window] = False
    values = image[use & good]
    return float(values[values <= 6].mean())


def test_jet_stop_is_dark_and_empty(small: Simulated) -> None:
    images = _columns(small.truth)
    stopped = images["jet"] == "stopped"
    assert np.flatnonzero(stopped).tolist() == [4, 5, 6, 7]
    assert np.all(images["state"][stopped] == "blank")
    with h5py.File(small.master) as file:
        good = file["/entry/instrument/detector/pixel_mask"][()] == 0
        means = np.array([image[good].mean() for image in file["/entry/data/data"]])
    assert means[stopped].max() < 0.1 * means[~stopped].min()
    blank = images["state"] == "blank"
    # Flickers and unmasked hot pixels add less than 0.01 counts a pixel.
    np.testing.assert_allclose(means[blank], images["background"][blank], rtol=0.01, atol=0.01)


def test_jet_stops_at_random_places() -> None:
    simulator = Simulator(SimulateSettings(detector="test-256k", images=500, jet_stops=("1x50",), seed=2))
    stopped = np.flatnonzero(~simulator.jet)
    assert stopped.tolist() == list(range(stopped[0], stopped[0] + 50))


def test_flickers() -> None:
    settings = SimulateSettings(detector="test-256k", images=60, hit_fraction=0, background=0, unmasked_hot_pixels=0)
    simulator = Simulator(settings)
    good, numbers, seen = simulator.instrument.good, [], []
    for i in range(60):
        image, truth = simulator.image(i)
        lit = image[good]
        numbers.append(truth.n_flickers)
        assert (lit > 0).sum() <= truth.n_flickers <= (lit > 0).sum() + 2
        seen.append(lit[lit > 0])
    assert np.mean(numbers) == pytest.approx(25, abs=4 * 5 / np.sqrt(60))
    values = np.concatenate(seen)
    assert values.min() == 4 and values.max() >= 58 and (values > 60).mean() < 0.01
    assert stats.kstest(values[values <= 60], stats.randint(4, 61).cdf).pvalue > 1e-4


def test_bad_pixels() -> None:
    simulator = Simulator(SimulateSettings(detector="test-256k", images=2, hit_fraction=0, flickers=0))
    bad, mask = simulator.instrument.bad, simulator.instrument.detector.pixel_mask
    assert mask is not None
    first, second = simulator.image(0)[0].ravel(), simulator.image(1)[0].ravel()
    assert (mask == 2).sum() == 200 and not first[bad.dead].any()
    assert (mask == 16).sum() == 50 and (first[bad.hot] > 3).all()
    assert not mask.flat[bad.unmasked].any() and len(bad.unmasked) == 3
    np.testing.assert_array_equal(first[bad.unmasked], second[bad.unmasked])
    assert (first[bad.unmasked] >= 10).all()


def test_ice_rings() -> None:
    simulator = Simulator(
        SimulateSettings(detector="test-256k", images=12, hit_fraction=0, ice_fraction=0.5, flickers=0)
    )
    place = simulator.instrument
    y, x = np.indices(place.detector.shape) + 0.5
    q = inverse_d(place.detector, place.beam, x, y)
    on, off = (abs(q - 1 / 3.90) < 0.0015) & place.good, (abs(q - 0.245) < 0.004) & place.good
    ratios: dict[bool, list[float]] = {True: [], False: []}
    for i in range(12):
        image, truth = simulator.image(i)
        assert (truth.n_ice_spots > 0) == truth.ice and not truth.hit
        ratios[truth.ice].append(image[on].mean() / image[off].mean())
    assert min(ratios[True]) > max(ratios[False]) and len(ratios[True]) > 2


def test_weak_preset() -> None:
    settings = SimulateSettings.weak(detector="test-256k", images=80, seed=4, dead_pixels=0)
    simulator = Simulator(settings)
    truths = [simulator.image(i)[1] for i in range(80)]
    numbers = [len(t.spots) for t in truths if t.hit]
    assert 25 <= len(numbers) <= 55
    assert min(numbers) >= 10 and max(numbers) <= 60
    photons = np.concatenate([t.spots.photons for t in truths])
    assert photons.min() >= 10 and photons.max() <= 250
    assert stats.kstest(photons, stats.loguniform(10, 250).cdf).pvalue > 1e-4
    assert all(t.background == pytest.approx(0.5, rel=1e-4) for t in truths)


@pytest.mark.parametrize("mean", [0.03, 0.5, 4.0, 150.0, 2000.0])
def test_noise_is_poisson(mean: float) -> None:
    painter = ImagePainter(levels=np.zeros((1000, 1000), dtype=np.uint16), blind_value=-1, most=2**31 - 1)
    out = np.empty((1000, 1000), dtype=np.int32)
    seen = np.zeros(int(mean + 20 * np.sqrt(mean) + 40), dtype=np.int64)
    for seed in range(20):
        painter.paint(out, seed, np.array([mean]), np.empty((0, 4)), np.empty((0, 2), dtype=np.int64))
        seen += np.bincount(out.ravel(), minlength=len(seen))
    expected = stats.poisson(mean).pmf(np.arange(len(seen))) * seen.sum()
    bulk = expected >= 10
    observed, wanted = np.append(seen[bulk], seen[~bulk].sum()), np.append(expected[bulk], expected[~bulk].sum())
    chi2 = ((observed - wanted) ** 2 / np.maximum(wanted, 1e-9))[wanted > 1].sum()
    assert stats.chi2(bulk.sum()).sf(chi2) > 1e-5


def test_rare_counts_have_their_frequency() -> None:
    # At a mean of 0.05 six or more counts have a probability of 2.1e-11, four or more of 2.5e-7.
    painter = ImagePainter(levels=np.zeros((2000, 2000), dtype=np.uint16), blind_value=-1, most=32767)
    out, n, seen = np.empty((2000, 2000), dtype=np.int16), 0, np.zeros(40, dtype=np.int64)
    for seed in range(50):
        painter.paint(out, 1000 + seed, np.array([0.05]), np.empty((0, 4)), np.empty((0, 2), dtype=np.int64))
        seen += np.bincount(out.ravel(), minlength=40)
        n += out.size
    for count in (3, 4, 5):
        expected = stats.poisson(0.05).sf(count - 1) * n
        assert stats.poisson(expected).sf(seen[count:].sum() - 1) > 1e-6
        assert stats.poisson(expected).cdf(seen[count:].sum()) > 1e-6
    assert seen[6:].sum() == 0


def test_orientations_are_uniform() -> None:
    random = np.random.default_rng(5)
    rotations = np.array([random_rotation(random) for _ in range(3000)])
    np.testing.assert_allclose(
        rotations @ rotations.transpose(0, 2, 1), np.broadcast_to(np.eye(3), rotations.shape), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(rotations), 1)
    for i, j in np.ndindex(3, 3):
        assert stats.kstest(rotations[:, i, j], stats.uniform(-1, 2).cdf).pvalue > 1e-5
    angles = np.arccos(np.clip((np.trace(rotations, axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert stats.kstest(angles, lambda t: (t - np.sin(t)) / np.pi).pvalue > 1e-4


def test_centering_and_resolution_limit() -> None:
    settings = SimulateSettings(detector="test-256k", centering="F", cell=(60, 70, 80, 90, 95, 90), d_min=3.0)
    place = Simulator(settings).instrument
    structure = Structure(settings)
    seen = structure.reflections(random_rotation(np.random.default_rng(1)) @ structure.reciprocal, place)
    assert len(seen.x) > 20 and seen.d.min() >= 3.0
    assert np.all(np.ptp(seen.hkl % 2, axis=1) == 0)


@pytest.mark.long
def test_stored_size_of_an_image(tmp_path_factory: pytest.TempPathFactory) -> None:
    from hitsieve.testing import simulate

    made = simulate(tmp_path_factory.mktemp("size"), SimulateSettings(images=20, hit_fraction=0.05))
    with h5py.File(made.data_files[0]) as file:
        assert 1.0e6 < file["/entry/data/data"].id.get_storage_size() / 20 < 1.2e6


@pytest.mark.parametrize(
    "wrong",
    [
        {"detector": "jungfrau-5m"},
        {"images": 0},
        {"jet_stops": ("8:4",)},
        {"pump": "dark:0"},
        {"spots": (20, 10)},
        {"name": "../elsewhere"},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SimulateSettings.model_validate(wrong)


@pytest.mark.parametrize(
    "impossible", [{"cell": (10, 10, 10, 30, 30, 150)}, {"cell": (900, 900, 900, 90, 90, 90)}, {"hot_pixels": 10**6}]
)
def test_impossible_settings_are_refused(impossible: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        Simulator(SimulateSettings.model_validate({"detector": "test-256k", **impossible}))
