"""Closed-form matting (Levin et al. 2008) by PyMatting: the only module that imports pymatting.

Slower than the guided filter by an order of magnitude, and finer on thin strands; the trimap is left to `matting`.
"""

from __future__ import annotations

import importlib.metadata

import numpy as np

from ....datasets.arrays import Array, Pixels


def version() -> str:
    """Return the version of the installed PyMatting.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return importlib.metadata.version("PyMatting")
    except importlib.metadata.PackageNotFoundError as error:
        raise ImportError("PyMatting is not installed; pip install pymatting, or use refine guided") from error


def matte(image: Pixels, trimap: Pixels) -> Array:
    """Solve for the matte of the unknown pixels.

    Args:
        image: (H, W, 3) uint8 picture.
        trimap: (H, W) uint8: 0 background, 255 foreground, anything else unknown.

    Returns:
        (H, W) float32 matte, 0 to 1; the trimap itself where it knows no foreground or no background.
    """
    known = trimap.astype(np.float64) / 255.0
    if not ((trimap == 0).any() and (trimap == 255).any()):
        return known.astype(np.float32)
    version()
    from pymatting import estimate_alpha_cf

    return np.asarray(np.clip(estimate_alpha_cf(image.astype(np.float64) / 255.0, known), 0.0, 1.0), dtype=np.float32)
