"""CrystFEL: the geometry file (`.geom`) and the unit cell file of an experiment.

CrystFEL's laboratory frame is ours: z along the beam, y up. A panel's corner is the outer corner of its first pixel, in
pixels of 1/res metres; `fs` and `ss` are its steps in such pixels. Energies are in eV and lengths in metres where no
unit is named; older readers know no other. Conventions: crystfel_geometry(5).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hitsieve.model import Panel, UnitCell
from hitsieve.write.export.images import HC, Experiment


def panel_names(panels: tuple[Panel, ...]) -> tuple[str, ...]:
    """The names of the panels in the geometry file: their own where CrystFEL can take all of them, else p0, p1, ..."""
    own = [panel.name for panel in panels]
    fit = all(name.isidentifier() and name.isascii() and not name.startswith(("bad", "group", "rigid")) for name in own)
    if fit and len(set(own)) == len(own):
        return tuple(own)
    return tuple(f"p{number}" for number in range(len(own)))


def geometry_file(experiment: Experiment, wavelength: float) -> str:
    """The geometry file.

    Parameters
    ----------
    experiment : Experiment
        Its detector has panels.
    wavelength : float
        Angstrom; where each image has its own, the stream states them.
    """
    detector = experiment.detector
    panels = detector.panels
    clen = panels[0].origin[2] if detector.distance is None else detector.distance
    lines = [
        f"photon_energy = {HC / wavelength:.4f}",
        f"clen = {clen:.9g}",
        f"data = {experiment.dataset}",
        "dim0 = %",
        "dim1 = ss",
        "dim2 = fs",
    ]
    if experiment.mask is not None:
        lines += [f"mask = {experiment.mask}", "mask_good = 0x0", "mask_bad = 0xffffffff"]
    if experiment.peaks is not None:
        lines += [f"peak_list = {experiment.peaks}", "peak_list_type = cxi"]
    for name, panel in zip(panel_names(panels), panels, strict=True):
        lines += ["", *(f"{name}/{line}" for line in _panel(panel, clen, detector.saturation_value))]
    return "\n".join(lines) + "\n"


def _panel(panel: Panel, clen: float, saturation: int | None) -> list[str]:
    (s, f), (ns, nf) = panel.first, panel.shape
    pixel = float(np.linalg.norm(panel.fast))
    corner = np.asarray(panel.origin) / pixel
    lines = [
        f"min_fs = {f}",
        f"max_fs = {f + nf - 1}",
        f"min_ss = {s}",
        f"max_ss = {s + ns - 1}",
        f"res = {1 / pixel:.12g}",
        f"corner_x = {corner[0]:.9g}",
        f"corner_y = {corner[1]:.9g}",
        f"fs = {_vector(np.asarray(panel.fast) / pixel)}",
        f"ss = {_vector(np.asarray(panel.slow) / pixel)}",
        f"coffset = {round(panel.origin[2] - clen, 12) + 0.0:.9g}",
    ]
    return lines if saturation is None else [*lines, f"max_adu = {saturation}"]


def _vector(values: npt.NDArray[np.float64]) -> str:
    return " ".join(f"{value:+.10f}{axis}" for value, axis in zip(values, "xyz", strict=True))


def lattice_type(cell: UnitCell) -> tuple[str, str, str]:
    """CrystFEL's lattice type, centring and unique axis (* where there is none) of a cell, by its lengths and angles.

    Lengths equal within 0.2 % and angles within 0.1 degrees are taken as equal: the symmetry may be less.
    """
    lengths, angles = np.array(cell.parameters[:3]), np.array(cell.parameters[3:])
    right = np.abs(angles - 90) < 0.1
    # equal[i]: the two lengths other than the i-th.
    equal = np.array([abs(lengths[i - 2] / lengths[i - 1] - 1) < 0.002 for i in range(3)])
    centring = "H" if cell.centring == "R" else cell.centring
    if right.all() and equal.all():
        return "cubic", centring, "*"
    if right.all() and equal.any():
        return "tetragonal", centring, "abc"[int(np.argmax(equal))]
    if right.all():
        return "orthorhombic", centring, "*"
    odd = np.flatnonzero(~right)
    if len(odd) == 1:
        axis = int(odd[0])
        hexagonal = equal[axis] and abs(angles[axis] - 120) < 0.1
        return ("hexagonal" if hexagonal else "monoclinic"), centring, "abc"[axis]
    if equal.all() and np.ptp(angles) < 0.1 and centring == "P":
        return "rhombohedral", "R", "*"
    return "triclinic", centring, "*"


def cell_file(cell: UnitCell) -> str:
    """CrystFEL's unit cell file."""
    kind, centring, axis = lattice_type(cell)
    unique = [] if axis == "*" else [f"unique_axis = {axis}"]
    a, b, c, alpha, beta, gamma = cell.parameters
    lines = [
        "CrystFEL unit cell file version 1.0",
        "",
        f"lattice_type = {kind}",
        f"centering = {centring}",
        *unique,
        "",
        *(f"{name} = {value:.6g} A" for name, value in (("a", a), ("b", b), ("c", c))),
        *(f"{name} = {value:.6g} deg" for name, value in (("al", alpha), ("be", beta), ("ga", gamma))),
    ]
    return "\n".join(lines) + "\n"
