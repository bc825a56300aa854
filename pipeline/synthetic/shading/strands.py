"""Light on strands without rays: thin matt and rough cylinders, darker where strands lie deep.

The mean over a cylinder's width is taken of both: of Lambert's term in closed form; of the microfacets of GGX (Walter et al.
2007, with Schlick's reflectance) for small roughness, F a^2 / (16 (a^2 + h^2)^1.5), a the square of the roughness, h the
sine of the half vector's angle to the plane across. Nothing is fitted; tests hold it against path tracing.

Strands hide light from meshes too: `deferred` draws them into the lamp's shadow map, `occlusion` into the sky's. What is seen
of them is `rendering.ribbons`' business.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from ....datasets.arrays import Array
from ....datasets.compiled import compiled
from ..hair.strands import StrandSet
from ..rendering.render import strand_finish
from ..rendering.ribbons import StrandBuffers
from .occlusion import directions
from .sky import SkyTables

AXIS = (0.07, -0.45, -0.06, -0.10)
"""Upper and lower end (y) of the line that strands are taken to surround, and its z at both."""
DEEP = 0.016
"""World units of hair through which a third of the light comes."""
MATT = (0.0795, 0.125, 0.0455)
"""Powers of the cosine of the angle a about a strand from the light to the eye -> radiance that a white matt cylinder sends
there on its mean width, of an irradiance square to it: (sin a + (pi - a) cos a) / (4 pi), which these meet to 0.0025."""


def light_strands(
    strands: StrandSet, seen: StrandBuffers, tables: SkyTables, shadow: Array | None, lamp: Array, to_lamp: Array, step: int
) -> tuple[Array, Array]:
    """Light what is seen of strands.

    Args:
        strands: all strands.
        seen: what the camera sees of them.
        tables: the sky.
        shadow: the lamp's depth map; None where there is no lamp.
        lamp: (16,) numbers of the lamp, see `deferred`.
        to_lamp: (3, 4) from the world to the lamp's view.
        step: samples a pixel along each axis.

    Returns:
        (S, S, 3) float32 colours times cover, and (S, S) cover.
    """
    size = seen.point.shape[0] // step
    there = (seen.point >= 0).astype(np.float32)
    depth = np.where(there > 0, seen.depth, np.float32(0.0)).astype(np.float32)
    wide = (4 * step + 1, 4 * step + 1)
    around = cv2.blur(depth, wide) / np.maximum(cv2.blur(there, wide), np.float32(1e-6))
    deep = np.exp(-np.clip(depth - around, 0.0, 0.1) / DEEP).astype(np.float32)
    colour, cover = np.zeros((size, size, 3), dtype=np.float32), np.zeros((size, size), dtype=np.float32)
    compiled(light_pixels, alike, add_sky, add_lamp)(
        seen.point, seen.along, seen.clear, deep, strands.points, strands.tangents, strands.colours,
        seen.eye.astype(np.float32), tables.arriving, directions().astype(np.float32),
        np.zeros((1, 1), np.float32) if shadow is None else shadow,
        lamp.astype(np.float32), to_lamp.astype(np.float32),
        np.array([*AXIS, DEEP, *gloss(strands.wet)], dtype=np.float32), step, colour, cover,
    )  # fmt: skip
    return colour, cover


def gloss(wet: float) -> tuple[float, float]:
    """Return what strands mirror of light from straight ahead, and the fourth power of their roughness."""
    finish = strand_finish(wet)
    return 0.08 * finish["specular"], finish["roughness"] ** 4


def light_pixels(
    point: Any, along: Any, clear: Any, deep: Any, points: Any, tangents: Any, colours: Any, eye: Any, arriving: Any,
    towards: Any, shadow: Any, lamp: Any, to_lamp: Any, axis: Any, step: int, out: Any, cover: Any,
) -> None:  # fmt: skip
    """Write light times cover and cover of each pixel into `out` (S, S, 3) and `cover` (S, S); arguments as `light_strands`."""
    one, tiny = np.float32(1.0), np.float32(1e-9)
    share_of_each = one / np.float32(step * step)
    place, outward = np.empty(3, dtype=np.float32), np.empty(3, dtype=np.float32)
    view, light = np.empty(3, dtype=np.float32), np.empty(6, dtype=np.float32)
    tangent, before, lain = np.empty(3, dtype=np.float32), np.zeros(3, dtype=np.float32), np.zeros(3, dtype=np.float32)
    for row in range(point.shape[0]):
        lit = -1
        for column in range(point.shape[1]):
            n = point[row, column]
            if n < 0:
                continue
            if column % step == 0:
                lit = -1
            s, covered = along[row, column], one - clear[row, column]
            for k in range(3):
                place[k] = points[n, k] + s * (points[n + 1, k] - points[n, k])
                tangent[k] = tangents[n, k] + s * (tangents[n + 1, k] - tangents[n, k])
            size = np.sqrt(tangent[0] ** 2 + tangent[1] ** 2 + tangent[2] ** 2) + tiny
            tangent[0], tangent[1], tangent[2] = tangent[0] / size, tangent[1] / size, tangent[2] / size
            level = min(max(place[1], axis[1]), axis[0])
            outward[0], outward[1] = place[0], place[1] - level
            outward[2] = place[2] - (axis[2] + (axis[0] - level) / (axis[0] - axis[1]) * (axis[3] - axis[2]))
            size = np.sqrt(outward[0] ** 2 + outward[1] ** 2 + outward[2] ** 2) + tiny
            away = np.sqrt((eye[0] - place[0]) ** 2 + (eye[1] - place[1]) ** 2 + (eye[2] - place[2]) ** 2)
            for k in range(3):
                outward[k] /= size
                view[k] = (eye[k] - place[k]) / away
            if lit < 0 or not alike(place, tangent, before, lain):
                light[:] = np.float32(0.0)
                add_sky(tangent, outward, view, arriving, towards, axis, light)
                if shadow.shape[0] > 1:
                    add_lamp(place, tangent, outward, view, shadow, lamp, to_lamp, axis, light)
                lit = n
                before[:], lain[:] = place, tangent
            weight = covered * share_of_each
            through = weight * (np.float32(0.25) + np.float32(0.75) * deep[row, column])
            i, j = row // step, column // step
            for k in range(3):
                out[i, j, k] += through * (light[k] * colours[n, k] + light[3 + k])
            cover[i, j] += weight


def alike(place: Any, tangent: Any, other: Any, along: Any) -> Any:
    """Tell whether two points of strands, seen in one row of a pixel, are lit the same: near each other and parallel."""
    turned = abs(tangent[0] * along[0] + tangent[1] * along[1] + tangent[2] * along[2])
    x, y, z = place[0] - other[0], place[1] - other[1], place[2] - other[2]
    return turned > 0.985 and x * x + y * y + z * z < 1e-4


def add_sky(tangent: Any, outward: Any, view: Any, arriving: Any, towards: Any, told: Any, light: Any) -> None:
    """Add the sky's light to `light` (6,): what takes a strand's colour, and what does not."""
    one, two, zero, small = np.float32(1.0), np.float32(2.0), np.float32(0.0), np.float32(1e-4)
    first, second, third = np.float32(MATT[0]), np.float32(MATT[1]), np.float32(MATT[2])
    head_on, rough = told[5], told[6]
    facing = tangent[0] * view[0] + tangent[1] * view[1] + tangent[2] * view[2]
    across = one / np.sqrt(max(one - facing * facing, small))
    for k in range(towards.shape[0]):
        x, y, z = towards[k, 0], towards[k, 1], towards[k, 2]
        cosine = outward[0] * x + outward[1] * y + outward[2] * z
        open_sky = min(max((cosine + np.float32(0.35)) / np.float32(1.1), zero), one)
        if open_sky <= zero:
            continue
        lie = tangent[0] * x + tangent[1] * y + tangent[2] * z
        sine = np.sqrt(max(one - lie * lie, small))
        along_view = x * view[0] + y * view[1] + z * view[2]
        turn = (along_view - lie * facing) * across
        spread = open_sky * (first * sine + second * turn + third * turn * turn / sine)
        half, length = lie + facing, max(two + two * along_view, small)  # of the sum of the ways to light and eye
        bare = one - np.float32(0.5) * np.sqrt(length)
        broad = rough + half * half / length
        mirrored = (head_on + (one - head_on) * bare * bare * bare * bare * bare) * rough / (broad * np.sqrt(broad))
        mirrored *= np.float32(0.0625) * open_sky
        for channel in range(3):
            light[channel] += spread * arriving[k, channel]
            light[3 + channel] += mirrored * arriving[k, channel]


def add_lamp(
    place: Any, tangent: Any, outward: Any, view: Any, shadow: Any, lamp: Any, to_lamp: Any, told: Any, light: Any
) -> None:  # fmt: skip
    """Add a lamp's light to `light` (6,), as far as it comes through the hair before a place: a third each `thick`."""
    one, zero, small = np.float32(1.0), np.float32(0.0), np.float32(1e-4)
    c = to_lamp[0, 0] * place[0] + to_lamp[0, 1] * place[1] + to_lamp[0, 2] * place[2] + to_lamp[0, 3]
    d = to_lamp[1, 0] * place[0] + to_lamp[1, 1] * place[1] + to_lamp[1, 2] * place[2] + to_lamp[1, 3]
    depth = to_lamp[2, 0] * place[0] + to_lamp[2, 1] * place[1] + to_lamp[2, 2] * place[2] + to_lamp[2, 3]
    u, v = int(c / depth + lamp[5]), int(d / depth + lamp[5])
    passed, taps = zero, zero
    for i in range(-1, 2):
        for j in range(-1, 2):
            if 0 <= u + i < shadow.shape[1] and 0 <= v + j < shadow.shape[0]:
                passed += np.exp(-max(depth - shadow[v + j, u + i] - np.float32(0.006), zero) / told[4])
                taps += one
    passed = passed / taps if taps > zero else one
    px, py, pz = -c / lamp[6], -d / lamp[6], -depth
    size = np.sqrt(px * px + py * py + pz * pz)
    px, py, pz = px / size, py / size, pz / size
    lx = lamp[7] * px + lamp[8] * py + lamp[9] * pz
    ly = lamp[10] * px + lamp[11] * py + lamp[12] * pz
    lz = lamp[13] * px + lamp[14] * py + lamp[15] * pz
    wide = lamp[4] / size
    strength = np.float32(3.1415927) * wide * wide * passed
    strength *= min(max(one + outward[0] * lx + outward[1] * ly + outward[2] * lz, zero), one)
    lie, facing = tangent[0] * lx + tangent[1] * ly + tangent[2] * lz, zero
    for k in range(3):
        facing += tangent[k] * view[k]
    sine = np.sqrt(max(one - lie * lie, small))
    along_view = lx * view[0] + ly * view[1] + lz * view[2]
    turn = (along_view - lie * facing) / np.sqrt(max(one - facing * facing, small))
    spread = strength * (np.float32(MATT[0]) * sine + np.float32(MATT[1]) * turn + np.float32(MATT[2]) * turn * turn / sine)
    half, length = lie + facing, max(np.float32(2.0) * (one + along_view), small)
    bare, broad = one - np.float32(0.5) * np.sqrt(length), told[6] + half * half / length
    mirrored = told[5] + (one - told[5]) * bare * bare * bare * bare * bare
    mirrored *= np.float32(0.0625) * told[6] * strength / (broad * np.sqrt(broad))
    for channel in range(3):
        light[channel] += spread * lamp[1 + channel]
        light[3 + channel] += mirrored * lamp[1 + channel]
