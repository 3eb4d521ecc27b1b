"""What is known of the images of a run before it is searched as a whole, where they were searched as they came."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from hitsieve.pipeline.searcher import Images, Remembered
from hitsieve.pipeline.veto import Dropped
from hitsieve.source import OpenedRun
from hitsieve.spots import Searched


@dataclass(frozen=True, slots=True)
class Known:
    """Images that are not searched again, and why others are not there."""

    found: tuple[tuple[Images, Searched], ...] = ()
    """Images (index in the run), and what was found on them."""
    missing: dict[int, str] = field(default_factory=dict)
    """Why images were not kept, by index in the run."""
    dropped: Dropped = field(default_factory=Dropped)
    """Images that were judged and not written, and what else is not kept."""

    def remembered(self) -> Remembered:
        """What was found on each image that was searched and is there."""
        gone = np.fromiter(self.missing, dtype=np.int64)
        there = ((images, searched, np.flatnonzero(~np.isin(images, gone))) for images, searched in self.found)
        return Remembered(
            (images, searched) if len(kept) == len(images) else (images[kept], searched.take(kept))
            for images, searched, kept in there
        )

    def joined(self, opened: OpenedRun) -> OpenedRun:
        """The run, which knows why images of it are not there."""
        gone = self.dropped.images
        if not self.missing and not len(gone):
            return opened
        table = opened.run.images
        file, row = table.file.copy(), table.row.copy()
        # Of these, no file holds anything, and all is known.
        file[gone], row[gone] = -1, -1
        judged = frozenset(gone.tolist())
        missing = {i: self.missing.get(i, why) for i, why in table.missing.items() if i not in judged}
        opened.close()
        return OpenedRun(replace(opened.run, images=replace(table, file=file, row=row, missing=missing)))
