"""Read classes, coverage and beard of the head in a canonical crop, from any side, with the project's own parser.

How the head is turned is left to `reader`, refining the maps along the picture's edges to `parsing` and `annotators.mattes`.
Every reading is the mean of the crop's and of its mirror image's, so that a mirrored photograph has the mirrored maps.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ....datasets import warp as warping
from ....datasets.arrays import Array, Pixels
from ....datasets.sample import Sample
from .files import network, weights
from .reader import SWAP, whole

CROP = 256
"""Side in pixels of the crops that the network looks at."""
_QUARTER_ON = np.array([-9.0, 111.0, 29.0, -3.0], dtype=np.float32) / np.float32(128.0)
"""Weights of the numbers before, here, next and after that for what lies a quarter of the way on: the Catmull-Rom spline's."""
SHARED = "crop_parsing"
"""Name under which a sample carries what was read of its crop, see `Sample.shared`."""


@dataclass(frozen=True, eq=False)
class CropMaps:
    """What the parser said of a whole crop."""

    image: Pixels
    """The very array that was read: a stage that lays the head on another background makes another one."""
    classes: Array
    """(19, 128, 128) float32 logits."""
    alpha: Array
    """(128, 128) float32 coverage by this head's person, 0 to 1."""
    network: str
    """The sha256 of the network that read it."""
    beard: Array | None = None
    """(128, 128) float32 chance that hair there is beard, without meaning elsewhere; None of networks that do not tell it."""


class HeadParser:
    """The loaded network."""

    def __init__(self, device: str = "cpu", networks: str = "") -> None:
        """Load the network from a folder of the user's, or the package's own.

        Raises:
            HeadNetworkError: the file is missing or changed.
        """
        self._model = network("parser", device, networks)
        self._digest = weights("parser", folder=networks)[0][1]

    def read(self, image: Pixels) -> CropMaps:
        """Read an (S, S, 3) uint8 RGB canonical crop."""
        crop = image
        if image.shape[0] != CROP:
            crop = warping.warp_reduced(image, whole(image).matrix(CROP), CROP, border="replicate")
        both = np.stack([crop, crop[:, ::-1]]).astype(np.float32)
        tensor = np.ascontiguousarray(((both - np.float32(127.0)) / np.float32(128.0)).transpose(0, 3, 1, 2))
        classes, alpha, *beard = self._model(tensor)
        classes, *beard = centred(classes), *map(centred, beard)
        mean = 0.5 * (classes[0] + classes[1][SWAP][..., ::-1])
        cover, *bearded = (0.5 * (chance[0, 0] + chance[1, 0][:, ::-1]) for chance in (alpha, *beard))
        return CropMaps(image, mean, cover, self._digest, np.clip(bearded[0], 0.0, 1.0) if bearded else None)

    def read_crop(self, sample: Sample) -> tuple[CropMaps, Sample]:
        """Read a sample's crop, or take the reading that the same network made of it in an earlier stage.

        Returns:
            The reading, and the sample that carries it on to later stages.
        """
        image = sample.require("image")
        known = sample.shared.get(SHARED)
        if known is not None and known.image is image and known.network == self._digest:
            return known, sample
        maps = self.read(image)
        return maps, sample.with_(shared={SHARED: maps})


def centred(told: Array) -> Array:
    """Return what a network tells at the first pixel of every 2 x 2 of its crop, at the middles of the four.

    It learns the classes and the beard of first pixels (`model.annotators.shown.augmentation.Crop`), the coverage of all four.
    Read as if they stood at the middles, maps lay half a pixel of the crop too low.

    Args:
        told: (N, C, h, w) float32.

    Returns:
        (N, C, h, w) float32, interpolated by a cubic, which may overshoot, a quarter of a map's pixel to the right and down;
        borders are repeated.
    """
    flat = np.ascontiguousarray(told).reshape(-1, *told.shape[-2:])
    out = np.empty_like(flat)
    for plane, there in zip(flat, out, strict=True):
        cv2.sepFilter2D(plane, -1, _QUARTER_ON, _QUARTER_ON, there, anchor=(1, 1), borderType=cv2.BORDER_REPLICATE)
    return out.reshape(told.shape)
