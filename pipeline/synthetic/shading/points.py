"""Loops of deferred shading over the samples that are lit: which those are, and what sky and lamp make of each.

Plain Python over arrays that numba compiles; `deferred` says what goes in.
"""

from __future__ import annotations

from typing import Any

import numpy as np

POINT_NUMBERS = 20
TAPS = 14
"""Samples of a shadow map a point."""
HAIR_WHITE, HAIR_TINTED = 0.007, 0.084
"""Strength of the sky's highlights on hair: as they are, and in the hair's colour."""
RED_WRAP, GREEN_WRAP, BLUE_WRAP = 1.7, 0.8, 0.5
"""Factors on how far a lamp's light reaches behind the terminator of skin: light that comes back is red there."""
TERMINATOR = 0.02
"""World units above skin that a lamp grazes at which its shadow is looked up."""
ROUGH_EDGE = 0.12
"""How much of a mirror's brightening at grazing angles is left of rough surfaces."""


def choose(face: Any, depth: Any, part_of: Any, step: int, alike: Any, slot: Any, places: Any) -> int:
    """Choose the samples that are lit: one for each pixel that shows one part at one depth, else each of its samples.

    Args:
        face, depth: (S, S) what is seen.
        part_of: (F,) part of each face.
        step: samples per pixel along each axis.
        alike: greatest difference of depth of samples that are lit once.
        slot: (S, S) int32, becomes the number of the lit sample that counts, -1 where nothing is seen.
        places: (S * S, 2) int32, becomes row and column of each lit sample.

    Returns:
        How many samples are lit.
    """
    count, middle = 0, step // 2
    for top in range(0, face.shape[0], step):
        for left in range(0, face.shape[1], step):
            first = face[top + middle, left + middle]
            even = first >= 0
            if even:
                part, nearest = part_of[first], depth[top + middle, left + middle]
                for row in range(top, top + step):
                    for column in range(left, left + step):
                        index = face[row, column]
                        if index < 0 or part_of[index] != part or abs(depth[row, column] - nearest) > alike:
                            even = False
            if even:
                places[count, 0], places[count, 1] = top + middle, left + middle
                for row in range(top, top + step):
                    for column in range(left, left + step):
                        slot[row, column] = count
                count += 1
                continue
            for row in range(top, top + step):
                for column in range(left, left + step):
                    if face[row, column] >= 0:
                        places[count, 0], places[count, 1] = row, column
                        slot[row, column] = count
                        count += 1
    return count


def gather(
    places: Any, face: Any, bary: Any, faces: Any, part_of: Any, vertices: Any, rays: Any, finishes: Any, parts: Any, out: Any
) -> None:  # fmt: skip
    """Fill `out` (N, 20) with each place's vertex numbers, its unit normal turned to the camera, and the view.

    Args:
        places: (N, 2) rows and columns of the samples.
        face, bary, faces, part_of: what is seen.
        vertices: (V, 16), see `vertices`.
        rays: (3, 3) direction of the ray through sample (0, 0), and its steps along columns and rows.
        finishes: (P, 7) as in `surfaces.Surfaces`.
        parts: (N,) int32, becomes the part at each place.
        out: numbers 0 to 15 as at vertices, unit direction to the camera 16-18, its cosine with the normal 19.
    """
    for place in range(places.shape[0]):
        row, column = places[place, 0], places[place, 1]
        index = face[row, column]
        second, third = bary[row, column, 0], bary[row, column, 1]
        first = np.float32(1.0) - second - third
        a, b, c = faces[index, 0], faces[index, 1], faces[index, 2]
        for k in range(16):
            out[place, k] = vertices[a, k] * first + vertices[b, k] * second + vertices[c, k] * third
        parts[place] = part_of[index]
        kind = int(finishes[parts[place], 0])
        vx = -(rays[0, 0] + column * rays[1, 0] + row * rays[2, 0])
        vy = -(rays[0, 1] + column * rays[1, 1] + row * rays[2, 1])
        vz = -(rays[0, 2] + column * rays[1, 2] + row * rays[2, 2])
        length = np.sqrt(vx * vx + vy * vy + vz * vz)
        vx, vy, vz = vx / length, vy / length, vz / length
        nx, ny, nz = out[place, 0], out[place, 1], out[place, 2]
        length = max(np.sqrt(nx * nx + ny * ny + nz * nz), np.float32(1e-6))
        nx, ny, nz = nx / length, ny / length, nz / length
        facet = nx * vx + ny * vy + nz * vz
        if facet < 0.0 and kind != 1 and kind != 3:  # sheets have two sides; skin and eyes are closed
            nx, ny, nz, facet = -nx, -ny, -nz, -facet
        out[place, 0], out[place, 1], out[place, 2] = nx, ny, nz
        out[place, 16], out[place, 17], out[place, 18] = vx, vy, vz
        out[place, 19] = min(max(facet, np.float32(0.03)), np.float32(1.0))


def light_by_sky(points: Any, parts: Any, finishes: Any, mirrors: Any, out: Any) -> None:
    """Write into `out` (N, 6) the sky's light that points send to the camera: 0-2 times the surface's colour, 3-5 as it is.

    Args:
        points, parts: as `gather` fills them.
        finishes: (P, 7) as in `surfaces.Surfaces`.
        mirrors: (3, M, M, 3) octahedral maps of the sky.
        out: changed in place.
    """
    side = mirrors.shape[1]
    for place in range(points.shape[0]):
        part, value = parts[place], points[place]
        kind, facing, mirror = int(finishes[part, 0]), finishes[part, 2], int(finishes[part, 4])
        for axis in range(3):
            out[place, axis] = value[6 + axis] * np.float32(0.31830988)
        if kind == 2:
            for axis in range(3):
                out[place, axis] += np.float32(HAIR_TINTED) * value[9 + axis]
                out[place, 3 + axis] = np.float32(HAIR_WHITE) * value[9 + axis]
            continue
        facet = value[19]
        edge = np.float32(1.0) - facet
        graze = edge * edge * edge * edge * edge * (np.float32(1.0) if mirror == 2 else np.float32(ROUGH_EDGE))
        rx, ry, rz = 2.0 * facet * value[0] - value[16], 2.0 * facet * value[1] - value[17], 2.0 * facet * value[2] - value[18]
        norm = abs(rx) + abs(ry) + abs(rz)
        u, v = rx / norm, rz / norm
        if ry < 0.0:
            u, v = (1.0 - abs(v)) * (1.0 if u >= 0.0 else -1.0), (1.0 - abs(u)) * (1.0 if v >= 0.0 else -1.0)
        x, y = (u * 0.5 + 0.5) * side - 0.5, (v * 0.5 + 0.5) * side - 0.5
        x0, y0 = int(np.floor(x)), int(np.floor(y))
        across, down = x - x0, y - y0
        x1, y1 = min(x0 + 1, side - 1), min(y0 + 1, side - 1)
        x0, y0 = max(x0, 0), max(y0, 0)
        open_sky = value[12] * np.sqrt(value[12]) if kind != 3 else np.float32(0.25) + np.float32(0.75) * value[12]
        weight = (facing + (np.float32(1.0) - facing) * graze) * finishes[part, 3] * open_sky
        for axis in range(3):
            upper = mirrors[mirror, y0, x0, axis] * (1.0 - across) + mirrors[mirror, y0, x1, axis] * across
            lower = mirrors[mirror, y1, x0, axis] * (1.0 - across) + mirrors[mirror, y1, x1, axis] * across
            out[place, 3 + axis] = weight * (upper * (1.0 - down) + lower * down)


def reach_lamp(places: Any, points: Any, parts: Any, finishes: Any, shadow: Any, lamp: Any, out: Any) -> None:
    """Fill `out` (N, 6): direction to the lamp 0-2, its cosine with the normal 3, its solid angle that is seen 4, its width 5.

    Shadows are as soft as lamp and blockers make them (percentage-closer soft shadows, Fernando 2005), over a spiral that is
    turned from place to place.

    Args:
        places: (N, 2) rows and columns.
        points, parts, finishes: as in `light_by_sky`.
        shadow: (T, T) depths that the lamp sees.
        lamp: (16,) as `deferred` makes it.
        out: changed in place; the width is the lamp's radius over its distance.
    """
    height, width = shadow.shape
    one = np.float32(1.0)
    spiral = np.empty((TAPS, 2), dtype=np.float32)
    for tap in range(TAPS):
        away, angle = np.sqrt((tap + 0.5) / TAPS), 2.399963 * tap
        spiral[tap, 0], spiral[tap, 1] = away * np.cos(angle), away * np.sin(angle)
    for place in range(points.shape[0]):
        column, row, depth = points[place, 13], points[place, 14], points[place, 15]
        px, py = column / lamp[6], row / lamp[6]
        distance = np.sqrt(px * px + py * py + depth * depth)
        px, py, pz = -px / distance, -py / distance, -depth / distance
        cosine = np.float32(0.0)
        for axis in range(3):
            out[place, axis] = lamp[7 + 3 * axis] * px + lamp[8 + 3 * axis] * py + lamp[9 + 3 * axis] * pz
            cosine += points[place, axis] * out[place, axis]
        wide = lamp[4] / distance
        out[place, 3], out[place, 4], out[place, 5] = cosine, 0.0, wide
        kind, wrap = int(finishes[parts[place], 0]), finishes[parts[place], 1]
        if kind == 1:
            wrap *= np.float32(RED_WRAP)
        if kind != 2 and cosine <= -wrap:
            continue
        tx, ty = column / depth + lamp[5], row / depth + lamp[5]
        spin = (52.9829189 * ((0.06711056 * places[place, 1] + 0.00583715 * places[place, 0]) % 1.0)) % 1.0 * 6.2831853
        turn_x, turn_y = np.float32(np.cos(spin)), np.float32(np.sin(spin))
        limit = depth - (np.float32(0.018) if kind != 2 else np.float32(0.03))
        if kind == 1:  # looked up outside of the skin: else its own curvature hides from a lamp what lies at the terminator
            out_of = np.float32(TERMINATOR) * max(one - np.float32(3.0) * abs(cosine), np.float32(0.0)) * lamp[6] / depth
            tx += out_of * (lamp[7] * points[place, 0] + lamp[10] * points[place, 1] + lamp[13] * points[place, 2])
            ty += out_of * (lamp[8] * points[place, 0] + lamp[11] * points[place, 1] + lamp[14] * points[place, 2])
        reach, blocked, before = np.float32(0.1) * wide, 0, np.float32(0.0)
        for turn in range(2):  # first how far before the point the blockers lie, then how much of the lamp they hide
            blocked = 0
            wide_x, wide_y = reach * lamp[6] / depth * turn_x, reach * lamp[6] / depth * turn_y
            for tap in range(TAPS):
                sx = int(tx + spiral[tap, 0] * wide_x - spiral[tap, 1] * wide_y)
                sy = int(ty + spiral[tap, 0] * wide_y + spiral[tap, 1] * wide_x)
                if 0 <= sx < width and 0 <= sy < height and shadow[sy, sx] < limit:
                    blocked += 1
                    before += (depth - shadow[sy, sx]) * (1 - turn)
            if blocked == 0:
                break
            reach = wide * before / max(blocked, 1) + np.float32(0.006) if turn == 0 else reach
        out[place, 4] = np.float32(3.1415927) * wide * wide * np.float32(1.0 - blocked / TAPS)
        if kind == 3:  # lids are thinner than a texel: they hide of a lamp what they hide of the sky
            out[place, 4] *= min(np.float32(1.3) * points[place, 12], np.float32(1.0))


def fade_lamp(places: Any, points: Any, veil: Any, soft: float, lamp: Any, reached: Any) -> None:
    """Lower the light of a lamp, number 4 of `reached` (N, 6), by what strands hide of it: as soft as in `reach_lamp`.

    Args:
        places, points: as in `reach_lamp`.
        veil: (T, T, 2) as `thickness.strand_map` makes it; smaller than 2 texels where there are no strands.
        soft: world units over which light fades.
        lamp: (16,) as `deferred` makes it.
        reached: changed in place.
    """
    side, one, zero = veil.shape[0], np.float32(1.0), np.float32(0.0)
    if side < 2:
        return
    spiral = np.empty((TAPS, 2), dtype=np.float32)
    for tap in range(TAPS):
        away, angle = np.sqrt((tap + 0.5) / TAPS), 2.399963 * tap
        spiral[tap, 0], spiral[tap, 1] = away * np.cos(angle), away * np.sin(angle)
    for place in range(points.shape[0]):
        if reached[place, 4] <= zero:
            continue
        depth, wide = points[place, 15], reached[place, 5]
        x, y = points[place, 13] / depth + lamp[5], points[place, 14] / depth + lamp[5]
        spin = (52.9829189 * ((0.06711056 * places[place, 1] + 0.00583715 * places[place, 0]) % 1.0)) % 1.0 * 6.2831853
        turn_x, turn_y = np.float32(np.cos(spin)), np.float32(np.sin(spin))
        reach, found, before = np.float32(0.1) * wide, 0, zero
        for turn in range(2):  # first how far before the point strands lie, then how much of the lamp they hide
            through = zero
            reach_x, reach_y = reach * lamp[6] / depth * turn_x, reach * lamp[6] / depth * turn_y
            for tap in range(TAPS):
                u = int(x + spiral[tap, 0] * reach_x - spiral[tap, 1] * reach_y)
                v = int(y + spiral[tap, 0] * reach_y + spiral[tap, 1] * reach_x)
                if not (0 <= u < side and 0 <= v < side) or depth <= veil[v, u, 0]:
                    through += one
                    continue
                if turn == 0:
                    found, before = found + 1, before + depth - veil[v, u, 0]
                    continue
                thick = min((depth - veil[v, u, 0]) / soft, one) * veil[v, u, 1]
                through += one / (one + thick + np.float32(0.5) * thick * thick)
            if found == 0:
                break
            if turn == 0:
                reach = wide * before / np.float32(found) + np.float32(0.012)
            else:
                reached[place, 4] *= through / np.float32(TAPS)


def light_by_lamp(points: Any, parts: Any, finishes: Any, lamp: Any, reached: Any, out: Any) -> None:
    """Add a lamp's light to `out` (N, 6).

    Args:
        points, parts, finishes, out: as in `light_by_sky`.
        lamp: (16,) as `deferred` makes it.
        reached: as `reach_lamp` fills it.
    """
    for place in range(points.shape[0]):
        light, cosine, wide = reached[place, 4], reached[place, 3], reached[place, 5]
        if light <= 0.0:
            continue
        part = parts[place]
        kind, wrap, facing = int(finishes[part, 0]), finishes[part, 1], finishes[part, 2]
        lx, ly, lz = reached[place, 0], reached[place, 1], reached[place, 2]
        vx, vy, vz = points[place, 16], points[place, 17], points[place, 18]
        hx, hy, hz = lx + vx, ly + vy, lz + vz
        length = max(np.sqrt(hx * hx + hy * hy + hz * hz), np.float32(1e-6))
        hx, hy, hz = hx / length, hy / length, hz / length
        tilt = points[place, 0] * hx + points[place, 1] * hy + points[place, 2] * hz
        spread = max((cosine + wrap) / ((1.0 + wrap) * (1.0 + wrap)), 0.0) * 0.31830988
        glint = np.float32(0.0)
        if kind == 2:
            toward = points[place, 3] * lx + points[place, 4] * ly + points[place, 5] * lz
            half = points[place, 3] * hx + points[place, 4] * hy + points[place, 5] * hz
            near, far = half + 0.10 * tilt, half - 0.14 * tilt  # shifted by the scales of hair (Scheuermann 2004)
            near, far = max(1.0 - near * near, 0.0), max(1.0 - far * far, 0.0)
            near, far = near * near * near * near, far * far * far
            side = max(0.3 + cosine, 0.0)
            spread = 0.5 * spread + 0.101 * np.sqrt(max(1.0 - toward * toward, 0.0)) + 0.22 * far * far * side
            glint = 0.035 * near * near * near * near * side
        elif cosine > 0.0:
            power = 1.0 / (1.0 / finishes[part, 5] + wide * wide / 8.0)
            meet = 1.0 - max(vx * hx + vy * hy + vz * hz, 0.0)
            graze = meet * meet * meet * meet * meet * (1.0 if int(finishes[part, 4]) == 2 else ROUGH_EDGE)
            glint = facing + (1.0 - facing) * graze
            glint *= finishes[part, 3] * cosine * (power + 8.0) / (8.0 * 3.1415927) * np.exp(power * np.log(max(tilt, 1e-3)))
        for axis in range(3):
            if kind == 1:  # red goes farther through skin than green and blue
                reach = wrap * (RED_WRAP if axis == 0 else GREEN_WRAP if axis == 1 else BLUE_WRAP)
                spread = max((cosine + reach) / ((1.0 + reach) * (1.0 + reach)), 0.0) * 0.31830988
            out[place, axis] += light * lamp[1 + axis] * spread
            out[place, 3 + axis] += light * lamp[1 + axis] * glint


def gild(parts: Any, finishes: Any, out: Any) -> None:
    """Give mirrored light the surface's colour, as far as the finish of each place is metallic."""
    for place in range(parts.shape[0]):
        share = finishes[parts[place], 6]
        for axis in range(3):
            out[place, axis] = out[place, axis] * (np.float32(1.0) - share) + out[place, 3 + axis] * share
            out[place, 3 + axis] *= np.float32(1.0) - share
