"""Makes the example files, and the listings of them: `python definitions/examples/make.py FOLDER`.

A simulated run of 12 images goes through hitsieve: example_master.h5 and its data files are the run, and
example_hits.h5, example_misses.h5 and example_annotated.h5 what is written of it. Beside each of these lies a listing,
as in this folder.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

import hitsieve
from hitsieve.settings import RunSettings
from hitsieve.testing import SimulateSettings, simulate

SIMULATION = {
    "name": "example",
    "detector": "test-256k",
    "images": 12,
    "images_per_file": 6,
    "hit_fraction": 0.3,
    "spots": (20, 60),
    "background": 0.02,
    "flickers": 2,
    "seed": 2,
}
SETTINGS = {
    "source": {"pump": "dark:1,light:1"},
    "index": {"cell": "79,79,38,90,90,90"},
    "write": {"audit_min": 2, "misses": "keep"},
    "workers": 1,
}
KINDS = ("hits", "misses", "annotated")
_SHOWN = 4
"""Values of an array that a listing shows."""


def make(folder: Path) -> dict[str, Path]:
    """Simulate the run and find its hits; gives the files written, by kind."""
    # A damaged image, so that the files have an image that is neither hit nor miss.
    made = simulate(folder, SimulateSettings.model_validate(SIMULATION))
    with h5py.File(made.data_files[1], "r+") as file:
        images = file["entry/data/data"].id
        images.write_direct_chunk((5, 0, 0), images.read_direct_chunk((5, 0, 0))[1][:100] + b"\xff" * 900)
    hitsieve.run(made.master, output=folder, settings=RunSettings.model_validate(SETTINGS))
    return {kind: folder / f"example_{kind}.h5" for kind in KINDS}


def listing(path: Path) -> str:
    """What a file holds: each group with its class, each field with its type, shape, units and first values."""
    with h5py.File(path) as file:
        lines = [path.name, *_group(file["entry"], "entry", "  ")]
    return "\n".join(lines).replace(str(path.parent), "/data") + "\n"


def _group(group: h5py.Group, name: str, indent: str) -> Iterator[str]:
    yield f"{indent}{name}: {group.attrs.get('NX_class', 'group')}"
    yield from _attributes(group, indent + "  ")
    for member, item in group.items():
        link = group.get(member, getlink=True)
        if isinstance(link, h5py.SoftLink):
            yield f"{indent}  {member} -> {link.path}"
        elif isinstance(item, h5py.Group):
            yield from _group(item, member, indent + "  ")
        else:
            yield from _field(item, member, indent + "  ")


def _field(item: h5py.Dataset, name: str, indent: str) -> Iterator[str]:
    text = h5py.check_string_dtype(item.dtype) is not None
    shape = f"[{', '.join(map(str, item.shape))}]" if item.shape else ""
    names = h5py.check_enum_dtype(item.dtype) or {}
    codes = ", ".join(f"{code} {word}" for word, code in sorted(names.items(), key=lambda one: one[1]))
    values = "" if item.ndim > 2 else f" = {_values(item.asstr()[()] if text else item[()])}"
    yield f"{indent}{name}: {'text' if text else item.dtype.name}{shape}{f' ({codes})' if codes else ''}{values}"
    yield from _attributes(item, indent + "  ")


def _values(values: object) -> str:
    if not isinstance(values, np.ndarray):
        words = _word(values).splitlines() or [""]
        return words[0][:100] + ("..." if len(words) > 1 or len(words[0]) > 100 else "")
    shown = [_values(value) for value in values[:_SHOWN]]
    return f"[{', '.join(shown)}{', ...' if len(values) > _SHOWN else ''}]"


def _word(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode()
    return f"{value:.5g}" if isinstance(value, float | np.floating) else str(value)


def _attributes(item: h5py.HLObject, indent: str) -> Iterator[str]:
    for name in sorted(set(item.attrs) - {"NX_class", "description"}):
        yield f"{indent}@{name} = {_values(item.attrs[name])}"


def main() -> None:
    """Make the files in the folder that is named."""
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for path in make(folder).values():
        path.with_suffix(".txt").write_text(listing(path), encoding="utf-8")


if __name__ == "__main__":
    main()
