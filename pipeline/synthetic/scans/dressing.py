"""Grows hair on scans that their sidecars call bald, and puts head-wear on them: the looks of drawn people, on a real head.

Angles on a scan are those of the mean head, for the four landmarks lay the one on the other; a scan's own ears, brows and beard
stay as they were scanned.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ....datasets.arrays import Array, Floats
from ....manifests.identity import rng
from ..hair.collision import HIGH, LOW, SPACING
from ..hair.colours import NATURAL_HAIR
from ..hair.head_hair import build_hair
from ..hair.look import Growth, HairLook
from ..hair.scalp import Surface
from ..hair.shaping import smoothed
from ..hair.styles import draw_hair
from ..people.figure import worn_part
from ..wear.dress import dress
from ..wear.look import Wear
from ..wear.wardrobe import WearShares, draw_wear, under
from .mesh_head import MeshHead

VERSION = 1
"""Raise it when the same seed would grow other hair on a scan."""
DYED = 0.1
"""Share of dyed hair."""
SHORT = ("stubble", "buzz", "fade", "receding", "wreath")
"""Styles that show the scalp, which on people is painted beneath them and on scans is not: others are drawn instead."""
FINEST = 12
"""Most parts into which an edge of a coarse scan is divided for distances."""


def dressed(head: MeshHead, seed: int, key: str) -> MeshHead:
    """Return a scan with hair, and with head-wear where the draw says so.

    Args:
        head: a bald scan.
        seed: of the source.
        key: what the draw goes by: the sha256 of its file.
    """
    random = rng(seed, key, "growth")
    look = _draw(random)
    worn = Wear(draw_wear(WearShares(), float(random.random() < 0.5), random).head)
    look, surface = under(look, worn.head), surface_of(head)
    outfit = dress(worn, surface, Growth(look))
    strands = tuple(smoothed(some) for some in outfit.press(build_hair(look, surface)))
    parts = (*head.parts, *(worn_part(garment) for garment in outfit.garments))
    return dataclasses.replace(head, parts=parts, strands=strands)


def _draw(random: np.random.Generator) -> HairLook:
    """Draw hair of a natural colour, or dyed, for somebody of whom nothing is known."""
    names = list(NATURAL_HAIR)
    shares = np.array([NATURAL_HAIR[name][1] for name in names])
    colour = NATURAL_HAIR[names[int(random.choice(len(names), p=shares / shares.sum()))]][0]
    male, age, african = float(random.random() < 0.5), float(random.beta(1.1, 2.2)), float(random.random())
    while True:
        look = draw_hair(male, age, african, colour, DYED, random)
        if look.style not in SHORT:
            return dataclasses.replace(look, receding=0.0, crown=0.0)


def surface_of(head: MeshHead) -> Surface:
    """Return a scan as a surface that hair grows on, its own points taken for those of the mean head."""
    starts = np.cumsum([0, *(len(part.points) for part in head.parts)])
    points, normals = (np.vstack([getattr(part, name) for part in head.parts]) for name in ("points", "normals"))
    faces = np.vstack([part.faces + start for part, start in zip(head.parts, starts, strict=False)]).astype(np.int32)
    return Surface(points, normals, faces, points, between(points, normals, faces))


def between(points: Floats, normals: Floats, faces: Array) -> tuple[Floats, Floats]:
    """Return points and normals within faces that are larger than the spacing of which a field of distances is made.

    Args:
        points: (V, 3) in the head frame.
        normals: (V, 3).
        faces: (F, 3).
    """
    corner = points[faces]
    near = ((corner > np.array(LOW)) & (corner < np.array(HIGH))).any(axis=(1, 2))
    longest = np.max([np.linalg.norm(corner[:, k] - corner[:, k - 1], axis=1) for k in range(3)], axis=0)
    parts = np.clip(np.ceil(longest / SPACING), 1, FINEST).astype(int) * near
    found: tuple[list[Floats], list[Floats]] = ([np.zeros((0, 3))], [np.zeros((0, 3))])
    for count in range(2, FINEST + 1):
        i, j = np.nonzero(np.add.outer(np.arange(count + 1), np.arange(count + 1)) <= count)
        shares = np.stack([i, j, count - i - j], axis=1) / count
        chosen = faces[parts == count]
        for values, out in zip((points, normals), found, strict=True):
            out.append(np.einsum("sk,fkc->fsc", shares, values[chosen]).reshape(-1, 3))
    bent = np.vstack(found[1])
    return np.vstack(found[0]), np.asarray(bent / np.maximum(np.linalg.norm(bent, axis=1, keepdims=True), 1e-12))
