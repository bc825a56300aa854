"""Reads off a head's own pixels how blurred, enlarged, noisy, smoothed and sharpened they are, by the project's network.

The network learned from rendered heads that were spoilt by known strengths (`model.annotators.quality`). What is too much is
left to the quality stage.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from ....datasets import spectra, warp
from ....datasets.arrays import Array, Floats, Pixels
from ....datasets.sample import Crop
from .files import HeadNetworkError, card, network

NAMES = ("blur_px", "enlargement", "noise", "smoothing", "halo")
"""What the stage judges by; the network's card names its outputs so."""
ENLARGED = 1.05
"""Crop pixels per source pixel beyond which the photograph's own pixels are read instead of the crop's."""


class StrengthReader:
    """The quality network, loaded."""

    def __init__(self, networks: str = "") -> None:
        """Load the network, from a folder of the user's where it has one.

        Raises:
            HeadNetworkError: it is missing or changed, or was fitted to other numbers than this version takes.
        """
        self._model = network("quality", "cpu", networks)
        self._names: list[str] = list(card("quality", networks).get("strengths", ()))
        wanted = self._model.input_shape[-1]
        if wanted != spectra.COUNT or set(self._names) != set(NAMES):
            raise HeadNetworkError(
                f"expected a network from {spectra.COUNT} numbers to {', '.join(NAMES)} in {self._model.path}, got one from "
                f"{wanted} to {', '.join(self._names) or 'nothing that its card names'}: another version wrote it; fit "
                "it again by `spherehead annotators train quality`"
            )

    def read(self, image: Pixels, head: Array, crop: Crop | None, photograph: Pixels) -> dict[str, float]:
        """Return strengths by name.

        Args:
            image: (S, S, 3) uint8 crop.
            head: (S, S) boolean map of where the head surely is.
            crop: how it was cut; None for a picture without a photograph.
            photograph: (H, W, 3) uint8 pixels that it was cut from.

        Returns:
            blur_px: standard deviation of a Gaussian along the worst direction in pixels of the crop, or of the photograph
                where it is coarser; enlargement: pixels for each that there was; noise of luma in grey levels; smoothing: share
                of fine texture that a filter took; halo: overshoot of a step as a share of its height.
        """
        if crop is None or crop.upscale <= ENLARGED:
            found = spectra.numbers(_luma(image), head)
        else:
            found = spectra.numbers(*at_own_pixels(head, crop.matrix, photograph))
        (said,) = self._model(found[None])
        return {name: float(value) for name, value in zip(self._names, said[0], strict=True)}


def at_own_pixels(head: Array, matrix: Floats, photograph: Pixels) -> tuple[Pixels, Array]:
    """Return the luma of the part of a photograph that a region of its crop covers, and the region there.

    Args:
        head: (S, S) boolean map.
        matrix: (3, 3) from the photograph to the crop, continuous pixel coordinates.
        photograph: (H, W, 3) uint8.
    """
    x, y, width, height = cv2.boundingRect(head.astype(np.uint8))
    corners = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], dtype=np.float64)
    there = warp.apply(np.linalg.inv(matrix), corners)
    limit = np.array(photograph.shape[1::-1])
    low = np.clip([math.floor(v) for v in there.min(axis=0)], 0, limit - 1)
    high = np.clip([math.ceil(v) for v in there.max(axis=0)], low + 1, limit)
    part = np.ascontiguousarray(photograph[low[1] : high[1], low[0] : high[0]])
    shift, back = np.eye(3), np.eye(3)
    shift[:2, 2], back[:2, 2] = low + 0.5, -0.5
    size = (part.shape[1], part.shape[0])
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    region = cv2.warpPerspective(head.astype(np.uint8), back @ matrix @ shift, size, flags=flags)
    return _luma(part), region > 0


def _luma(picture: Pixels) -> Pixels:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
