"""Loops of deferred shading over pixels: what lies half transparent before others, and the mean of a pixel's samples.

Plain Python over arrays that numba compiles; `deferred` says what goes in.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def cover_softly(
    image: Any, depth: Any, faces: Any, uvs: Any, face_uvs: Any, alphas: Any, alpha_places: Any, alpha_of: Any, order: Any,
    texels: Any, texel_places: Any, part_of: Any, linear: Any, nearest: float, seen_face: Any, seen_depth: Any, soft: Any,
) -> None:  # fmt: skip
    """Gather into `soft` (S, S, 4) what lies half transparent before what is seen: colours times cover, and cover.

    Args:
        image, depth, faces, uvs, face_uvs, alphas, alpha_places, alpha_of, order, nearest: as in `raster.fill`, `order` with
            the transparent faces only.
        texels, texel_places, part_of, linear: as in `exact_pass.gather_colours`.
        seen_face, seen_depth: what is seen.
        soft: changed in place.
    """
    size = seen_face.shape[0]
    for index in order:
        a, b, c = faces[index, 0], faces[index, 1], faces[index, 2]
        if min(depth[a], depth[b], depth[c]) < nearest:
            continue
        ax, ay, bx, by, cx, cy = image[a, 0], image[a, 1], image[b, 0], image[b, 1], image[c, 0], image[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-12:
            continue
        left = max(0, int(np.ceil(min(ax, bx, cx) - 0.5)))
        right = min(size - 1, int(np.floor(max(ax, bx, cx) - 0.5)))
        top = max(0, int(np.ceil(min(ay, by, cy) - 0.5)))
        bottom = min(size - 1, int(np.floor(max(ay, by, cy) - 0.5)))
        closest = min(depth[a], depth[b], depth[c])
        start, height, width = alpha_places[alpha_of[index]]
        colour_start, colour_height, colour_width = texel_places[part_of[index]]
        ua, ub, uc = face_uvs[index, 0], face_uvs[index, 1], face_uvs[index, 2]
        for row in range(top, bottom + 1):
            y = row + 0.5
            for column in range(left, right + 1):
                found = seen_face[row, column]
                if found < 0 or found == index or closest >= seen_depth[row, column]:
                    continue
                x = column + 0.5
                first = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                second = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                third = 1.0 - first - second
                if first < 0.0 or second < 0.0 or third < 0.0:
                    continue
                z = 1.0 / (first / depth[a] + second / depth[b] + third / depth[c])
                if z >= seen_depth[row, column]:
                    continue
                second, third = second * z / depth[b], third * z / depth[c]
                first = 1.0 - second - third
                u = uvs[ua, 0] * first + uvs[ub, 0] * second + uvs[uc, 0] * third
                v = uvs[ua, 1] * first + uvs[ub, 1] * second + uvs[uc, 1] * third
                texel = int(min(max(v * height, 0.0), height - 1.0)) * width + int(min(max(u * width, 0.0), width - 1.0))
                opacity = alphas[start + texel]
                if opacity == 0:
                    continue
                texel = int(min(max(v * colour_height, 0.0), colour_height - 1.0)) * colour_width
                texel += colour_start + int(min(max(u * colour_width, 0.0), colour_width - 1.0))
                share = (1.0 - soft[row, column, 3]) * opacity / 255.0
                for channel in range(3):
                    soft[row, column, channel] += share * linear[texels[texel, channel]]
                soft[row, column, 3] += share


def resolve(
    face: Any, bary: Any, clear: Any, uvs: Any, face_uvs: Any, part_of: Any, texels: Any, texel_places: Any, linear: Any,
    slot: Any, answered: Any, soft: Any, step: int, out: Any,
) -> None:  # fmt: skip
    """Write into `out` (S, S, 4) the mean colour times opacity of each pixel's samples, and their mean opacity.

    Where nothing has a colour of its own the opacity is negative, for `lend_colours` to mend.

    Args:
        face, bary, clear: (S * step, S * step) what is seen.
        uvs, face_uvs, part_of, texels, texel_places, linear: as in `exact_pass.gather_colours`.
        slot: row of `answered` that counts for each sample.
        answered: (N, 6) as `shade` fills it.
        soft: as `cover_softly` fills it.
        step: samples per pixel along each axis.
        out: changed in place.
    """
    size = out.shape[0]
    colour = np.empty(3, dtype=np.float32)
    for row in range(size):
        for column in range(size):
            opaque = shown = np.float32(0.0)
            red = green = blue = np.float32(0.0)
            for y in range(row * step, row * step + step):
                for x in range(column * step, column * step + step):
                    cover = np.float32(1.0) - clear[y, x]
                    opaque += cover
                    index = face[y, x]
                    if index < 0:
                        continue
                    second, third = bary[y, x, 0], bary[y, x, 1]
                    first = np.float32(1.0) - second - third
                    a, b, c = face_uvs[index, 0], face_uvs[index, 1], face_uvs[index, 2]
                    start, height, width = texel_places[part_of[index]]
                    u = (uvs[a, 0] * first + uvs[b, 0] * second + uvs[c, 0] * third) * width
                    v = (uvs[a, 1] * first + uvs[b, 1] * second + uvs[c, 1] * third) * height
                    texel = start + int(min(max(v, 0.0), height - 1.0)) * width + int(min(max(u, 0.0), width - 1.0))
                    behind = np.float32(1.0) - soft[y, x, 3]
                    lit = slot[y, x]
                    for channel in range(3):
                        colour[channel] = (
                            answered[lit, channel] * (linear[texels[texel, channel]] * behind + soft[y, x, channel])
                            + answered[lit, 3 + channel] * behind
                        )  # fmt: skip
                    shown += cover
                    red, green, blue = red + cover * colour[0], green + cover * colour[1], blue + cover * colour[2]
            total = np.float32(step * step)
            share = opaque / total / max(shown, np.float32(1e-6)) if shown > 0.0 else np.float32(0.0)
            out[row, column, 0], out[row, column, 1], out[row, column, 2] = red * share, green * share, blue * share
            out[row, column, 3] = -opaque / total if shown <= 0.0 and opaque > 0.0 else opaque / total


def lend_colours(out: Any) -> None:
    """Give pixels of `out` (S, S, 4) with a negative opacity, hair too thin for any sample, their neighbours' colour."""
    size = out.shape[0]
    colour = np.empty(3, dtype=np.float32)
    for row in range(size):
        for column in range(size):
            if out[row, column, 3] >= 0.0:
                continue
            cover = -out[row, column, 3]
            red = green = blue = weight = np.float32(0.0)
            for reach in range(1, 5):
                for y in range(max(row - reach, 0), min(row + reach + 1, size)):
                    for x in range(max(column - reach, 0), min(column + reach + 1, size)):
                        if out[y, x, 3] > 0.0:
                            red, green, blue = red + out[y, x, 0], green + out[y, x, 1], blue + out[y, x, 2]
                            weight += out[y, x, 3]
                if weight > 0.0:
                    break
            share = cover / max(weight, np.float32(1e-6))
            colour[0], colour[1], colour[2] = red * share, green * share, blue * share
            for channel in range(3):
                out[row, column, channel] = colour[channel]
    for row in range(size):
        for column in range(size):
            out[row, column, 3] = abs(out[row, column, 3])
