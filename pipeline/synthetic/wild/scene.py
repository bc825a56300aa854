"""One photograph's people in linear light with exact labels: each drawn in a window of its own, the nearest over the others.

Where they stand is `layout`'s, who they are `people`'s, what is behind them `backgrounds`', and what a camera makes of the
light `camera_chain`'s.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....datasets.arrays import Array, Floats, Pixels
from ....datasets.camera import Camera
from ....datasets.shards.photographs import HIDDEN, OCCLUDER, OUTSIDE, VISIBLE, HeadLabel
from ..rendering.exact_pass import SUPERSAMPLING, View, labels_of
from ..rendering.exposure import metered_gain
from ..rendering.light import KeyLight, Light
from ..rendering.raster import NEAREST, Buffers
from ..shading.deferred import photograph
from ..shading.sky import turned
from .layout import Place, canonical_view
from .occluders import SHARE, draw_occluder
from .people import BELOW, Box, Sitter, box_of

UPRIGHT = np.diag([1.0, -1.0, -1.0])
"""From the camera's axes to those of the light: y up, z from the people to the camera."""
TOLERANCE = 0.012
"""World units that a point may lie behind what its sample shows and still be seen: half a centimetre, for slopes."""
LEAST_WINDOW = 8


@dataclass(frozen=True, eq=False)
class Window:
    """A head as it was drawn, in a square part of the photograph."""

    left: int
    top: int
    light: Array
    """(W, W, 4) float32 premultiplied linear colours, not yet exposed, and opacity."""
    view: View
    seen: Buffers
    box: Box
    """The head with hair and hat, in pixels of the photograph."""
    skull: Box

    def parts(self, size: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return the part of a photograph of some size that the window covers, and the part of the window inside it."""
        side = self.light.shape[0]
        top, left = max(self.top, 0), max(self.left, 0)
        bottom, right = min(self.top + side, size), min(self.left + side, size)
        inside = (slice(top - self.top, bottom - self.top), slice(left - self.left, right - self.left))
        return (slice(top, bottom), slice(left, right)), inside


@dataclass(frozen=True, eq=False)
class Scene:
    """All people of a photograph, without background."""

    light: Array
    """(S, S, 3) float32 exposed linear colours of people and occluders times their cover."""
    cover: Array
    """(S, S) float32 cover of people, where nothing hides them."""
    ground: Array
    """(S, S) float32: share of what is behind all of them that is seen."""
    parsing: Pixels
    who: Pixels
    depth: Array
    alphas: tuple[Array, ...]
    """(S, S) float32 for each head: how much of a pixel is of it and seen."""
    heads: tuple[HeadLabel, ...]


def draw_scene(
    sitters: Sequence[Sitter], places: Sequence[Place], light: Light, size: int, random: np.random.Generator | None = None
) -> Scene:
    """Draw all heads of a layout, the nearest of which comes first, and what hides parts of them.

    Args:
        sitters: the people at hand.
        places: who stands where.
        light: sky and lamp in the camera's upright frame; the lamp is as far from each head as it says.
        size: side of the photograph in pixels.
        random: source of chance of occluders; none are drawn where None.
    """
    windows = [_draw(sitters[place.member], place.camera, light, size) for place in places]
    gain = _exposure(places[0].camera, windows[0], light)
    canvas: Array = np.zeros((size, size, 3), dtype=np.float32)
    cover: Array = np.zeros((size, size), dtype=np.float32)
    parsing, who = np.zeros((size, size), dtype=np.uint8), np.zeros((size, size), dtype=np.uint8)
    depth = np.full((size, size), np.inf, dtype=np.float32)
    alphas = [np.zeros((size, size), dtype=np.float32) for _ in places]
    for index in reversed(range(len(places))):
        there, inside = windows[index].parts(size)
        drawn, view = windows[index].light[inside], windows[index].view
        opacity, through = drawn[..., 3], 1.0 - drawn[..., 3]
        canvas[there] = drawn[..., :3] * np.float32(gain) + canvas[there] * through[..., None]
        cover[there] = opacity + cover[there] * through
        for other in alphas:
            other[there] *= through
        alphas[index][there] = opacity
        solid = view.mask[inside] >= 128
        parsing[there][solid] = view.parsing[inside][solid]
        who[there][solid] = index + 1
        depth[there][solid] = view.depth[inside][solid]
    ground = 1.0 - cover
    if random is not None and random.random() < SHARE:
        before = draw_occluder(random, size, windows[int(random.integers(len(windows)))].box)
        through = 1.0 - before[..., 3]
        canvas = before[..., :3] + canvas * through[..., None]
        ground, cover = (1.0 - cover) * through, cover * through
        for alpha in alphas:
            alpha *= through
        solid = before[..., 3] >= 0.5
        parsing[solid], who[solid], depth[solid] = 0, OCCLUDER, np.inf
    heads = tuple(
        _label(sitters[place.member], place.camera, window, who, index, size)
        for index, (place, window) in enumerate(zip(places, windows, strict=True))
    )
    return Scene(canvas, cover, ground, parsing, who, depth, tuple(alphas), heads)


def _draw(sitter: Sitter, camera: Camera, light: Light, size: int) -> Window:
    """Draw a person in the smallest square window that shows all of them that lies in the photograph."""
    left, top, side = 0, 0, size
    if camera.project(sitter.whole)[1].min() > NEAREST:
        left, top, side = window_of(box_of(sitter.whole, camera, size), size)
    cut = np.array([[size / side, 0.0, -left / side], [0.0, size / side, -top / side], [0.0, 0.0, 1.0]])
    near = Camera(camera.cam2world, cut @ camera.intrinsics)
    seen = sitter.drawing.see(near, side * SUPERSAMPLING, with_clear=False)
    picture = photograph(sitter.surfaces, seen, near, _light_of(light, camera), SUPERSAMPLING)
    if sitter.drawing.has_clear:  # the glass of spectacles changes classes only: points behind it are seen
        beneath = dataclasses.replace(seen, depth=seen.depth.copy())
        view = labels_of(sitter.drawing, sitter.drawing.see_clear(seen, near), SUPERSAMPLING)
        seen = beneath
    else:
        view = labels_of(sitter.drawing, seen, SUPERSAMPLING)
    return Window(left, top, picture, view, seen, box_of(sitter.head, camera, size), box_of(sitter.skull, camera, size))


def window_of(box: Box, size: int) -> tuple[int, int, int]:
    """Return left, top and side of the square window of whole pixels that shows what a box and a photograph share."""
    x, y, width, height = box
    left, top = max(int(np.floor(x)) - 1, 0), max(int(np.floor(y)) - 1, 0)
    right, bottom = min(int(np.ceil(x + width)) + 1, size), min(int(np.ceil(y + height)) + 1, size)
    side = max(right - left, bottom - top, LEAST_WINDOW)
    return min(left, max(size - side, 0)), min(top, max(size - side, 0)), min(side, size)


def _light_of(light: Light, camera: Camera) -> Light:
    """Return a photograph's light in a head's own frame."""
    rotation = camera.cam2world[:3, :3] @ UPRIGHT
    key = light.key
    if key is not None:
        x, y, z = (rotation @ np.array(key.place)).tolist()
        key = KeyLight((x, y, z), key.radius, key.colour)
    return dataclasses.replace(light, sky=turned(light.sky, rotation), key=key)


def _exposure(camera: Camera, window: Window, light: Light) -> float:
    """Return the factor that a camera would choose for the nearest head."""
    return metered_gain(window.light, _light_of(light, camera), camera)


def _label(sitter: Sitter, camera: Camera, window: Window, who: Pixels, index: int, size: int) -> HeadLabel:
    """Return a head's labels."""
    there, inside = window.parts(size)
    own = ~np.isin(window.view.parsing[inside], BELOW)
    owners, counts = np.unique(who[there][own], return_counts=True)
    total = max(int(own.sum()), 1)
    hidden_by = {
        -1 if owner == OCCLUDER else int(owner) - 1: float(count) / total
        for owner, count in zip(owners.tolist(), counts.tolist(), strict=True)
        if owner not in (0, index + 1)
    }
    share = _share_inside(window.box, size)
    canonical, crop = canonical_view(camera)
    marks = _points(sitter.face_points, camera, window, who, index, size)
    seen = share * (1.0 - sum(hidden_by.values())) if own.any() else 0.0
    return HeadLabel(sitter.name, window.box, window.skull, canonical, camera, crop, marks, share, seen, hidden_by)


def _share_inside(box: Box, size: int) -> float:
    x, y, width, height = box
    across = min(x + width, size) - max(x, 0.0)
    down = min(y + height, size) - max(y, 0.0)
    return max(across, 0.0) * max(down, 0.0) / max(width * height, 1e-9)


def _points(points: Floats, camera: Camera, window: Window, who: Pixels, index: int, size: int) -> Array:
    """Return (478, 4) columns, rows, depths and visibility of face points."""
    image, depth = camera.project(np.nan_to_num(points))
    image = image * size
    known = np.isfinite(points).all(axis=1) & (depth > 0.02)
    inside = known & ((image >= 0.0) & (image < size)).all(axis=1)
    visibility = np.full(len(points), OUTSIDE, dtype=np.int64)
    visibility[inside] = HIDDEN
    side = window.seen.depth.shape[0]
    fine = np.floor((image - [window.left, window.top]) * SUPERSAMPLING).astype(np.int64)
    shown = inside & ((fine >= 0) & (fine < side)).all(axis=1)
    column, row = fine[shown].T
    open_view = depth[shown] <= window.seen.depth[row, column] + TOLERANCE
    strands = window.seen.strands
    if strands is not None:
        open_view &= (strands.clear[row, column] > 0.5) | (strands.depth[row, column] >= depth[shown] - TOLERANCE)
    pixel = np.floor(image[shown]).astype(np.int64)
    owner = who[pixel[:, 1], pixel[:, 0]]
    visible = open_view & ((owner == index + 1) | (owner == 0))
    visibility[np.flatnonzero(shown)[visible]] = VISIBLE
    return np.column_stack([image, depth, visibility]).astype(np.float32)
