"""A picture's 64-bit perceptual hash and that of its mirror image: the module that wraps imagehash.

Comparing and clustering hashes is left to `duplicates`.
"""

from __future__ import annotations

import cv2
import numpy as np

from ...datasets.arrays import Pixels

_SIDE = 128
"""Pictures are reduced to this side before hashing; the hash itself looks at 32 x 32."""


def perceptual_hashes(image: Pixels) -> tuple[str, str]:
    """Return the DCT hash (pHash) of a picture and of its mirror image, 16 hex digits each.

    Args:
        image: (S, S, 3) uint8.

    Raises:
        ModuleNotFoundError: imagehash is not installed; the message has the pip line.
    """
    try:
        import imagehash
        from PIL import Image
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error.name} is not installed; pip install imagehash") from error
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    return (
        str(imagehash.phash(Image.fromarray(grey))),
        str(imagehash.phash(Image.fromarray(np.ascontiguousarray(grey[:, ::-1])))),
    )
