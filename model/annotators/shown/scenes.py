"""Pictures with none to many heads for the finder: heads of any side and size on grounds, with their centres and sizes.

A head's box is that of its classes without neck and clothes; hair counts down to a level below the chin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ....datasets.arrays import Array, Pixels
from ....datasets.camera import FOCAL, RADIUS
from ....datasets.classes import NOT_HEAD
from ..networks import FINDER_STRIDE
from .augmentation import CropGeometry, laid, lit_crop, worn
from .grounds import ground, shape
from .lookalikes import with_lookalike
from .views import View, Views

Box = tuple[float, float, float, float]
"""x, y, width and height in pixels."""
CHIN_BELOW = 0.25
"""World units from the head frame's origin down to which hair counts as head."""


@dataclass(frozen=True)
class SceneSettings:
    """How pictures vary."""

    size: int = 128
    """Side in pixels, a multiple of 16."""
    most_heads: int = 5
    least_head: float = 14.0
    """Least height of a head in pixels."""
    most_head: float = 1.05
    """Greatest height of a head in sides of the picture."""
    empty: float = 0.12
    """Share of pictures without a head."""
    lookalikes: float = 0.3
    """Share of pictures with one to three things that look like heads and are none (`lookalikes`)."""
    roll_degrees: float = 15.0
    free_roll: float = 0.05
    grounds: str = ""
    """Folder of pictures without heads; empty for scikit-image's."""


@dataclass(frozen=True, eq=False)
class Scene:
    """One picture with its truth at the finder's stride."""

    image: Pixels
    """(S, S, 3)."""
    heat: Array
    """(s, s) float32: 1 at centres."""
    boxes: Array
    """(4, s, s) float32 where heat is 1: offset of the centre in cells (x, y), logarithm of width and height in cells."""


def make_scene(random: np.random.Generator, views: Views, settings: SceneSettings) -> Scene:
    """Draw a picture: far heads first, near ones over them."""
    size = settings.size
    made = ground(random, size, settings.grounds).astype(np.float32)
    for _ in range(int(random.integers(1, 4)) if random.random() < settings.lookalikes else 0):
        made = with_lookalike(random, views, made)
    count = 0 if random.random() < settings.empty else 1
    if count and random.random() < 0.5:
        count = int(random.integers(2, settings.most_heads + 1))
    most = settings.most_head * size / math.sqrt(count) if count else 1.0
    heights = np.sort(np.exp(random.uniform(math.log(settings.least_head), math.log(max(most, settings.least_head)), count)))
    found: list[Box] = []
    owner = np.zeros((size, size), dtype=np.uint8)
    counts: list[int] = []
    for height in heights.tolist():
        made, box, head, person = _with_head(random, views, settings, made, height)
        owner[person] = 0
        if box is None:
            continue
        owner[head] = len(found) + 1
        found.append(box)
        counts.append(int(head.sum()))
    for _ in range(int(random.integers(0, 3)) if random.random() < 0.4 else 0):
        flat = np.clip(made, 0, 255).astype(np.uint8)
        canvas = flat.copy()
        shape(random, canvas, flat, 0.04, 0.25)
        owner[(canvas != flat).any(axis=2)] = 0
        made = canvas.astype(np.float32)
    seen = [box for number, box in enumerate(found) if (owner == number + 1).sum() > 0.35 * counts[number]]
    return Scene(worn(random, np.clip(made, 0, 255).astype(np.uint8)), *targets(seen, size))


def _with_head(
    random: np.random.Generator, views: Views, settings: SceneSettings, made: Array, height: float
) -> tuple[Array, Box | None, Array, Array]:
    """Lay one head of about a height on a picture; return it, the head's box (None: outside), the head's and person's pixels.

    The box is x, y, width, height.
    """
    size = settings.size
    view = views.view(int(random.integers(len(views))))
    scale = height / (0.5 * FOCAL / RADIUS) / size  # sides of the picture per canonical crop; a head is half a world unit high
    roll = math.radians(float(random.normal(0.0, settings.roll_degrees)))
    if random.random() < settings.free_roll:
        roll = float(random.uniform(-math.pi, math.pi))
    margin = min(0.5, 0.35 * height / size)
    x, y = random.uniform(margin, 1.0 - margin, 2) - 0.5
    if random.random() < 0.5 and height > 0.3 * size:
        y = min(float(y), 0.1)
    geometry = CropGeometry(bool(random.random() < 0.5), roll, scale, (float(x), float(y)))
    image, mask, parsing = _placed(random, view, geometry, size)
    head = ~np.isin(parsing, NOT_HEAD)
    rows, columns = np.nonzero(head)
    if abs(roll) < 0.6:  # below the chin hair is no part of the box
        chin = size * (0.5 + geometry.shift[1]) + CHIN_BELOW * FOCAL / RADIUS * scale * size
        rows, columns = rows[rows < chin], columns[rows < chin]
    if len(rows) < 20:
        return made, None, head, np.zeros_like(head)
    before = made
    made = _with_body(random, made, image, mask, geometry)
    person = (mask > 127) | (made != before).any(axis=2)
    made = laid(random, made, image, mask)
    left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return made, (float(left), float(top), float(right - left), float(bottom - top)), head, person


def _placed(random: np.random.Generator, view: View, geometry: CropGeometry, size: int) -> tuple[Array, Pixels, Pixels]:
    """Return what `lit_crop` does, but light only a square about a head that is small in the picture."""
    side = int(FOCAL / view.camera.intrinsics[0, 0] * geometry.scale * size) + 4
    if side >= size:
        return lit_crop(random, view, geometry, size)
    small = CropGeometry(geometry.mirror, geometry.roll, geometry.scale * size / side, (0.0, 0.0))
    parts = lit_crop(random, view, small, side)
    corner = np.round(size * (0.5 + np.array(geometry.shift)) - side / 2.0).astype(int)
    image, mask, parsing = (
        np.zeros((size, size, 3), np.float32),
        np.zeros((size, size), np.uint8),
        np.zeros((size, size), np.uint8),
    )
    low, high = np.maximum(corner, 0), np.minimum(corner + side, size)
    rows, columns = slice(low[1] - corner[1], high[1] - corner[1]), slice(low[0] - corner[0], high[0] - corner[0])
    place = slice(low[1], high[1]), slice(low[0], high[0])
    image[place], mask[place], parsing[place] = (part[rows, columns] for part in parts)
    return image, mask, parsing


def _with_body(random: np.random.Generator, made: Array, image: Array, mask: Pixels, geometry: CropGeometry) -> Array:
    """Carry the lowest row of a bust on downwards, so that it does not end in the air."""
    if abs(geometry.roll) > 0.5 or random.random() < 0.25:
        return made
    rows = np.nonzero((mask > 127).any(axis=1))[0]
    size = mask.shape[0]
    if not len(rows) or rows[-1] >= size - 3:
        return made
    row = max(int(rows[-1]) - 2, 0)
    wide = np.nonzero(mask[row] > 127)[0]
    if len(wide) < 3:
        return made
    slope = random.uniform(-0.1, 0.35)
    corners = np.array(
        [[wide[0], row], [wide[-1], row], [wide[-1] + slope * (size - row), size], [wide[0] - slope * (size - row), size]]
    )
    cover = np.zeros((size, size), dtype=np.uint8)
    cv2.fillPoly(cover, [corners.astype(np.int32)], 255, cv2.LINE_AA)
    colour = image[row][mask[row] > 127].mean(axis=0) * random.uniform(0.7, 1.1)
    shade = cv2.resize(random.uniform(0.7, 1.2, (4, 4)).astype(np.float32), (size, size))[..., None]
    share = cover[..., None].astype(np.float32) / 255.0
    return np.asarray(made * (1.0 - share) + share * colour * shade, dtype=np.float32)


def targets(boxes: list[Box], size: int) -> tuple[Array, Array]:
    """Return the (s, s) heat map and the (4, s, s) box map of heads in a picture of `size` pixels (Zhou et al. 2019).

    The Gaussian's deviation is a tenth of the head's mean side in cells, at least half a cell.
    """
    side = size // FINDER_STRIDE
    heat, maps = np.zeros((side, side), dtype=np.float32), np.zeros((4, side, side), dtype=np.float32)
    axis = np.arange(side, dtype=np.float32)
    for x, y, width, height in boxes:
        centre = np.clip(np.array([x + width / 2.0, y + height / 2.0]) / FINDER_STRIDE, 0.0, side - 1e-3)
        column, row = (int(value) for value in centre)
        deviation = max(0.5, 0.1 * math.sqrt(width * height) / FINDER_STRIDE)
        spread = np.exp(-((axis[None, :] - column) ** 2 + (axis[:, None] - row) ** 2) / (2.0 * deviation**2))
        heat = np.maximum(heat, np.asarray(spread, dtype=np.float32))
        offset = centre - np.array([column + 0.5, row + 0.5])
        maps[:, row, column] = (*offset.tolist(), math.log(width / FINDER_STRIDE), math.log(height / FINDER_STRIDE))
    return heat, maps
