"""Cloth that is wound or laid over a head: turbans, scarves tied behind, hijabs and hoods that lie on the shoulders too."""

from __future__ import annotations

import cv2
import numpy as np

from ....datasets.arrays import Floats
from ..hair.collision import DistanceField
from ..hair.scalp import CENTIMETRE
from .fabric import opaque, paint
from .garment import Garment, ball, grid, tube
from .hats import ACROSS, crown_of, hemmed
from .look import HeadWear
from .pressing import Cover
from .shell import leaning, reach, taut

NECK = (0.0, -0.28, -0.095)
"""A point in the mean neck, in the head frame."""
CREASE = 0.5
"""How light cloth is in the depth between two folds, where no light comes in: too narrow for maps of the sky."""
LOWEST = -0.42
"""Height below which a hood's own cloth ends; what lies on the shoulders covers that."""
OPENING = ((0.0, -57.0), (35.0, -50.0), (70.0, -33.0), (100.0, -27.0), (140.0, -22.0), (180.0, -17.0))
"""Angle from the top around the face, and elevation towards the back at which a hood's opening lies, degrees."""


def turban(field: DistanceField, look: HeadWear, hair: float) -> tuple[list[Garment], list[Cover]]:
    """Wind a turban: layers that meet in front (0), that run around aslant (1), or flat with a knot in front (2)."""
    random = np.random.Generator(np.random.Philox(look.seed))
    up = 84
    crown = crown_of(field, look, hair, spread=16.0, up=up)
    share = np.linspace(0.0, 1.0, up)[None]
    around = np.angle(np.exp(1j * crown.azimuth))[:, None]
    level = np.degrees(crown.elevation) - look.edge
    wobble = 1.5 * np.sin(2.0 * around + random.uniform(0, 6)) + 1.0 * np.sin(5.0 * around + random.uniform(0, 6))
    if look.option == 1:
        phase = (level + wobble) / 11.0 + around / (2.0 * np.pi)
    else:
        slope = np.where(around > 0, 24.0, 29.0)
        phase = (level + wobble + slope * np.abs(around) / np.pi) / (12.0 if look.option == 0 else 15.0)
    phase = phase + 0.16 * np.sin(2.3 * phase + random.uniform(0, 6))  # no two layers are as wide
    layer = phase - np.floor(phase)
    fold = np.where(layer < 0.86, layer / 0.86, (1.0 - layer) / 0.14) ** 0.8
    fine = 0.5 + 0.5 * np.sin(2.0 * np.pi * 3.0 * phase + 2.0 * np.sin(3.0 * around))
    body = look.slack * np.sin(np.pi * np.clip(share * 1.05, 0, 1)) ** 0.7 * (0.85 + 0.2 * np.sin(around) ** 2)
    fade = np.clip((1.0 - share) * 5.0, 0.0, 1.0)
    tall = (0.5 + body + (0.50 * fold + 0.10 * fine) * fade) * CENTIMETRE
    picture = paint(look.fabric, 60.0, 24.0).astype(np.float64)[..., :3] / 255.0
    picture *= _creased(fold * fade + 1.0 - fade, picture.shape[:2])[..., None]
    made = [grid("turban", "hat", "cloth", hemmed(crown, tall), opaque(picture), closed=True)]
    if look.option == 2:
        at = crown.frame.place(np.zeros(1), crown.elevation[:1, 14], crown.radii[:1, 14] + tall[:1, 14])[0]
        made.append(_knot(at, crown.frame.axes, look, 1.9))
    return made, [crown.cover()]


def _creased(fold: Floats, shape: tuple[int, int]) -> Floats:
    """Return the (H, W) shade of a grid's picture where its cloth lies deep between folds, from (A, E) heights from 0 to 1."""
    high = np.concatenate([fold[:, :1], fold[:, :1], fold], axis=1)[:, ::-1].T  # pictures begin at the upper edge
    wide = cv2.resize(high.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(CREASE + (1.0 - CREASE) * np.clip(wide, 0.0, 1.0) ** 0.6, dtype=np.float64)


def _knot(at: Floats, axes: Floats, look: HeadWear, size: float) -> Garment:
    """Make a knot: a ball of cloth with folds."""
    knot = ball("knot", "hat", "cloth", np.zeros(3), 1.0, paint(look.fabric, 10.0, 6.0, (64, 128)), 24)
    unit = knot.points
    folds = 1.0 + 0.10 * np.sin(9.0 * np.arctan2(unit[:, 1], unit[:, 0]) + 3.0 * unit[:, 2])
    bent = unit * folds[:, None] * np.array([1.25, 0.9, 0.85]) * size * CENTIMETRE
    return Garment(knot.name, knot.label, knot.finish, at + bent @ axes, knot.faces, knot.uvs, knot.face_uvs, knot.texture)


def headscarf(field: DistanceField, look: HeadWear, hair: float) -> tuple[list[Garment], list[Cover]]:
    """Tie a thin scarf behind the head, with a knot and two ends."""
    random = np.random.Generator(np.random.Philox(look.seed))
    crown = crown_of(field, look, hair, spread=7.0)
    share = np.linspace(0.0, 1.0, crown.radii.shape[1])[None]
    around = np.angle(np.exp(1j * (crown.azimuth - np.pi)))[:, None]  # 0 behind
    pulled = np.exp(-((around / 1.3) ** 2)) * np.exp(-((share / 0.35) ** 2))
    folds = 0.5 + 0.5 * np.sin(26.0 * np.arctan2(share + 0.05, np.abs(around) + 0.05) + random.uniform(0, 6))
    tall = (0.16 + 0.22 * pulled * folds + 0.05 * np.sin(7.0 * crown.azimuth)[:, None] * (1 - share)) * CENTIMETRE
    picture = paint(look.fabric, 57.0, 22.0)
    made = [grid("headscarf", "hat", "cloth", hemmed(crown, tall), picture, closed=True)]
    back = ACROSS // 2
    at = crown.frame.place(np.full(1, np.pi), crown.elevation[back : back + 1, 3], crown.radii[back : back + 1, 3] + 0.02)[0]
    made.append(_knot(at, crown.frame.axes, look, 1.2))
    for side in (-1.0, 1.0):
        steps = np.linspace(0.0, 1.0, 12)[:, None]
        long = look.brim * CENTIMETRE * (1.2 + 0.3 * side)
        path = at + steps * long * np.array([0.35 * side, -0.9, -0.15]) + np.array([0.0, 0.0, -0.01]) * np.sin(np.pi * steps)
        width = 1.5 * CENTIMETRE * np.sqrt(np.clip(steps[:, 0] * 1.6, 0.05, 1.0))
        made.append(tube("end", "hat", "cloth", path, width, picture, flat=0.12, up=np.array([0.2 * side, 0.1, -1.0])))
    return made, [crown.cover()]


def hijab(field: DistanceField, look: HeadWear, hair: float) -> tuple[list[Garment], list[Cover]]:
    """Lay a scarf over head, ears and neck, open around the face; option 1 lies loosely and shows the hair in front."""
    return _hood(field, look, hair, *((0.5, 12.0 + 10.0 * look.slack) if look.option else (0.25, 0.0)))


def hood(field: DistanceField, look: HeadWear, hair: float) -> tuple[list[Garment], list[Cover]]:
    """Lay a hood over the head, open wider than a hijab and away from the face."""
    return _hood(field, look, hair, 0.9 + look.slack, 7.0)


def _hood(field: DistanceField, look: HeadWear, hair: float, loose: float, wider: float) -> tuple[list[Garment], list[Cover]]:
    """Make cloth around head and neck.

    Args:
        field: head and clothes.
        look: what it is.
        hair: world units of hair beneath it.
        loose: centimetres off the head.
        wider: degrees by which its opening is wider.
    """
    random = np.random.Generator(np.random.Philox(look.seed))
    frame = leaning(np.radians(90.0))  # azimuth 0 is the top, 180 the chin, the pole behind
    azimuth = np.linspace(0.0, 2.0 * np.pi, ACROSS, endpoint=False)
    knots = np.array(OPENING)
    low = np.radians(np.interp(np.degrees(np.abs(np.angle(np.exp(1j * azimuth)))), *knots.T) + wider - look.edge * 0.3)
    share = np.linspace(0.0, 1.0, 56)[None]
    elevation = low[:, None] + (0.5 * np.pi - low)[:, None] * share
    wide = np.broadcast_to(azimuth[:, None], elevation.shape)
    unit = frame.unit(wide, elevation)
    most = np.where(unit[..., 1] < -0.05, (LOWEST - frame.origin[1]) / np.minimum(unit[..., 1], -0.05), 0.5)
    far = np.minimum(reach(field, frame, wide, elevation, 0.6), np.clip(most, 0.05, 0.5))
    radii = np.minimum(taut(far + hair + 0.2 * CENTIMETRE, (8.0, 5.0)), np.clip(most, 0.05, 0.7))
    folds = np.sin(5.0 * azimuth + random.uniform(0, 6))[:, None] + np.sin(11.0 * azimuth + random.uniform(0, 6))[:, None]
    out = (loose * np.clip(share * 5.0 + 0.25, 0.0, 1.0) + 0.15 + 0.10 * folds * np.sin(np.pi * share)) * CENTIMETRE
    shell = frame.place(azimuth[:, None], elevation, radii + out)
    inner = frame.place(azimuth[:, None], low[:, None] + 0.05, radii[:, :1] - 0.004)
    lip = frame.place(azimuth[:, None], low[:, None] - 0.012, radii[:, :1] + 0.5 * out[:, :1])
    picture = paint(look.fabric, 60.0, 40.0)
    made = [grid(look.kind, "hat", "cloth", np.concatenate([inner, lip, shell], axis=1), picture, closed=True)]
    if look.kind == "hood":
        rim = frame.place(azimuth, low, radii[:, 0] + out[:, 0] * 0.8)
        made.append(tube("seam", "hat", "cloth", rim, 0.35 * CENTIMETRE, picture, closed=True))
    made.append(
        drape(
            field, look, "hat", 4.0 if look.kind == "hood" else 14.0 if not look.option else 8.0, 0.27 + 0.05 * random.random()
        )
    )
    return made, [Cover(frame, low, np.full(ACROSS, 0.5 * np.pi), radii, 0.35)]


def drape(field: DistanceField, look: HeadWear, label: str, top: float, far: float) -> Garment:
    """Lay cloth around neck and shoulders, in folds.

    Args:
        field: head and clothes.
        look: what it is.
        label: its class.
        top: elevation of its upper edge around the neck, degrees.
        far: world units from the neck's middle at which it ends.
    """
    random = np.random.Generator(np.random.Philox(look.seed + 1))
    frame = leaning(np.radians(-4.0), origin=NECK)
    azimuth = np.linspace(0.0, 2.0 * np.pi, ACROSS, endpoint=False)
    share = np.linspace(0.0, 1.0, 44)[None]
    level = np.radians(-66.0 + (top + 66.0) * share) + 0.0 * azimuth[:, None]
    wide = np.broadcast_to(azimuth[:, None], level.shape)
    reached = np.minimum(reach(field, frame, wide, level, 0.5), 0.5)
    ends = far + 0.02 * np.sin(3.0 * azimuth + random.uniform(0, 6)) + 0.03 * np.cos(azimuth)
    phase = 2.0 * np.pi * (share * 4.2 + 0.35 * np.sin(azimuth + random.uniform(0, 6))[:, None])
    folds = (0.5 + 0.5 * np.sin(phase)) * np.sin(np.pi * np.clip(share * 1.1, 0, 1))
    out = (0.35 + 0.75 * folds) * CENTIMETRE
    radii = np.minimum(taut(np.minimum(reached, ends[:, None]), (6.0, 2.0)) + out, ends[:, None] + 0.01)
    return grid(
        "drape", label, "cloth", frame.place(azimuth[:, None], level, radii), paint(look.fabric, 60.0, 20.0), closed=True
    )
