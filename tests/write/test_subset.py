"""Some of the hits of a hit-only file: as a command would have written them, and made while they are read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import nxmx
import pytest
from making import make_pump, make_results, make_run, opened, write_run

from hitsieve.cli.subset import subset as command
from hitsieve.errors import HitsieveError, OutputError, SettingsError, SourceError
from hitsieve.pipeline.check import check
from hitsieve.pipeline.verify import verify
from hitsieve.pipeline.view.subset import Choice, HitNumbers, SubsetRequest, choose, count_chosen, write_subset
from hitsieve.write import HitsToChoose, KeptRun, Outputs, open_results

HITS = [1, 2, 3, 5, 8, 9, 11, 14, 17, 20, 21, 23]
LIGHT = [image for image in HITS if image != 1 and image % 3]
PACKED = {"vds": "bslz4", "single": "gzip"}


@pytest.fixture(scope="module", params=["vds", pytest.param("single", marks=pytest.mark.long)])
def made(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Outputs:
    """Outputs of a run with pump states; its master is `../in/test_master.h5`."""
    folder = tmp_path_factory.mktemp("subset")
    with opened(make_run(folder / "in", request.param, PACKED[request.param])) as source:
        source.run = replace(source.run, pump=make_pump(len(source.run)))
        return write_run(source, folder / "out", HITS, split_pump=True)


def members(group: h5py.Group) -> dict[str, Any]:
    """Every object of a file by its path: attributes, and type, filters and values of datasets."""
    found: dict[str, Any] = {}

    def take(name: str, item: h5py.Group | h5py.Dataset) -> None:
        about = {key: np.asarray(value).tolist() for key, value in item.attrs.items()}
        if isinstance(item, h5py.Dataset):
            filters = item.id.get_create_plist().get_nfilters()
            found[name] = (about, item.dtype, item.shape, filters, np.asarray(item[()]).tobytes())
            if item.dtype.kind == "O":
                found[name] = (about, "text", item.shape, filters, item.asstr()[()] if item.shape else item[()])
        else:
            found[name] = about

    group.visititems(take)
    return found


def differing(a: Path, b: Path) -> set[str]:
    """Paths of what is not the same in two files."""
    with h5py.File(a) as first, h5py.File(b) as second:
        one, other = members(first), members(second)
    names = set(one) | set(other)
    return {name for name in names if repr(one.get(name)) != repr(other.get(name))}


def part(made: Outputs, path: Path, **choice: Any) -> Path:
    write_subset(SubsetRequest(made.hits, path, Choice(**choice)))
    return path


def images_of(path: Path) -> list[int]:
    with h5py.File(path) as file:
        return [int(image) for image in file["entry/hit_finding/source_image"][()]]


def test_all_hits_are_the_same_file_without_the_sample(made: Outputs, tmp_path: Path) -> None:
    found = differing(made.hits, part(made, tmp_path / "all.h5"))
    own = "entry/hit_finding/"
    assert {name for name in found if not name.startswith(f"{own}audit")} == {
        f"{own}{name}" for name in ("holds", "subset", *(f"subset/{x}" for x in ("data", "type", "description")))
    }


def test_hits_of_a_pump_state_are_those_that_a_run_writes(made: Outputs, tmp_path: Path) -> None:
    few = part(made, tmp_path / "light.h5", pump="light 1ms")
    assert images_of(few) == LIGHT
    own = "entry/hit_finding/"
    totals = {"n_images", "n_hits", "n_misses", "n_unreadable", "n_missing", "hit_rate", "hit_rate_interval"}
    said = {"holds", "pump_state", "subset", "subset/data", "subset/type", "subset/description"}
    assert differing(made.pump_hits[1], few) <= {f"{own}{name}" for name in totals | said}
    with h5py.File(few) as file, h5py.File(made.hits) as whole:
        for name in totals:
            assert np.array_equal(file[own + name][()], whole[own + name][()])


def test_readers_take_it(made: Outputs, tmp_path: Path) -> None:
    few = part(made, tmp_path / "few.h5", random=5, seed=3)
    master = made.hits.parents[1] / "in" / "test_master.h5"
    for source in (None, master):
        report = verify(few, source)
        assert report.ok and (report.n_hits, report.n_audit) == (5, 0)
    images = images_of(few)
    with h5py.File(few) as file, h5py.File(master) as original:
        entry = file["entry"]
        assert np.array_equal(entry["data/data"][()], original["entry/data/data"][images])
        assert np.array_equal(entry["xfel/pulse_id"][()], original["entry/xfel/pulse_id"][images])
        assert entry["xfel/labels"].asstr()[()].tolist() == [f"shot {image}" for image in images]
        specific = entry["instrument/detector/detectorSpecific"]
        assert int(specific["nimages"][()]) * int(specific["ntrigger"][()]) == 5
        results = make_results(opened(master).run, HITS, 0, 24)
        ends = entry["hit_finding/lattices/offsets"][()]
        assert np.diff(ends).tolist() == results.n_lattices[images].tolist()
        wanted = np.concatenate([results.lattices_of(image).A for image in images])
        assert np.array_equal(entry["hit_finding/lattices/reciprocal_basis"][()], wanted)
        for row, image in enumerate(images):
            n = int(entry["MX/nPeaks"][row])
            assert n == results.n_spots[image]
            assert np.allclose(entry["MX/peakXPosRaw"][row, :n], results.spots_of(image).x - 0.5)
        assert len(nxmx.NXmx(file).entries[0].data[0].signal and entry["data/data"]) == 5
    # What can be said against the whole file can be said against the part, and nothing more.
    of_part, of_whole = ([found.plain() for found in checked.findings] for checked in check([few, made.hits]))
    assert of_part == of_whole


@pytest.mark.parametrize(
    "choice",
    [
        {"first": 3},
        {"first": 99},
        {"random": 4},
        {"random": 99},
        {"d_max": 1.6},
        {"min_lattices": 1},
        {"first": 2, "pump": "light 1ms", "d_max": 1.65},
        {"random": 2, "seed": 7, "min_lattices": 1, "pump": "light 1ms"},
    ],
)
def test_a_choice_gives_the_hits_it_says(made: Outputs, tmp_path: Path, choice: dict[str, Any]) -> None:
    with open_results(made.hits) as results:
        hits = results.read(HITS)
    wanted = [
        int(hits.image[i])
        for i in range(len(HITS))
        if ("pump" not in choice or int(hits.pump[i]) == ("dark", "light 1ms").index(choice["pump"]))
        and float(hits.resolution[i]) <= choice.get("d_max", np.inf)
        and int(hits.n_lattices[i]) >= choice.get("min_lattices", 0)
    ]
    with HitsToChoose(made.hits) as file:
        chosen = count_chosen(HitNumbers.of(file), Choice(**choice))
    images = images_of(part(made, tmp_path / "few.h5", **choice))
    assert (chosen.n_hits, chosen.n_of) == (len(images), len(HITS))
    assert len(wanted) < len(HITS) or not {"pump", "d_max", "min_lattices"} & set(choice)
    if "random" in choice:
        assert set(images) <= set(wanted) and images == sorted(images)
        assert len(images) == min(choice["random"], len(wanted))
    else:
        assert images == wanted[: choice.get("first")]
    with h5py.File(tmp_path / "few.h5") as file:
        said = json.loads(file["entry/hit_finding/subset/data"].asstr()[()])
        assert chosen.n_bytes == file["entry/data/data"].id.get_storage_size()
    assert said["file"] == made.hits.name and choice.items() <= said["choice"].items()


def test_any_part_of_it_can_be_read_and_is_the_same_again(made: Outputs, tmp_path: Path) -> None:
    whole = part(made, tmp_path / "few.h5", first=4).read_bytes()
    with choose(made.hits, Choice(first=4)) as one, choose(made.hits, Choice(first=4)) as other:
        assert one.tag == other.tag and one.size == len(whole)
        rng = np.random.default_rng(1)
        for start, stop in np.sort(rng.integers(0, len(whole) + 1, (60, 2)), axis=1).tolist():
            assert b"".join(one.read(start, stop)) == whole[start:stop]
    with choose(made.hits, Choice(first=5)) as another:
        assert another.tag != one.tag
    code = (
        "import sys; from pathlib import Path; from hitsieve.pipeline.view.subset import Choice, choose\n"
        "print(choose(Path(sys.argv[1]), Choice(first=4)).tag)"
    )
    again = subprocess.run([sys.executable, "-c", code, made.hits], capture_output=True, text=True, check=True)
    assert again.stdout.strip() == one.tag


def test_part_of_a_part_says_so(made: Outputs, tmp_path: Path) -> None:
    few = part(made, tmp_path / "few.h5", first=6)
    write_subset(SubsetRequest(few, tmp_path / "fewer.h5", Choice(min_lattices=1)))
    assert set(images_of(tmp_path / "fewer.h5")) == {image for image in HITS[:6] if image % 3}
    with h5py.File(tmp_path / "fewer.h5") as file:
        said = json.loads(file["entry/hit_finding/subset/data"].asstr()[()])
        assert file["entry/hit_finding/n_hits"][()] == len(HITS)
    assert said["before"]["choice"] == {"first": 6}
    assert verify(tmp_path / "fewer.h5").ok


def changed(hits: Path, how: str) -> Iterator[Any]:
    """Damage a hit-only file while a part of it is read."""
    with h5py.File(hits) as file:
        info = file["entry/data/data"].id.get_chunk_info(3)
    content = bytearray(hits.read_bytes())
    if how == "flipped":
        content[info.byte_offset + info.size // 2] ^= 1
    with hits.open("r+b") as file:
        file.write(content)
        file.truncate(len(content) if how == "flipped" else info.byte_offset + 1)
    yield


@pytest.mark.parametrize("how", ["flipped", "cut"])
def test_damage_on_the_way_ends_the_reading(made: Outputs, tmp_path: Path, how: str) -> None:
    hits = tmp_path / "copy_hits.h5"
    hits.write_bytes(made.hits.read_bytes())
    with choose(hits, Choice()) as composed:
        whole, pieces = b"".join(composed.read()), composed.read()
        got = [next(pieces)]
        list(changed(hits, how))
        with pytest.raises(SourceError, match="does not agree with its SHA-256"):
            got.extend(pieces)
        assert whole.startswith(b"".join(got)) and len(b"".join(got)) < len(whole)
        with pytest.raises(SourceError, match="has changed"):
            next(composed.read())
        hits.unlink()
        with pytest.raises(SourceError, match="cannot be read"):
            next(composed.read())
    output = tmp_path / "few.h5"
    hits.write_bytes(made.hits.read_bytes())
    list(changed(hits, "flipped"))
    with pytest.raises(SourceError, match="SHA-256"):
        write_subset(SubsetRequest(hits, output, Choice()))
    assert {path.name for path in tmp_path.iterdir()} == {"copy_hits.h5"}


def test_command_says_what_it_wrote(made: Outputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "few.h5"
    assert command(made.hits, output=output, first=2, d_max=9.0, json=True) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["n_hits"], said["n_of"], said["n_bytes"]) == (2, len(HITS), output.stat().st_size)
    assert said["choice"] == {"first": 2, "d_max": 9.0}
    with pytest.raises(OutputError, match="output exists"):
        command(made.hits, output=output, first=2)
    with pytest.raises(OutputError, match="is a file of the input"):
        command(made.hits, output=made.hits, first=2, overwrite=True)


@pytest.mark.parametrize(
    ("file", "choice", "error", "says"),
    [
        ("hits", {"pump": "drak"}, SettingsError, "has no pump state drak .its pump states are dark, light 1ms"),
        ("hits", {"d_max": 0.5}, SourceError, "none of its 12 hits is chosen by d max 0.5"),
        ("hits", {"d_max": float("nan")}, SettingsError, "d_max is nan"),
        ("hits", {"first": 0}, SettingsError, "first is 0"),
        ("hits", {"first": 1, "random": 1}, SettingsError, "exclude each other"),
        ("annotated", {}, SourceError, "holds all, not hits"),
        ("summary", {}, SourceError, "is not an HDF5 file"),
    ],
)
def test_what_cannot_be_is_told(
    made: Outputs, tmp_path: Path, file: str, choice: dict[str, Any], error: type[HitsieveError], says: str
) -> None:
    with pytest.raises(error, match=says):
        command(getattr(made, file), output=tmp_path / "few.h5", **choice)
    assert not list(tmp_path.iterdir())


def test_what_lies_in_other_files_is_not_followed(made: Outputs, tmp_path: Path) -> None:
    hits = tmp_path / "copy_hits.h5"
    hits.write_bytes(made.hits.read_bytes())
    with h5py.File(hits, "r+") as file:
        file["entry/more"] = h5py.ExternalLink(str(made.annotated), "/entry")
    with pytest.raises(SourceError, match="does not hold all that it shows"):
        choose(hits, Choice())


ABSURD = 10**13
"""Values that no memory holds; a file states them in a few bytes."""


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("resolution", {"shape": (3,), "dtype": "f4"}),
        ("resolution", {"shape": (len(HITS), 2), "dtype": "f4"}),
        ("n_lattices", {"shape": (len(HITS),), "dtype": "S4"}),
        ("pump", {"data": 1}),
        ("sha256", {"shape": (ABSURD,), "dtype": "S64", "chunks": (1000,)}),
        ("resolution", {"shape": (ABSURD,), "dtype": "f4", "chunks": (1000,)}),
        ("background", {"shape": (ABSURD,), "dtype": "f4", "chunks": (1000,)}),
        ("background", {"shape": (len(HITS), ABSURD), "dtype": "f4", "chunks": (1, 1000)}),
        ("pump_names", {"shape": (ABSURD,), "dtype": h5py.string_dtype(), "chunks": (1000,)}),
        ("lattices/residual", {"shape": (ABSURD,), "dtype": "f4", "chunks": (1000,)}),
        ("lattices/offsets", {"data": np.arange(len(HITS) + 1) - 5}),
        ("restore/per_image", {"data": 1}),
    ],
)
def test_what_a_file_states_is_not_believed(made: Outputs, tmp_path: Path, name: str, given: dict[str, Any]) -> None:
    wrong = tmp_path / "wrong_hits.h5"
    wrong.write_bytes(made.hits.read_bytes())
    with h5py.File(wrong, "r+") as file:
        process = file["entry/hit_finding"]
        del process[name]
        process.create_dataset(name, **given)
    with pytest.raises(SourceError, match=r"wrong_hits\.h5: is no hit-only file"):
        write_subset(SubsetRequest(wrong, tmp_path / "few.h5", Choice(first=2)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wrong_hits.h5"]


def test_it_is_no_output_of_the_run(made: Outputs, tmp_path: Path) -> None:
    few = part(made, made.hits.with_name("few_hits.h5"), first=3)
    with pytest.raises(SourceError, match="holds subset, not hits"):
        KeptRun(few, few)
    few.unlink()
