"""Names for the array types that signatures use; shapes and ranges stand in each docstring."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
"""(H, W, 3) sRGB colours, or (H, W) mask (0 background, 255 head) or class map."""
Floats: TypeAlias = NDArray[np.float64]
Array: TypeAlias = NDArray[Any]
