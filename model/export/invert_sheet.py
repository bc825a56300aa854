"""Several inverted heads as one picture: each one's photograph, and the head from all sides.

Finding heads is left to `invert`, which wrote the views.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ...datasets.arrays import Pixels
from ...datasets.report.tiles import fit
from ..inversion.inverted import read_inversion
from ..store import ModelStoreError
from ..visualization.pictures import sheet, yaw_name

VIEW = "views/view-"
"""How names of an inversion's views begin."""


def heads_picture(heads: Sequence[tuple[str, Pixels, Path]], size: int = 112) -> Pixels:
    """Lay inverted heads out one a row: photograph, then the views around the head.

    Args:
        heads: name, the photograph's crop and the folder of each finished inversion; all with as many views.
        size: width of the tiles in pixels.

    Raises:
        ModelStoreError: an inversion is not finished.
    """
    rows, count = [], 0
    for _, photograph, folder in heads:
        record = read_inversion(folder)
        files = [name for name in record.files if name.startswith(VIEW)] if record is not None and record.parts else []
        if not files:
            raise ModelStoreError(f"no finished inversion in {folder}; rerun the command `invert` that began it")
        count = len(files)
        rows.append([fit(photograph, size), *(fit(_read(folder / name), size) for name in files)])
    titles = ["photograph", *(yaw_name(index, count) for index in range(count))]
    return sheet(rows, [name for name, _, _ in heads], titles)


def _read(path: Path) -> Pixels:
    """Return the (S, S, 3) pixels of a picture that `invert` wrote."""
    found = cv2.imread(str(path))
    if found is None:
        raise ModelStoreError(f"{path} is missing or damaged; invert into a new folder")
    return np.ascontiguousarray(found[..., ::-1], dtype=np.uint8)
