"""The cell is read from what the user names, and refused where it says nothing or nonsense."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from hitsieve.errors import SettingsError
from hitsieve.index import read_cell

LYSOZYME = (79.0, 79.0, 38.0, 90.0, 90.0, 90.0)
CRYST1 = "CRYST1   79.000   79.000   38.000  90.00  90.00  90.00 P 43 21 2     8\n"
ATOM = "ATOM      1  N   LYS A   1       3.287  10.092  10.329  1.00  5.89           N\n"
MMCIF = """data_1LYZ
_cell.length_a 79.0
_cell.length_b 79.0
_cell.length_c 38.0
_cell.angle_alpha 90
_cell.angle_beta 90
_cell.angle_gamma 90
_symmetry.space_group_name_H-M 'P 43 21 2'
"""
CIF = """data_global
_publ_section_title 'no cell here'
data_x
_cell_length_a 61.4(2)
_cell_length_b 122.6
_cell_length_c 168
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_IT_number 20
"""
IN_CIF = (61.4, 122.6, 168.0, 90.0, 90.0, 90.0)
RHOMBOHEDRAL = "data_x\n" + "".join(f"_cell.length_{x} 60\n" for x in "abc")
RHOMBOHEDRAL += "".join(f"_cell.angle_{x} 70\n" for x in ("alpha", "beta", "gamma"))
CRYSTFEL = """CrystFEL unit cell file version 1.0

; found by hand
lattice_type = tetragonal
centering = I
unique_axis = c

a = 7.9 nm
b = 79.0 A  ; the same
c = 38.0 A
al = 90.0 deg
be = 90.0 deg
ga = 90.0 deg
"""


def crystfel(centring: str, a: float, c: float, al: float, ga: float) -> str:
    lines = [f"lattice_type = rhombohedral\ncentering = {centring}", f"a = {a} A\nb = {a} A\nc = {c} A"]
    return "\n".join(["CrystFEL unit cell file version 1.0", *lines, f"al = {al} deg\nbe = {al} deg\nga = {ga} deg\n"])


def crystfel_about(axis: str, lengths: tuple[float, float, float]) -> str:
    text = CRYSTFEL.replace("unique_axis = c", f"unique_axis = {axis}").replace("centering = I", "centering = P")
    for old, new in zip(("7.9 nm", "79.0 A", "38.0 A"), lengths, strict=True):
        text = text.replace(old, f"{new} A")
    return text


@pytest.mark.parametrize("text", ["79,79,38,90,90,90", "79 79 38 90 90 90", " 79, 79, 38, 90.0, 90, 9e1 "])
def test_numbers(text: str) -> None:
    cell = read_cell(text, "I")
    assert cell is not None
    assert cell.parameters == LYSOZYME and cell.centring == "I" and cell.origin == "given by the user"
    primitive = read_cell(text)
    assert primitive is not None and primitive.centring == "P" and "no centring given" in primitive.origin


@pytest.mark.parametrize("text", ["unknown", " Unknown "])
def test_unknown_is_no_cell(text: str) -> None:
    assert read_cell(text) is None
    with pytest.raises(SettingsError, match="unknown cell"):
        read_cell(text, "C")


@pytest.mark.parametrize(
    ("name", "text", "cell", "centring"),
    [
        ("model.pdb", "HEADER    LYSOZYME\n" + CRYST1 + ATOM, LYSOZYME, "P"),
        ("bare.pdb", CRYST1[:55] + "\n" + ATOM, LYSOZYME, "P"),
        ("trigonal.pdb", CRYST1.replace(" 90.00 P 43 21 2", "120.00 H 3 2    "), (79, 79, 38, 90, 90, 120), "R"),
        ("model.cif", MMCIF, LYSOZYME, "P"),
        ("nonstandard.pdb", CRYST1.replace("P 43 21 2", "C 4 21 2 "), LYSOZYME, "C"),
        ("unknown_to_gemmi.pdb", CRYST1.replace("P 43 21 2", "F 41 2 2 "), LYSOZYME, "F"),
        ("hall.cif", CIF.replace("_space_group_IT_number 20", "_symmetry_space_group_name_Hall '-I 4'"), IN_CIF, "I"),
        ("odd.cif", CIF + "_symmetry_space_group_name_H-M 'unheard of'\n", IN_CIF, "C"),
        ("number.cif", RHOMBOHEDRAL + "_symmetry.Int_Tables_number 146\n", (60, 60, 60, 70, 70, 70), "P"),
        ("small.cif", CIF, (61.4, 122.6, 168, 90, 90, 90), "C"),
        ("any.cell", CRYSTFEL, LYSOZYME, "I"),
        ("hexagonal.cell", crystfel("H", 93, 130, 90, 120), (93, 93, 130, 90, 90, 120), "R"),
        ("about_a.cell", crystfel_about("a", (40, 61, 61)), (40, 61, 61, 90, 90, 90), "P"),
        ("rhombohedral.cell", crystfel("R", 71, 71, 75, 75), (71, 71, 71, 75, 75, 75), "P"),
    ],
)
def test_files(tmp_path: Path, name: str, text: str, cell: tuple[float, ...], centring: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    found = read_cell(str(path))
    assert found is not None
    assert found.parameters == pytest.approx(cell) and found.centring == centring
    assert name in found.origin
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    again = read_cell(str(packed))
    assert again is not None and again.parameters == found.parameters


def test_centring_of_the_user_stands_where_the_file_says_none(tmp_path: Path) -> None:
    path = tmp_path / "bare.pdb"
    path.write_text(CRYST1[:55] + "\n", encoding="utf-8")
    cell = read_cell(str(path), "I")
    assert cell is not None and cell.centring == "I"
    path.write_text(CRYST1, encoding="utf-8")
    agreed = read_cell(str(path), "P")
    assert agreed is not None and "P 43 21 2" in agreed.origin
    with pytest.raises(SettingsError, match=r"says centring P, not I \(leave the centring out\)"):
        read_cell(str(path), "I")


def test_space_group_that_says_no_centring_is_not_taken_for_p(tmp_path: Path) -> None:
    path = tmp_path / "odd.pdb"
    path.write_text(CRYST1.replace("P 43 21 2", "X 4 21 2 "), encoding="utf-8")
    with pytest.raises(SettingsError, match=r"'X 4 21 2' says no centring \(give --centring\)"):
        read_cell(str(path))
    cell = read_cell(str(path), "C")
    assert cell is not None and cell.centring == "C"


def test_r_on_rhombohedral_axes_is_primitive(tmp_path: Path) -> None:
    given = read_cell("60,60,60,70,70,70", "R")
    assert given is not None and given.centring == "P" and "R on rhombohedral axes is P" in given.origin
    path = tmp_path / "number.cif"
    path.write_text(RHOMBOHEDRAL + "_symmetry.Int_Tables_number 146\n", encoding="utf-8")
    for centring in ("P", "R", None):
        cell = read_cell(str(path), centring)
        assert cell is not None and cell.centring == "P"


def test_a_cell_that_may_be_in_nanometres_is_doubted() -> None:
    small = read_cell("7.9,7.9,3.8,90,90,90")
    assert small is not None and "in nm" in small.origin


@pytest.mark.parametrize(
    ("text", "centring", "says"),
    [
        ("79,79,38", None, "six numbers, not 3"),
        ("79,79,38,90,90,90,90", None, "six numbers, not 7"),
        ("79,79,38,90,90,nan", None, "no crystal has the cell"),
        ("79,79,38,60,60,130", None, "no crystal has the cell"),
        ("0,79,38,90,90,90", None, "no crystal has the cell"),
        ("0.79,0.79,0.38,90,90,90", None, "0.38 angstrom is shorter"),
        ("1e300,1e300,1e300,90,90,90", None, "longer than any that can be indexed"),
        ("790,790,3800,90,90,90", None, "3800 angstrom is longer"),
        ("79,79,38,1.57,1.57,1.57", None, "1.57 degrees"),
        ("79,79,38,90,90,90", "X", "centring 'X' is not known"),
        ("79,79,38,90,90,90", "R", "hexagonal axes"),
        ("79,79,38,90,90,ninety", None, "neither numbers nor a file"),
        ("nowhere.pdb", None, "neither numbers nor a file"),
        ("", None, "the cell is empty"),
    ],
)
def test_nonsense(text: str, centring: str | None, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        read_cell(text, centring)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1\n" + ATOM, "dummy 1 1 1"),
        (ATOM, "states no unit cell"),
        ("data_x\n_cell.length_a 79\n", "states no unit cell"),
        ("data_x\nnonsense\n", "no valid CIF"),
        ("nothing of the kind", "states no unit cell"),
        ("", "states no unit cell"),
        ("\0\1\2", "not a text file"),
        (CRYST1.replace("90.00  90.00  90.00", "60.00  60.00 130.00"), "no crystal has the cell"),
        (CRYSTFEL.replace("ga = 90.0 deg", ""), "states no ga"),
        (CRYSTFEL.replace("38.0 A", "38.0"), "c = '38.0' is not a number with unit A or nm"),
        (CRYSTFEL.replace("38.0 A", "38.0 deg"), "c = '38.0 deg'"),
        (CRYSTFEL.replace("= I", "= Q"), "centring 'Q'"),
        (crystfel("R", 93, 130, 90, 120), "rhombohedral axes in CrystFEL"),
        (CRYSTFEL.replace("axis = c", "axis = b"), "lattice_type is tetragonal about b, and its cell 79, 79, 38, 90, "),
        (CRYSTFEL.replace("al = 90.0", "al = 93.0"), "lattice_type is tetragonal about c, and its cell 79, 79, 38, 93"),
        (CRYSTFEL.replace("tetragonal", "cubic"), "lattice_type is cubic, and its cell"),
        (CRYSTFEL.replace("tetragonal", "hexagonal"), "lattice_type is hexagonal about c, and"),
        (CRYSTFEL.replace("tetragonal", "monoclinic").replace("al = 90.0", "al = 93.0"), "is monoclinic about c, and"),
        (crystfel("R", 71, 72.5, 75, 75), "lattice_type is rhombohedral, and"),
    ],
)
def test_files_without_a_cell(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "named.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=says) as error:
        read_cell(str(path))
    assert "named.txt" in str(error.value)


def test_folder_and_damaged_gzip(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_cell(str(tmp_path))
    damaged = tmp_path / "model.pdb.gz"
    damaged.write_bytes(gzip.compress(CRYST1.encode())[:-12])
    with pytest.raises(SettingsError, match="cannot be read"):
        read_cell(str(damaged))
