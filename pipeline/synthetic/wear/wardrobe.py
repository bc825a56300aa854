"""Who wears what: kinds of head-wear and jewellery with their shares, and looks drawn from them.

Shares are choices of this toolkit, not statistics of a population: rare things get a fair share.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ....manifests.config import ConfigError
from ..hair.look import Colour, HairLook
from .look import Fabric, HeadWear, Wear

Range = tuple[float, float]
COLOURS: tuple[Colour, ...] = (
    (0.05, 0.05, 0.06), (0.10, 0.12, 0.20), (0.30, 0.31, 0.33), (0.55, 0.56, 0.58), (0.86, 0.85, 0.82), (0.45, 0.10, 0.12),
    (0.62, 0.16, 0.14), (0.16, 0.24, 0.42), (0.12, 0.30, 0.22), (0.36, 0.38, 0.22), (0.52, 0.40, 0.28), (0.74, 0.62, 0.46),
    (0.80, 0.62, 0.18), (0.75, 0.40, 0.52), (0.42, 0.30, 0.52), (0.20, 0.48, 0.55), (0.85, 0.45, 0.18), (0.30, 0.18, 0.12),
)  # fmt: skip
"""Colours of fabrics."""


@dataclass(frozen=True)
class WearShares:
    """Shares of people who wear something, where `people.wear=drawn`."""

    cap: float = 0.045
    """With a cap."""
    beanie: float = 0.035
    """With a knitted cap."""
    brim: float = 0.025
    """With a hat that has a brim."""

    def __post_init__(self) -> None:
        values = dataclasses.asdict(self)
        if any(not 0.0 <= value <= 1.0 for value in values.values()) or sum(values[kind] for kind in KINDS) > 1.0:
            raise ConfigError("people.shares: expected shares from 0 to 1, those of all head-wear together at most 1")


@dataclass(frozen=True)
class Kind:
    """A kind of head-wear: its patterns with weights, the number of its variants, and ranges of numbers."""

    patterns: Mapping[str, float]
    options: int
    drawn: Mapping[str, Range]


KINDS: Mapping[str, Kind] = {
    "cap": Kind({"twill": 3.0, "plain": 1.0, "check": 0.3, "blots": 0.4}, 2, {
        "edge": (-4.0, 3.0), "lean": (17.0, 24.0), "slack": (0.4, 1.3), "brim": (6.0, 7.5)}),
    "beanie": Kind({"knit": 3.0, "plain": 0.4, "stripes": 0.5}, 4, {
        "edge": (-16.0, 2.0), "lean": (24.0, 36.0), "slack": (0.2, 3.0), "brim": (3.5, 6.0)}),
    "brim": Kind({"plain": 2.0, "twill": 1.0, "check": 0.4, "stripes": 0.2}, 4, {
        "edge": (-2.0, 3.0), "lean": (14.0, 24.0), "slack": (0.6, 2.0), "brim": (4.5, 10.0)}),
}  # fmt: skip


def draw_wear(shares: WearShares, random: np.random.Generator) -> Wear:
    """Draw what a person wears."""
    chance, head = float(random.random()), None
    for kind in KINDS:
        share = float(getattr(shares, kind))
        if 0.0 <= chance < share:
            head = draw_head_wear(kind, random)
            break
        chance -= share
    return Wear(head)


def draw_head_wear(kind: str, random: np.random.Generator) -> HeadWear:
    """Draw a piece of head-wear of a kind."""
    what = KINDS[kind]
    names = list(what.patterns)
    weights = np.array([what.patterns[name] for name in names])
    pattern = names[int(random.choice(len(names), p=weights / weights.sum()))]
    colours = [_colour(random) for _ in range(3)]
    fabric = Fabric(pattern, colours[0], colours[1], float(random.uniform(0.8, 1.4)), int(random.integers(1 << 31)))
    numbers: dict[str, Any] = {name: float(random.uniform(*bounds)) for name, bounds in what.drawn.items()}
    look = HeadWear(kind, fabric, colours[2] if random.random() < 0.5 else colours[0], **numbers)
    look = replace(look, option=int(random.integers(what.options)), seed=int(random.integers(1 << 31)))
    if kind == "cap":  # every sixth is worn backwards, some aside
        turn = float(random.choice([0.0, 0.0, 0.0, 0.0, 180.0, 25.0])) + float(random.normal(0.0, 4.0))
        look = replace(look, turn=turn, lean=look.lean if abs(turn) < 90.0 else 0.5 * look.lean)
    return look


def _colour(random: np.random.Generator) -> Colour:
    base = np.array(COLOURS[int(random.integers(len(COLOURS)))])
    red, green, blue = np.clip(
        base * np.exp(random.normal(0.0, 0.12)) * np.exp(random.normal(0.0, 0.05, 3)), 0.02, 0.92
    ).tolist()
    return red, green, blue


def under(look: HairLook, head: HeadWear | None) -> HairLook:
    """Return the hair as it is worn under something: what is tied high comes down, what stands lies."""
    if head is None:
        return look
    if look.tie in ("bun", "top-knot", "space buns", "half-up", "ponytail", "braid"):
        tie = "braid" if look.tie == "braid" else "ponytail" if look.tie in ("ponytail", "half-up") else "bun"
        return replace(look, tie=tie, tie_height=-30.0, thickness=min(look.thickness, 0.9))
    if look.comb == "up" and look.style != "afro":
        return replace(look, comb="forward", lift=0.2)
    return look
