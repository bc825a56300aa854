"""Dresses a head: makes what a person wears, and presses the hair beneath it. What is worn is drawn by `wardrobe`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..hair.collision import DistanceField
from ..hair.look import Growth, HairLook
from ..hair.scalp import CENTIMETRE, Surface
from ..hair.strands import Strands
from .garment import Garment
from .hats import beanie, brimmed, cap
from .look import HeadWear, Wear
from .pressing import Cover, press

Maker = Callable[[DistanceField, HeadWear, float], tuple[list[Garment], Cover]]
MAKERS: Mapping[str, Maker] = {"cap": cap, "beanie": beanie, "brim": brimmed}
"""Kind of head-wear -> what makes it."""


@dataclass(frozen=True, eq=False)
class Outfit:
    """What somebody wears."""

    garments: tuple[Garment, ...] = ()
    covers: tuple[Cover, ...] = ()
    seed: int = 0

    def press(self, strands: Sequence[Strands]) -> tuple[Strands, ...]:
        """Press hair under everything that lies on it; beards stay as they are."""
        found = list(strands)
        for number, cover in enumerate(self.covers):
            found = [press(some, cover, self.seed + number) if some.kind == "hair" else some for some in found]
        return tuple(some for some in found if len(some.points))


def dress(wear: Wear, surface: Surface, growth: Growth | None) -> Outfit:
    """Make what a person wears.

    Args:
        wear: what that is.
        surface: the head with clothes.
        growth: the hair, which takes room beneath head-wear; None for cards or none.
    """
    if wear.head is None:
        return Outfit()
    made, cover = MAKERS[wear.head.kind](surface.field, wear.head, room(growth.hair if growth is not None else None))
    return Outfit(tuple(made), (cover,), wear.head.seed)


def room(look: HairLook | None) -> float:
    """Return the world units that pressed hair lifts what lies on it."""
    if look is None:
        return 0.0
    thick = {"locs": 1.1, "box braids": 1.0, "twists": 0.8, "cornrows": 0.6}.get(look.tie, 0.0)
    long = min(max(look.top, 0.0), 10.0)
    return CENTIMETRE * max(thick, 0.06 * long + 0.25 * min(look.volume, 1.6) * (long > 3.0))
