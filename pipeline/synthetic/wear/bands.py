"""What spans a head: headbands, hair bands, headphones, and helmets with their straps."""

from __future__ import annotations

import dataclasses

import numpy as np

from ....datasets.arrays import Array, Floats
from ..hair.collision import DistanceField
from ..hair.scalp import CENTIMETRE
from .fabric import opaque, paint, plain
from .garment import Garment, ball, grid, tube
from .hats import crown_of, hemmed, visor
from .look import HeadWear
from .pressing import Cover, open_cover
from .shell import Frame, leaning, outside, reach, taut

RIM = 13
"""Rows of a band's cross-section."""


def headband(field: DistanceField, look: HeadWear, hair: float) -> tuple[list[Garment], list[Cover]]:
    """Make a band around forehead and back of the head: knitted (0), of towelling (1), or rolled with a knot (2)."""
    frame = leaning(np.radians(look.lean))
    azimuth = np.linspace(0.0, 2.0 * np.pi, 180, endpoint=False)
    half = np.radians(0.5 * look.brim * 4.2)
    middle = np.radians(look.edge)
    found, radii, level = _band(field, frame, azimuth, np.full(180, middle), half, 0.5 * hair, 0.35 + 0.15 * look.option)
    picture = paint(look.fabric, 57.0, look.brim + 1.0, (96, 512))
    made = [grid("headband", "hat", "cloth", found, picture, closed=True)]
    if look.option == 2:
        knot = frame.place(np.zeros(1), np.array([middle]), radii[:1, RIM // 2] + 0.012)[0]
        made.append(ball("knot", "hat", "cloth", knot, np.array([0.9, 1.2, 0.8]) * CENTIMETRE, picture, 10))
    return made, [Cover(frame, level[:, 0], level[:, -1], radii, 1.1)]


def hairband(field: DistanceField, look: HeadWear, hair: float) -> tuple[list[Garment], list[Cover]]:
    """Make a hoop over the head from ear to ear: narrow and hard (0), or wide and of cloth (1)."""
    frame = leaning(np.radians(90.0 + 0.5 * look.lean))  # its pole lies behind, azimuth 0 on top
    azimuth = np.radians(np.linspace(-97.0, 97.0, 121))
    wide = (0.45, 1.6)[look.option] * look.brim / 5.0
    half = np.radians(wide * 4.2) * np.clip(1.3 - np.abs(azimuth) / azimuth[-1], 0.35, 1.0)
    found, radii, level = _band(field, frame, azimuth, np.zeros(121), half, 0.6 * hair, 0.3, closed=False)
    finish = "frame" if look.option == 0 else "cloth"
    made = [grid("hairband", "hat", finish, found, paint(look.fabric, 40.0, 4.0, (64, 512)))]
    return made, [open_cover(frame, azimuth, level, radii, 1.1)]


def headphones(field: DistanceField, look: HeadWear, hair: float) -> tuple[list[Garment], list[Cover]]:
    """Make headphones: a hoop that stands off the head and a cup over each ear; option 1 has larger ones."""
    frame = leaning(np.radians(88.0 + 0.3 * look.lean))
    azimuth = np.radians(np.linspace(-86.0, 86.0, 121))
    bow = 0.25 + 0.9 * np.cos(azimuth) ** 2
    found, radii, level = _band(
        field, frame, azimuth, np.zeros(121), np.full(121, np.radians(3.8)), 0.8 * hair, bow, closed=False
    )
    made = [grid("hoop", "hat", "frame", found, plain(look.trim))]
    covers = [open_cover(frame, azimuth, level, radii, 1.1)]
    high = (3.6 + 0.8 * (look.option % 2)) * CENTIMETRE
    for side in (1.0, -1.0):
        cup, cover = _cup(field, look, side, high, 0.5 * hair)
        made += cup
        covers.append(cover)
    return made, covers


def _cup(field: DistanceField, look: HeadWear, side: float, high: float, hair: float) -> tuple[list[Garment], Cover]:
    """Make the cushion and the cup over an ear, `high` world units from its middle to its top."""
    inner = np.array([0.0, -0.035, -0.085])
    across = Frame(inner, np.array([[0.0, 0.0, -side], [side, 0.0, 0.0], [0.0, 1.0, 0.0]]))  # the pole lies at the ear
    away = max(0.2, float(reach(field, across, np.array(0.0), np.array(0.5 * np.pi)))) + hair
    ear = inner + np.array([away * side, 0.0, 0.0])
    turn = np.linspace(0.0, 2.0 * np.pi, 40, endpoint=False)
    ring = ear + np.column_stack([0.0 * turn - 0.2 * CENTIMETRE * side, high * np.sin(turn), 0.84 * high * np.cos(turn)])
    cushion = tube("cushion", "hat", "cloth", ring, 0.85 * CENTIMETRE, plain((0.06, 0.06, 0.065)), closed=True)
    shell = ball("cup", "hat", "frame", np.zeros(3), 1.0, plain(look.fabric.colour), 20)
    bent = np.sign(shell.points) * np.abs(shell.points) ** 0.75 * np.array([1.9 * CENTIMETRE, 1.02 * high, 0.87 * high])
    bent[:, 0] += 0.6 * CENTIMETRE * side
    cup = dataclasses.replace(shell, points=ear + bent)
    low = np.full(36, 0.5 * np.pi - float(np.arctan((high + CENTIMETRE) / away)))
    level = low[:, None] + (0.5 * np.pi - low)[:, None] * np.linspace(0.0, 1.0, 9)
    return [cushion, cup], Cover(across, low, np.full(36, 0.5 * np.pi), (away + 0.3 * CENTIMETRE) / np.sin(level), 0.6)


def helmet(field: DistanceField, look: HeadWear, hair: float) -> tuple[list[Garment], list[Cover]]:
    """Make a helmet: with vents for cyclists (0), round and over the ears (1), or for builders (2)."""
    around = np.linspace(0.0, 2.0 * np.pi, 180, endpoint=False)
    edge = look.edge - (16.0 * np.sin(around) ** 2 + 8.0) * (look.option == 1)
    crown = crown_of(field, look, hair, edge, spread=16.0, up=48)
    share = np.linspace(0.0, 1.0, 48)[None]
    thick = np.full(crown.radii.shape, 1.5 * CENTIMETRE)
    picture = np.ones((256, 512, 3)) * np.array(look.fabric.colour)
    if look.option == 0:
        slots = np.abs(np.cos(4.5 * crown.azimuth))[:, None] < 0.42
        slots = slots & (share > 0.22) & (share < 0.86)
        thick = thick + 0.5 * CENTIMETRE * np.sin(np.pi * share) - 0.9 * CENTIMETRE * slots
        v, u = np.meshgrid(np.linspace(1.0, 0.0, 256), np.linspace(0.0, 2.0 * np.pi, 512, endpoint=False), indexing="ij")
        dark = (np.abs(np.cos(4.5 * u)) < 0.40) & (v > 0.24) & (v < 0.86)
        picture[dark] = 0.03
        picture[v < 0.06] = look.trim
    elif look.option == 2:
        ridge = np.exp(-((np.abs(np.sin(crown.azimuth)) / 0.16) ** 2))[:, None] * np.clip(4.0 * share - 0.6, 0.0, 1.0)
        thick = thick + 0.5 * CENTIMETRE * ridge * np.clip(6.0 - 6.0 * share, 0.3, 1.0) + 0.9 * CENTIMETRE
    else:
        thick = thick + 0.8 * CENTIMETRE
        rows = np.arange(256) > 236
        picture[rows] = look.trim
        if look.seed % 3 == 0:
            picture[_along_crown(picture.shape[:2]) & ~rows[:, None]] = look.fabric.second
    made = [grid("helmet", "hat", "frame", hemmed(crown, thick), opaque(picture), closed=True)]
    if look.option == 2:
        made.append(visor(crown, HeadWear("cap", look.fabric, look.fabric.colour, brim=3.5), 60.0, 0.3, "frame"))
    made += _straps(crown.frame, crown.elevation[:, 0], crown.radii[:, 0], field)
    return made, [crown.cover()]


def _along_crown(shape: tuple[int, ...], half: float = 0.17) -> Array:
    """Tell which texels of a crown's picture, azimuth by elevation from the pole, lie in a stripe from front to back.

    Args:
        shape: rows and columns.
        half: half the stripe's width as a share of the crown's.
    """
    down, turn = np.meshgrid(np.linspace(0.0, 1.0, shape[0]), np.linspace(0.0, 2.0 * np.pi, shape[1]), indexing="ij")
    return np.asarray(np.abs(np.sin(turn)) * np.sin(0.5 * np.pi * down) < half)


def _straps(frame: Frame, low: Floats, radii: Floats, field: DistanceField) -> list[Garment]:
    """Lead a strap from either side of a helmet under the chin."""
    chin = outside(np.array([[0.0, -0.285, 0.06]]), field, 0.006)[0]
    found = []
    for side in (1.0, -1.0):
        index = round(72.0 * side / 2.0) % 180
        start = frame.place(np.array([np.radians(72.0 * side)]), low[index : index + 1], radii[index : index + 1])[0]
        share = np.linspace(0.0, 1.0, 24)[:, None]
        bend = np.array([0.03 * side, 0.0, 0.0]) * np.sin(np.pi * share)
        path = outside(start * (1.0 - share) + chin * share + bend, field, 0.005)
        out = field.normals(path).astype(np.float64)
        found.append(tube("strap", "hat", "cloth", path, 0.8 * CENTIMETRE, plain((0.05, 0.05, 0.055)), flat=0.18, up=out))
    return found


def _band(
    field: DistanceField, frame: Frame, azimuth: Floats, middle: Floats, half: Floats | float, hair: float,
    thick: Floats | float, closed: bool = True,
) -> tuple[Floats, Floats, Floats]:  # fmt: skip
    """Lay a band on a head.

    Args:
        field: the bare head.
        frame: gives angles.
        azimuth: (A,) along the band.
        middle: (A,) elevation of its middle.
        half: half its width, radians, (A,) or one for all.
        hair: world units of hair beneath it.
        thick: centimetres.
        closed: whether it is a ring.

    Returns:
        (A, E, 3) points of the band with its edges turned in, (A, E) radii of its inside, and (A, E) elevations.
    """
    share = np.linspace(-1.0, 1.0, RIM)
    level = middle[:, None] + np.broadcast_to(np.asarray(half, dtype=np.float64), azimuth.shape)[:, None] * share
    far = reach(field, frame, np.broadcast_to(azimuth[:, None], level.shape), level)
    radii = taut(far + hair + 0.1 * CENTIMETRE, (5.0, 2.0), closed=closed)
    out = np.broadcast_to(np.asarray(thick, dtype=np.float64), azimuth.shape)[:, None] * CENTIMETRE
    profile = np.clip(1.0 - np.abs(share) ** 4, 0.0, 1.0) ** 0.5
    points = frame.place(azimuth[:, None], level, radii + out * profile)
    inner = frame.place(azimuth[:, None], level[:, ::-1], radii[:, ::-1] - 0.002)
    return np.concatenate([points, inner[:, :: RIM - 1]], axis=1), radii, level
