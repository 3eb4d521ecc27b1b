"""How many images a file says that it holds, in detectorSpecific."""

from __future__ import annotations

from collections.abc import Iterator

import h5py
import numpy as np

from hitsieve.write.process import restore_record

_NAMES = ("nimages", "ntrigger")
SOURCE_COUNTS = tuple(f"source_{name}" for name in _NAMES)
"""Names, or their begin, under which `restore` has what the source says."""
_PLACE = "place"


def correct_counts(entry: h5py.Group, process: h5py.Group, n: int) -> None:
    """Make nimages times ntrigger the number of images of an output; what the source said is kept for restoring.

    Parameters
    ----------
    entry : h5py.Group
    process : h5py.Group
        /entry/hit_finding.
    n : int
        Images of the output.
    """
    record = restore_record(process)
    for specific in _specific(entry):
        found = {name: specific[name] for name in _NAMES if name in specific}
        for name, dataset in found.items():
            kept = record.create_dataset(_free(record, f"source_{name}"), data=dataset[()])
            kept.attrs["description"] = f"what the source says in {dataset.name}"
            kept.attrs[_PLACE] = dataset.name
        triggered = "ntrigger" in found and ("nimages" not in found or np.all(found["nimages"][()] == 1))
        for name, dataset in found.items():
            dataset[...] = n if (name == "ntrigger") == triggered else 1


def restore_counts(process: h5py.Group, output: h5py.File) -> None:
    """Give nimages and ntrigger of a file the values that the source had, as hit_finding of an output has them."""
    for name, kept in restore_record(process).items():
        if name.startswith(SOURCE_COUNTS) and kept.attrs.get(_PLACE, "") in output:
            output[kept.attrs[_PLACE]][...] = kept[()]


def _specific(entry: h5py.Group) -> Iterator[h5py.Group]:
    for instrument in entry.values():
        for detector in instrument.values() if isinstance(instrument, h5py.Group) else ():
            specific = detector.get("detectorSpecific") if isinstance(detector, h5py.Group) else None
            if isinstance(specific, h5py.Group):
                yield specific


def _free(group: h5py.Group, name: str) -> str:
    """The name, or, of a second detector, one with a number."""
    number, free = 1, name
    while free in group:
        number += 1
        free = f"{name}_{number}"
    return free
