"""Read classes, coverage and beard of the head in a canonical crop, from any side, with the project's own parser.

How the head is turned is left to `reader`, refining the maps along the picture's edges to `parsing` and `annotators.mattes`.
Every reading is the mean of the crop's and of its mirror image's, so that a mirrored photograph has the mirrored maps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....datasets import warp as warping
from ....datasets.arrays import Array, Pixels
from ....datasets.sample import Sample
from .files import network, weights
from .reader import SWAP, whole

CROP = 256
"""Side in pixels of the crops that the network looks at."""
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
        classes, *others = self._model(tensor)
        mean = 0.5 * (classes[0] + classes[1][SWAP][..., ::-1])
        alpha, *beard = (0.5 * (chance[0, 0] + chance[1, 0][:, ::-1]) for chance in others)
        return CropMaps(image, mean, alpha, self._digest, beard[0] if beard else None)

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
