"""Pump states of a run: by pattern, dataset and CSV file, for every style of input, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from fabio.edfimage import EdfImage
from pydantic import ValidationError

from hitsieve.errors import HitsieveError, MetadataError, SourceError
from hitsieve.model import PumpStates
from hitsieve.settings import SourceSettings, pump_pattern
from hitsieve.source import open_run

from .builders import counts, data_file, link_master, nxmx, vds_master


def states(paths: Path | list[Path], **settings: Any) -> list[str]:
    """Name of each image's state; unknown is empty."""
    pump = pumped(paths, **settings)
    return [pump.names[code] if code >= 0 else "" for code in pump.code.tolist()]


def pumped(paths: Path | list[Path], **settings: Any) -> PumpStates:
    with open_run(paths, SourceSettings(**settings)) as opened:
        pump = opened.run.pump
        assert pump is not None and pump.code.shape == (len(opened.run),) and pump.code.dtype == np.int16
        return pump


def problems(paths: Path | list[Path], **settings: Any) -> str:
    with open_run(paths, SourceSettings(**settings)) as opened:
        return "\n".join(map(str, opened.run.problems))


def with_dataset(path: Path, name: str, values: Any, **options: Any) -> Path:
    with h5py.File(path, "a") as file:
        file.create_dataset(name, data=values, **options)
    return path


# Patterns


def test_a_run_is_not_labelled_by_itself(tmp_path: Path) -> None:
    with open_run(nxmx(tmp_path / "run.h5")) as opened:
        assert opened.run.pump is None


def test_pattern_repeats_and_need_not_divide_the_run(tmp_path: Path) -> None:
    run = nxmx(tmp_path / "run.h5", n=7)
    pump = pumped(run, pump=" dark:1, light:3 ")
    assert pump.names == ("dark", "light")
    assert pump.code.tolist() == [0, 1, 1, 1, 0, 1, 1]
    assert "--pump" in pump.origin


def test_a_state_may_come_twice_or_never(tmp_path: Path) -> None:
    run = nxmx(tmp_path / "run.h5", n=4)
    assert states(run, pump="dark:1,light:1,dark:1,late:5") == ["dark", "light", "dark", "late"]
    assert pumped(run, pump="dark:9,light:1").names == ("dark", "light")


def test_pattern_longer_than_the_run_is_told(tmp_path: Path) -> None:
    run = nxmx(tmp_path / "run.h5", n=7)
    told = problems(run, pump="dark:1000,light:1000")
    assert "none of the 7 images is light" in told and "longer than the run" in told
    assert "none of the" not in problems(run, pump="dark:1,light:1")


def test_missing_images_keep_their_place(tmp_path: Path) -> None:
    for k in (1, 3):
        data_file(tmp_path / f"d_{k}.h5", counts(0, 3))
    master = link_master(tmp_path / "m.h5", ["d_1.h5", "d_2.h5", "d_3.h5"], announced=(9, 1))
    with open_run(master, SourceSettings(pump="a:1,b:1")) as opened:
        assert sorted(opened.run.images.missing) == [3, 4, 5]
        assert opened.run.pump is not None
        assert opened.run.pump.code.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    "text", ["", "dark", "dark:", "dark:0", ":3", "dark:-1", "dark:1,", "dark:1,,light:1", "dark:1.5", "a:1;b:2", "a:²"]
)
def test_pattern_that_is_none(text: str) -> None:
    with pytest.raises(ValidationError, match="NAME:IMAGES"):
        SourceSettings(pump=text)


@pytest.mark.parametrize("count", ["10000001", "9" * 40])
def test_cycle_without_bounds(count: str) -> None:
    with pytest.raises(ValidationError, match="pump pattern"):
        SourceSettings(pump=f"dark:1,light:{count}")


def test_pattern_is_read_as_runs_of_images() -> None:
    assert pump_pattern("dark:1000,light:1000000") == (("dark", 1000), ("light", 1_000_000))


def test_one_way_to_label() -> None:
    with pytest.raises(ValidationError, match="pump and pump_csv exclude each other"):
        SourceSettings(pump="dark:1", pump_csv=Path("states.csv"))
    with pytest.raises(ValidationError, match="pump_dataset and pump_csv exclude each other"):
        SourceSettings(pump_dataset="/entry/code", pump_csv=Path("states.csv"))


# Datasets

TRUE_FALSE = h5py.enum_dtype({"dark": 0, "light": 5}, basetype="i1")


@pytest.mark.parametrize(
    ("values", "options", "wanted"),
    [
        ([7, 40, 7, 183], {"dtype": "u4"}, ["laser_on=7", "laser_on=40", "laser_on=7", "laser_on=183"]),
        ([True, False, False, True], {}, ["laser_on=true", "laser_on=false", "laser_on=false", "laser_on=true"]),
        ([0, 5, 5, 1], {"dtype": TRUE_FALSE}, ["dark", "light", "light", "laser_on=1"]),
        ([b"off", b"on", b"", b"on"], {"dtype": "S3"}, ["off", "on", "", "on"]),
        (["off", "on ", "zeit: 3 µs", "on"], {"dtype": h5py.string_dtype()}, ["off", "on", "zeit: 3 µs", "on"]),
        ([0.0, np.nan, 2.5, -0.0], {}, ["laser_on=0", "", "laser_on=2.5", "laser_on=0"]),
        (
            [1234567.0, 1234568.0, 1e-9, 0.1],
            {},
            ["laser_on=1234567", "laser_on=1234568", "laser_on=1e-09", "laser_on=0.1"],
        ),
        (
            [1234567.0, 1234568.0, 0.1, 0.10000001],
            {"dtype": "f4"},
            ["laser_on=1234567", "laser_on=1234568", "laser_on=0.1", "laser_on=0.10000001"],
        ),
        (
            [2**63, 2**63 + 1, 0, 2**63],
            {"dtype": "u8"},
            [f"laser_on={2**63}", f"laser_on={2**63 + 1}", "laser_on=0", f"laser_on={2**63}"],
        ),
        ([[1], [2], [1], [1]], {}, ["laser_on=1", "laser_on=2", "laser_on=1", "laser_on=1"]),
        ([1, 255, 2, 255], {"dtype": "u1", "fillvalue": 255}, ["laser_on=1", "", "laser_on=2", ""]),
        ([1, 0, 1, 0], {"dtype": "u1", "fillvalue": 0}, ["laser_on=1", "laser_on=0", "laser_on=1", "laser_on=0"]),
    ],
)
def test_types_of_values(tmp_path: Path, values: list[Any], options: dict[str, Any], wanted: list[str]) -> None:
    run = with_dataset(nxmx(tmp_path / "run.h5", n=4), "entry/instrument/laser_on", values, **options)
    assert states(run, pump_dataset="/entry/instrument/laser_on") == wanted
    told = f"the pump state of {wanted.count('')} of 4 images is unknown"
    assert (told in problems(run, pump_dataset="entry/instrument/laser_on")) == ("" in wanted)


def test_numbers_ascend_and_words_come_as_they_appear(tmp_path: Path) -> None:
    run = with_dataset(nxmx(tmp_path / "run.h5"), "code", [40, 5, 183])
    assert pumped(run, pump_dataset="code").names == ("code=5", "code=40", "code=183")
    with_dataset(run, "word", ["b", "a", "b"])
    assert pumped(run, pump_dataset="word").names == ("b", "a")


def _single(folder: Path, values: list[int]) -> Path:
    return with_dataset(nxmx(folder / "run.h5", n=6), "entry/code", values)


def _in_data_files(folder: Path, values: list[int]) -> list[Path]:
    made = []
    for k in range(3):
        made.append(data_file(folder / f"d_{k}.h5", counts(2 * k, 2)))
        with_dataset(made[-1], "entry/code", values[2 * k : 2 * k + 2])
    return made


def _links(folder: Path, values: list[int]) -> Path:
    return link_master(folder / "m.h5", [path.name for path in _in_data_files(folder, values)])


def _vds(folder: Path, values: list[int]) -> Path:
    layout = h5py.VirtualLayout((6, 6, 8), "uint16")
    for k, path in enumerate(_in_data_files(folder, values)):
        layout[2 * k : 2 * k + 2] = h5py.VirtualSource(path.name, "entry/data/data", (2, 6, 8))
    return vds_master(folder / "m.h5", layout)


def _strided(folder: Path, values: list[int]) -> Path:
    layout = h5py.VirtualLayout((6, 6, 8), "uint16")
    for k in range(2):
        path = with_dataset(data_file(folder / f"s_{k}.h5", counts(0, 3)), "entry/code", values[k::2])
        layout[k::2] = h5py.VirtualSource(path.name, "entry/data/data", (3, 6, 8))
    return vds_master(folder / "m.h5", layout)


def _in_master(folder: Path, values: list[int]) -> Path:
    return with_dataset(_links(folder, [0] * 6), "entry/code", values)


def _masters(folder: Path, values: list[int]) -> list[Path]:
    """Two masters joined, one with the codes in itself, one with the codes in its data files."""
    made = []
    for k in range(2):
        (sub := folder / str(k)).mkdir()
        mine = values[3 * k : 3 * k + 3]
        data = with_dataset(data_file(sub / "d.h5", counts(0, 3)), "entry/code", mine if k else [0, 0, 0])
        made.append(link_master(sub / "m.h5", [data.name]))
    with_dataset(made[0], "entry/code", values[:3])
    return made


@pytest.mark.parametrize("style", [_single, _in_data_files, _links, _vds, _strided, _in_master, _masters])
def test_every_style(tmp_path: Path, style: Callable[[Path, list[int]], Path | list[Path]]) -> None:
    values = [3, 1, 1, 4, 3, 1]
    assert states(style(tmp_path, values), pump_dataset="/entry/code") == [f"code={value}" for value in values]


def test_lost_data_file_has_no_states(tmp_path: Path) -> None:
    master = _links(tmp_path, [1, 2, 1, 2, 1, 2])
    with h5py.File(master, "a") as file:
        file["entry/instrument/detector/detectorSpecific/nimages"] = 6
    (tmp_path / "d_1.h5").unlink()
    assert states(master, pump_dataset="entry/code") == ["code=1", "code=2", "", "", "code=1", "code=2"]


def test_lost_file_of_several(tmp_path: Path) -> None:
    paths = _in_data_files(tmp_path, [1, 2, 3, 4, 5, 6])
    with paths[1].open("r+b") as file:
        file.truncate(600)
    assert states(paths, pump_dataset="entry/code") == ["code=1", "code=2", "", "", "code=5", "code=6"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([1, 2], r"shape \(2,\), and its file 3 images"),
        ([1, 2, 3, 4], r"shape \(4,\)"),
        (7, r"shape \(\)"),
        (np.zeros((3, 288), dtype="u1"), r"shape \(3, 288\)"),
        (np.zeros(3, dtype="c8"), "holds complex64"),
        (np.zeros(3, dtype=[("a", "i4")]), "holds"),
    ],
)
def test_no_state_an_image(tmp_path: Path, values: Any, told: str) -> None:
    run = with_dataset(nxmx(tmp_path / "run.h5", n=3), "entry/code", values)
    with pytest.raises(MetadataError, match=rf"run.h5: /entry/code .*{told}"):
        open_run(run, SourceSettings(pump_dataset="/entry/code"))


def test_dataset_that_is_not_there(tmp_path: Path) -> None:
    run = nxmx(tmp_path / "run.h5")
    with pytest.raises(MetadataError, match=r"run.h5: has no dataset /entry/laser \(name the path"):
        open_run(run, SourceSettings(pump_dataset="/entry/laser"))
    with pytest.raises(MetadataError, match="is a group"):
        open_run(run, SourceSettings(pump_dataset="/entry/instrument"))


def test_dataset_that_one_data_file_lacks_or_cuts(tmp_path: Path) -> None:
    master = _links(tmp_path, [1, 2, 1, 2, 1, 2])
    with h5py.File(tmp_path / "d_2.h5", "a") as file:
        del file["entry/code"]
    with pytest.raises(MetadataError, match=r"m.h5: has no dataset entry/code, nor has its data file .*d_2.h5"):
        open_run(master, SourceSettings(pump_dataset="entry/code"))
    with_dataset(tmp_path / "d_2.h5", "entry/code", [1])
    with pytest.raises(MetadataError, match=r"d_2.h5: entry/code has shape \(1,\), and its file 2 images"):
        open_run(master, SourceSettings(pump_dataset="entry/code"))


@pytest.mark.parametrize("values", [np.arange(65), np.arange(65) / 7, [f"pulse {i}" for i in range(65)]])
def test_a_counter_is_no_state(tmp_path: Path, values: Any) -> None:
    run = with_dataset(nxmx(tmp_path / "run.h5", n=65), "entry/pulse", values)
    with pytest.raises(MetadataError, match="65 different values or more: this is no pump state"):
        open_run(run, SourceSettings(pump_dataset="/entry/pulse"))


def test_a_counter_over_many_files(tmp_path: Path) -> None:
    paths = [
        with_dataset(data_file(tmp_path / f"d_{k}.h5", counts(0, 40)), "c", range(40 * k, 40 * k + 40)) for k in (0, 1)
    ]
    with pytest.raises(MetadataError, match="no pump state"):
        open_run(paths, SourceSettings(pump_dataset="c"))


def test_images_of_other_formats_have_no_datasets(tmp_path: Path) -> None:
    images = [tmp_path / "a_1.edf", tmp_path / "a_2.edf"]
    for path in images:
        EdfImage(data=counts(0, 1)[0]).write(path)
    with pytest.raises(MetadataError, match="--pump-csv"):
        open_run(images, SourceSettings(pump_dataset="/entry/code"))
    assert states(images, pump="dark:1,light:1") == ["dark", "light"]


# Patterns along pulses


def pulsed(path: Path, pulses: Any, **options: Any) -> Path:
    return with_dataset(nxmx(path, n=len(pulses)), "entry/pulse", pulses, **options)


PULSES = {"pump": "dark:1,light:3", "pump_dataset": "/entry/pulse"}


@pytest.mark.parametrize("dtype", ["i8", "u8", "u4"])
@pytest.mark.parametrize(("first", "step"), [(0, 1), (1000, 1), (7, 2), (90, 3)])
def test_pattern_along_pulses_steps_over_dropped_frames(tmp_path: Path, first: int, step: int, dtype: str) -> None:
    """What the pattern gives without a dropped frame is what the frames that are left have with some dropped."""
    kept = [0, 1, 2, 4, 5, 9, 10, 11, 12, 30]
    whole = [("dark", "light", "light", "light")[place % 4] for place in range(31)]
    run = pulsed(tmp_path / "run.h5", np.array([first + step * place for place in kept], dtype=dtype))
    pump = pumped(run, **PULSES)
    assert [pump.names[code] for code in pump.code] == [whole[place] for place in kept]
    told = f"pattern dark:1,light:3 along /entry/pulse, from {first} in steps of {step} (--pump, --pump-dataset)"
    assert pump.origin == told


def test_more_pulses_than_states(tmp_path: Path) -> None:
    run = pulsed(tmp_path / "run.h5", np.arange(100))
    assert states(run, **PULSES) == states(run, pump=PULSES["pump"])
    with pytest.raises(MetadataError, match=r"100 different values or more: this is no pump state.*give --pump too"):
        open_run(run, SourceSettings(pump_dataset="/entry/pulse"))


def test_pulses_of_one_image(tmp_path: Path) -> None:
    assert states(pulsed(tmp_path / "run.h5", [2**63 - 1], dtype="u8"), **PULSES) == ["dark"]


@pytest.mark.parametrize("style", [_single, _in_data_files, _links, _vds, _strided, _in_master, _masters])
def test_pulses_of_every_style(tmp_path: Path, style: Callable[[Path, list[int]], Path | list[Path]]) -> None:
    paths = style(tmp_path, [10, 11, 13, 14, 15, 18])
    assert states(paths, pump="a:1,b:1,c:1", pump_dataset="entry/code") == ["a", "b", "a", "b", "c", "c"]


def test_pulses_of_a_lost_data_file(tmp_path: Path) -> None:
    master = _links(tmp_path, [10, 11, 14, 15, 16, 18])
    with h5py.File(master, "a") as file:
        file["entry/instrument/detector/detectorSpecific/nimages"] = 6
    (tmp_path / "d_1.h5").unlink()
    assert states(master, pump="a:1,b:1,c:1", pump_dataset="entry/code") == ["a", "b", "", "", "a", "c"]


def test_pulses_that_begin_in_a_lost_data_file(tmp_path: Path) -> None:
    master = _links(tmp_path, [10, 11, 14, 15, 16, 18])
    with h5py.File(master, "a") as file:
        file["entry/instrument/detector/detectorSpecific/nimages"] = 6
    (tmp_path / "d_0.h5").unlink()
    with pytest.raises(MetadataError, match=r"m.h5: entry/code of image 0 is lost, and the pattern begins there"):
        open_run(master, SourceSettings(pump="a:1,b:1", pump_dataset="entry/code"))


@pytest.mark.parametrize(
    ("pulses", "told"),
    [
        ([1, 2, 2, 3], "is 2 of image 2, after 2: values that do not rise from image to image do not count pulses"),
        ([1, 2, 0, 4], "is 0 of image 2, after 2: values that do not rise"),
        ([0, 1, 0, 1], "is 0 of image 2, after 1: values that do not rise"),
        ([0, 99, 200, 300], "rises by 101 to image 2, no multiple of the smallest rise, 99: it does not count pulses"),
        ([0.0, 1.0, 2.0, 3.0], r"holds float64, and a pump pattern is counted along integers below 2\^63"),
        ([True, False, True, False], "holds bool, and"),
        (["1", "2", "3", "4"], "holds object, and"),
        (np.array([2**63, 2**63 + 1], dtype="u8"), "holds uint64, and"),
        ([[1, 2], [3, 4]], r"has shape \(2, 2\)"),
    ],
)
def test_what_does_not_count_pulses(tmp_path: Path, pulses: Any, told: str) -> None:
    with pytest.raises(MetadataError, match=rf"run.h5: /entry/pulse {told}"):
        open_run(pulsed(tmp_path / "run.h5", pulses), SourceSettings(**PULSES))


def test_pulses_without_a_dataset(tmp_path: Path) -> None:
    with pytest.raises(MetadataError, match=r"run.h5: has no dataset /entry/pulse"):
        open_run(nxmx(tmp_path / "run.h5"), SourceSettings(**PULSES))


# CSV files


def csv(folder: Path, text: str) -> Path:
    path = folder / "states.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("image,state\n0,dark\n2,light\n", ["dark", "", "light"]),
        ('\ufeffImage , State\r\n2, light\r\n\r\n0,"dark"\r\n', ["dark", "", "light"]),
        ("state\ndark\nlight\ndark\n", ["dark", "light", "dark"]),
        (" State \n1\n0\n1\n\n\n", ["1", "0", "1"]),
        ("image,state\n000,a,\n".replace("a,", "a"), ["a", "", ""]),
    ],
)
def test_csv(tmp_path: Path, text: str, wanted: list[str]) -> None:
    assert states(nxmx(tmp_path / "run.h5", n=3), pump_csv=csv(tmp_path, text)) == wanted


@pytest.mark.parametrize("text", ["state\na\nb\nc\nd\ne\nf\n", "image,state\n0,a\n5,f\n1,b\n2,c\n3,d\n4,e\n"])
def test_csv_counts_missing_images(tmp_path: Path, text: str) -> None:
    master = _links(tmp_path, [0] * 6)
    with h5py.File(master, "a") as file:
        file["entry/instrument/detector/detectorSpecific/nimages"] = 6
    (tmp_path / "d_1.h5").unlink()
    assert states(master, pump_csv=csv(tmp_path, text)) == list("abcdef")
    with pytest.raises(MetadataError, match="has 4 states, one a line, and the run has 6 images"):
        open_run(master, SourceSettings(pump_csv=csv(tmp_path, "state\na\nb\ne\nf\n")))


def test_csv_names_come_as_they_appear(tmp_path: Path) -> None:
    path = csv(tmp_path, "state\nlate\nearly\nlate\n")
    pump = pumped(nxmx(tmp_path / "run.h5", n=3), pump_csv=path)
    assert pump.names == ("late", "early")
    assert str(path) in pump.origin


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("state\ndark\nlight\n", "has 2 states, one a line, and the run has 3 images"),
        ("state\ndark\nlight\na\nb\n", "has 4 states, one a line, and the run has 3 images"),
        ("state\ndark\n\nlight\n", "line 3: no state"),
        ("state\n0,dark\n1,light\n", "lines 2-3: several cells, and the header is state"),
        # Three lines for three images, of which the first is a header in other words.
        ("laser\ndark\nlight\n", "line 1 is 'laser', not the header image,state or state"),
        ("dark\nlight\ndark\n", "line 1 is 'dark', not the header image,state or state"),
        ("0,dark\n1,light\n", "line 1 is '0,dark', not the header"),
        ("frame,state\n0,dark\n", "line 1 is 'frame,state', not the header"),
        ("image;state\n0;dark\n1;light\n", r"line 1 is 'image;state', not the header .*separated by commas"),
        ("image\tstate\n0\tdark\n", r"line 1 is 'image.tstate', not the header .*separated by commas"),
        ("state\n0;dark\n1;light\n2;dark\n", r"lines 2-4: a semicolon or tab in the state .*separated by commas"),
        ("image,state\n0,dark;1\n1,a\tb\n", r"lines 2-3: a semicolon or tab in the state .*separated by commas"),
        (
            "image,state\n0,dark\nx,dark\n-1,dark\n1\n2,\n3,dark\n0,light\n1e9,a\n99999999999999999999,a\n",
            (
                "lines 3-4, 9: image is not a whole number from 0; line 5: not two cells, image and state; "
                "line 6: no state; lines 7, 10: no such image, the run has 3, counted from 0; "
                "line 8: image is named a second time"
            ),
        ),
        ("", "is empty"),
        ("\n\n", "line 1 is '', not the header"),
        ("\ufeff", "line 1 is '', not the header"),
        ("state\n", "has 0 states, one a line, and the run has 3 images"),
        ("image,state\n", "holds no states"),
        ('image,state\n0,"dark\n', "is not CSV text"),
    ],
)
def test_csv_that_does_not_fit(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(HitsieveError, match=rf"states.csv: ({told})") as caught:
        open_run(nxmx(tmp_path / "run.h5", n=3), SourceSettings(pump_csv=csv(tmp_path, text)))
    assert caught.value.exit_code == 3


def test_csv_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    run = nxmx(tmp_path / "run.h5", n=3)
    with pytest.raises(SourceError, match="no such file"):
        open_run(run, SourceSettings(pump_csv=tmp_path / "none.csv"))
    (tmp_path / "odd.csv").write_bytes(b"\xff\xfe\x00dark")
    with pytest.raises(MetadataError, match=r"odd.csv: is not CSV text in UTF-8"):
        open_run(run, SourceSettings(pump_csv=tmp_path / "odd.csv"))


def test_csv_of_a_counter(tmp_path: Path) -> None:
    run = nxmx(tmp_path / "run.h5", n=65)
    with pytest.raises(MetadataError, match="no pump state"):
        open_run(run, SourceSettings(pump_csv=csv(tmp_path, "state\n" + "\n".join(map(str, range(65))))))


# Outputs of hitsieve as input


def output(path: Path, codes: list[int], source_image: list[int], program: str = "hitsieve") -> Path:
    nxmx(path, n=len(codes))
    with h5py.File(path, "a") as file:
        group = file.create_group("entry/hit_finding")
        group["program"] = program
        group["pump"] = np.array(codes, dtype="i2")
        group["pump_names"] = ["dark", "light"]
        group["source_image"] = np.array(source_image)
    return path


def test_recorded_states_are_used(tmp_path: Path) -> None:
    run = output(tmp_path / "x_hits.h5", [1, 0, -1], [4, 9, 11])
    assert states(run) == ["light", "dark", ""]
    assert pumped(run).names == ("dark", "light")
    assert "recorded by hitsieve" in pumped(run).origin


def test_recorded_states_of_several(tmp_path: Path) -> None:
    paths = [output(tmp_path / "a_hits.h5", [1, 0], [4, 9]), nxmx(tmp_path / "b.h5", n=1)]
    assert states(paths) == ["light", "dark", ""]


def test_given_states_win_over_recorded(tmp_path: Path) -> None:
    run = output(tmp_path / "x_annotated.h5", [1, 0, -1], [0, 1, 2])
    assert states(run, pump="a:1,b:1") == ["a", "b", "a"]


def test_pattern_along_hits_is_refused(tmp_path: Path) -> None:
    run = output(tmp_path / "x_hits.h5", [1, 0, -1], [4, 9, 11])
    with pytest.raises(MetadataError, match="its images do not follow one another"):
        open_run(run, SourceSettings(pump="a:1,b:1"))


def test_groups_of_other_programs_say_nothing(tmp_path: Path) -> None:
    with open_run(output(tmp_path / "x_hits.h5", [1, 0, -1], [4, 9, 11], program="other")) as opened:
        assert opened.run.pump is None


def test_many_images(tmp_path: Path) -> None:
    """The states of a long run are found without a loop over its images."""
    path = tmp_path / "long.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data/data", shape=(400_000, 2, 2), dtype="u2", chunks=(1, 2, 2))
        file["entry/code"] = np.arange(400_000) % 3
    assert np.array_equal(pumped(path, pump_dataset="entry/code").code, np.arange(400_000) % 3)
