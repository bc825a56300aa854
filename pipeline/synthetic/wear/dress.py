"""Dresses a head: makes what a person wears, and presses the hair beneath it. What is worn is drawn by `wardrobe`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..hair.collision import DistanceField
from ..hair.look import Growth, HairLook
from ..hair.scalp import CENTIMETRE, Surface
from ..hair.strands import Strands
from .bands import hairband, headband, headphones, helmet
from .coverings import collar, mask, scarf
from .garment import Garment
from .hats import beanie, brimmed, cap
from .jewellery import earrings, necklace
from .look import HeadWear, Wear
from .pressing import Cover, press
from .wraps import headscarf, hijab, hood, turban

Maker = Callable[[DistanceField, HeadWear, float], tuple[list[Garment], list[Cover]]]
MAKERS: Mapping[str, Maker] = {
    "cap": cap, "beanie": beanie, "brim": brimmed, "turban": turban, "headscarf": headscarf, "hijab": hijab, "hood": hood,
    "headband": headband, "hairband": hairband, "helmet": helmet, "headphones": headphones,
}  # fmt: skip
"""Kind of head-wear -> what makes it."""


@dataclass(frozen=True, eq=False)
class Outfit:
    """What somebody wears."""

    garments: tuple[Garment, ...] = ()
    covers: tuple[Cover, ...] = ()
    """What lies on hair."""
    mask: Cover | None = None
    """What lies on a beard."""
    seed: int = 0

    def press(self, strands: Sequence[Strands]) -> tuple[Strands, ...]:
        """Press hair and beard under everything that lies on them."""
        found = list(strands)
        for number, cover in enumerate(self.covers):
            found = [press(some, cover, self.seed + number) for some in found]
        if self.mask is not None:
            found = [press(some, self.mask, self.seed + 9) if some.kind == "beard" else some for some in found]
        return tuple(some for some in found if len(some.points))


def dress(wear: Wear, surface: Surface, growth: Growth | None) -> Outfit:
    """Make what a person wears.

    Args:
        wear: what that is.
        surface: the head with clothes.
        growth: the hair, which takes room beneath head-wear; None for cards or none.
    """
    made: list[Garment] = []
    covers: list[Cover] = []
    over = None
    if wear.head is not None:
        some, covers = MAKERS[wear.head.kind](surface.field, wear.head, room(growth.hair if growth is not None else None))
        made += some
    if wear.mask is not None:
        some, over = mask(wear.mask, surface)
        made += some
    if wear.ears is not None:
        made += earrings(wear.ears, surface)
    if wear.neck is not None:
        made += {"scarf": scarf, "collar": collar}.get(wear.neck.kind, necklace)(wear.neck, surface)
    return Outfit(tuple(made), tuple(covers), over, wear.head.seed if wear.head is not None else 0)


def around(surface: Surface, outfit: Outfit) -> Surface:
    """Return a head whose hair stays outside of what is worn around the neck too."""
    worn = [garment for garment in outfit.garments if garment.name in ("scarf", "collar")]
    if not worn:
        return surface
    points, normals = surface.around
    corners = [garment.points[garment.faces] for garment in worn]
    crossed = [np.cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0]) for c in corners]
    unit = [n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-12) for n in crossed]
    middles = [c.mean(axis=1) for c in corners]
    return dataclasses.replace(surface, around=(np.vstack([points, *middles]), np.vstack([normals, *unit])))


def room(look: HairLook | None) -> float:
    """Return the world units that pressed hair lifts what lies on it."""
    if look is None:
        return 0.0
    thick = {"locs": 1.1, "box braids": 1.0, "twists": 0.8, "cornrows": 0.6}.get(look.tie, 0.0)
    long = min(max(look.top, 0.0), 10.0)
    return CENTIMETRE * max(thick, 0.06 * long + 0.25 * min(look.volume, 1.6) * (long > 3.0))
