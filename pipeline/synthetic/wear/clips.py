"""Clips, pins and bows in hair that was grown: they lie on the strands that are there, and are of class hair as ties are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....datasets.arrays import Floats
from ..hair.scalp import CENTIMETRE, CENTRE
from ..hair.strands import Strands
from ..hair.ties import direction
from .fabric import paint, plain
from .garment import Garment, ball, tube
from .look import Accessory

NEAR = 0.10
"""Radians around a direction within which strands tell how far hair reaches."""
FEWEST = 40
"""Points of strands that must lie there: a clip holds on to hair."""


def clips(look: Accessory, strands: Sequence[Strands]) -> list[Garment]:
    """Make a barrette, two crossed pins or a bow; nothing where there is too little hair to hold it.

    Args:
        look: `option` is 0 on the left, 1 on the right; a bow sits behind. `length` (0 to 1) is how high it lies.
        strands: everything that grew.
    """
    points = np.concatenate([np.zeros((0, 3)), *(some.points.reshape(-1, 3) for some in strands if some.kind == "hair")])
    out = points - np.array(CENTRE)
    far = np.linalg.norm(out, axis=1)
    unit = out / np.maximum(far, 1e-9)[:, None]
    side = 1.0 if look.option == 0 else -1.0
    if look.kind == "bow":
        azimuth, elevation = np.pi - 0.15 * side, np.radians(4.0 + 26.0 * look.length)
    else:
        azimuth, elevation = side * np.radians(62.0), np.radians(18.0 + 30.0 * look.length)

    def over(turn: Floats, rise: Floats, lift: float) -> Floats | None:
        """Return (N, 3) points `lift` world units over the hair, or None where there is too little."""
        towards = direction(azimuth + turn / np.cos(elevation), elevation + rise)
        reach = []
        for one in towards[:: max(1, len(towards) // 4)]:
            near = far[unit @ one > np.cos(NEAR)]
            if len(near) < FEWEST:
                return None
            reach.append(np.quantile(near, 0.8))
        places = np.linspace(0.0, 1.0, len(reach))
        radius = np.interp(np.linspace(0.0, 1.0, len(towards)), places, reach)
        return np.asarray(np.array(CENTRE) + (radius + lift)[:, None] * towards)

    if look.kind == "bow":
        middle = over(np.zeros(1), np.zeros(1), 0.6 * CENTIMETRE)
        return [] if middle is None else _bow(look, middle[0], direction(azimuth, elevation))
    found = []
    share = np.linspace(-1.0, 1.0, 17)
    for tilt in (0.25,) if look.kind == "barrette" else (0.75, -0.35):
        half = (2.6 if look.kind == "barrette" else 2.3) * look.size * CENTIMETRE / 0.24
        path = over(half * np.cos(tilt) * share, side * half * np.sin(tilt) * share, 0.12 * CENTIMETRE)
        if path is None:
            return []
        up = path - np.array(CENTRE)
        wide = 0.55 * (1.0 - 0.25 * share**2) if look.kind == "barrette" else np.full(17, 0.11)
        finish = "metal" if look.seed % 2 else "frame"
        picture = plain(look.colour if finish == "metal" else look.second)
        found.append(tube(look.kind, "hair", finish, path, look.size * CENTIMETRE * wide, picture, flat=0.3, up=up, round_=8))
    return found


def _bow(look: Accessory, middle: Floats, outward: Floats) -> list[Garment]:
    """Tie a ribbon: two loops, a knot and two ends that hang."""
    aside = np.cross([0.0, 1.0, 0.0], outward)
    aside = aside / np.linalg.norm(aside)
    up = np.cross(outward, aside)
    picture = paint(look.fabric, 12.0, 6.0, (64, 128))
    size = look.size * CENTIMETRE
    found = [ball("knot", "hair", "cloth", middle + 0.3 * size * outward, 0.8 * size, picture, 8)]
    turn = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    for side in (1.0, -1.0):
        loop = 1.9 * (1.0 - np.cos(turn))[:, None] * side * aside + 0.75 * np.sin(turn)[:, None] * (outward + 0.3 * up)
        path = middle + size * (loop + 0.35 * outward)
        found.append(
            tube("loop", "hair", "cloth", path, 1.1 * size, picture, closed=True, flat=0.14, up=path - middle + outward)
        )
        steps = np.linspace(0.0, 1.0, 10)[:, None]
        end = middle + size * steps * (0.9 * side * aside - 3.6 * up + 0.25 * outward)
        width = 0.9 * size * np.sqrt(np.clip(1.8 * steps[:, 0], 0.1, 1.0))
        found.append(tube("end", "hair", "cloth", end, width, picture, flat=0.14, up=outward))
    return found
