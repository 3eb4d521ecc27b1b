"""The frame of an NXmx output: entry, data group, and the metadata of the source in it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.model import Problem, Run
from hitsieve.write.columns import TEXT
from hitsieve.write.given import record_inputs, write_given
from hitsieve.write.metadata import MetadataCarrier, entry_of
from hitsieve.write.nxmx import describe_images, describe_run, describe_wavelengths
from hitsieve.write.perimage import OpenFiles, PerImageArray, Target, write_array
from hitsieve.write.process import new_process, restore_record
from hitsieve.write.required import lacking
from hitsieve.write.stream import OutputStream


@contextmanager
def new_output(run: Run, stream: OutputStream, folder: Path) -> Iterator[NXmxFrame]:
    """Begin an HDF5 output in a file, with the source's metadata; it is closed if the block fails.

    Parameters
    ----------
    run : Run
        The source.
    stream : OutputStream
        File to write.
    folder : Path
        Folder of the output, to which links are relative.
    """
    file = h5py.File(stream, "w")
    try:
        yield NXmxFrame(run, file, stream, folder)
    except BaseException:
        file.close()
        raise


class NXmxFrame:
    """An output file with the source's metadata; the images are added by others at `data_path`.

    Parameters
    ----------
    run : Run
        The source.
    output : h5py.File
        The output, empty.
    stream : OutputStream
        The file under it.
    folder : Path
        Folder of the output.
    """

    def __init__(self, run: Run, output: h5py.File, stream: OutputStream, folder: Path) -> None:
        self._run = run
        self._output = output
        self._stream = stream
        self._folder = folder
        self._arrays: list[PerImageArray] = []
        self._aliases: list[tuple[str, str]] = []
        self._image_paths: list[str] = []
        self._problems: list[Problem] = []
        self._rows: list[str] = []
        """Paths of the arrays that have a row an image."""
        self._renamed: dict[str, str] = {}
        if run.style == "images":
            describe_run(run, output)
        else:
            carrier = MetadataCarrier(run, output)
            carrier.carry()
            self._arrays, self._aliases = carrier.arrays, carrier.aliases
            self._image_paths, self._problems = carrier.image_paths, carrier.problems
            self._renamed = carrier.renamed
        self.entry: h5py.Group = output.require_group(entry_of(output))
        self._require_class(self.entry, "NXentry")
        output.attrs.setdefault("default", self.entry.name.strip("/"))
        self.data: h5py.Group = self.entry.require_group("data")
        self._require_class(self.data, "NXdata")
        self.data.attrs["signal"] = "data"
        self.entry.attrs.setdefault("default", "data")
        self.process: h5py.Group = new_process(self.entry)
        record_inputs(run, self.process)

    @staticmethod
    def _require_class(group: h5py.Group, name: str) -> None:
        if "NX_class" not in group.attrs:
            group.attrs["NX_class"] = name

    def close(self) -> None:
        """Close the output, as it is."""
        self._output.close()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What could not be carried over."""
        return tuple(self._problems)

    def finish(self, images: npt.NDArray[np.int64] | None) -> None:
        """Write the per-image arrays of the source, cut to `images`, and the links to the images.

        Parameters
        ----------
        images : int64, shape (k,), optional
            Images that the output holds; None: all.
        """
        if self._run.style == "images":
            self._rows += describe_images(self._run, self._output, images)
        target = Target(self._output, self._stream, self._folder)
        with OpenFiles() as opened:
            for array in self._arrays:
                lost = write_array(array, target, images, opened)
                if lost:
                    self._problems.append(Problem(f"{array.files[0]}:{array.target}", lost))
        self._rows += [array.target for array in self._arrays if array.target in self._output]
        self._rows += describe_wavelengths(self._run, self._output, images)
        for known, other in self._aliases:
            if known in self._output and other not in self._output:
                self._output[other] = self._output[known]
        self._link_images(self._image_paths)
        added = write_given(self._run, self.entry)
        if images is not None:
            self._record(added)
        lacks = lacking(self._run, self.entry)
        if lacks is not None:
            self._problems.append(lacks)

    def _record(self, added: Sequence[str]) -> None:
        """Record what a restored file needs: rows to join, and what the source did not have."""
        record = restore_record(self.process)
        for name, values, description in (
            ("per_image", sorted(self._rows), "arrays of this file with one row an image of /entry/data/data"),
            ("added", sorted(added), "what the source did not have, and the user gave"),
            ("renamed", sorted(self._renamed), "members of the entry that have another name in the source"),
            ("renamed_from", [self._renamed[name] for name in sorted(self._renamed)], "their names there"),
        ):
            made = record.create_dataset(name, data=values, shape=(len(values),), dtype=TEXT)
            made.attrs["description"] = description

    def put_aside(self, group: h5py.Group, images: npt.NDArray[np.int64]) -> None:
        """Write the rows that some other images have in the per-image arrays below a group, under the paths as here."""
        run, base = self._run, group.name
        if run.style == "images":
            describe_images(run, group, images)
        target = Target(self._output, self._stream, self._folder)
        with OpenFiles() as opened:
            for array in self._arrays:
                write_array(replace(array, target=f"{base}{array.target}"), target, images, opened)
        for path in self._rows:
            if f"{base}{path}" not in self._output and run.beam.wavelengths is not None:
                group.create_dataset(path.strip("/"), data=run.beam.wavelengths[images])

    def _link_images(self, paths: Sequence[str]) -> None:
        target = posixpath.join(self.data.name, "data")
        for path in paths:
            # The data group itself shows the images once; other places that showed them still do.
            if posixpath.dirname(path) != self.data.name and path not in self._output and target in self._output:
                self._output[path] = h5py.SoftLink(target)
