"""The hair of a head: from a look and a surface to strands. Which look a person has is drawn by `styles`."""

from __future__ import annotations

import numpy as np

from ....datasets.arrays import Array, Floats
from ....datasets.images.colour_space import srgb_to_linear
from .density import DENSE_ENOUGH, WHORL, density, faded, hairline, left, ramp
from .growing import ASIDE, FACE_FALL, FACE_FROM, FACE_REACH, FACE_TOP, Wishes, grow
from .look import Colour, HairLook
from .scalp import CENTIMETRE, CENTRE, Roots, Surface, sow, within
from .shaping import curl, gather, lengths, locks, resampled, stray
from .strands import SHORT, Strands
from .ties import Tie, bands, direction, hanging, rows, tails

WET_DARK = 0.5
"""Share of its light that wet hair loses: water between hairs keeps it from being scattered out."""
BUNDLE = 16
"""Hairs that a strand stands for: 22,000 strands of a fifth of a millimetre for 100,000 hairs of less than half of it, whose
neighbours lie together."""
FRINGE_FROM, CUT = 35.0, 0.13
"""Elevation in degrees of the hairline above a fringe, and centimetres by which hair grows longer a degree behind it."""
SIDEBURN, WISP = ((90.0, -6.0), 1.3)
"""Azimuth and elevation in degrees before and below which hair is too short to be tied, and its length in centimetres."""
FINE = ((0.1, 0.7), (0.5, 1.0))
"""Centimetres of length, and factors on the thickness of strands as long: what clippers leave is seen end on."""
SINGLE = 0.45
"""Factor on the thickness of strands that stand off the others: nothing lies beside them that they would stand for."""
CHEEK, CROWD = 0.012, 8
"""Side of the squares before a face in which strands are counted, and how many must be there for one to stay."""
HANGING = ("locs", "twists", "box braids")
"""Ties whose locks are drawn aside whole, as they grow."""
EYES = 3.8 * CENTIMETRE
"""World units from the middle plane within which hair without a fringe leaves the face open."""
SHOULDER = 0.55
"""World units from the middle plane at which long hair that slides along a shoulder ends."""


def build_hair(look: HairLook, surface: Surface) -> tuple[Strands, ...]:
    """Grow the hair of a head.

    Args:
        look: what hair it is.
        surface: the head.
    """
    random = np.random.Generator(np.random.Philox(look.seed))
    grown = density(look, *surface.angles) * left(look, *surface.angles)
    roots = sow(surface, grown, look.count, random)
    if not len(roots):
        return ()
    long = _lengths(look, roots, random)
    if look.tie in ("", *HANGING):
        points = [(np.arange(len(roots)), _free(look, roots, long, surface, random))]
    elif look.tie == "cornrows":
        points = [(np.arange(len(roots)), rows(roots, look, surface.field, random))]
    else:
        points = _tied(look, roots, long, surface, random)
    bound = _bound(look, roots, surface)
    loose = 0.45 if look.tie not in ("", "half-up") else 1.0
    found = []
    dense = density(look, roots.azimuth, roots.elevation)
    for number, (which, some) in enumerate(points):
        shaped = stray(some, look.frizz * loose * CENTIMETRE, random)
        single = np.zeros(len(shaped), dtype=np.bool_)
        if look.top > 3.0 and look.tie != "cornrows":
            shaped, single = flyaways(shaped, 0.5 * CENTIMETRE, random)
        if look.comb not in ("forward", "up") and look.tie not in HANGING:  # from the cheeks to the ears; a fringe stays
            aside = lengths(shaped) > 1.5 * look.fringe * CENTIMETRE
            if look.fringe > 0.0 and not look.tie:
                aside &= _fringe(roots) <= 0.4
            half = (4.2 + 0.2 * (look.seed % 9)) * CENTIMETRE * np.exp(random.normal(0.06, 0.12, (int(aside.sum()), 1)))
            shaped[aside] = off_face(shaped[aside], half)
            if not look.tie:
                kept = ~alone(shaped) & (~aside | ~over_eyes(shaped))
                which, shaped, single = which[kept], shaped[kept], single[kept]
        shaped[..., 0] = np.clip(shaped[..., 0], -SHOULDER, SHOULDER)
        found.append(_strands(look, "hair" if number == 0 else f"hair {number}", shaped, dense[which], single, random))
    return (*found, *bound)


def _bound(look: HairLook, roots: Roots, surface: Surface) -> tuple[Strands, ...]:
    """Return hair ties; in class maps they are hair."""
    if look.tie not in ("ponytail", "pigtails", "half-up", "braid", "two braids"):
        return ()
    random = np.random.Generator(np.random.Philox(look.seed + 1))
    threads = bands(_ties(look, roots)[0], look, surface.field, random)
    colour = look.band if random.random() < 0.5 else tuple(random.uniform(0.05, 0.8, 3))
    pair = np.tile(srgb_to_linear(np.array([colour, colour])), (len(threads), 1, 1))
    shade = np.exp(random.normal(0.0, 0.12, (len(threads), 1, 1)))
    size = np.full(threads.shape[:2], 0.03 * CENTIMETRE, dtype=np.float32)
    return (Strands("hair tie", "hair", threads, size, np.clip(pair * shade, 0.002, 0.95).astype(np.float32)),)


def flyaways(points: Array, size: float, random: np.random.Generator, share: float = 0.03) -> tuple[Array, Array]:
    """Let some of (S, K, 3) strands stand off the others by about `size` world units, so that outlines are soft.

    Returns:
        The strands, and (S,) which of them stand off.
    """
    chosen = random.random(len(points)) < share
    points = points.copy()
    points[chosen] = stray(points[chosen], size, random)
    return points, chosen


def off_face(points: Array, half: Floats) -> Array:
    """Draw (S, K, 3) strands before the face aside without corners, each (S, 1) `half` world units from its middle."""
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    before = np.clip((z - FACE_FROM) / FACE_REACH, 0.0, 1.0) * np.clip((FACE_TOP - y) / FACE_FALL, 0.0, 1.0)
    side = np.where(np.take_along_axis(x, np.abs(x).argmax(axis=1)[:, None], axis=1) >= 0.0, 1.0, -1.0).astype(np.float32)
    aside = np.where(before > 0.0, np.maximum(half.astype(np.float32) * before - side * x, np.float32(0.0)), np.float32(0.0))
    most = ASIDE * np.sqrt((np.diff(points, axis=1) ** 2).sum(axis=2))
    for k in range(points.shape[1] - 2, -1, -1):  # what is drawn aside farther on is drawn from its root on
        aside[:, k] = np.maximum(aside[:, k], aside[:, k + 1] - most[:, k])
    aside[:, 0] = 0.0
    for k in range(1, points.shape[1]):
        aside[:, k] = np.clip(aside[:, k], aside[:, k - 1] - most[:, k - 1], aside[:, k - 1] + most[:, k - 1])
    moved = points.copy()
    moved[..., 0] += side * aside
    return np.asarray(moved, dtype=np.float32)


def over_eyes(points: Array) -> Array:
    """Tell which (S, K, 3) strands hang before the eyes: single ones that nothing could comb aside."""
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    return np.asarray(((np.abs(x) < EYES) & (y < 0.08) & (y > -0.20) & (z > 0.08)).any(axis=1))


def alone(points: Array) -> Array:
    """Tell which (S, K, 3) strands hang before the face where hardly any others do: they would be lines across a cheek."""
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    strand, _ = rows = np.nonzero((z > 0.05) & (np.abs(x) < 0.15) & (y < 0.09) & (y > -0.24))
    if not len(strand):
        return np.zeros(len(points), dtype=np.bool_)
    square = np.floor(x[rows] / CHEEK).astype(np.int64) * 1000 + np.floor(y[rows] / CHEEK).astype(np.int64)
    places, of = np.unique(square, return_inverse=True)
    pairs = np.unique(np.stack([of, strand]), axis=1)
    crowd = np.bincount(pairs[0], minlength=len(places))
    lonely = np.bincount(strand, weights=crowd[of] < CROWD, minlength=len(points))
    return np.asarray(lonely >= 2)


def _strands(look: HairLook, name: str, points: Array, dense: Floats, single: Array, random: np.random.Generator) -> Strands:
    along = np.linspace(0.0, 1.0, points.shape[1], dtype=np.float32)
    taper = 1.0 - 0.55 * np.clip((along - 0.6) / 0.4, 0.0, 1.0) ** 2
    long = lengths(points) / CENTIMETRE
    fine = np.interp(long, *FINE) * (0.45 + 0.55 * dense) * np.where(single, SINGLE, 1.0)  # hairlines are of finer hair
    size = look.radius * CENTIMETRE * np.exp(random.normal(0.0, 0.15, (len(points), 1))) * fine[:, None]
    pair = colours(look, len(points), random)
    grown = np.clip(2.0 * long / float(np.quantile(long, 0.95)), 0.0, 1.0)[:, None]
    pair[:, 1] += ((1.0 - grown) * (pair[:, 0] - pair[:, 1])).astype(np.float32)  # what was cut short has lost its tips
    counts = (long > SHORT) | (dense > DENSE_ENOUGH)
    return Strands(
        name, "hair", points, (size * taper).astype(np.float32), pair,
        (look.tip_from, 1.0) if look.tip_from == 0.0 else (look.tip_from, min(look.tip_from + 0.25, 1.0)), counts,
        wet=look.wet,
    )  # fmt: skip


def colours(look: HairLook, count: int, random: np.random.Generator) -> Array:
    """Return (S, 2, 3) float32 linear colours: each strand a little lighter or darker, some of them streaks."""
    pair = np.tile(srgb_to_linear(np.array([look.colour, look.tip])), (count, 1, 1))
    if look.salted:
        pair = salted(pair, look.streaks, look.streak, random)
    else:
        pair = streaked(pair, look.streaks, look.streak, (0.1, 0.6), random)
    shade = np.exp(random.normal(0.0, 0.22, (count, 1, 1)) + random.normal(0.0, 0.05, (count, 1, 3)))
    dark = 1.0 - WET_DARK * look.wet
    return np.clip(pair * shade * dark, 0.002, 0.95).astype(np.float32)


def streaked(pair: Floats, chance: float, colour: Colour, share: tuple[float, float], random: np.random.Generator) -> Floats:
    """Mix an sRGB colour into some strands: each stands for several hairs, not all of which have it.

    Args:
        pair: (S, 2, 3) linear colours of the strands.
        chance: 0 to 1: how many strands have it.
        colour: such as grey.
        share: range of how much of such a strand has it.
        random: drawn numbers.
    """
    some = random.random(len(pair)) < chance
    mixed = pair.copy()
    mixed[some] += random.uniform(*share, (int(some.sum()), 1, 1)) * (srgb_to_linear(np.array(colour)) - pair[some])
    return mixed


def salted(pair: Floats, grey: float, colour: Colour, random: np.random.Generator) -> Floats:
    """Mix single hairs of an sRGB colour into strands: each stands for `BUNDLE` hairs, and any of those may be grey.

    Args:
        pair: (S, 2, 3) linear colours of the strands.
        grey: 0 to 1: share of grey hairs.
        colour: theirs.
        random: drawn numbers.
    """
    share = random.binomial(BUNDLE, grey, (len(pair), 1, 1)) / BUNDLE
    return np.asarray(pair + share * (srgb_to_linear(np.array(colour)) - pair))


def _lengths(look: HairLook, roots: Roots, random: np.random.Generator) -> Floats:
    """Return the (S,) length of each strand in centimetres."""
    side, up = np.degrees(np.abs(roots.azimuth)), np.degrees(roots.elevation)
    rear = ramp(side, 105.0, 145.0)
    start, end = (5.0, 60.0) if look.sides < 0.6 * look.top and look.strip <= 0.0 else (14.0, 36.0)  # layered, no shelf
    high = ramp(up, start, end) * (1.0 - rear) + ramp(up, 4.0, 46.0) * rear
    low = look.sides * (1.0 - rear) + look.back * rear
    long = low + (look.top - low) * high
    if look.fade > 0.0:
        inside = within(roots.azimuth, roots.elevation, hairline(look.receding))
        short = faded(roots.azimuth, roots.elevation) * (1.0 - ramp(inside, 0.0, look.fade))
        long = look.shaved + (long - look.shaved) * (1.0 - short)
    if look.fringe > 0.0:
        front = _fringe(roots)
        behind = np.clip(up - FRINGE_FROM, 0.0, 40.0)  # what grows farther back is longer: a fringe is cut along one line
        long = long + (look.fringe + CUT * behind - long) * front
    if look.strip > 0.0:
        away = np.abs(roots.points[:, 0]) / CENTIMETRE
        kept = 1.0 - ramp(away + random.normal(0.0, 0.12, len(long)), look.strip - 0.2, look.strip + 0.9)
        long = look.shaved + (long - look.shaved) * kept
    if look.sides < 0.6 * look.top:  # cut in layers, so that hair that falls over shorter hair ends at no line
        long = long - (long - look.sides).clip(0.0) * 0.5 * random.random(len(long)) ** 1.5
    return np.asarray(long * (1.0 + random.normal(0.0, 0.05, len(long))).clip(0.7, 1.3))


def _fringe(roots: Roots) -> Floats:
    side, up = np.degrees(np.abs(roots.azimuth)), np.degrees(roots.elevation)
    return np.asarray((1.0 - ramp(side, 36.0, 50.0)) * (1.0 - ramp(up, 58.0, 66.0)) * (side < 90))


def _combs(look: HairLook, roots: Roots) -> Floats:
    """Return (S, 3) directions in which hair is combed; their parts along the head count."""
    out = roots.points - np.array(CENTRE)
    out = out / np.linalg.norm(out, axis=1, keepdims=True)
    away = out - direction(*WHORL)
    whorl = away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    up = np.degrees(roots.elevation)
    top = (ramp(up, 2.0, 62.0) if look.comb == "up" else ramp(up, 15.0, 40.0))[:, None]
    x = roots.points[:, 0] / CENTIMETRE - look.part
    sides = np.sign(x)[:, None] * np.array([[1.0, 0.0, 0.0]])
    wanted = {
        "whorl": whorl, "back": np.tile([0.0, 0.15, -1.0], (len(out), 1)) + 0.25 * out * [1, 0, 0],
        "forward": np.tile([0.0, 0.0, 1.0], (len(out), 1)), "up": out * [0.3, 1.0, 0.3] + [0.0, 1.0, 0.0],
        "side": np.tile([np.sign(look.part or 1.0) * -1.0, 0.0, -0.35], (len(out), 1)),
        "parted": np.array([0.0, -0.25, -0.30]) + sides, "down": whorl,
    }[look.comb]  # fmt: skip
    below = whorl * 0.4 + [0.0, -1.0, -0.35]
    comb = wanted * top + below * (1.0 - top)
    if look.fringe > 0.0:
        front = _fringe(roots)[:, None]
        comb = comb * (1.0 - front) + front * np.array([0.0, -0.4, 1.0])
    return np.asarray(comb / np.maximum(np.linalg.norm(comb, axis=1, keepdims=True), 1e-6))


def _wishes(look: HairLook, roots: Roots, long: Floats, random: np.random.Generator) -> Wishes:
    count = len(roots)
    high = ramp(np.degrees(roots.elevation), -30.0, 70.0)
    layer = look.volume * CENTIMETRE * (0.10 + 0.45 * high + 0.5 * random.random(count) ** 1.3)
    layer *= np.minimum(1.0, long / (2.0 * look.volume + 0.5))
    open_face = np.full(count, 0.0)
    if look.fringe <= 0.0 and look.comb not in ("forward", "up"):
        open_face = np.full(count, 4.3 * CENTIMETRE)
    elif look.fringe > 0.0:
        open_face = np.where(_fringe(roots) > 0.4, 0.0, 4.3 * CENTIMETRE)
    side = np.where(roots.points[:, 0] / CENTIMETRE > look.part, 1.0, -1.0)
    lift = look.lift * (1.0 + 0.15 * random.standard_normal(count))
    return Wishes(
        long * CENTIMETRE, _combs(look, roots) + 0.08 * random.standard_normal((count, 3)), np.clip(lift, 0.02, 1.0),
        np.full(count, look.hold * CENTIMETRE), np.full(count, 22.0 * look.weight), layer, np.full(count, 22.0),
        open_face * side,
    )  # fmt: skip


def _free(look: HairLook, roots: Roots, long: Floats, surface: Surface, random: np.random.Generator) -> Array:
    """Grow hair that nothing ties."""
    wishes = _wishes(look, roots, long, random)
    if look.tie:
        return hanging(roots, wishes, look, surface.field, random)
    longest = float(long.max())
    num = int(np.clip(6 + longest * 0.6, 6, 26))
    points = grow(roots, wishes, surface.field, num)
    return _shaped(look, roots, points, long, random)


def _shaped(look: HairLook, roots: Roots, points: Array, long: Floats, random: np.random.Generator) -> Array:
    lock = locks(roots.points, look.clumps, random) if look.clumps else np.arange(len(roots))
    if look.curl > 0.0:
        turns = float(np.quantile(long, 0.95)) / look.turn
        points = resampled(points, int(np.clip(turns * 8.0, points.shape[1], 56)))
        phase = random.uniform(0, 2 * np.pi, len(roots))[lock] + random.normal(0.0, 0.35, len(roots))
        turn = (look.turn * CENTIMETRE * np.exp(random.normal(0.0, 0.15, len(roots))))[lock]
        radius = look.curl * CENTIMETRE * np.exp(random.normal(0.0, 0.2, len(roots)))[lock] * np.minimum(1.0, long / look.turn)
        points = curl(points, radius, turn, phase, look.flat)
    if not look.clumps:
        return points
    alike = np.exp(-((long - long[lock]) ** 2) / (2.0 * (0.25 * long + 0.2) ** 2))  # a lock is of one length
    return gather(points, lock, look.clumping * np.clip(long / 4.0 - 0.1, 0.0, 1.0) * alike)


def _tied(
    look: HairLook, roots: Roots, long: Floats, surface: Surface, random: np.random.Generator
) -> list[tuple[Array, Array]]:
    """Grow tied hair, and what hangs or stands free beside it: numbers of roots, and the strands from them."""
    ties, which = _ties(look, roots)
    free = which < 0
    burn = (np.degrees(np.abs(roots.azimuth)) < SIDEBURN[0]) & (np.degrees(roots.elevation) < SIDEBURN[1])
    free, long = free | burn, np.where(burn, np.minimum(long, WISP), long)  # over ears it would lie like whiskers
    if look.strip > 0.0:
        free |= long <= look.shaved * 1.6
    points = []
    if (~free).any():
        points.append((np.flatnonzero(~free), tails(roots.chosen(~free), ties, which[~free], look, surface.field, random)))
    if free.any():
        loose = roots.chosen(free)
        grown = grow(loose, _wishes(look, loose, long[free], random), surface.field, 24)
        points.append((np.flatnonzero(free), _shaped(look, loose, grown, long[free], random)))
    return points


def _ties(look: HairLook, roots: Roots) -> tuple[list[Tie], Array]:
    """Return the ties, and for each root which one it goes to, -1 for none."""
    up, low, rear = np.radians(look.tie_height), np.radians(-38.0), np.pi
    none = np.zeros(len(roots), dtype=np.int64)
    left = (roots.points[:, 0] > look.part * CENTIMETRE).astype(np.int64)
    if look.tie == "half-up":
        return [Tie(rear, up, "tail", 0.7)], np.where(np.degrees(roots.elevation) > 20.0, 0, -1)
    if look.tie in ("bun", "top-knot"):
        return [Tie(rear, up if look.tie == "bun" else np.radians(72.0), "bun", 0.4)], none
    if look.tie == "space buns":
        return [Tie(side * 1.95, np.radians(48.0), "bun", 0.3) for side in (-1.0, 1.0)], left
    if look.tie == "braid":
        return [Tie(rear, up, "plait", 1.0)], none
    if look.tie in ("pigtails", "two braids"):
        kind = "plait" if look.tie == "two braids" else "tail"
        height = low if look.tie == "two braids" else up * 0.5
        return [Tie(side * 2.15, height, kind, 1.0) for side in (-1.0, 1.0)], left
    return [Tie(rear, up, "tail", 1.2)], none
