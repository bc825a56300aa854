"""Strands in the z-buffer: ribbons that face the camera, with exact shares of coverage, depth, tangent and normal.

Meshes are drawn first, by `raster`; strands behind them are hidden. Where several strands lie in a pixel, each covers its share
of what the others left, and the nearest one gives tangent and colour. Which meshes there are is `exact_pass`' business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ....datasets.arrays import Array
from ....datasets.camera import Camera
from ....datasets.compiled import compiled
from ..hair.strands import StrandSet
from .raster import NEAREST


@dataclass(frozen=True, eq=False)
class StrandBuffers:
    """What a camera sees of strands, per pixel of an (S, S) picture."""

    point: Array
    """(S, S) int32 index of the first point of the nearest strand's segment; -1 where there is no strand before the meshes."""
    along: Array
    """(S, S) float32: how far from that point to the next one, 0 to 1."""
    depth: Array
    """(S, S) float32 distance of that strand along the optical axis; infinity where there is none."""
    clear: Array
    """(S, S) float32: share of what is behind the strands that is seen between them, 0 to 1."""
    eye: Array
    """(3,) where the camera is."""

    def every(self, step: int) -> StrandBuffers:
        """Return the middle pixel of each step x step pixels."""
        grid = np.s_[step // 2 :: step, step // 2 :: step]
        return StrandBuffers(self.point[grid], self.along[grid], self.depth[grid], self.clear[grid], self.eye)

    def blend(self, values: Array) -> Array:
        """Interpolate (N, C) values given at points: (S, S, C) float32, zero where there is no strand."""
        out = np.zeros((*self.point.shape, values.shape[1]), dtype=np.float32)
        compiled(interpolate)(self.point, self.along, np.ascontiguousarray(values, dtype=np.float32), out)
        return out

    def normals(self, strands: StrandSet) -> tuple[Array, Array]:
        """Return (S, S, 3) float32 unit tangents and normals; a normal stands upright on its strand and faces the camera."""
        along = self.blend(strands.tangents)
        length = np.sqrt((along**2).sum(axis=2, keepdims=True))
        along = along / np.maximum(length, np.float32(1e-12))
        towards = self.eye.astype(np.float32) - self.blend(strands.points)
        upright = towards - (towards * along).sum(axis=2, keepdims=True) * along
        upright = upright / np.maximum(np.sqrt((upright**2).sum(axis=2, keepdims=True)), np.float32(1e-12))
        return along, np.where(length > 0.0, upright, np.float32(0.0))


def draw_strands(strands: StrandSet, camera: Camera, behind: Array) -> StrandBuffers:
    """Draw strands before meshes.

    Args:
        strands: all strands.
        camera: who looks.
        behind: (S, S) float32 depth of the nearest solid mesh, infinity where there is none.
    """
    shape = behind.shape
    out = StrandBuffers(
        np.full(shape, -1, dtype=np.int32), np.zeros(shape, dtype=np.float32), np.full(shape, np.inf, dtype=np.float32),
        np.ones(shape, dtype=np.float32), camera.position,
    )  # fmt: skip
    _draw(strands, camera, behind, out, (0, 0, shape[1], shape[0]))
    return out


def redraw_strands(
    strands: StrandSet, camera: Camera, behind: Array, drawn: StrandBuffers, window: tuple[int, int, int, int]
) -> StrandBuffers:
    """Draw strands anew where other meshes lie behind them: the same as `draw_strands`, for a part of its time.

    Args:
        strands: all strands.
        camera: who looks.
        behind: (S, S) float32 depth as it is now.
        drawn: what was drawn before other depths; it stays as it is.
        window: left, top, right and bottom of the pixels outside of which depths are as they were then.
    """
    left, top, right, bottom = window
    out = StrandBuffers(drawn.point.copy(), drawn.along.copy(), drawn.depth.copy(), drawn.clear.copy(), drawn.eye)
    for part, nothing in ((out.point, -1), (out.along, 0.0), (out.depth, np.inf), (out.clear, 1.0)):
        part[top:bottom, left:right] = nothing
    _draw(strands, camera, behind, out, window)
    return out


def _draw(strands: StrandSet, camera: Camera, behind: Array, out: StrandBuffers, window: tuple[int, int, int, int]) -> None:
    if len(strands):
        compiled(fill_ribbons)(
            *projected(strands, camera, behind.shape[0]), strands.strand_of, np.float32(NEAREST), behind, window, out.point,
            out.along, out.depth, out.clear,
        )  # fmt: skip


def projected(strands: StrandSet, camera: Camera, size: int) -> tuple[Array, Array, Array]:
    """Return places (N, 2), depths and half widths (N,) of strands' points, float32 in pixels but for the depths."""
    count = len(strands.points)
    image, depth, width = np.empty((count, 2), np.float32), np.empty(count, np.float32), np.empty(count, np.float32)
    lifted = size * camera.intrinsics
    lifted[2] = camera.intrinsics[2]
    compiled(project_all)(
        strands.points, strands.radii, camera.position, np.ascontiguousarray(camera.cam2world[:3, :3]), lifted, NEAREST, image,
        depth, width,
    )  # fmt: skip
    return image, depth, width


def project_all(
    points: Any, radii: Any, position: Any, rotation: Any, lifted: Any, nearest: float, image: Any, depth: Any, width: Any
) -> None:
    """Write places, depths and half widths of points, in float64 until they are written; arguments as in `projected`."""
    for n in range(points.shape[0]):
        x, y, z = points[n, 0] - position[0], points[n, 1] - position[1], points[n, 2] - position[2]
        a = x * rotation[0, 0] + y * rotation[1, 0] + z * rotation[2, 0]
        b = x * rotation[0, 1] + y * rotation[1, 1] + z * rotation[2, 1]
        c = x * rotation[0, 2] + y * rotation[1, 2] + z * rotation[2, 2]
        share = lifted[2, 0] * a + lifted[2, 1] * b + lifted[2, 2] * c
        image[n, 0] = (lifted[0, 0] * a + lifted[0, 1] * b + lifted[0, 2] * c) / share
        image[n, 1] = (lifted[1, 0] * a + lifted[1, 1] * b + lifted[1, 2] * c) / share
        depth[n] = c
        width[n] = radii[n] * lifted[0, 0] / max(c, nearest)


def fill_ribbons(
    image: Any, depth: Any, width: Any, strand_of: Any, nearest: float, behind: Any, window: Any, out_point: Any,
    out_along: Any, out_depth: Any, out_clear: Any,
) -> None:  # fmt: skip
    """Fill the four buffers in place, inside a window.

    Every line of pixels across a segment's steeper axis is cut once, in its middle; the share of each of its pixels that lies
    within the ribbon is exact for a straight ribbon.

    Args:
        image: (N, 2) float32 points in pixels.
        depth: (N,) float32.
        width: (N,) float32 half widths in pixels.
        strand_of: (N,) strand of each point.
        nearest: depth before which a segment is left out.
        behind: (S, S) depth of meshes.
        window: left, top, right and bottom in pixels.
        out_point: see `StrandBuffers`.
        out_along: see there.
        out_depth: see there.
        out_clear: see there.
    """
    far_left, far_top, far_right, far_bottom = window
    half, one, zero, hidden = np.float32(0.5), np.float32(1.0), np.float32(0.0), np.float32(1e-3)
    near = np.empty((*out_point.shape, 4), dtype=np.float32)  # what a pixel needs lies together: far fewer misses of the cache
    near[..., 0], near[..., 1], near[..., 2], near[..., 3] = behind, out_depth, out_clear, out_along
    for n in range(image.shape[0] - 1):
        if strand_of[n] != strand_of[n + 1] or depth[n] < nearest or depth[n + 1] < nearest:
            continue
        dx, dy = image[n + 1, 0] - image[n, 0], image[n + 1, 1] - image[n, 1]
        steep = abs(dy) >= abs(dx)
        if steep:  # `u` runs along lines that are cut, `v` across them
            u0, v0, du, dv = image[n, 1], image[n, 0], dy, dx
            lowest, lines, leftmost, columns = far_top, far_bottom, far_left, far_right
        else:
            u0, v0, du, dv = image[n, 0], image[n, 1], dx, dy
            lowest, lines, leftmost, columns = far_left, far_right, far_top, far_bottom
        if du == zero:
            continue
        low, high = min(u0, u0 + du), max(u0, u0 + du)
        first, last = max(int(np.ceil(low - half)), lowest), min(int(np.ceil(high - half)) - 1, lines - 1)
        if last < first:
            continue
        inverse = one / du
        slope = dv * inverse
        stretch = np.sqrt(one + slope * slope)
        for line in range(first, last + 1):
            share = (np.float32(line) + half - u0) * inverse
            middle = v0 + share * dv
            reach = stretch * (width[n] + share * (width[n + 1] - width[n]))
            z = depth[n] + share * (depth[n + 1] - depth[n])
            left, right = middle - reach, middle + reach
            if right <= zero:
                continue
            start, end = max(int(max(left, zero)), leftmost), min(int(right), columns - 1)
            for column in range(start, end + 1):
                row, place = (line, column) if steep else (column, line)
                if z >= near[row, place, 0] or (z >= near[row, place, 1] and near[row, place, 2] < hidden):
                    continue
                covered = min(right, np.float32(column) + one) - max(left, np.float32(column))
                if covered <= zero:
                    continue
                near[row, place, 2] *= one - min(covered, one)
                if z < near[row, place, 1]:
                    near[row, place, 1] = z
                    out_point[row, place] = n
                    near[row, place, 3] = share
    out_depth[:, :], out_clear[:, :], out_along[:, :] = near[..., 1], near[..., 2], near[..., 3]


def interpolate(point: Any, along: Any, values: Any, out: Any) -> None:
    """Write values at points, interpolated along their segments, into `out` (S, S, C) where there is a strand."""
    for row in range(point.shape[0]):
        for column in range(point.shape[1]):
            n = point[row, column]
            if n < 0:
                continue
            share = along[row, column]
            for channel in range(out.shape[2]):
                out[row, column, channel] = values[n, channel] * (np.float32(1.0) - share) + values[n + 1, channel] * share


def reduce_with_strands(
    fine: Any, clear: Any, hair_clear: Any, point: Any, strand_of: Any, labels: Any, kinds: Any, step: int, names: Any,
    parsing: Any, mask: Any, growth: Any,
) -> None:  # fmt: skip
    """Write class, coverage and kind of growth of each pixel from its step x step fine pixels.

    Every fine pixel counts for its strands' class by the share that they cover, and for what is behind them by the rest; the
    largest sum wins, the smallest class on a tie.

    Args:
        fine: (step S, step S) classes of the meshes.
        clear: share of the background seen through the meshes.
        hair_clear: share of what is behind seen between the strands.
        point: index of the nearest segment's first point, -1 where there is none.
        strand_of: strand of each point.
        labels: class of each strand, 0 where it only covers.
        kinds: kind of each strand.
        step: fine pixels a pixel along each axis.
        names: background, hair, left brow, right brow as classes, beard as a kind, and what `fine` has for bearded skin.
        parsing: (S, S) classes, written.
        mask: (S, S) coverage from 0 to 255, written.
        growth: (S, S) index in `exact_pass.GROWTH`, written.
    """
    background, hair, left_brow, right_brow, beard, bearded_skin = names[0], names[1], names[2], names[3], names[4], names[5]
    weights = np.zeros(256, dtype=np.float32)
    one, half, zero, most = np.float32(1.0), np.float32(0.5), np.float32(0.0), np.float32(255.0)
    for row in range(parsing.shape[0]):
        for column in range(parsing.shape[1]):
            through, bearded = zero, zero
            weights[:19] = zero
            for y in range(row * step, row * step + step):
                for x in range(column * step, column * step + step):
                    between = hair_clear[y, x]
                    through += clear[y, x] * between
                    found = hair if fine[y, x] == background and clear[y, x] < half else fine[y, x]
                    if clear[y, x] > half:
                        found = background
                    if found == bearded_skin:
                        found = hair
                        bearded += between
                    if point[y, x] >= 0:
                        strand = strand_of[point[y, x]]
                        if labels[strand] > 0:
                            weights[labels[strand]] += one - between
                            if kinds[strand] == beard:
                                bearded += one - between
                        else:
                            weights[found] += one - between
                    weights[found] += between
            covered = int(np.rint(most * min(max(one - through / np.float32(step * step), zero), one)))
            best = hair
            for value in range(1, 19):
                if weights[value] > weights[best] or (weights[value] == weights[best] and value < best):
                    best = value
            mask[row, column] = covered
            parsing[row, column] = best if covered >= 128 else background
            found = parsing[row, column]
            if found == hair:
                growth[row, column] = 2 if bearded > half * weights[hair] else 1
            else:
                growth[row, column] = 3 if found in (left_brow, right_brow) else 0
