"""Hair that is tied: drawn over the head to ties, and beyond them tails, plaits, buns, rows, locs and small braids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from ....datasets.arrays import Array, Floats
from .collision import DistanceField
from .growing import Wishes, grow
from .look import HairLook
from .scalp import CENTIMETRE, CENTRE, Roots
from .shaping import Winding, lengths, locks, plait, points_along, rope, way_along, wind

OUT = 0.01
"""World units that a search for the surface goes back outwards a step at most: behind ears signs of distances may be wrong."""
ON_HEAD = 12
"""Points of a tied strand before its tie."""
PARTED = 0.45
"""How far from a lock's middle its roots are shown, of their way to it: the rest of a section is combed flat."""


@dataclass(frozen=True)
class Tie:
    """A place where hair is tied."""

    azimuth: float
    """Radians on the mean head."""
    elevation: float
    kind: str
    """tail, plait or bun."""
    out: float = 1.0
    """Centimetres from the skin to the middle of what is tied."""


def on_head(directions: Floats, field: DistanceField, lift: Floats | float) -> Floats:
    """Return (N, 3) points along (N, 3) directions from the skull's middle that lie `lift` world units outside."""
    unit = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-9)
    reach = np.full(len(unit), 0.36)
    for _ in range(9):
        away = field.at(np.array(CENTRE) + reach[:, None] * unit) - lift
        reach = np.maximum(reach - 0.9 * np.maximum(away, -OUT), 0.05)
    return np.asarray(np.array(CENTRE) + reach[:, None] * unit)


def direction(azimuth: Floats | float, elevation: Floats | float) -> Floats:
    """Return (..., 3) unit vectors of angles in radians."""
    azimuth, elevation = np.broadcast_arrays(np.asarray(azimuth, dtype=np.float64), np.asarray(elevation, dtype=np.float64))
    flat = np.cos(elevation)
    return np.stack([flat * np.sin(azimuth), np.sin(elevation), flat * np.cos(azimuth)], axis=-1)


def over_head(roots: Roots, towards: Floats, field: DistanceField, layer: Floats) -> Array:
    """Draw strands from roots over the head to places on it.

    Args:
        roots: S roots.
        towards: (S, 3) points where they are tied.
        field: what they stay outside of.
        layer: (S,) world units from the skin.

    Returns:
        (S, ON_HEAD, 3) float32.
    """
    centre = np.array(CENTRE)
    start, end = roots.points - centre, towards - centre
    start = start / np.linalg.norm(start, axis=1, keepdims=True)
    end = end / np.linalg.norm(end, axis=1, keepdims=True)
    angle = np.arccos(np.clip((start * end).sum(axis=1), -0.999, 0.999))[:, None]
    out = np.empty((len(roots), ON_HEAD, 3), dtype=np.float32)
    for k, share in enumerate(np.linspace(0.0, 1.0, ON_HEAD)):
        turned = (np.sin((1 - share) * angle) * start + np.sin(share * angle) * end) / np.sin(angle)
        rise = layer * min(1.0, 4.0 * share)
        out[:, k] = on_head(turned, field, rise) if 0 < k < ON_HEAD - 1 else (roots.points if k == 0 else towards)
    away = out - centre
    far = np.linalg.norm(away, axis=2)
    middle = scipy.ndimage.median_filter(far, size=(1, 7), mode="nearest")  # no point stands out from its neighbours
    out[:, 1:-1] = (centre + away * (np.clip(far, 0.93 * middle, 1.07 * middle) / far)[..., None])[:, 1:-1]
    return out


def tails(
    roots: Roots, ties: list[Tie], which: Array, look: HairLook, field: DistanceField, random: np.random.Generator
) -> Array:
    """Grow tied hair.

    Args:
        roots: S roots.
        ties: where hair is tied.
        which: (S,) tie of each strand.
        look: lengths and thickness.
        field: what strands stay outside of.
        random: drawn numbers.

    Returns:
        (S, K, 3) float32.
    """
    middles = on_head(direction(np.array([tie.azimuth for tie in ties]), np.array([tie.elevation for tie in ties])), field, 0.0)
    outward = field.normals(middles).astype(np.float64)
    middles = middles + outward * (CENTIMETRE * np.array([tie.out for tie in ties]))[:, None]
    size = 0.55 * look.thickness * CENTIMETRE
    layer = CENTIMETRE * (0.12 + 0.35 * look.volume * random.random(len(roots)))
    around = random.standard_normal((len(roots), 3)) * (0.35 * size)
    before = over_head(roots, middles[which] + around - outward[which] * size, field, layer)
    paths = np.stack(
        [_path(tie, middle, normal, look, field) for tie, middle, normal in zip(ties, middles, outward, strict=True)]
    )
    long = lengths(paths)
    num = 44 if any(tie.kind != "tail" for tie in ties) else 28
    end = 1.0 - 0.32 * random.random(len(roots)) ** 1.5
    place = np.linspace(0.0, 1.0, num)[None] * end[:, None]
    across, aside = _around(ties, which, place, long, look, random)
    return np.concatenate([before, wind(paths, which, Winding(place, across, aside))[:, 1:]], axis=1)


def bands(ties: list[Tie], look: HairLook, field: DistanceField, random: np.random.Generator, count: int = 260) -> Array:
    """Wind hair ties around the beginnings of tails and plaits: (S, K, 3) threads, none where hair is in buns."""
    found = [np.zeros((0, 14, 3), dtype=np.float32)]
    for tie in ties:
        if tie.kind == "bun":
            continue
        middle = on_head(direction(np.array([tie.azimuth]), np.array([tie.elevation])), field, 0.0)
        normal = field.normals(middle).astype(np.float64)
        path = _path(tie, middle[0] + normal[0] * CENTIMETRE * tie.out, normal[0], look, field)
        along = path[4] - path[1]
        along = along / np.linalg.norm(along)
        across = np.cross(along, [0.3, 0.9, 0.2])
        across = across / np.linalg.norm(across)
        wide = (0.62 if tie.kind == "tail" else 1.05) * look.thickness * CENTIMETRE
        angle = random.uniform(0.0, 2.0 * np.pi, (count, 1)) + np.linspace(0.0, 1.5, 14)
        turn = random.uniform(0.0, 2.0 * np.pi, (count, 1)) + 4.0 * angle  # threads lie aslant around the band
        size = 0.30 * CENTIMETRE * np.sqrt(random.uniform(0.5, 1.0, (count, 1)))
        out = (wide + size * np.cos(turn))[..., None] * (
            np.cos(angle)[..., None] * across + np.sin(angle)[..., None] * np.cross(along, across)
        )
        found.append((path[2] + out + (1.3 * size * np.sin(turn))[..., None] * along).astype(np.float32))
    return np.concatenate(found)


def _path(tie: Tie, middle: Floats, normal: Floats, look: HairLook, field: DistanceField, num: int = 60) -> Array:
    """Return the (num, 3) middle line of what hangs or lies at a tie."""
    if tie.kind == "bun":
        side = np.cross(normal, [0.0, 1.0, 0.0])
        side /= max(float(np.linalg.norm(side)), 1e-6)
        up = np.cross(side, normal)
        share = np.linspace(0.0, 1.0, num)[:, None]
        turn = 2.0 * np.pi * 2.6 * share
        wide = CENTIMETRE * look.thickness * (0.4 + 1.4 * np.minimum(1.0, 1.6 * share)) * (1.0 - 0.7 * share**3)
        rise = CENTIMETRE * look.thickness * (0.7 + 2.3 * share)
        return np.asarray(middle + normal * rise + wide * (np.cos(turn) * side + np.sin(turn) * up))
    one = np.ones(1, dtype=np.float32)
    thick = CENTIMETRE * look.thickness * (1.15 if tie.kind == "plait" else 1.5)
    root = Roots(middle[None].astype(np.float32), normal[None].astype(np.float32), np.zeros(1), np.zeros(1))
    wishes = Wishes(
        one * look.tail * CENTIMETRE, np.array([[0.0, -1.0, 0.0]]), one * (0.9 if tie.kind == "tail" else 0.5),
        one * (1.6 * CENTIMETRE), one * 26.0, one * thick, one * 8.0, one * 0.0,
    )  # fmt: skip
    return np.asarray(grow(root, wishes, field, num)[0])


def _around(
    ties: list[Tie], which: Array, place: Array, long: Floats, look: HairLook, random: np.random.Generator
) -> tuple[Array, Array]:
    thick = CENTIMETRE * look.thickness
    spread = np.clip(place / 0.22, 0.0, 1.0)
    own = np.exp(random.normal(0.0, 0.35, len(place)))[:, None] * np.ones_like(place)  # no hard outline
    own = 1.0 + (own - 1.0) * spread
    profile = own * (0.34 + 0.76 * spread * (2 - spread)) * (1.0 - 0.45 * np.clip((place - 0.55) / 0.45, 0, 1) ** 2)
    across, aside = rope(place, np.full(len(place), 1.5 * thick), random)
    across, aside = np.asarray(across * profile), np.asarray(aside * profile)
    kinds = np.array([tie.kind for tie in ties])[which]
    for kind, chosen in ((kind, kinds == kind) for kind in ("plait", "bun")):
        if not chosen.any():
            continue
        some = place[chosen]
        if kind == "plait":
            found = plait(some, long[which[chosen]], np.full(len(some), 1.15 * thick), random)
        else:
            found = rope(some, np.full(len(some), 1.0 * thick), random, twist=2.0)
        across[chosen], aside[chosen] = found
    return across, aside


def rows(roots: Roots, look: HairLook, field: DistanceField, random: np.random.Generator) -> Array:
    """Grow cornrows: plaits that lie on the head from forehead to nape, and hang on from there."""
    half = max(5, round(7 / look.thickness))
    lateral = np.linspace(-62.0, 62.0, half)
    middles = np.radians(lateral)
    angle = np.linspace(np.radians(28.0), np.radians(218.0), 60)
    paths = []
    for turned in middles:
        over = np.stack([np.full(60, np.sin(turned)), np.cos(turned) * np.sin(angle), np.cos(turned) * np.cos(angle)], axis=1)
        lying = on_head(over, field, 0.35 * CENTIMETRE * look.thickness)
        one = np.ones(1, dtype=np.float32)
        root = Roots(lying[-1:].astype(np.float32), field.normals(lying[-1:]), np.zeros(1), np.zeros(1))
        wishes = Wishes(
            one * max(look.tail, 0.5) * CENTIMETRE, np.array([[0.0, -1.0, 0.0]]), one * 0.1, one * CENTIMETRE, one * 30.0,
            one * 0.5 * CENTIMETRE, one * 10.0, one * 0.0,
        )  # fmt: skip
        paths.append(np.vstack([lying, grow(root, wishes, field, 40)[0][1:]]))
    even = _even(np.stack(paths), 110)
    away = roots.points - np.array(CENTRE)
    angle_of = np.arcsin(np.clip(away[:, 0] / np.linalg.norm(away, axis=1), -1.0, 1.0))
    which = np.abs(angle_of[:, None] - middles).argmin(axis=1)
    start = np.empty(len(roots))
    for row, path in enumerate(even[:, :80]):
        own = which == row
        start[own] = ((path**2).sum(axis=1) - 2.0 * roots.points[own] @ path.T).argmin(axis=1) / 109.0
    num = 64
    place = start[:, None] + (1.0 - start[:, None]) * np.linspace(0.0, 1.0, num) * (
        1.0 - 0.1 * random.random((len(roots), 1)) ** 2
    )
    place = np.maximum(place, start[:, None])
    thick = np.full(len(roots), 0.42 * CENTIMETRE * look.thickness)
    across, aside = plait(place, lengths(even)[which], thick, random)
    out = wind(even, which, Winding(place, across, aside))
    out[:, 0] = roots.points
    return out


def _even(paths: Array, num: int) -> Array:
    """Return (C, num, 3) points at even distances along (C, J, 3) curves."""
    out = np.empty((len(paths), num, 3))
    for path, even in zip(paths, out, strict=True):
        way = way_along(path)
        even[:] = points_along(path, way, np.linspace(0.0, way[-1], num))
    return out


def hanging(roots: Roots, wishes: Wishes, look: HairLook, field: DistanceField, random: np.random.Generator) -> Array:
    """Grow locs, twists or small braids: a path from each lock's middle, with its strands around it."""
    lock = locks(roots.points, max(look.clumps, 20), random)
    heads, which = np.unique(lock, return_inverse=True)
    some = Wishes(*(np.asarray(getattr(wishes, name))[heads] for name in Wishes.__dataclass_fields__))
    num = 48
    paths = grow(roots.chosen(heads), some, field, num)
    paths = (
        paths
        + 0.35
        * CENTIMETRE
        * look.frizz
        * np.cumsum(random.standard_normal(paths.shape), axis=1)
        * np.linspace(0, 1, num)[:, None]
    )
    place = np.linspace(0.0, 1.0, num)[None] * (1.0 - 0.12 * random.random((len(roots), 1)) ** 2)
    thick = np.full(len(roots), 0.33 * CENTIMETRE * look.thickness)
    if look.tie == "box braids":
        across, aside = plait(place, lengths(paths)[which], thick, random, tuft=0.03)
    else:
        across, aside = rope(
            place, thick, random, twist=lengths(paths).mean() / CENTIMETRE * (0.5 if look.tie == "twists" else 0.15)
        )
    begin = np.clip(place / 0.06, 0.0, 1.0)[..., None]
    out = wind(paths, which, Winding(place, across, aside))
    middle = roots.points[heads][which]
    drawn = middle + PARTED * (roots.points - middle)  # roots of a whole section, drawn into its lock, would be a star
    start = drawn[:, None] + (out - out[:, :1])
    return np.asarray(start * (1.0 - begin) + out * begin, dtype=np.float32)
