"""Pictures of images that are being received."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from hitsieve.errors import SourceError
from hitsieve.model import PackedImage
from hitsieve.pipeline.live.glimpse import SIDE, glimpse
from hitsieve.write import ReceivedSeries

SHAPE = (1040, 600)


def packed(image: np.ndarray) -> PackedImage:
    return PackedImage(image.shape, image.dtype, None, image.tobytes())


def test_an_image_that_was_kept_is_drawn(tmp_path: Path) -> None:
    image = np.zeros(SHAPE, dtype="<u2")
    image[0:300] = 65535  # masked by the detector
    image[600:606, 300:306] = 50
    received = ReceivedSeries(tmp_path / "s1", "s1", packed(image), None)
    received.add(3, packed(image))
    received.finish(4)
    (tmp_path / "picture.png").write_bytes(glimpse(tmp_path, "s1", 3))
    drawn = imread(tmp_path / "picture.png")
    assert max(drawn.shape) <= SIDE and drawn.shape == (347, 200)
    dark = np.argwhere(drawn < 0.5)
    assert dark.min(axis=0).tolist() == [200, 100] and dark.max(axis=0).tolist() == [201, 101]
    for name, number in (("s1", 2), ("s1", 5000), ("s2", 0), ("../s1", 3), ("", 3), ("s1/../s1", 3), ("s\x00", 0)):
        with pytest.raises(SourceError):
            glimpse(tmp_path, name, number)
