"""The strategies give what they promise."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from hitsieve.testing.strategies import SmallImage, small_images


@settings(max_examples=50)
@given(small_images())
def test_small_images_fit_together(image: SmallImage) -> None:
    assert image.counts.shape == image.valid.shape == image.bins.shape
    assert image.counts.dtype.kind in "iu"
    assert image.valid.dtype == np.bool_
    assert np.unique(image.bins).tolist() == list(range(int(image.bins.max()) + 1))
