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
        ([0.0, np.nan, 2.5, 0.0], {}, ["laser_on=0", "", "laser_on=2.5", "laser_on=0"]),
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
        ("dark\nlight\ndark\n", ["dark", "light", "dark"]),
        ("state\n1\n0\n1\n\n\n", ["1", "0", "1"]),
        ("image,state\n000,a,\n".replace("a,", "a"), ["a", "", ""]),
    ],
)
def test_csv(tmp_path: Path, text: str, wanted: list[str]) -> None:
    assert states(nxmx(tmp_path / "run.h5", n=3), pump_csv=csv(tmp_path, text)) == wanted


def test_csv_names_come_as_they_appear(tmp_path: Path) -> None:
    path = csv(tmp_path, "late\nearly\nlate\n")
    pump = pumped(nxmx(tmp_path / "run.h5", n=3), pump_csv=path)
    assert pump.names == ("late", "early")
    assert str(path) in pump.origin


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dark\nlight\n", "has 2 states, one a line, and the run has 3 images"),
        ("state\ndark\nlight\na\nb\n", "has 4 states, one a line, and the run has 3 images"),
        ("dark\n\nlight\n", "line 2: no state"),
        ("0,dark\n1,light\n", "lines 1-2: several cells, and the first line is not image,state"),
        (
            "image,state\n0,dark\nx,dark\n-1,dark\n1\n2,\n3,dark\n0,light\n1e9,a\n99999999999999999999,a\n",
            (
                "lines 3-4, 9: image is not a whole number from 0; line 5: not two cells, image and state; "
                "line 6: no state; lines 7, 10: no such image, the run has 3, counted from 0; "
                "line 8: image is named a second time"
            ),
        ),
        ("", "holds no states|is empty"),
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
        open_run(run, SourceSettings(pump_csv=csv(tmp_path, "\n".join(map(str, range(65))))))


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
