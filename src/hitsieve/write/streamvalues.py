"""Values that images of a stream bring along (times, pulse numbers, what users add), as arrays over the series."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.write.columns import TEXT

IMAGE_VALUES = "image_values"
"""Group of detectorSpecific with what images brought along, under names that are not ours."""
MOST_NAMES = 64
"""Names that are kept of a series; whoever sends more is told."""
_CHUNK = 8192
_UNITS = {"real_time": "s", "start_time": "s", "stop_time": "s"}
_ABSENT = "as the messages of the images state it; {} where they do not"
Value = int | float | str


class StreamValues:
    """Collects values by name; takes room for those that came only. Not to be shared between threads."""

    def __init__(self) -> None:
        self._columns: dict[str, _Column] = {}
        self.refused: set[str] = set()
        """Names that were too many."""

    def add(self, number: int, values: Mapping[str, Value]) -> None:
        """Take the values of image `number`, which comes once."""
        for name, value in values.items():
            column = self._columns.get(name)
            if column is None and len(self._columns) >= MOST_NAMES:
                if len(self.refused) < MOST_NAMES:
                    self.refused.add(name)
                continue
            if column is None:
                column = self._columns[name] = _Column()
            column.add(number, value)

    def __len__(self) -> int:
        """Names."""
        return len(self._columns)

    def write(self, group: h5py.Group, n: int) -> None:
        """Write one dataset a name, of `n` rows; images beyond them are not known of yet."""
        for name, column in sorted(self._columns.items()):
            values, absent = column.values(n)
            kind = TEXT if values.dtype.kind == "O" else values.dtype
            packing = {} if kind is TEXT else {"compression": "gzip", "compression_opts": 1, "shuffle": True}
            made = group.create_dataset(name, data=values, dtype=kind, chunks=(min(n, _CHUNK),), **packing)
            made.attrs["description"] = _ABSENT.format(absent)
            if name in _UNITS and values.dtype.kind == "f":
                made.attrs["units"] = _UNITS[name]


class _Column:
    """Values of one name: whole numbers, until one is none; numbers, until one is text."""

    def __init__(self) -> None:
        self._images = array("q")
        self._numbers: array[int] | array[float] | None = array("q")
        self._texts: list[str] = []
        self._known: dict[str, str] = {}

    def add(self, number: int, value: Value) -> None:
        self._images.append(number)
        if isinstance(value, str) and self._numbers is not None:
            self._texts, self._numbers = [str(one) for one in self._numbers], None
        if self._numbers is None:
            text = str(value)
            # Most texts come again and again.
            self._texts.append(self._known.setdefault(text, text))
            return
        if isinstance(value, float) and self._numbers.typecode == "q":
            self._numbers = array("d", self._numbers)
        self._numbers.append(value)  # type: ignore[arg-type] # text is dealt with above

    def values(self, n: int) -> tuple[npt.NDArray[np.generic], str]:
        """Row of each image, and what stands where there is none."""
        images = np.frombuffer(self._images, dtype=np.int64)
        inside = images < n
        images = images[inside]
        made: npt.NDArray[np.generic]
        if self._numbers is None:
            made, absent = np.full(n, "", dtype=object), "empty"
            made[images] = np.array(self._texts, dtype=object)[inside]
        elif self._numbers.typecode == "q":
            made, absent = np.full(n, -1, dtype=np.int64), "-1"
            made[images] = np.frombuffer(self._numbers, dtype=np.int64)[inside]
        else:
            made, absent = np.full(n, np.nan, dtype=np.float64), "NaN"
            made[images] = np.frombuffer(self._numbers, dtype=np.float64)[inside]
        return made, absent
