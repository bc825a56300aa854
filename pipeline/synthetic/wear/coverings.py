"""What covers mouth and neck: masks with their loops, scarves and high collars."""

from __future__ import annotations

import numpy as np
import scipy

from ....datasets.arrays import Floats
from ..hair.scalp import CENTIMETRE, Surface
from .fabric import paint, plain
from .garment import Garment, grid, tube
from .look import Accessory
from .pressing import Cover, open_cover
from .shell import leaning, outside, reach, taut
from .wraps import NECK

FACE = (0.0, -0.10, -0.02)
"""A point in the mean head behind the mouth."""
FARTHEST = 0.25
"""World units from there that a face reaches at most."""
EAR_TOP, EAR_ROOT = (0.170, 0.030, -0.090), (0.162, -0.080, -0.095)
"""Where loops of masks lie behind the left ear of the mean head."""
HALF = 50.0
"""Half of the azimuth that a mask spans, degrees."""


def mask(look: Accessory, surface: Surface) -> tuple[list[Garment], Cover]:
    """Make a mask over nose and mouth: pleated (0), of cloth with a seam (1), or stiff and pointed (2)."""
    frame = leaning(0.0, origin=FACE)
    azimuth = np.radians(np.linspace(-HALF, HALF, 61))
    side = np.abs(azimuth) / azimuth[-1]
    top = np.radians(19.0 - 13.0 * side**1.2)
    bottom = np.radians(-62.0 + 33.0 * side**1.6)
    share = np.linspace(0.0, 1.0, 45)
    level = bottom[:, None] + (top - bottom)[:, None] * share
    found = reach(surface.field, frame, np.broadcast_to(azimuth[:, None], level.shape), level, 0.27)
    far = np.minimum(
        scipy.ndimage.median_filter(found, (5, 5), mode="nearest"), FARTHEST
    )  # collars below the chin do not count
    radii = taut(far + 0.12 * CENTIMETRE, (5.0, 5.0), 6, closed=False)
    middle = np.clip(1.0 - side**2, 0.0, 1.0)[:, None] * np.sin(np.pi * share)
    if look.option == 0:
        pleat = share * 5.0 - np.floor(share * 5.0)
        out = 0.12 + 0.28 * middle * (1.0 - pleat)
    elif look.option == 1:
        out = 0.12 + 0.5 * middle - 0.08 * np.exp(-((azimuth[:, None] / 0.03) ** 2))
    else:
        out = 0.15 + 1.3 * middle**1.5
    points = frame.place(azimuth[:, None], level, radii + out * CENTIMETRE)
    made = [grid("mask", "cloth", "cloth", points, paint(look.fabric, 22.0, 15.0))]
    inside = radii
    for number in (0, -1):
        made += _loop(points[number, -3], points[number, 4], surface)
    return made, open_cover(frame, azimuth, level, inside, 1.2)


def _loop(upper: Floats, lower: Floats, surface: Surface) -> list[Garment]:
    """Lead a loop from a mask's upper corner behind the ear to its lower corner."""
    side = float(np.sign(upper[0]))
    ends = []
    for place in (EAR_TOP, EAR_ROOT):
        away = ((surface.rest - np.array(place) * [side, 1.0, 1.0]) ** 2).sum(axis=1)
        ends.append(surface.points[int(np.argmin(away))])
    share = np.linspace(0.0, 1.0, 14)[:, None]
    path = np.vstack(
        [upper * (1 - share) + ends[0] * share, ends[0] * (1 - share) + ends[1] * share, ends[1] * (1 - share) + lower * share]
    )
    path[:14] = outside(path[:14], surface.field, 0.05 * CENTIMETRE)
    path[28:] = outside(path[28:], surface.field, 0.05 * CENTIMETRE)
    return [tube("loop", "cloth", "cloth", path, 0.13 * CENTIMETRE, plain((0.88, 0.88, 0.87)), round_=6)]


def scarf(look: Accessory, surface: Surface) -> list[Garment]:
    """Wind a thick scarf around the neck, its folds aslant; option 1 has an end that hangs down in front."""
    random = np.random.Generator(np.random.Philox(look.seed))
    frame = leaning(np.radians(-6.0), origin=NECK)
    azimuth = np.linspace(0.0, 2.0 * np.pi, 160, endpoint=False)
    share = np.linspace(0.0, 1.0, 40)[None]
    level = np.radians(-40.0 + (52.0 + 14.0 * look.size) * share) + 0.0 * azimuth[:, None]
    far = np.minimum(reach(surface.field, frame, np.broadcast_to(azimuth[:, None], level.shape), level, 0.5), 0.27)
    phase = 2.0 * np.pi * (share * 2.6 + 0.5 * np.sin(azimuth + random.uniform(0, 6))[:, None])
    folds = (0.5 + 0.5 * np.sin(phase)) + 0.25 * np.sin(3.0 * phase + 2.0 * np.cos(2.0 * azimuth)[:, None])
    bulge = np.sin(np.pi * np.clip(share, 0.0, 1.0)) ** 0.5
    out = bulge * (1.3 + 1.1 * look.size * folds) * CENTIMETRE
    radii = taut(far, (6.0, 4.0)) + out - 0.02 * (1.0 - bulge)
    picture = paint(look.fabric, 60.0, 18.0)
    made = [grid("scarf", "cloth", "cloth", frame.place(azimuth[:, None], level, radii), picture, closed=True)]
    if look.option == 1:
        steps = np.linspace(0.0, 1.0, 24)[:, None]
        start = frame.place(np.full(1, 0.35), np.radians([-25.0]), radii[15:16, 10])[0]
        path = outside(start + steps * np.array([0.02, -0.45, 0.04]), surface.field, 0.02)
        made.append(
            tube("end", "cloth", "cloth", path, 3.6 * CENTIMETRE, picture, flat=0.22, up=np.array([0.0, 0.0, 1.0]), round_=24)
        )
    return made


def collar(look: Accessory, surface: Surface) -> list[Garment]:
    """Make a high collar of knitted wool that is turned down once."""
    frame = leaning(np.radians(-8.0), origin=NECK)
    azimuth = np.linspace(0.0, 2.0 * np.pi, 160, endpoint=False)
    share = np.linspace(0.0, 1.0, 26)[None]
    level = np.radians(-38.0 + (46.0 + 10.0 * look.size) * share) + 0.0 * azimuth[:, None]
    far = np.minimum(reach(surface.field, frame, np.broadcast_to(azimuth[:, None], level.shape), level, 0.5), 0.25)
    turned = np.clip((share - 0.35) * 12.0, 0.0, 1.0) * np.clip((1.0 - share) * 12.0, 0.0, 1.0)
    rib = np.abs(np.cos(40.0 * azimuth))[:, None] ** 0.6
    out = (0.25 + 0.45 * turned + 0.10 * rib) * CENTIMETRE - 0.012 * np.clip((share - 0.96) * 25.0, 0.0, 1.0)
    radii = taut(far, (5.0, 2.0)) + out
    return [
        grid(
            "collar", "cloth", "cloth", frame.place(azimuth[:, None], level, radii), paint(look.fabric, 42.0, 12.0), closed=True
        )
    ]
