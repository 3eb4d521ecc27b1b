"""HDF5 files as the user names them: one, or several that are joined to one run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hitsieve.model import ImageHeaders
from hitsieve.source.access import reading
from hitsieve.source.agreement import beam_of_files, check_masks, check_named_once, check_once, check_same, statement
from hitsieve.source.detector import Metadata, read_metadata
from hitsieve.source.layout import Layout
from hitsieve.source.nxmx import index_file, join


@dataclass(frozen=True, slots=True)
class Input:
    """Images and metadata of what the user named."""

    style: str
    layout: Layout
    metadata: Metadata
    headers: ImageHeaders | None = None
    lengths: dict[Path, int] = field(default_factory=dict)
    """Images of each HDF5 file named that could be opened."""


def open_one(path: Path) -> Input:
    """Index one HDF5 file and read its metadata."""
    with reading(path) as file:
        opened = index_file(file, path)
        layout = opened.layout
        metadata = read_metadata(file, path, layout.shape, len(layout), layout.dtype)
    return Input(opened.style, opened.layout, metadata, lengths={path: len(layout)})


@dataclass(slots=True)
class _Parts:
    """The files that could be read, and the first that states anything of the experiment."""

    settled: Collection[str] | None
    read: list[tuple[Path, Layout, Metadata]] = field(default_factory=list)
    chosen: tuple[Path, Metadata] | None = None

    def opener(self, path: Path) -> Callable[[], Layout]:
        """Opens a file, and compares what it states with what the first one does."""

        def open_part() -> Layout:
            part = open_one(path)
            metadata = self._compared(path, part.metadata)
            self.read.append((path, part.layout, metadata))
            return part.layout

        return open_part

    def _compared(self, path: Path, metadata: Metadata) -> Metadata:
        says = statement(metadata.detector, metadata.beam)
        mask = metadata.detector.pixel_mask
        if self.chosen is None:
            if mask is not None or any((says.wavelength, says.distance, says.pixel_size, says.panels)):
                self.chosen = (path, metadata)
            return metadata
        if self.settled is not None:
            first_path, first = self.chosen
            check_same((first_path, statement(first.detector, first.beam)), (path, says), self.settled)
            check_masks((first_path, first.detector.pixel_mask), (path, mask))
        # Of thousands of files, one mask is kept.
        return replace(metadata, detector=replace(metadata.detector, pixel_mask=None))


def open_several(paths: Sequence[Path], settled: Collection[str] | None) -> Input:
    """Join HDF5 files in the order given; the metadata are those of the first that states any.

    Parameters
    ----------
    paths : sequence of Path
        The files, all known to be HDF5; the images of one that is truncated or damaged are counted where the others
        tell their number.
    settled : collection of str, optional
        What the user sets for all files, which need not agree; None: nothing need.

    Raises
    ------
    SourceError
        The files state different experiments, or have images in common.
    """
    check_named_once(paths)
    parts = _Parts(settled)
    layout = join([(path, parts.opener(path), "") for path in paths], paths[0], None)
    check_once([(path, part) for path, part, _ in parts.read])
    first = parts.chosen[1] if parts.chosen is not None else parts.read[0][2]
    beams = [(metadata.beam, len(part)) for _, part, metadata in parts.read]
    beam, problems = beam_of_files(beams, len(layout), paths[0])
    metadata = replace(first, beam=beam, problems=(*first.problems, *problems))
    return Input("files", layout, metadata, lengths={path: len(part) for path, part, _ in parts.read})
