"""A dataset with one value an image: as names of states, or as a count of pulses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.errors import MetadataError
from hitsieve.source.fields import as_text

MOST_STATES = 64
"""Most states of a run; a dataset of more values counts or measures something."""
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Values:
    """States of n images."""

    names: tuple[str, ...]
    numbers: tuple[float | None, ...]
    """The value behind each name, where it is a number without a name of its own."""
    index: npt.NDArray[np.int64]
    """State of each image, as index in names; UNKNOWN where there is none."""

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: slice | npt.NDArray[np.int64]) -> Values:
        """Of some images."""
        return Values(self.names, self.numbers, self.index[rows])


NO_STATE = (
    "name a dataset of few values, such as an event code; give --pump too, if it counts pulses; or label the images "
    "with --pump-csv"
)


def too_many(where: str, n: int, mend: str = NO_STATE) -> MetadataError:
    """The error for values that are no states."""
    return MetadataError(
        f"{where} has {n} different values or more: this is no pump state, of which a run has {MOST_STATES} at most",
        mend=mend,
    )


def read_values(item: Any, n: int, name: str, path: Path) -> Values:
    """States of n images from an HDF5 item.

    Parameters
    ----------
    item : h5py.Dataset
        Integers, floats, booleans, text or an enumeration, shape (n,), or (n, 1). Unknown are NaN, empty text, and the
        fill value where the writer set one that is neither 0 nor empty.
    n : int
        Images.
    name, path : str, Path
        What the dataset is called, and its file; members of an enumeration are the names of their states, as text is;
        others are called `<last part of name>=<value>`.

    Raises
    ------
    MetadataError
        It is no dataset, not one value an image, of another type, or has more than 64 values.
    """
    where = f"{path}: {name}"
    raw = _column(item, n, where)
    short = name.rstrip("/").rpartition("/")[2]
    if h5py.check_string_dtype(item.dtype) is not None:
        return _words(raw, where)
    if item.dtype.kind not in "iufb":
        raise MetadataError(
            f"{where} holds {item.dtype}, not integers, booleans or text", mend="label the images with --pump-csv"
        )
    fill = _fill(item)
    distinct, index = np.unique(raw, return_inverse=True)
    known = ~np.isnan(distinct) if distinct.dtype.kind == "f" else np.ones(len(distinct), dtype=np.bool_)
    if fill is not None:
        known &= distinct != fill
    if np.count_nonzero(known) > MOST_STATES:
        raise too_many(where, int(np.count_nonzero(known)))
    members = {value: key for key, value in (h5py.check_enum_dtype(item.dtype) or {}).items()}
    values = distinct[known]
    return Values(
        names=tuple(members.get(value) or f"{short}={_shown(value)}" for value in values),
        numbers=tuple(float(value) for value in values),
        index=np.where(known, np.cumsum(known) - 1, UNKNOWN)[index.reshape(-1)].astype(np.int64),
    )


def read_pulses(item: Any, n: int, name: str, path: Path) -> npt.NDArray[np.int64]:
    """Pulse numbers of n images from an HDF5 item; as `read_values`, but of integers only, and any number of them.

    Returns
    -------
    array of int64, shape (n,)

    Raises
    ------
    MetadataError
        It is no dataset, not one value an image, or of another type.
    """
    where = f"{path}: {name}"
    raw = _column(item, n, where)
    if raw.dtype.kind not in "iu" or (n and int(raw.max()) > np.iinfo(np.int64).max):
        raise MetadataError(
            f"{where} holds {raw.dtype}, and a pump pattern is counted along integers below 2^63",
            mend="name a dataset with the pulse number of each image, or label the images with --pump-csv",
        )
    return raw.astype(np.int64)


def _column(item: Any, n: int, where: str) -> npt.NDArray[Any]:
    """One value for each of n images, shape (n,)."""
    if not isinstance(item, h5py.Dataset):
        raise MetadataError(f"{where} is a group, not a dataset", mend="name a dataset in it")
    shape = item.shape
    if not shape or shape[0] != n or any(length != 1 for length in shape[1:]):
        raise MetadataError(
            f"{where} has shape {shape}, and its file {n} images: it is not one value an image",
            mend="name a dataset with one value an image, or label the images with --pump-csv",
        )
    return np.asarray(item[()]).reshape(-1)


def _shown(value: Any) -> str:
    """Shortest text that tells the value from all others of its type."""
    if isinstance(value, np.bool_):
        return "true" if value else "false"
    if not isinstance(value, np.floating):
        return str(value)
    plain = value == 0 or 1e-4 <= abs(value) < 1e16
    # The sum turns -0 into 0, which it equals.
    return (np.format_float_positional if plain else np.format_float_scientific)(value + 0, trim="-")


def _words(raw: npt.NDArray[Any], where: str) -> Values:
    seen: dict[object, int] = {}
    found = np.array([seen.setdefault(value, len(seen)) for value in raw.tolist()], dtype=np.int64)
    words: dict[str, int] = {}
    codes = []
    for value in seen:
        word = as_text(value) or ""
        codes.append(words.setdefault(word, len(words)) if word else UNKNOWN)
    if len(words) > MOST_STATES:
        raise too_many(where, len(words))
    return Values(tuple(words), (None,) * len(words), np.array(codes, dtype=np.int64)[found])


def _fill(item: h5py.Dataset) -> object:
    """The value of rows that were never written, where the writer chose one that can be told from data."""
    if item.id.get_create_plist().fill_value_defined() != h5py.h5d.FILL_VALUE_USER_DEFINED:
        return None
    return item.fillvalue if item.fillvalue != 0 else None
