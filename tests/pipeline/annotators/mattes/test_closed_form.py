"""Guarantees of the PyMatting wrapper: the known stays known, the unknown follows the colours."""

from __future__ import annotations

import numpy as np
from spherehead.pipeline.annotators.mattes import closed_form


def test_matte_of_a_linear_blend_is_the_blend() -> None:
    ramp = np.clip((np.arange(48) - 16) / 16, 0, 1)
    colours = ramp[:, None] * (200, 60, 30) + (1 - ramp[:, None]) * (20, 90, 220)
    picture = np.broadcast_to(np.round(colours).astype(np.uint8), (24, 48, 3)).copy()
    trimap = np.full((24, 48), 128, dtype=np.uint8)
    trimap[:, :14], trimap[:, 34:] = 0, 255
    matte = closed_form.matte(picture, trimap)
    assert matte.dtype == np.float32
    assert np.abs(matte - ramp).max() < 0.03


def test_trimap_without_one_side_is_returned() -> None:
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    assert (closed_form.matte(picture, np.full((8, 8), 255, dtype=np.uint8)) == 1.0).all()
