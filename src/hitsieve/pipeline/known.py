"""What is known of the images of a run before it is searched as a whole, where they were searched as they came."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hitsieve.pipeline.searcher import Images
from hitsieve.source import OpenedRun
from hitsieve.spots import Searched


@dataclass(frozen=True, slots=True)
class Known:
    """Images that are not searched again, and why others are not there."""

    found: tuple[tuple[Images, Searched], ...] = ()
    """Images (index in the run), and what was found on them."""
    missing: dict[int, str] = field(default_factory=dict)
    """Why images were not kept, by index in the run."""

    def by_image(self) -> dict[int, Searched]:
        """What was found on each image that was searched."""
        return {image: searched.one(i) for images, searched in self.found for i, image in enumerate(images.tolist())}

    def joined(self, opened: OpenedRun) -> OpenedRun:
        """The run, which knows why images of it are not there."""
        if not self.missing:
            return opened
        table = opened.run.images
        missing = {image: self.missing.get(image, why) for image, why in table.missing.items()}
        opened.close()
        return OpenedRun(replace(opened.run, images=replace(table, missing=missing)))
