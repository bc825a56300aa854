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
from .look import CLIPS, EARRINGS, NECKLACES, Accessory, Fabric, HeadWear, Wear

Range = tuple[float, float]
COLOURS: tuple[Colour, ...] = (
    (0.05, 0.05, 0.06), (0.10, 0.12, 0.20), (0.30, 0.31, 0.33), (0.55, 0.56, 0.58), (0.86, 0.85, 0.82), (0.45, 0.10, 0.12),
    (0.62, 0.16, 0.14), (0.16, 0.24, 0.42), (0.12, 0.30, 0.22), (0.36, 0.38, 0.22), (0.52, 0.40, 0.28), (0.74, 0.62, 0.46),
    (0.80, 0.62, 0.18), (0.75, 0.40, 0.52), (0.42, 0.30, 0.52), (0.20, 0.48, 0.55), (0.85, 0.45, 0.18), (0.30, 0.18, 0.12),
)  # fmt: skip
"""Colours of fabrics as they are sold."""
WASHED = 0.75
"""How much of their colour they keep when worn."""


@dataclass(frozen=True)
class WearShares:
    """Shares of people who wear something, where `people.wear=drawn`."""

    cap: float = 0.045
    """With a cap."""
    beanie: float = 0.035
    """With a knitted cap."""
    brim: float = 0.025
    """With a hat that has a brim."""
    turban: float = 0.02
    """With a turban."""
    headscarf: float = 0.015
    """With a scarf tied behind the head."""
    hijab: float = 0.025
    """With a scarf around head and neck."""
    hood: float = 0.02
    """With a hood up."""
    headband: float = 0.02
    """With a band around the head."""
    hairband: float = 0.015
    """With a hoop in the hair."""
    helmet: float = 0.015
    """With a helmet."""
    headphones: float = 0.02
    """With headphones."""
    earrings: float = 0.5
    """With earrings, of women; men have a fifth of that."""
    necklace: float = 0.25
    """With a necklace, of women; men have a third of that."""
    scarf: float = 0.06
    """With a scarf around the neck."""
    collar: float = 0.05
    """With a high collar."""
    mask: float = 0.03
    """With a mask over nose and mouth."""
    clips: float = 0.2
    """With a barrette, pins or a bow, of women whose grown hair can hold them."""
    frames: float = 0.6
    """With a frame or a tinted lens of the wider choice, of those with glasses."""

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
    "brim": Kind({"plain": 2.0, "straw": 1.8, "twill": 1.0, "check": 0.4, "stripes": 0.2, "blots": 0.2}, 6, {
        "edge": (-2.0, 3.0), "lean": (14.0, 24.0), "slack": (0.6, 2.0), "brim": (4.5, 10.0)}),
    "turban": Kind({"plain": 4.0, "blots": 0.4, "stripes": 0.2}, 3, {
        "edge": (-16.0, -5.0), "lean": (26.0, 34.0), "slack": (1.4, 3.4)}),
    "headscarf": Kind({"plain": 1.0, "dots": 1.0, "blots": 1.5, "check": 0.5}, 1, {
        "edge": (-6.0, 2.0), "lean": (24.0, 34.0), "brim": (6.0, 12.0)}),
    "hijab": Kind({"plain": 4.0, "blots": 1.0, "dots": 0.3}, 2, {
        "edge": (-8.0, 8.0), "slack": (0.0, 1.0)}),
    "hood": Kind({"plain": 3.0, "twill": 1.0, "blots": 0.4}, 1, {
        "edge": (-12.0, 10.0), "slack": (0.0, 1.6)}),
    "headband": Kind({"plain": 1.0, "knit": 1.5, "stripes": 0.4, "blots": 0.4}, 3, {
        "edge": (0.0, 8.0), "lean": (22.0, 32.0), "brim": (2.5, 7.0)}),
    "hairband": Kind({"plain": 2.0, "dots": 0.6, "check": 0.4, "blots": 0.4}, 2, {
        "lean": (14.0, 40.0), "brim": (4.0, 7.0)}),
    "helmet": Kind({"plain": 1.0}, 3, {
        "edge": (0.0, 6.0), "lean": (10.0, 18.0)}),
    "headphones": Kind({"plain": 1.0}, 2, {
        "lean": (0.0, 24.0)}),
}  # fmt: skip


def more_head_wear(factor: float) -> WearShares:
    """Return the usual shares with those of head-wear times a factor.

    Raises:
        ConfigError: all head-wear together would be worn by more than everybody.
    """
    usual = WearShares()
    return replace(usual, **{kind: factor * getattr(usual, kind) for kind in KINDS})


STRAW: tuple[Colour, ...] = ((0.80, 0.68, 0.45), (0.70, 0.55, 0.34), (0.62, 0.46, 0.27), (0.86, 0.80, 0.66), (0.50, 0.36, 0.22))
METALS: tuple[Colour, ...] = ((0.83, 0.66, 0.33), (0.75, 0.75, 0.76), (0.80, 0.52, 0.42), (0.25, 0.25, 0.27))
STONES: tuple[Colour, ...] = (
    (0.88, 0.87, 0.84), (0.05, 0.05, 0.06), (0.55, 0.06, 0.10), (0.08, 0.22, 0.48), (0.06, 0.38, 0.24), (0.85, 0.66, 0.35),
    (0.45, 0.75, 0.80), (0.92, 0.88, 0.80),
)  # fmt: skip
MASKS: tuple[Colour, ...] = ((0.45, 0.66, 0.80), (0.90, 0.90, 0.89), (0.05, 0.05, 0.06), (0.55, 0.75, 0.70))


def draw_wear(shares: WearShares, male: float, random: np.random.Generator) -> Wear:
    """Draw what a person wears.

    Args:
        shares: how many people wear what.
        male: 0 woman, 1 man; jewellery, hijabs and hair bands are mostly women's here, turbans men's.
        random: drawn numbers.
    """
    chance, head = float(random.random()), None
    for kind in KINDS:
        share = float(getattr(shares, kind)) * _leaning(kind, male)
        if 0.0 <= chance < share:
            head = draw_head_wear(kind, random)
            break
        chance -= share
    hidden = head is not None and head.kind in ("hijab", "hood", "helmet", "headphones")
    ears = neck = mask = None
    jewelled = random.random(4)
    if jewelled[0] < shares.earrings * (1.0 - 0.8 * male):
        kind = str(random.choice(EARRINGS if male < 0.5 else EARRINGS[:2], p=(0.35, 0.35, 0.2, 0.1) if male < 0.5 else None))
        one = int(random.choice([0, 1, 2], p=[0.9, 0.05, 0.05] if male < 0.5 else [0.4, 0.3, 0.3]))
        ears = None if hidden else _accessory(kind, random, (0.6, 1.2), (0.6, 3.5), one)
        if ears is not None and kind == "hoops":
            ears = replace(ears, size=float(random.uniform(0.5, 2.2)))
    if jewelled[1] < shares.scarf + shares.collar:
        kind = "scarf" if jewelled[1] < shares.scarf else "collar"
        neck = replace(_accessory(kind, random, (0.0, 1.0), (0.0, 1.0), int(random.integers(2))), fabric=_wool(random))
    elif jewelled[2] < shares.necklace * (1.0 - 0.67 * male):
        neck = _accessory(str(random.choice(NECKLACES)), random, (0.7, 1.4), (0.0, 1.0), 0)
    if jewelled[3] < shares.mask:
        mask = _accessory("mask", random, (0.0, 1.0), (0.0, 1.0), int(random.integers(3)))
        colour = MASKS[int(random.integers(len(MASKS)))] if mask.option != 1 else mask.fabric.colour
        mask = replace(
            mask, fabric=replace(mask.fabric, colour=colour, pattern=mask.fabric.pattern if mask.option == 1 else "plain")
        )
    if head is not None and head.kind in ("hijab", "hood"):
        neck = None
    return Wear(head, ears, neck, mask)


HOLDING = ("", "half-up", "ponytail", "bun", "braid")
"""Ways to tie hair in which clips are worn."""


def draw_clip(shares: WearShares, male: float, hair: HairLook | None, random: np.random.Generator) -> Accessory | None:
    """Draw what holds somebody's hair beside ties: None where there is none, or hair that holds nothing."""
    worn = random.random() < shares.clips * (male < 0.5)
    if not worn or hair is None or hair.tie not in HOLDING or (not hair.tie and hair.top < 9.0) or hair.strip > 0.0:
        return None
    kinds = CLIPS if hair.tie in ("", "half-up") else CLIPS[:2]  # a bow would sit where tails begin
    return _accessory(str(random.choice(kinds)), random, (0.7, 1.2), (0.0, 1.0), int(random.integers(2)))


def _leaning(kind: str, male: float) -> float:
    """Return the factor on a kind's share, which is 1 on average over as many men as women."""
    women = {"hijab": 2.0, "headscarf": 1.6, "hairband": 1.9, "turban": 0.5, "cap": 0.6, "helmet": 0.8}.get(kind, 1.0)
    return women * (1.0 - male) + (2.0 - women) * male


def _accessory(kind: str, random: np.random.Generator, size: Range, length: Range, option: int) -> Accessory:
    names = ("plain", "stripes", "dots", "blots", "check")
    fabric = Fabric(
        str(random.choice(names)),
        _colour(random),
        _colour(random),
        float(random.uniform(0.5, 1.0)),
        int(random.integers(1 << 31)),
    )
    return Accessory(
        kind, fabric, METALS[int(random.integers(len(METALS)))], STONES[int(random.integers(len(STONES)))],
        float(random.uniform(*size)), float(random.uniform(*length)), option, int(random.integers(1 << 31)),
    )  # fmt: skip


def _wool(random: np.random.Generator) -> Fabric:
    pattern = str(random.choice(["knit", "knit", "plain", "check", "stripes"]))
    return Fabric(pattern, _colour(random), _colour(random), float(random.uniform(0.8, 1.6)), int(random.integers(1 << 31)))


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
    if pattern == "straw" and random.random() < 0.8:  # the rest is dyed
        look = replace(look, fabric=_straw(fabric, random))
    if kind == "cap":  # every sixth is worn backwards, some aside
        turn = float(random.choice([0.0, 0.0, 0.0, 0.0, 180.0, 25.0])) + float(random.normal(0.0, 4.0))
        look = replace(look, turn=turn, lean=look.lean if abs(turn) < 90.0 else 0.5 * look.lean)
    return look


def _straw(fabric: Fabric, random: np.random.Generator) -> Fabric:
    """Return straw in its own colours."""
    base = np.array(STRAW[int(random.integers(len(STRAW)))]) * np.exp(random.normal(0.0, 0.08))
    red, green, blue = np.clip(base, 0.02, 0.92).tolist()
    return replace(fabric, colour=(red, green, blue), second=(0.8 * red, 0.78 * green, 0.72 * blue))


def _colour(random: np.random.Generator) -> Colour:
    base = np.array(COLOURS[int(random.integers(len(COLOURS)))])
    base = base.mean() + WASHED * (base - base.mean())
    red, green, blue = np.clip(
        base * np.exp(random.normal(0.0, 0.12)) * np.exp(random.normal(0.0, 0.05, 3)), 0.02, 0.92
    ).tolist()
    return red, green, blue


def under(look: HairLook, head: HeadWear | None) -> HairLook:
    """Return the hair as it is worn under something: what is tied high comes down, what stands lies."""
    if head is None or head.kind in ("headband", "hairband", "headphones"):
        return look
    if head.kind == "turban" or (head.kind == "hijab" and not head.option):  # all of it goes beneath
        short = {name: min(getattr(look, name), most) for name, most in (("top", 5.0), ("sides", 2.0), ("back", 2.0))}
        return replace(look, tie="", comb="back", fringe=0.0, strip=0.0, curl=min(look.curl, 0.2), clumps=0, **short)
    if look.tie in ("bun", "top-knot", "space buns", "half-up", "ponytail", "braid"):
        tie = "braid" if look.tie == "braid" else "ponytail" if look.tie in ("ponytail", "half-up") else "bun"
        return replace(look, tie=tie, tie_height=-30.0, thickness=min(look.thickness, 0.9))
    if look.comb == "up" and look.style != "afro":
        return replace(look, comb="forward", lift=0.2)
    return look
