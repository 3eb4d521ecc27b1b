"""What NXmx requires of an output and the source did not give."""

from __future__ import annotations

import h5py

from hitsieve.model import Problem, Run

_OWN = ("hit_finding", "MX")
_MODULE = ("data_origin", "data_size", "fast_pixel_direction", "slow_pixel_direction")
_REQUIRED: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("NXentry", "entry", ("start_time", "end_time_estimated", "definition")),
    ("NXsample", "sample", ("name", "depends_on")),
    ("NXinstrument", "instrument", ("name",)),
    ("NXsource", "source", ("name",)),
    ("NXbeam", "beam", ("incident_wavelength",)),
    ("NXdetector", "detector", ("sensor_material", "sensor_thickness")),
    ("NXdetector_module", "module", _MODULE),
)
_DIALS = frozenset({"incident_wavelength", "sensor_material", "sensor_thickness", *_MODULE})
_SET = {
    "incident_wavelength": "wavelength",
    "sensor_material": "sensor_material",
    "sensor_thickness": "sensor_thickness",
    "sample/name": "sample_name",
}
_DEEPEST = 4


def groups_below(group: h5py.Group, depth: int = 0) -> dict[str, list[h5py.Group]]:
    """Groups below a group by NeXus class, but not what the outputs themselves add."""
    found: dict[str, list[h5py.Group]] = {}
    for name in group:
        if depth >= _DEEPEST or name.startswith(_OWN):
            continue
        # The class is asked for first: to open a dataset takes long where it is large and virtual.
        if group.get(name, getclass=True, getlink=True) is not h5py.HardLink:
            continue
        if group.get(name, getclass=True) is not h5py.Group:
            continue
        item = group[name]
        found.setdefault(class_of(item), []).append(item)
        for nx_class, groups in groups_below(item, depth + 1).items():
            found.setdefault(nx_class, []).extend(groups)
    return found


def groups_of(group: h5py.Group, nx_class: str) -> list[h5py.Group]:
    """Groups of a NeXus class below a group, but not in what the outputs themselves add."""
    return groups_below(group).get(nx_class, [])


def class_of(group: h5py.Group) -> str:
    """NX_class of a group, or nothing."""
    value = group.attrs.get("NX_class", "")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def lacking(run: Run, entry: h5py.Group) -> Problem | None:
    """Name the required fields that an output lacks, and what to do about it; None where it lacks none."""
    places: list[str] = []
    names: list[str] = []
    there = groups_below(entry) | {"NXentry": [entry]}
    for nx_class, place, fields in _REQUIRED:
        groups = there.get(nx_class, [])
        absent = [name for name in fields if not any(name in group for group in groups)]
        names += absent
        places += [f"{place}/{name}" for name in absent] if absent != list(_MODULE) else ["module (geometry)"]
    if not places:
        return None
    closed = any(name in _DIALS for name in names)
    what = f"the outputs lack {', '.join(places)}, which NXmx requires"
    if closed:
        needed = [place for place in places if place.rpartition("/")[2] in _DIALS or place.startswith("module")]
        what += f"; without {', '.join(needed)} DIALS cannot open them"
    settable = [f"--set {name}=..." for field, name in _SET.items() if any(place.endswith(field) for place in places)]
    mends = [" ".join(settable)] if settable else []
    if any(place.startswith("module") for place in places):
        mends.append("--geometry FILE.geom or --set distance, beam_center_x, beam_center_y and pixel_size")
    if len(names) > len(settable):
        mends.append(
            "add the rest to the source or to the outputs" if mends else "add them to the source or the outputs"
        )
    return Problem(str(run.path), what, "; ".join(mends))
