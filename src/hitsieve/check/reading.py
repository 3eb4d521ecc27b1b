"""Reading of files that may be hostile or damaged: nothing here raises, blocks or takes much memory."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np

from hitsieve.filters import register_filters

register_filters()

FAILURES = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    MemoryError,
    NotImplementedError,
    SystemError,
)
"""What h5py raises on damaged files (UnicodeDecodeError is a ValueError)."""
MOST_BYTES = 1 << 24
"""Largest value that is read."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A member that cannot be opened."""

    why: str
    file: str = ""
    """The other file that it names."""


Member: TypeAlias = Any
"""A group, a data set, Broken, or None where there is nothing: h5py has no types."""


def names_in(group: h5py.Group) -> Iterator[str]:
    """Names of a group's members, as far as they can be read."""
    try:
        yield from sorted(group)
    except FAILURES:
        return


def can_be_listed(group: h5py.Group) -> bool:
    """Whether the members of a group can be read at all."""
    try:
        list(group)
    except FAILURES:
        return False
    return True


def link_of(group: h5py.Group, name: str) -> object:
    """The link of a member; None where there is none or it cannot be read."""
    try:
        return group.get(name, getlink=True)
    except FAILURES:
        return None


def member(group: h5py.Group, name: str) -> Member:
    """Give a group's member; None where there is none.

    External links are followed only to regular files: opening a named pipe would block.
    """
    link = link_of(group, name)
    if link is None:
        return None
    if isinstance(link, h5py.ExternalLink):
        why = why_not_there(locate(link.filename, Path(group.file.filename)))
        if why:
            return Broken(f"leads to {link.filename}, which {why}", link.filename)
    try:
        found = group[name]
    except FAILURES as error:
        return Broken(_why(link, error), link.filename if isinstance(link, h5py.ExternalLink) else "")
    if isinstance(found, h5py.Group | h5py.Dataset):
        return found
    return Broken("is neither a group nor a data set")


def is_plain_data_set(group: h5py.Group, name: str) -> bool:
    """Whether a member is a data set of the file itself, told without opening it."""
    try:
        return isinstance(link_of(group, name), h5py.HardLink) and group.get(name, getclass=True) is h5py.Dataset
    except FAILURES:
        return False


def _why(link: object, error: BaseException) -> str:
    if isinstance(link, h5py.SoftLink):
        return f"leads to {link.path}, which is not there"
    if isinstance(link, h5py.ExternalLink):
        return f"leads to {link.path} in {link.filename}, which cannot be opened there"
    return f"cannot be opened: {short(error)}"


def short(error: BaseException) -> str:
    """Say in one line what HDF5 said."""
    return " ".join(str(error).split())[:160]


def at_path(group: h5py.Group, path: str) -> Member:
    """What an absolute path leads to, or one relative to a group."""
    try:
        here: Member = group.file["/"] if path.startswith("/") else group
    except FAILURES:
        return None
    for name in filter(None, path.split("/")):
        if not isinstance(here, h5py.Group):
            return None
        if name not in (".", ".."):
            here = member(here, name)
        elif name == "..":
            here = here.parent
    return here


def locate(name: str, master: Path) -> Path:
    """Where a file named in a master is, as HDF5 looks for it."""
    stated = Path(name)
    folder = master.parent
    if stated.is_absolute():
        return stated if stated.exists() else folder / stated.name
    beside = folder / stated
    return beside if beside.exists() or not stated.exists() else stated


def why_not_there(path: Path) -> str:
    """Why a file cannot be opened as one; nothing where it can."""
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):
            return "is no regular file"
        with path.open("rb") as file:
            return "" if file.read(1) else "is empty"
    except FileNotFoundError:
        return "is not there"
    except (OSError, ValueError) as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"


def attribute(item: h5py.HLObject, name: str) -> Any:
    """An attribute's value; None where it is absent, unreadable or too large."""
    try:
        if name not in item.attrs:
            return None
        kind = item.attrs.get_id(name)
        if kind.get_storage_size() > MOST_BYTES:
            return None
        return item.attrs[name]
    except FAILURES:
        return None


def text_attribute(item: h5py.HLObject, name: str) -> str:
    """Text of an attribute; nothing where there is none."""
    return text_of(attribute(item, name)) or ""


def text_of(value: Any) -> str | None:
    """Text of one value, however it was stored; None for what is no text."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value).strip("\0 \n\t") if isinstance(value, str) else None


def value_of(item: h5py.Dataset) -> Any:
    """Value of a small data set; None where it has none, is too large or cannot be read."""
    try:
        if item.shape is None or item.size is None:
            return None
        if item.size == 0 or item.size * max(item.dtype.itemsize, 1) > MOST_BYTES:
            return None
        if item.is_virtual and not sources_are_files(item):
            return None
        return item[()]
    except FAILURES:
        return None


def holds_something(item: h5py.Dataset) -> bool:
    """Whether a data set has values, read or not; one that cannot even tell its shape may have."""
    try:
        return item.shape is not None and item.size != 0
    except FAILURES:
        return True


def sources_are_files(item: h5py.Dataset) -> bool:
    """Whether all files that a virtual data set names can be opened without waiting."""
    here = Path(item.file.filename)
    return not any(
        why_not_there(locate(source.file_name, here)) == "is no regular file"
        for source in item.virtual_sources()
        if source.file_name != "."
    )


def numbers(value: Any) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """Numbers of a value as a flat array; None where it is none."""
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "iufb":
            return None
        return np.asarray(array, dtype=np.float64).ravel()
    except FAILURES:
        return None


def shape_of(item: h5py.Dataset) -> tuple[int, ...] | None:
    """Shape of a data set; None where it holds nothing or cannot tell."""
    try:
        shape = item.shape
    except FAILURES:
        return None
    return None if shape is None else tuple(int(n) for n in shape)


def kind_of(item: h5py.Dataset) -> str:
    """Letter of numpy for the type of a data set, S for text however stored, or ? where it cannot be told."""
    try:
        dtype = item.dtype
        return "S" if h5py.check_string_dtype(dtype) is not None else dtype.kind
    except FAILURES:
        return "?"


def identity(item: h5py.HLObject) -> tuple[int, int] | None:
    """What tells objects of HDF5 apart, whatever their names."""
    try:
        info = h5py.h5o.get_info(item.id)
    except FAILURES:
        return None
    return int(info.fileno), int(info.addr)
