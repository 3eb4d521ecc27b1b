"""Detector and beam from the names and units that files use."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from hitsieve.model import Run
from hitsieve.source import open_run

from .builders import SHAPE, axis, counts, data_file, field, nxmx


def opened(*paths: Path) -> Run:
    with open_run(list(paths)) as run:
        return run.run


def test_flat_detector_from_its_fields(tmp_path: Path) -> None:
    run = opened(nxmx(tmp_path / "a.h5"))
    (panel,) = run.detector.panels
    assert panel.origin == pytest.approx((4.5 * 75e-6, 2.5 * 75e-6, 0.1))
    assert panel.fast == pytest.approx((-75e-6, 0, 0))
    assert panel.slow == pytest.approx((0, -75e-6, 0))
    assert panel.shape == SHAPE
    assert run.detector.distance == pytest.approx(0.1)
    assert not run.problems


@pytest.mark.parametrize(
    ("value", "units", "angstrom"),
    [(1.5, "angstrom", 1.5), (1.5, None, 1.5), ([0.15], "nm", 1.5), (1.5e-10, "m", 1.5), (150.0, "pm", 1.5)],
)
def test_units_of_the_wavelength(tmp_path: Path, value: object, units: str | None, angstrom: float) -> None:
    path = nxmx(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        field(file["entry/instrument/beam"], "incident_wavelength", value, units)
    assert opened(path).beam.wavelength == pytest.approx(angstrom)


@pytest.mark.parametrize(
    ("where", "name", "value", "units"),
    [
        ("beam", "incident_energy", 12398.41984, "eV"),
        ("beam", "incident_energy", 12.39841984, "keV"),
        ("detector/detectorSpecific", "photon_energy", 12398.41984, None),
        ("detector", "photon_energy", 12398.41984, "eV"),
    ],
)
def test_energy_where_there_is_no_wavelength(
    tmp_path: Path, where: str, name: str, value: float, units: str | None
) -> None:
    path = nxmx(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        del file["entry/instrument/beam/incident_wavelength"]
        field(file.require_group(f"entry/instrument/{where}"), name, value, units)
    assert opened(path).beam.wavelength == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "value", "units"),
    [
        ("beam/incident_wavelength", 0.0, "angstrom"),
        ("beam/incident_wavelength", np.nan, "angstrom"),
        ("beam/incident_wavelength", 1.0, "furlong"),
        ("beam/incident_wavelength", [1.0, 1.1], "angstrom"),
    ],
)
def test_a_wavelength_that_says_nothing_is_absent_and_told(
    tmp_path: Path, name: str, value: object, units: str
) -> None:
    path = nxmx(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        field(file["entry/instrument"], name, value, units)
    run = opened(path)
    assert run.beam.wavelength is None
    assert any("no wavelength" in p.what and "--set wavelength" in p.mend for p in run.problems)


def test_unset_distance_and_beam_centre_are_absent(tmp_path: Path) -> None:
    path = nxmx(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        detector = file["entry/instrument/detector"]
        for name, units in (("distance", "m"), ("beam_center_x", None), ("beam_center_y", None)):
            field(detector, name, 0.0, units)
    run = opened(path)
    assert run.detector.distance is None
    assert run.detector.beam_center is None
    assert run.detector.panels == ()


def test_unset_saturation_value_is_absent(tmp_path: Path) -> None:
    path = nxmx(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        field(file["entry/instrument/detector"], "saturation_value", 0)
    run = opened(path)
    assert run.detector.saturation_value is None
    assert any("saturation value 0" in p.what for p in run.problems)


def test_dectris_names(tmp_path: Path) -> None:
    path = data_file(tmp_path / "a.h5", counts(0, 2))
    with h5py.File(path, "a") as file:
        for name, nx in (
            ("entry", "NXentry"),
            ("entry/instrument", "NXinstrument"),
            ("entry/instrument/eiger", "NXdetector"),
        ):
            file.require_group(name).attrs["NX_class"] = np.bytes_(nx)
        detector = file["entry/instrument/eiger"]
        specific = detector.create_group("detectorSpecific")
        field(detector, "detector_distance", np.array([0.2]), "m")
        field(detector, "beam_center_x", np.float32(3))
        field(detector, "beam_center_y", np.float32(2))
        field(detector, "x_pixel_size", 75e-6, "m")
        field(detector, "y_pixel_size", 75e-6, "m")
        field(detector, "sensor_material", "Si")
        field(detector, "sensor_thickness", 450.0, "um")
        field(specific, "countrate_correction_count_cutoff", 17000)
        field(specific, "photon_energy", 12398.41984, "eV")
        specific["pixel_mask"] = np.eye(*SHAPE, dtype=np.uint32)
    run = opened(path)
    assert run.detector.distance == pytest.approx(0.2)
    assert run.detector.beam_center == (3, 2)
    assert run.detector.saturation_value == 17000
    assert run.detector.sensor_material == "Si"
    assert run.detector.sensor_thickness == pytest.approx(450e-6)
    np.testing.assert_array_equal(run.detector.pixel_mask, np.eye(*SHAPE))
    assert run.detector.pixel_mask.dtype == np.uint32
    assert run.beam.wavelength == pytest.approx(1.0)


def test_mask_through_an_external_link_and_a_broken_one(tmp_path: Path) -> None:
    path = nxmx(tmp_path / "a.h5")
    with h5py.File(tmp_path / "mask.h5", "w") as file:
        file["mask"] = np.full(SHAPE, 2, np.int32)
    with h5py.File(path, "a") as file:
        del file["entry/instrument/detector/pixel_mask"]
        file["entry/instrument/detector/pixel_mask"] = h5py.ExternalLink("mask.h5", "/mask")
    assert (opened(path).detector.pixel_mask == 2).all()
    (tmp_path / "mask.h5").unlink()
    run = opened(path)
    assert run.detector.pixel_mask is None
    assert any("leads nowhere" in p.what for p in run.problems)


def add_modules(path: Path, chain: str = "deep") -> None:
    """Two modules, the second turned, on a detector arm that is turned by 30 degrees about x."""
    with h5py.File(path, "a") as file:
        detector = file["entry/instrument/detector"]
        moves = detector.create_group("transformations")
        base = "/entry/instrument/detector/transformations"
        axis(moves, "arm", "rotation", 30.0, "deg", [1, 0, 0], ".")
        axis(moves, "z", "translation", 100.0, "mm", [0, 0, 2], f"{base}/arm", offset=[1.0, 0, 0], offset_units="mm")
        for k in range(2):
            module = detector.create_group(f"m{k}")
            module.attrs["NX_class"] = "NXdetector_module"
            module["data_origin"], module["data_size"] = [3 * k, 0], [3, 8]
            parent = f"{base}/z"
            axis(moves, f"tilt{k}", "rotation", k * np.pi / 2, "rad", [0, 0, 1], parent)
            target = {"deep": f"{base}/tilt{k}", "broken": f"{base}/nowhere"}[chain]
            axis(module, "module_offset", "translation", 1.0, "cm", [0, 1, 0], target)
            for name, direction in (("fast", [-1, 0, 0]), ("slow", [0, -1, 0])):
                axis(module, f"{name}_pixel_direction", "translation", 75.0, "um", direction, "module_offset")


def test_chain_of_rotations_and_translations(tmp_path: Path) -> None:
    path = nxmx(tmp_path / "a.h5")
    add_modules(path)
    first, second = opened(path).detector.panels
    cosine, sine = np.cos(np.pi / 6), np.sin(np.pi / 6)
    arm = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    np.testing.assert_allclose(first.origin, arm @ [0.001, 0.01, 0.1], atol=1e-12)
    np.testing.assert_allclose(first.slow, arm @ [0, -75e-6, 0], atol=1e-15)
    # A quarter turn about z takes y to -x.
    np.testing.assert_allclose(second.origin, arm @ [0.001 - 0.01, 0, 0.1], atol=1e-12)
    np.testing.assert_allclose(second.fast, arm @ [0, -75e-6, 0], atol=1e-15)
    assert (first.first, second.first, second.shape) == ((0, 0), (3, 0), (3, 8))


def test_stated_values_that_contradict_the_modules_are_told(tmp_path: Path) -> None:
    path = nxmx(tmp_path / "a.h5")
    add_modules(path)
    with h5py.File(path, "a") as file:
        field(file["entry/instrument/detector"], "distance", 0.15, "m")
    run = opened(path)
    assert any("states the beam centre" in p.what for p in run.problems)
    assert any("states the distance" in p.what for p in run.problems)


def test_broken_chain_is_told_and_the_stated_flat_detector_taken(tmp_path: Path) -> None:
    path = nxmx(tmp_path / "a.h5")
    add_modules(path, "broken")
    run = opened(path)
    assert any("nowhere" in p.what for p in run.problems)
    assert [p.name for p in run.detector.panels] == ["flat"]


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("vector", [0, 0]), ("units", "parsec"), ("depends_on", "z"), ("transformation_type", "shear")],
)
def test_transformations_that_make_no_sense_are_told(tmp_path: Path, attribute: str, value: object) -> None:
    path = nxmx(tmp_path / "a.h5")
    add_modules(path)
    with h5py.File(path, "a") as file:
        file["entry/instrument/detector/transformations/z"].attrs[attribute] = value
    assert any("the geometry cannot be read" in p.what for p in opened(path).problems)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data_origin", [np.nan, np.nan]),
        ("data_size", [np.inf, 1.0]),
        ("data_origin", [b"x", b"y"]),
        ("fast_pixel_direction", b"x"),
    ],
)
def test_modules_without_numbers_are_told(tmp_path: Path, name: str, value: object) -> None:
    path = nxmx(tmp_path / "a.h5")
    add_modules(path)
    with h5py.File(path, "a") as file:
        for module in (file[f"entry/instrument/detector/m{k}"] for k in range(2)):
            attributes = dict(module[name].attrs)
            del module[name]
            module[name] = value
            module[name].attrs.update(attributes)
    assert any("the geometry cannot be read" in p.what for p in opened(path).problems)


def test_module_outside_the_image_is_told(tmp_path: Path) -> None:
    path = nxmx(tmp_path / "a.h5")
    add_modules(path)
    with h5py.File(path, "a") as file:
        file["entry/instrument/detector/m1/data_size"][...] = [8, 3]
    assert any("lie outside the image" in p.what for p in opened(path).problems)


def test_beam_centre_and_distance_from_the_panels(tmp_path: Path) -> None:
    path = nxmx(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        detector = file["entry/instrument/detector"]
        for name in ("distance", "beam_center_x", "beam_center_y", "x_pixel_size", "y_pixel_size"):
            del detector[name]
        module = detector.create_group("module")
        module.attrs["NX_class"] = "NXdetector_module"
        module["data_origin"], module["data_size"] = [0, 0], list(SHAPE)
        axis(module, "module_offset", "translation", 0.2, "m", [0, 0, 1], ".", offset=[3e-4, 2e-4, 0], offset_units="m")
        for name, direction in (("fast", [-1, 0, 0]), ("slow", [0, -1, 0])):
            axis(module, f"{name}_pixel_direction", "translation", 1e-4, "m", direction, "module_offset")
    run = opened(path)
    assert run.detector.beam_center == pytest.approx((3, 2))
    assert run.detector.distance == pytest.approx(0.2)
    assert run.detector.pixel_size == pytest.approx((1e-4, 1e-4))
    assert not run.problems


def test_second_detector_is_passed_over(tmp_path: Path) -> None:
    path = nxmx(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        other = file.create_group("entry/instrument/beam_monitor")
        other.attrs["NX_class"] = "NXdetector"
        field(other, "distance", 5.0, "m")
    assert opened(path).detector.distance == pytest.approx(0.1)


def test_wavelengths_of_joined_files(tmp_path: Path) -> None:
    paths = [nxmx(tmp_path / f"a_{k}.h5") for k in range(2)]
    for k, path in enumerate(paths):
        with h5py.File(path, "a") as file:
            field(file["entry/instrument/beam"], "incident_wavelength", 2 + (np.arange(3) + k) / 1000, "angstrom")
    beam = opened(*paths).beam
    np.testing.assert_array_equal(beam.wavelengths, [2, 2.001, 2.002, 2.001, 2.002, 2.003])
    assert beam.wavelength == pytest.approx(2.0015)


@pytest.mark.parametrize("unset", [np.nan, 0.0, -1.0, np.inf])
@pytest.mark.parametrize(("name", "value", "units"), [("incident_wavelength", 2.0, "angstrom"), ("e", 12.0, "keV")])
def test_a_wavelength_that_is_not_set_leaves_those_of_other_images(
    tmp_path: Path, name: str, value: float, units: str, unset: float
) -> None:
    paths = [nxmx(tmp_path / f"a_{k}.h5") for k in range(3)]
    for path, lacks in zip(paths, ([1], [0, 1], []), strict=True):
        values = value + np.arange(3) / 1000
        values[lacks] = unset
        with h5py.File(path, "a") as file:
            beam = file["entry/instrument/beam"]
            del beam["incident_wavelength"]
            field(beam, "incident_energy" if name == "e" else name, values, units)
    alone, run = opened(paths[0]), opened(*paths)
    assert np.isnan(run.beam.wavelengths).tolist() == [False, True, False, True, True, *[False] * 4]
    assert run.beam.wavelength == pytest.approx(np.nanmean(run.beam.wavelengths))
    (problem,) = [problem for problem in alone.problems if "no wavelength" in problem.what]
    assert "1 of 3 images (1)" in problem.what and problem.where == str(paths[0])
    assert not any("states no wavelength" in problem.what for problem in opened(paths[2]).problems)


def test_files_without_a_wavelength_among_others(tmp_path: Path) -> None:
    paths = [nxmx(tmp_path / f"a_{k}.h5") for k in range(3)]
    with h5py.File(paths[0], "a") as file:
        field(file["entry/instrument/beam"], "incident_wavelength", 2 + np.arange(3) / 1000, "angstrom")
    with h5py.File(paths[1], "a") as file:
        del file["entry/instrument/beam/incident_wavelength"]
    with h5py.File(paths[2], "a") as file:
        field(file["entry/instrument/beam"], "incident_wavelength", 2.001, "angstrom")
    run = opened(*paths)
    np.testing.assert_array_equal(run.beam.wavelengths, [2, 2.001, 2.002, *[np.nan] * 3, *[2.001] * 3])
    assert any("3 of 9 images state no wavelength" in problem.what for problem in run.problems)
