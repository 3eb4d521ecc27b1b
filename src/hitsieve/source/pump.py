"""Which pump state each image has: by pattern, by a dataset of the input, by a CSV file, or as hitsieve recorded it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.errors import MetadataError
from hitsieve.model import Problem, PumpStates, Run
from hitsieve.settings import SourceSettings, pump_pattern
from hitsieve.source.access import FileUnavailable, reading
from hitsieve.source.fields import as_text, member
from hitsieve.source.nxmx import entry_of
from hitsieve.source.pumpcsv import read_states
from hitsieve.source.pumpvalues import MOST_STATES, UNKNOWN, Values, read_pulses, read_values, too_many

PROCESS = "hit_finding"
Rows = slice | npt.NDArray[np.int64]
Column = TypeVar("Column", Values, npt.NDArray[np.int64])
Read = Callable[[Any, int, str, Path], Column]


@dataclass(frozen=True, slots=True)
class _Block:
    """The images of one file that the user named: `start` to `stop` of the run."""

    path: Path
    start: int
    stop: int


@dataclass(slots=True)
class _Coder:
    """Puts states of parts of a run together; names are those of all parts."""

    n: int
    names: dict[str, float | None] = field(default_factory=dict)
    """By name, its number where the values are numbers."""
    parts: list[tuple[Rows, Values]] = field(default_factory=list)

    def put(self, at: Rows, values: Values, where: str) -> None:
        """States of the images `at`."""
        for name, number in zip(values.names, values.numbers, strict=True):
            self.names.setdefault(name, number)
        if len(self.names) > MOST_STATES:
            raise too_many(where, len(self.names))
        self.parts.append((at, values))

    def states(self, origin: str) -> PumpStates:
        """Numbers ascend, other names come in the order in which they appear."""
        numbers = [number for number in self.names.values() if number is not None]
        names = list(self.names)
        if len(numbers) == len(names):
            names.sort(key=lambda name: self.names[name] or 0.0)
        code = np.full(self.n, UNKNOWN, dtype=np.int16)
        for at, values in self.parts:
            codes = np.array([*(names.index(name) for name in values.names), UNKNOWN], dtype=np.int16)
            code[at] = codes[values.index]
        return PumpStates(tuple(names), code, origin)


def with_pump(run: Run, named: Sequence[Path], lengths: Mapping[Path, int], settings: SourceSettings) -> Run:
    """The run with its pump states, where settings or the input tell them.

    Parameters
    ----------
    run : Run
    named : sequence of Path
        The files that the user named, in order.
    lengths : mapping of Path to int
        Images of each named HDF5 file that could be opened.
    settings : SourceSettings
        Of pump, pump_dataset and pump_csv one is set, or the first two; with none, states that hitsieve recorded in
        the input are used.

    Returns
    -------
    Run
        With a problem where some images have no known state, or no image has some state.

    Raises
    ------
    MetadataError
        There is no such dataset, it is not one value an image, it has more than 64 values, or, with a pattern, does
        not count pulses; the CSV file does not fit the run; or the pattern would be counted along images that do not
        follow one another.
    SourceError
        A file cannot be read.
    """
    blocks = tuple(_blocks(run, named, lengths))
    if settings.pump is not None:
        pump: PumpStates | None = _by_pattern(run, blocks, settings.pump, settings.pump_dataset)
    elif settings.pump_dataset is not None:
        pump = _by_dataset(run, blocks, settings.pump_dataset)
    elif settings.pump_csv is not None:
        names, code = read_states(settings.pump_csv, len(run))
        pump = PumpStates(names, code, f"CSV file {settings.pump_csv} (--pump-csv)")
    else:
        pump = _recorded(run, blocks)
    if pump is None:
        return run
    return replace(run, pump=pump, problems=(*run.problems, *_doubts(run, pump)))


def _doubts(run: Run, pump: PumpStates) -> Iterator[Problem]:
    """What the user may not have meant."""
    counts = np.bincount(pump.code[pump.code != UNKNOWN], minlength=len(pump.names))
    if unknown := len(run) - int(counts.sum()):
        yield Problem(str(run.path), f"the pump state of {unknown} of {len(run)} images is unknown")
    if absent := [name for name, n in zip(pump.names, counts.tolist(), strict=True) if not n]:
        what = f"none of the {len(run)} images is {' or '.join(absent)}, by the {pump.origin}"
        yield Problem(str(run.path), what, "check the pattern: it is longer than the run")


def _blocks(run: Run, named: Sequence[Path], lengths: Mapping[Path, int]) -> Iterator[_Block]:
    """Images of each HDF5 file named; those of one that cannot be opened are counted, not yielded."""
    start = 0
    for path in named:
        if path in lengths:
            yield _Block(path, start, start + lengths[path])
            start += lengths[path]
        else:
            own = [number for number, file in enumerate(run.files) if file.path == path]
            start += int(np.isin(run.images.file, own).sum())


def _by_pattern(run: Run, blocks: Sequence[_Block], pattern: str, dataset: str | None) -> PumpStates:
    """The pattern repeated over the run: along the images, of which a missing one keeps its place, or along pulses."""
    for block in blocks:
        with reading(block.path) as file:
            process = _process(file)
            kept = member(process, "source_image")
            n = block.stop - block.start
            if isinstance(kept, h5py.Dataset) and kept.shape == (n,) and not np.array_equal(kept[()], np.arange(n)):
                raise MetadataError(
                    f"{block.path}: is a hit-only file of hitsieve: its images do not follow one another, and a pump "
                    "pattern cannot be counted along them",
                    mend="give the pattern when you search the original run; the hit-only file then holds the states",
                )
    cycle = pump_pattern(pattern)
    names = tuple(dict.fromkeys(name for name, _ in cycle))
    codes = np.array([names.index(name) for name, _ in cycle], dtype=np.int16)
    ends = np.cumsum([count for _, count in cycle])
    known, place, origin = _places(run, blocks, dataset)
    code = np.full(len(run), UNKNOWN, dtype=np.int16)
    code[known] = codes[np.searchsorted(ends, place % ends[-1], side="right")]
    return PumpStates(names, code, f"pattern {pattern} {origin}")


def _places(run: Run, blocks: Sequence[_Block], dataset: str | None) -> tuple[Rows, npt.NDArray[np.int64], str]:
    """Images, the place of each in a pattern that is never repeated, and in words how it was counted."""
    if dataset is None:
        return slice(None), np.arange(len(run)), "(--pump)"
    pulse = np.zeros(len(run), dtype=np.int64)
    has = np.zeros(len(run), dtype=np.bool_)
    for at, values, _ in _by_image(run, blocks, dataset, read_pulses):
        pulse[at], has[at] = values, True
    known = np.flatnonzero(has)
    step = _step(f"{run.path}: {dataset}", known, pulse[known])
    place = (pulse[known] - pulse[0]) // step
    return known, place, f"along {dataset}, from {pulse[0]} in steps of {step} (--pump, --pump-dataset)"


def _step(where: str, known: npt.NDArray[np.int64], pulse: npt.NDArray[np.int64]) -> int:
    """From one pulse to the next: the smallest difference, of which all are multiples.

    A pattern begins with the first image, so nothing is known without its pulse.
    """
    mend = "label the images with --pump-csv"
    if not len(known) or known[0] != 0:
        raise MetadataError(f"{where} of image 0 is lost, and the pattern begins there", mend=mend)
    rises = np.diff(pulse)
    falls = np.flatnonzero(pulse[1:] <= pulse[:-1])
    if len(falls):
        odd = falls[0]
        raise MetadataError(
            f"{where} is {pulse[odd + 1]} of image {known[odd + 1]}, after {pulse[odd]}: values that do not rise from "
            "image to image do not count pulses",
            mend=f"name the files in the order in which they were taken, or {mend}",
        )
    step = int(rises.min()) if len(rises) else 1
    uneven = np.flatnonzero(rises % step)
    if len(uneven):
        odd = uneven[0]
        raise MetadataError(
            f"{where} rises by {rises[odd]} to image {known[odd + 1]}, no multiple of the smallest rise, {step}: "
            "it does not count pulses",
            mend=f"name a dataset with the pulse number of each image, or {mend}",
        )
    return step


def _by_dataset(run: Run, blocks: Sequence[_Block], name: str) -> PumpStates:
    """States by value."""
    coder = _Coder(len(run))
    for at, values, where in _by_image(run, blocks, name, read_values):
        coder.put(at, values, where)
    return coder.states(f"dataset {name} of {run.path} (--pump-dataset)")


def _by_image(run: Run, blocks: Sequence[_Block], name: str, read: Read[Column]) -> Iterator[tuple[Rows, Column, str]]:
    """One value an image, of the files that the user named, or else gathered from their data files.

    Images, their values, and where these are from.
    """
    if not blocks:
        raise MetadataError(
            f"{run.path}: has no dataset {name}, for it is no HDF5 file", mend="label the images with --pump-csv"
        )
    for block in blocks:
        with reading(block.path) as file:
            item = member(file, name)
            values = None if item is None else read(item, block.stop - block.start, name, block.path)
        if values is None:
            yield from _gathered(run, block, name, read)
        else:
            yield slice(block.start, block.stop), values, f"{block.path}: {name}"


def _gathered(run: Run, block: _Block, name: str, read: Read[Column]) -> Iterator[tuple[Rows, Column, str]]:
    """Take the values of a block from the data files of its images."""
    here = np.arange(block.start, block.stop)
    lost = run.images.missing.keys() | run.images.unreadable.keys()
    files, rows = run.images.file[here], run.images.row[here]
    for number in np.unique(files[files >= 0]):
        data_file = run.files[number]
        at = here[files == number]
        try:
            with reading(data_file.path) as file:
                item = member(file, name)
                if item is None:
                    data = "" if data_file.path == block.path else f", nor has its data file {data_file.path}"
                    raise MetadataError(
                        f"{block.path}: has no dataset {name}{data}",
                        mend="name the path of a dataset with one value an image; h5ls -r FILE lists them",
                    )
                values = read(item, data_file.n_images, name, data_file.path)
        except FileUnavailable:
            # Of a lost file no image is searched: their states do not matter.
            if not lost.issuperset(at.tolist()):
                raise
            continue
        there = rows[files == number]
        inside = (there >= 0) & (there < len(values))
        yield at[inside], values[there[inside]], f"{data_file.path}: {name}"


def _recorded(run: Run, blocks: Sequence[_Block]) -> PumpStates | None:
    """The states that an earlier search recorded, where the input is its annotated or hit-only file."""
    coder = _Coder(len(run))
    for block in blocks:
        with reading(block.path) as file:
            process = _process(file)
            code, names = member(process, "pump"), member(process, "pump_names")
            n = block.stop - block.start
            if not isinstance(code, h5py.Dataset) or not isinstance(names, h5py.Dataset):
                continue
            if code.shape != (n,) or code.dtype.kind not in "iu" or h5py.check_string_dtype(names.dtype) is None:
                continue
            words = tuple(as_text(word) or "" for word in np.atleast_1d(names[()]))
            index = code[()].astype(np.int64)
            index[(index < 0) | (index >= len(words))] = UNKNOWN
            values = Values(words, (None,) * len(words), index)
            coder.put(slice(block.start, block.stop), values, f"{block.path}: {code.name}")
    return coder.states(f"recorded by hitsieve in {run.path}") if coder.names else None


def _process(file: h5py.File) -> h5py.Group | None:
    """The group in which hitsieve leaves its results, if it wrote the file."""
    group = member(entry_of(file), PROCESS)
    program = member(group, "program") if isinstance(group, h5py.Group) else None
    ours = isinstance(program, h5py.Dataset) and as_text(program[()]) == "hitsieve"
    return group if ours else None
