"""Caps, beanies and hats with brims: a crown that lies on the head, and what is sewn to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....datasets.arrays import Floats
from ..hair.collision import DistanceField
from ..hair.scalp import CENTIMETRE
from .fabric import opaque, paint, plain
from .garment import Garment, ball, grid
from .look import Fabric, HeadWear
from .pressing import Cover
from .shell import Frame, leaning, reach, taut

ACROSS, UP = 180, 36
"""Columns and rows of a crown."""


@dataclass(frozen=True, eq=False)
class Crown:
    """A dome on a head, between its edge and its pole."""

    frame: Frame
    azimuth: Floats
    """(A,)."""
    elevation: Floats
    """(A, E)."""
    radii: Floats
    """(A, E) of the inside, hair beneath it counted."""

    def points(self, out: Floats | float) -> Floats:
        """Return (A, E, 3) points that lie `out` world units outside."""
        return self.frame.place(self.azimuth[:, None], self.elevation, self.radii + out)

    def cover(self) -> Cover:
        """Return what presses hair."""
        return Cover(self.frame, self.elevation[:, 0], self.elevation[:, -1], self.radii)


def crown_of(
    field: DistanceField, look: HeadWear, hair: float, edge: Floats | None = None, spread: float = 9.0, up: int = UP
) -> Crown:
    """Lay a dome on a head.

    Args:
        field: the bare head.
        look: how it lies.
        hair: world units of hair beneath it.
        edge: (A,) degrees of its lower edge; the look's where None.
        spread: cells over which it lies taut.
        up: rows.
    """
    frame = leaning(np.radians(look.lean), np.radians(look.turn))
    azimuth = np.linspace(0.0, 2.0 * np.pi, ACROSS, endpoint=False)
    low = np.radians(np.full(ACROSS, look.edge) if edge is None else edge)
    share = np.linspace(0.0, 1.0, up)
    elevation = low[:, None] + (0.5 * np.pi - low)[:, None] * share
    far = reach(field, frame, np.broadcast_to(azimuth[:, None], elevation.shape), elevation)
    under = hair * np.clip(share * 6.0, 0.25, 1.0)
    return Crown(frame, azimuth, elevation, taut(far + under + 0.15 * CENTIMETRE, (spread, 0.35 * spread)))


def hemmed(crown: Crown, out: Floats | float) -> Floats:
    """Return (A, E + 2, 3) points of a crown's outside with its edge turned in."""
    outside = crown.points(out)
    thick = np.broadcast_to(np.asarray(out, dtype=np.float64), crown.radii.shape)[:, :1]
    low = crown.elevation[:, :1]
    inner = crown.frame.place(crown.azimuth[:, None], low + 0.01, crown.radii[:, :1] - 0.006)
    round_ = crown.frame.place(crown.azimuth[:, None], low - 0.006, crown.radii[:, :1] + 0.5 * thick - 0.002)
    return np.concatenate([inner, round_, outside], axis=1)


def ribs(azimuth: Floats, count: int, sharp: float = 0.6) -> Floats:
    """Return (A,) ribs from 0 to 1 around a crown."""
    return np.asarray(np.abs(np.cos(0.5 * count * azimuth)) ** sharp)


def beanie(field: DistanceField, look: HeadWear, hair: float) -> tuple[list[Garment], list[Cover]]:
    """Make a knitted cap: with or without a cuff (option 1), and with a pompom (option 2 or 3)."""
    random = np.random.Generator(np.random.Philox(look.seed))
    crown = crown_of(field, look, hair)
    share = np.linspace(0.0, 1.0, UP)[None]
    wobble = 0.10 * np.sin(3.0 * crown.azimuth + random.uniform(0, 6.0)) + 0.07 * np.sin(7.0 * crown.azimuth + 1.0)
    slack = look.slack * (share**2.2) * (1.0 + 0.6 * wobble[:, None])
    back = np.cos(crown.azimuth[:, None]) * -0.35 * look.slack * np.sin(np.pi * share) ** 2
    thick = (0.35 + slack + np.maximum(back, -0.1)) * CENTIMETRE
    thick = thick + 0.10 * CENTIMETRE * ribs(crown.azimuth, 60)[:, None] * np.clip(1.0 - share, 0.0, 1.0)
    picture = paint(look.fabric, 57.0, 22.0)
    found = [grid("beanie", "hat", "cloth", hemmed(crown, thick), picture, closed=True)]
    if look.option % 2:
        found.append(_cuff(crown, thick, look))
    if look.option >= 2:
        top = crown.frame.place(np.zeros(1), np.full(1, 0.5 * np.pi), crown.radii[:1, -1] + thick[:1, -1] + 1.6 * CENTIMETRE)[0]
        found.append(_pompom(top, 2.2 * CENTIMETRE, look, random))
    return found, [crown.cover()]


def _cuff(crown: Crown, thick: Floats, look: HeadWear) -> Garment:
    """Fold the lower edge up."""
    rows = 9
    share = np.linspace(0.0, 1.0, rows)[None]
    height = np.radians(0.9 * look.brim * 4.2)
    low = crown.elevation[:, :1]
    level = low + height * share
    own = np.stack([np.interp(level[a], crown.elevation[a], crown.radii[a] + thick[a]) for a in range(ACROSS)])
    bulge = CENTIMETRE * (
        0.22 * np.sin(np.pi * np.clip(share * 0.9 + 0.1, 0, 1)) ** 0.5 + 0.10 * ribs(crown.azimuth, 60)[:, None]
    )
    outside = crown.frame.place(crown.azimuth[:, None], level, own + bulge)
    first = crown.frame.place(crown.azimuth[:, None], level[:, :1] - 0.008, own[:, :1] - 0.004)
    last = crown.frame.place(crown.azimuth[:, None], level[:, -1:], own[:, -1:] - 0.004)
    points = np.concatenate([first, outside, last], axis=1)
    fabric = Fabric("knit", look.trim, look.trim, look.fabric.scale, look.fabric.seed + 1)
    return grid("cuff", "hat", "cloth", points, paint(fabric, 57.0, 5.0, (64, 512)), closed=True)


def _pompom(middle: Floats, size: float, look: HeadWear, random: np.random.Generator) -> Garment:
    """Put a ball of wool on top."""
    fabric = Fabric("plain", look.trim, look.trim, 1.0, look.seed)
    rows = 26
    wool = ball("pompom", "hat", "cloth", middle, size, paint(fabric, 12.0, 6.0, (64, 64)), rows)
    away = wool.points - middle
    rough = 1.0 + 0.08 * random.standard_normal((len(away) // rows, rows, 1))
    rough[:, [0, -1]] = 1.0  # each pole is one point, which all columns share
    rough = rough.reshape(-1, 1)
    return Garment(wool.name, wool.label, wool.finish, middle + away * rough, wool.faces, wool.uvs, wool.face_uvs, wool.texture)


def cap(field: DistanceField, look: HeadWear, hair: float) -> tuple[list[Garment], list[Cover]]:
    """Make a cap of six panels with a visor, worn forwards, aside or backwards; option 1 has another front panel."""
    crown = crown_of(field, look, hair, spread=11.0)
    share = np.linspace(0.0, 1.0, UP)[None]
    front = np.clip(np.cos(crown.azimuth), 0.0, 1.0)[:, None] ** 1.5
    tall = (0.25 + look.slack * np.sin(np.pi * np.clip(share, 0, 1) ** 0.8) * (0.35 + 0.9 * front)) * CENTIMETRE
    seam = np.exp(-((np.angle(np.exp(6j * crown.azimuth)) / 6.0 / 0.018) ** 2))[:, None] * np.clip(3.0 - 3.0 * share, 0, 1)
    shell = crown.points(tall - 0.06 * CENTIMETRE * seam)
    picture = paint(look.fabric, 58.0, 19.0).astype(np.float64) / 255.0
    if look.option % 2:
        panel = np.zeros(picture.shape[1], dtype=bool)
        panel[: picture.shape[1] // 6] = panel[-picture.shape[1] // 6 :] = True
        picture[:, panel, :3] = picture[:, panel, :3] * 0.15 + 0.85 * np.array(look.fabric.second)
    columns = np.arange(picture.shape[1]) / picture.shape[1] * 6.0
    stitched = np.exp(-((((columns + 0.5) % 1.0 - 0.5) / 0.012) ** 2))
    picture[..., :3] *= 1.0 - 0.28 * stitched[None, :, None]
    edge = hemmed(crown, tall)[:, :2]
    found = [grid("cap", "hat", "cloth", np.concatenate([edge, shell], axis=1), opaque(picture[..., :3]), closed=True)]
    found.append(visor(crown, look, 52.0, 0.35))
    top = crown.frame.place(np.zeros(1), np.full(1, 0.5 * np.pi), crown.radii[:1, -1] + tall[:1, -1])[0]
    found.append(ball("button", "hat", "cloth", top, np.array([0.6, 0.3, 0.6]) * CENTIMETRE, plain(look.trim), 8))
    return found, [crown.cover()]


def visor(crown: Crown, look: HeadWear, half: float, drop: float, finish: str = "cloth") -> Garment:
    """Make a visor: a bent sheet with a thickness before the crown's front.

    Args:
        crown: what it is sewn to.
        look: length and colour.
        half: half of the azimuth that it spans, degrees.
        drop: how far its sides bend down, a share of its length.
        finish: cloth, or frame where it is hard.
    """
    num, rows = 41, 9
    azimuth = np.radians(np.linspace(-half, half, num))
    index = np.mod(np.round(azimuth / (2.0 * np.pi) * ACROSS).astype(int), ACROSS)
    low = crown.elevation[index, 0] + 0.01
    sewn = crown.frame.place(azimuth, low, crown.radii[index, 0] + 0.20 * CENTIMETRE)
    side = azimuth / azimuth[-1]
    left, pole, front = crown.frame.axes
    long = look.brim * CENTIMETRE * np.sqrt(np.clip(1.0 - np.abs(side) ** 2.6, 0.0, 1.0))
    out = np.sin(azimuth)[:, None] * left * 0.25 + front
    out = out / np.linalg.norm(out, axis=1, keepdims=True)
    share = np.linspace(0.0, 1.0, rows)
    away = long[:, None] * share
    fall = away * (0.16 + drop * side[:, None] ** 2) + 0.6 * CENTIMETRE * share * side[:, None] ** 2
    sheet = sewn[:, None] + away[..., None] * out[:, None] - fall[..., None] * pole
    under = sheet - 0.22 * CENTIMETRE * pole
    rim = 0.5 * (sheet[:, -1:] + under[:, -1:]) + 0.12 * CENTIMETRE * out[:, None]
    points = np.concatenate([under, rim, sheet[:, ::-1]], axis=1)
    fabric = Fabric("twill", look.trim, look.trim, 1.0, look.seed)
    return grid("visor", "hat", finish, points, paint(fabric, 20.0, 16.0, (128, 256)))


def brimmed(field: DistanceField, look: HeadWear, hair: float) -> tuple[list[Garment], list[Cover]]:
    """Make a hat with a brim all around.

    Its options: 0 soft and round, 1 with a creased crown, 2 a bucket, 3 wide and flat, 4 turned up all around, 5 turned up in
    front or at one side, with a tall crown.
    """
    crown = crown_of(field, look, hair, spread=14.0)
    share = np.linspace(0.0, 1.0, UP)[None]
    straight = {1: 1.6, 5: 2.4}.get(look.option, 0.9) + look.slack
    tall = (0.3 + straight * np.clip(share * 2.2, 0.0, 1.0) * (1.0 - 0.5 * np.clip(share - 0.6, 0, 1))) * CENTIMETRE
    tall = np.broadcast_to(tall, crown.radii.shape).copy()
    outside = crown.points(tall)
    left, pole, _ = crown.frame.axes
    high = (outside - crown.frame.origin) @ pole
    flat = high[:, -1:].mean() - (0.4 if look.option == 1 else 1.2) * CENTIMETRE
    if look.option in (1, 2, 5):  # a flat top, and a crease from front to back
        across = np.abs((outside - crown.frame.origin) @ left) / CENTIMETRE
        dent = 1.3 * CENTIMETRE * np.exp(-((across / 2.5) ** 2)) * (look.option == 1)
        wanted = np.minimum(high, flat - dent * np.clip((high - flat) / (0.5 * CENTIMETRE) + 1.0, 0.0, 1.0))
        outside = outside + (wanted - high)[..., None] * pole
    edge = hemmed(crown, tall)[:, :1]
    picture = paint(look.fabric, 58.0, 19.0)
    found = [grid("hat", "hat", "cloth", np.concatenate([edge, outside], axis=1), picture, closed=True)]
    found.append(_brim(crown, look))
    if look.option != 2:
        band = _band_around(crown, tall, 3.0 if look.option == 1 else 2.2)
        found.append(grid("hat band", "hat", "cloth", band, plain(look.trim), closed=True))
    return found, [crown.cover()]


def _band_around(crown: Crown, tall: Floats, wide: float) -> Floats:
    """Return (A, 6, 3) points of a band just above a crown's edge, `wide` centimetres high."""
    low = crown.elevation[:, :1]
    level = low + np.radians(4.2 * wide) * np.linspace(0.02, 1.0, 6)[None]
    own = np.stack([np.interp(level[a], crown.elevation[a], crown.radii[a] + tall[a]) for a in range(ACROSS)])
    own[:, 1:-1] += 0.10 * CENTIMETRE
    return crown.frame.place(crown.azimuth[:, None], level, own)


def _brim(crown: Crown, look: HeadWear) -> Garment:
    """Make a ring around the crown's edge, bent up at the sides or hanging, with a thickness."""
    random = np.random.Generator(np.random.Philox(look.seed))
    rows = 10
    sewn = crown.frame.place(crown.azimuth, crown.elevation[:, 0], crown.radii[:, 0] + 0.15 * CENTIMETRE)
    left, pole, front = crown.frame.axes
    out = np.sin(crown.azimuth)[:, None] * left + np.cos(crown.azimuth)[:, None] * front
    wave = 0.10 * np.sin(2.0 * crown.azimuth + random.uniform(0, 6.0)) + 0.06 * np.sin(
        3.0 * crown.azimuth + random.uniform(0, 6)
    )
    rise = {0: -0.25, 1: 0.05, 2: -0.75, 3: -0.18, 4: 0.9, 5: 0.1}[look.option] + wave
    if look.option == 5:
        rise = rise + np.cos(crown.azimuth - random.choice((0.0, 0.9, -0.9, np.pi / 2, -np.pi / 2))).clip(-0.3) * 1.1
    sides = np.sin(crown.azimuth) ** 2 * (0.35 if look.option == 1 else 0.05)
    share = np.linspace(0.0, 1.0, rows)
    away = look.brim * CENTIMETRE * share[None]
    up = away * (rise[:, None] + sides[:, None] * share**1.5 - 0.15 * share**2)
    sheet = sewn[:, None] + away[..., None] * out[:, None] + up[..., None] * pole
    under = sheet - 0.16 * CENTIMETRE * pole
    points = np.concatenate([under, sheet[:, ::-1]], axis=1)
    return grid("brim", "hat", "cloth", points, paint(look.fabric, 90.0, 2.0 * look.brim, (128, 512)), closed=True)
