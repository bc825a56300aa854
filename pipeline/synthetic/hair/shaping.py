"""What makes strands curl, gather in locks and stray: displacements of grown strands, and strands wound around paths."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from ....datasets.arrays import Array, Floats
from ....datasets.compiled import compiled
from .strands import Strands, tangents

STRAIGHT = 0.35
"""How many more points straight stretches of a strand share than it would have by how it bends, over those that bends share."""


def resampled(points: Array, num_points: int) -> Array:
    """Return (S, K', 3) points of (S, K, 3) curves, smooth between their points (Catmull and Rom 1974)."""
    length = points.shape[1]
    place = np.linspace(0.0, length - 1.0, num_points)
    low = np.minimum(place.astype(np.int64), length - 2)
    t = place - low
    rows = np.stack([np.maximum(low - 1, 0), low, low + 1, np.minimum(low + 2, length - 1)], axis=1)
    shares = 0.5 * np.stack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2], axis=1)
    out = np.empty((len(points), num_points, 3), dtype=np.float32)
    compiled(blend)(np.ascontiguousarray(points, dtype=np.float32), rows, shares.astype(np.float32), out)
    return out


def evenly_bent(points: Array) -> tuple[Array, Array]:
    """Lay the points of (S, K, 3) curves where they bend, so that outlines have no corners with as many points as before.

    Curves are smooth between their points (Catmull and Rom 1974), and each stretch between two new points bends alike, but for
    a part that all stretches have, straight ones too.

    Returns:
        (S, K, 3) float32 points, root and tip as before, and (S, K) float32 how far along the old points each lies, 0 to 1.
    """
    out = np.empty(points.shape, dtype=np.float32)
    place = np.empty(points.shape[:2], dtype=np.float32)
    compiled(bend_evenly)(np.ascontiguousarray(points, dtype=np.float32), np.float32(STRAIGHT), out, place)
    return out, place


def smoothed(strands: Strands) -> Strands:
    """Return hair whose points lie where it bends, `evenly_bent`; strands of other kinds are short, and stay as they are."""
    if strands.kind != "hair" or strands.points.shape[1] < 4:
        return strands
    points, along = evenly_bent(strands.points)
    last = points.shape[1] - 1
    low = np.minimum((along * last).astype(np.int64), last - 1)
    share = along * np.float32(last) - low.astype(np.float32)
    before, after = (np.take_along_axis(strands.radii, low + step, axis=1) for step in (0, 1))
    return dataclasses.replace(strands, points=points, radii=before + share * (after - before), along=along)


def bend_evenly(points: Any, straight: float, out: Any, place: Any) -> None:
    """Write what `evenly_bent` returns into `out` (S, K, 3) and `place` (S, K)."""
    last = points.shape[1] - 1
    half, one, two = np.float32(0.5), np.float32(1.0), np.float32(2.0)
    weight, tangent, before = np.empty(last, np.float32), np.empty(3, np.float32), np.empty(3, np.float32)
    for s in range(points.shape[0]):
        whole = np.float32(0.0)
        weight[:] = np.float32(0.0)
        for k in range(last):
            size = np.float32(1e-20)
            for axis in range(3):
                tangent[axis] = points[s, k + 1, axis] - points[s, k, axis]
                size += tangent[axis] * tangent[axis]
            bend, size = np.float32(0.0), np.sqrt(size)
            for axis in range(3):
                tangent[axis] /= size
                if k > 0:
                    bend += (tangent[axis] - before[axis]) ** 2
                before[axis] = tangent[axis]
            bend = half * np.sqrt(bend)
            weight[k] += bend
            weight[max(k - 1, 0)] += bend
            whole += two * bend
        base = straight * whole / np.float32(last) + np.float32(1e-5)
        step = whole / np.float32(last) + base
        k, done = 0, np.float32(0.0)
        for j in range(last + 1):
            wanted = np.float32(j) * step
            while k < last - 1 and done + weight[k] + base < wanted:
                done += weight[k] + base
                k += 1
            t = min(max((wanted - done) / (weight[k] + base), np.float32(0.0)), one) if j < last else one
            k = last - 1 if j == last else k
            a, b, c, d = max(k - 1, 0), k, k + 1, min(k + 2, last)
            t2, t3 = t * t, t * t * t
            place[s, j] = (np.float32(k) + t) / np.float32(last)
            for axis in range(3):
                p, q, r, u = points[s, a, axis], points[s, b, axis], points[s, c, axis], points[s, d, axis]
                out[s, j, axis] = half * (
                    two * q + (r - p) * t + (two * p - np.float32(5.0) * q + np.float32(4.0) * r - u) * t2
                    + (np.float32(3.0) * (q - r) + u - p) * t3
                )  # fmt: skip


def way_along(path: Floats) -> Floats:
    """Return (N,) how far along an (N, 3) path each of its points lies: 0 at the first, the path's length at the last."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])


def points_along(path: Floats, way: Floats, wanted: Floats) -> Floats:
    """Return (S, 3) points of an (N, 3) path, straight between its points, `wanted` (S,) world units along its `way_along`."""
    return np.stack([np.interp(wanted, way, path[:, axis]) for axis in range(3)], axis=1)


def blend(points: Any, rows: Any, shares: Any, out: Any) -> None:
    """Write into `out` (S, K', 3) the sums of four points of each strand, `rows` (K', 4), times their `shares`."""
    for s in range(out.shape[0]):
        for k in range(out.shape[1]):
            a, b, c, d = rows[k, 0], rows[k, 1], rows[k, 2], rows[k, 3]
            for axis in range(3):
                out[s, k, axis] = (
                    shares[k, 0] * points[s, a, axis]
                    + shares[k, 1] * points[s, b, axis]
                    + shares[k, 2] * points[s, c, axis]
                    + shares[k, 3] * points[s, d, axis]
                )


def locks(roots: Array, count: int, random: np.random.Generator) -> Array:
    """Return (S,) int64: for each of (S, 3) roots the strand whose lock it belongs to, one of `count` drawn ones."""
    chosen = np.sort(random.permutation(len(roots))[: max(min(count, len(roots)), 1)])
    return np.asarray(chosen[scipy.spatial.cKDTree(roots[chosen]).query(roots)[1]])


def gather(points: Array, lock: Array, share: Array, from_root: float = 0.15) -> Array:
    """Draw (S, K, 3) strands towards the strands of their locks by shares (S,), more towards the tip."""
    along = np.linspace(0.0, 1.0, points.shape[1], dtype=np.float32)
    pull = share.astype(np.float32)[:, None, None] * np.clip((along - from_root) / (1.0 - from_root), 0.0, 1.0)[:, None]
    return np.asarray(points + pull * (points[lock] - points), dtype=np.float32)


def frames(points: Array) -> tuple[Array, Array]:
    """Return two (S, K, 3) float32 unit vectors across (S, K, 3) curves, carried along them without twist."""
    first = np.empty_like(points, dtype=np.float32)
    second = np.empty_like(first)
    compiled(carry)(tangents(points), first, second)
    return first, second


def carry(along: Any, first: Any, second: Any) -> None:
    """Write vectors across curves with unit tangents `along` (S, K, 3) into `first` and `second`."""
    for s in range(along.shape[0]):
        ux, uy, uz = along[s, 0, 2], np.float32(0.0), -along[s, 0, 0]
        if ux * ux + uz * uz < 1e-3:
            ux, uz = np.float32(1.0), np.float32(0.0)
        for k in range(along.shape[1]):
            x, y, z = along[s, k, 0], along[s, k, 1], along[s, k, 2]
            dot = ux * x + uy * y + uz * z
            ux, uy, uz = ux - dot * x, uy - dot * y, uz - dot * z
            size = np.sqrt(ux * ux + uy * uy + uz * uz) + np.float32(1e-9)
            ux, uy, uz = ux / size, uy / size, uz / size
            first[s, k, 0], first[s, k, 1], first[s, k, 2] = ux, uy, uz
            second[s, k, 0] = y * uz - z * uy
            second[s, k, 1] = z * ux - x * uz
            second[s, k, 2] = x * uy - y * ux


def curl(points: Array, radius: Array, turn: Array, phase: Array, flat: float) -> Array:
    """Wind (S, K, 3) strands into helices, or into waves.

    Args:
        points: grown strands.
        radius: (S,) world units, reached after a third of a turn or so.
        turn: (S,) world units of length for one turn.
        phase: (S,) radians at the root.
        flat: 1 for waves in a plane.
    """
    step = np.linalg.norm(np.diff(points, axis=1), axis=2)
    way = np.concatenate([np.zeros((len(points), 1)), np.cumsum(step, axis=1)], axis=1)
    angle = (2.0 * np.pi * way / turn[:, None] + phase[:, None]).astype(np.float32)
    size = (radius[:, None] * np.minimum(1.0, way / (0.6 * turn[:, None]))).astype(np.float32)
    first, second = frames(points)
    bend = np.float32(1.0 - flat) * size * (np.sin(angle) - np.sin(phase)[:, None].astype(np.float32))
    return np.asarray(points + (size * np.cos(angle))[..., None] * first + bend[..., None] * second)


def stray(points: Array, size: float, random: np.random.Generator) -> Array:
    """Let (S, K, 3) strands stray by smooth noise of about `size` world units at the tip."""
    count, length = points.shape[:2]
    knots = random.standard_normal((count, 4, 3)).astype(np.float32)
    wander = resampled(knots, length)
    along = np.linspace(0.0, 1.0, length, dtype=np.float32)[:, None]
    return np.asarray(points + np.float32(size) * along**0.7 * wander, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Winding:
    """How strands lie around paths, (S, K) each."""

    place: Array
    """Share of the path, 0 to 1."""
    across: Array
    """World units along the path's first normal."""
    aside: Array
    """World units along its second normal."""


def wind(paths: Array, which: Array, winding: Winding) -> Array:
    """Lay strands around paths.

    Args:
        paths: (C, J, 3).
        which: (S,) path of each strand.
        winding: where along and around it the strand lies.

    Returns:
        (S, K, 3) float32.
    """
    first, second = frames(paths.astype(np.float32))
    out = np.empty((*winding.place.shape, 3), dtype=np.float32)
    compiled(lay_around)(
        paths.astype(np.float32), first, second, which.astype(np.int64), winding.place.astype(np.float32),
        winding.across.astype(np.float32), winding.aside.astype(np.float32), out,
    )  # fmt: skip
    return out


def lay_around(paths: Any, first: Any, second: Any, which: Any, place: Any, across: Any, aside: Any, out: Any) -> None:
    """Write strands around paths into `out`, the arguments being what `wind` names."""
    last = paths.shape[1] - 1
    for s in range(place.shape[0]):
        c = which[s]
        for k in range(place.shape[1]):
            x = min(max(place[s, k], np.float32(0.0)), np.float32(1.0)) * np.float32(last)
            j = min(int(x), last - 1)
            t = x - np.float32(j)
            for axis in range(3):
                middle = paths[c, j, axis] + t * (paths[c, j + 1, axis] - paths[c, j, axis])
                u = first[c, j, axis] + t * (first[c, j + 1, axis] - first[c, j, axis])
                v = second[c, j, axis] + t * (second[c, j + 1, axis] - second[c, j, axis])
                out[s, k, axis] = middle + across[s, k] * u + aside[s, k] * v


def lengths(paths: Array) -> Floats:
    """Return the (C,) lengths of (C, J, 3) curves."""
    return np.asarray(np.linalg.norm(np.diff(paths, axis=1), axis=2).sum(axis=1), dtype=np.float64)


def plait(place: Array, length: Array, thick: Array, random: np.random.Generator, tuft: float = 0.06) -> tuple[Array, Array]:
    """Return where strands of a plait of three lie around its middle: two (S, K) offsets.

    Each of three bundles swings from side to side, and forth at twice the pace, a third of a swing after the last one.

    Args:
        place: (S, K) share of the way along the plait.
        length: (S,) its length in world units.
        thick: (S,) half its width.
        random: which bundle a strand is in, and where.
        tuft: share of the way at the end that is loose.
    """
    count = len(place)
    bundle, angle = random.integers(0, 3, count), random.uniform(0, 2 * np.pi, count)
    rho = np.sqrt(random.random(count))
    swing = 2 * np.pi * place * (length / (5.2 * thick))[:, None] + (2 * np.pi / 3 * bundle)[:, None]
    loose = np.clip((place - (1.0 - tuft)) / max(tuft, 1e-6), 0.0, 1.0)
    narrow = (1.0 - 0.35 * place) * np.where(loose > 0, 0.55 + 0.5 * loose, 1.0)
    swung = np.where(loose > 0, 0.0, 1.0)
    own = 0.52 + 0.45 * loose
    across = thick[:, None] * narrow * (0.58 * swung * np.sin(swing) + own * (rho * np.cos(angle))[:, None])
    aside = thick[:, None] * narrow * (0.40 * swung * np.sin(2 * swing) + own * (rho * np.sin(angle))[:, None])
    return across, aside


def rope(place: Array, thick: Array, random: np.random.Generator, twist: float = 0.0) -> tuple[Array, Array]:
    """Return where strands of a tail or a loc lie around its middle: two (S, K) offsets in a disc of half width `thick` (S,).

    Args:
        place: (S, K) share of the way along.
        thick: (S,) half its width.
        random: where strands lie.
        twist: turns from beginning to end.
    """
    count = len(place)
    angle = random.uniform(0, 2 * np.pi, count).astype(np.float32)[:, None]
    if twist:
        angle = angle + np.float32(2 * np.pi * twist) * place.astype(np.float32)
    size = (thick * np.sqrt(random.random(count))).astype(np.float32)[:, None]
    wide = np.broadcast_to(size * np.cos(angle), place.shape)
    return wide, np.broadcast_to(size * np.sin(angle), place.shape)
