"""Which hair people have: kinds of styles with their shares, and looks drawn from them.

Shares and ranges are choices of this toolkit, not statistics of a population: rare kinds get a fair share.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .look import BeardLook, Colour, HairLook

Range = tuple[float, float]


@dataclass(frozen=True)
class Style:
    """A kind of hair: numbers that are fixed, and ranges of others."""

    women: float
    """Weight among women."""
    men: float
    """Weight among men."""
    fixed: Mapping[str, Any]
    """Fields of `HairLook`."""
    drawn: Mapping[str, Range]
    """Fields of `HairLook` and the ranges they are drawn from."""
    coily: float = 1.0
    """Factor on the weight where all ancestors are African; others have 2 less this."""


_LOCKS = {"clumps": (350.0, 900.0), "clumping": (0.2, 0.5)}
STYLES: Mapping[str, Style] = {
    "stubble": Style(0.2, 1.6, {"lift": 0.6, "radius": 0.011}, {"top": (0.15, 0.6), "sides": (0.1, 0.4), "back": (0.1, 0.4)}),
    "buzz": Style(0.3, 1.6, {"lift": 0.5}, {"top": (0.6, 1.6), "sides": (0.4, 0.9), "back": (0.4, 0.9), "fade": (0.0, 5.0)}),
    "fade": Style(0.1, 2.0, {"shaved": 0.12}, {
        "top": (2.0, 5.0), "sides": (1.0, 2.0), "back": (1.0, 2.0), "fade": (4.0, 8.0), "lift": (0.2, 0.5),
        "bare": (0.0, 0.7)}),
    "skin fade": Style(0.1, 1.6, {"shaved": 0.06}, {
        "top": (0.6, 7.0), "sides": (0.4, 1.5), "back": (0.4, 1.5), "fade": (5.0, 12.0), "lift": (0.2, 0.6),
        "bare": (0.7, 1.0)}, 1.2),
    "short": Style(0.6, 3.0, {}, {
        "top": (4.0, 8.0), "sides": (1.5, 4.0), "back": (1.5, 4.0), "fade": (0.5, 3.0), "part": (-4.0, 4.0), **_LOCKS}, 0.6),
    "side part": Style(0.5, 2.2, {"comb": "parted"}, {
        "top": (5.0, 11.0), "sides": (1.0, 4.0), "back": (1.0, 4.0), "fade": (1.0, 4.0), "part": (3.0, 5.0),
        "volume": (0.8, 1.6), **_LOCKS}, 0.4),
    "slick back": Style(0.3, 1.4, {"comb": "back", "lift": 0.15, "frizz": 0.05}, {
        "top": (8.0, 14.0), "sides": (3.0, 8.0), "back": (4.0, 10.0), "hold": (8.0, 14.0), **_LOCKS}, 0.4),
    "quiff": Style(0.2, 1.4, {"comb": "up", "weight": 0.25}, {
        "top": (5.0, 9.0), "sides": (0.6, 2.0), "back": (0.6, 2.0), "fade": (2.0, 5.0), "lift": (0.5, 0.8),
        "clumps": (400.0, 900.0), "clumping": (0.2, 0.5)}, 0.6),
    "mohawk": Style(0.15, 0.35, {"comb": "up", "lift": 1.0, "weight": 0.0, "hold": 30.0}, {
        "top": (3.0, 12.0), "sides": (3.0, 9.0), "back": (3.0, 9.0), "strip": (1.5, 3.0), "clumps": (150.0, 400.0),
        "clumping": (0.2, 0.6), "shaved": (0.1, 0.6), "bare": (0.0, 0.8)}),
    "undercut": Style(0.4, 0.9, {"comb": "back"}, {
        "top": (9.0, 18.0), "sides": (9.0, 18.0), "back": (9.0, 18.0), "strip": (4.0, 5.5), "hold": (5.0, 12.0),
        "shaved": (0.2, 0.7), "bare": (0.0, 0.6), **_LOCKS}, 0.5),
    "mop": Style(0.5, 1.0, {"comb": "down"}, {
        "top": (9.0, 15.0), "sides": (6.0, 11.0), "back": (5.0, 10.0), "fringe": (4.2, 6.2), "volume": (1.0, 1.8),
        **_LOCKS}, 0.4),
    "receding": Style(0.05, 1.3, {}, {
        "top": (2.0, 6.0), "sides": (1.5, 4.0), "back": (1.5, 4.0), "receding": (0.3, 0.75), "crown": (0.0, 0.9)}, 0.8),
    "wreath": Style(0.02, 0.9, {"crown": 1.0}, {
        "top": (1.0, 4.0), "sides": (1.0, 5.0), "back": (1.0, 6.0), "receding": (0.85, 1.0)}, 0.8),
    "afro": Style(0.8, 0.8, {"lift": 1.0, "weight": 0.0, "hold": 40.0, "volume": 0.3, "count": 15000, "comb": "up"}, {
        "top": (2.5, 9.0), "curl": (0.3, 0.55), "turn": (1.2, 2.0), "frizz": (0.3, 0.6)}, 1.95),
    "curls": Style(1.8, 0.8, {"count": 16000}, {
        "top": (8.0, 26.0), "curl": (0.45, 1.1), "turn": (2.4, 5.0), "clumps": (500.0, 1000.0), "clumping": (0.45, 0.75),
        "volume": (1.2, 2.4), "part": (-4.0, 4.0), "weight": (0.5, 1.0), "frizz": (0.1, 0.35)}, 1.2),
    "waves": Style(2.6, 0.4, {"comb": "parted", "count": 18000}, {
        "top": (20.0, 50.0), "curl": (0.4, 1.0), "turn": (5.0, 10.0), "flat": (0.2, 1.0), "part": (-4.0, 4.0),
        "volume": (0.8, 1.8), **_LOCKS}, 0.5),
    "long": Style(2.6, 0.5, {"comb": "parted"}, {
        "top": (28.0, 75.0), "part": (-4.5, 4.5), "volume": (0.6, 1.5), **_LOCKS}, 0.4),
    "bob": Style(1.8, 0.15, {"comb": "parted"}, {
        "top": (18.0, 26.0), "sides": (10.0, 18.0), "back": (6.0, 15.0), "part": (-4.5, 4.5), "volume": (0.9, 1.7),
        **_LOCKS}, 0.5),
    "fringe": Style(1.3, 0.2, {"comb": "down"}, {
        "top": (18.0, 45.0), "fringe": (4.2, 6.2), "volume": (0.8, 1.5), **_LOCKS}, 0.4),
    "pixie": Style(1.0, 0.2, {"comb": "side"}, {
        "top": (7.0, 12.0), "sides": (3.0, 7.0), "back": (2.0, 5.0), "fringe": (0.0, 7.0), "part": (-4.0, 4.0), **_LOCKS}, 0.7),
    "ponytail": Style(2.2, 0.5, {"tie": "ponytail"}, {
        "tie_height": (-15.0, 58.0), "tail": (10.0, 40.0), "thickness": (0.7, 1.4), "volume": (0.3, 1.2)}),
    "pigtails": Style(0.7, 0.02, {"tie": "pigtails"}, {
        "tie_height": (0.0, 50.0), "tail": (8.0, 28.0), "thickness": (0.7, 1.1), "volume": (0.3, 0.9)}),
    "half-up": Style(1.2, 0.2, {"tie": "half-up", "comb": "back"}, {
        "top": (22.0, 45.0), "tie_height": (15.0, 45.0), "tail": (15.0, 30.0), "thickness": (0.5, 0.9),
        "volume": (0.6, 1.4)}, 0.7),
    "bun": Style(1.7, 0.4, {"tie": "bun"}, {"tie_height": (-12.0, 45.0), "thickness": (0.8, 1.6), "volume": (0.3, 1.2)}),
    "top-knot": Style(0.8, 0.5, {"tie": "top-knot"}, {"thickness": (0.7, 1.4), "volume": (0.3, 0.8)}),
    "man bun": Style(0.1, 0.6, {"tie": "bun", "top": 12.0, "sides": 0.5, "back": 0.5}, {
        "tie_height": (30.0, 55.0), "thickness": (0.6, 0.9), "strip": (4.0, 5.5), "shaved": (0.2, 0.8)}),
    "space buns": Style(0.5, 0.02, {"tie": "space buns"}, {"thickness": (0.7, 1.1), "volume": (0.3, 0.8)}),
    "braid": Style(1.5, 0.15, {"tie": "braid"}, {
        "tie_height": (-20.0, 40.0), "tail": (15.0, 45.0), "thickness": (0.8, 1.4), "volume": (0.3, 1.0)}),
    "two braids": Style(1.1, 0.1, {"tie": "two braids"}, {"tail": (12.0, 38.0), "thickness": (0.7, 1.2), "volume": (0.3, 0.9)}),
    "cornrows": Style(0.8, 0.8, {"tie": "cornrows"}, {"tail": (0.5, 25.0), "thickness": (0.7, 1.3)}, 1.9),
    "box braids": Style(1.0, 0.4, {"tie": "box braids", "comb": "parted"}, {
        "top": (16.0, 50.0), "clumps": (160.0, 280.0), "thickness": (0.85, 1.15), "volume": (0.9, 1.6),
        "part": (-3.0, 3.0)}, 1.9),
    "locs": Style(0.6, 0.8, {"tie": "locs", "comb": "parted"}, {
        "top": (6.0, 40.0), "clumps": (238.0, 406.0), "thickness": (1.0, 1.5), "volume": (0.9, 1.8),
        "part": (-3.0, 3.0), "frizz": (0.15, 0.3)}, 1.8),
    "twists": Style(0.5, 0.5, {"tie": "twists"}, {
        "top": (5.0, 20.0), "clumps": (196.0, 364.0), "thickness": (0.8, 1.1), "volume": (0.8, 1.4), "lift": (0.3, 0.7)}, 1.9),
    "big afro": Style(0.9, 0.5, {"lift": 1.0, "weight": 0.0, "hold": 40.0, "volume": 0.3, "count": 18000, "comb": "up"}, {
        "top": (8.0, 17.0), "curl": (0.35, 0.8), "turn": (1.5, 3.2), "frizz": (0.3, 0.6)}, 1.8),
    "mane": Style(1.4, 0.4, {"count": 18000}, {
        "top": (10.0, 24.0), "curl": (0.5, 1.2), "turn": (2.4, 5.0), "clumps": (400.0, 1000.0), "clumping": (0.3, 0.7),
        "volume": (2.0, 3.8), "part": (-4.0, 4.0), "lift": (0.4, 0.8), "hold": (5.0, 10.0), "weight": (0.4, 0.8),
        "frizz": (0.15, 0.45)}, 1.3),
    "blow-out": Style(1.3, 0.1, {"comb": "parted", "count": 18000}, {
        "top": (14.0, 40.0), "curl": (0.3, 1.2), "turn": (6.0, 12.0), "flat": (0.2, 1.0), "part": (-4.0, 4.0),
        "volume": (2.0, 4.5), "lift": (0.5, 0.9), "hold": (5.0, 11.0), "weight": (0.4, 0.9), **_LOCKS}, 0.6),
}  # fmt: skip
"""Kinds of hair. Where `sides` and `back` are not told they are as long as `top`."""
WET = 0.03
"""Share of people whose hair is wet, where nothing else is told."""
WHITE: Colour = (0.74, 0.73, 0.71)
"""Hair of the very old."""
DYES: tuple[Colour, ...] = (
    (0.20, 0.32, 0.62), (0.62, 0.16, 0.40), (0.16, 0.45, 0.30), (0.50, 0.08, 0.10), (0.46, 0.28, 0.60), (0.80, 0.45, 0.60),
    (0.85, 0.80, 0.70), (0.75, 0.35, 0.08),
)  # fmt: skip


def draw_hair(
    male: float,
    age: float,
    african: float,
    colour: Colour,
    dyed: float,
    random: np.random.Generator,
    kinds: Collection[str] = (),
    wet: float = WET,
) -> HairLook:
    """Draw a look.

    Args:
        male: 0 woman, 1 man.
        age: 0 young, 1 old.
        african: share of African ancestors.
        colour: natural sRGB colour, grey already counted.
        dyed: share of people with dyed hair.
        random: drawn numbers.
        kinds: keys of `STYLES` to choose from by their weights; all where empty.
        wet: share of people whose hair is wet.
    """
    names = [name for name in STYLES if not kinds or name in kinds]
    ageing = {"receding", "wreath"}
    weights = np.array([_weight(STYLES[name], male, african) * (0.3 + 1.6 * age if name in ageing else 1.0) for name in names])
    chosen = names[int(random.choice(len(names), p=weights / weights.sum()))]
    style = STYLES[chosen]
    numbers: dict[str, Any] = dict(style.fixed)
    for name, (low, high) in style.drawn.items():
        value = float(random.uniform(low, high))
        numbers[name] = round(value) if name == "clumps" else value
    for name in ("sides", "back"):
        numbers.setdefault(name, numbers.get("top", 6.0) * float(random.uniform(0.85, 1.0)))
    if random.random() < 0.5 and "part" in numbers:
        numbers["part"] = -numbers["part"]
    if numbers.get("fringe", 9.0) < 4.0:
        numbers["fringe"] = 0.0
    look = HairLook(style=chosen, **numbers)
    look = replace(look, receding=max(look.receding, float(random.uniform(0.0, 0.35)) * male * age))
    look = replace(_coloured(look, age, colour, dyed, random), seed=int(random.integers(1 << 31)))
    apart = np.random.Generator(np.random.Philox(look.seed).jumped())  # what was drawn before wet hair stays as it was
    return wetted(look, float(apart.uniform(0.4, 1.0)) if apart.random() < wet else 0.0)


def wetted(look: HairLook, wet: float) -> HairLook:
    """Return a look that is wet by a share from 0 (dry) to 1."""
    if not wet:
        return look
    calm = 1.0 - wet
    return replace(
        look, wet=wet, frizz=look.frizz * (0.3 + 0.7 * calm), volume=look.volume * (0.5 + 0.5 * calm),
        lift=look.lift * (0.4 + 0.6 * calm), clumps=look.clumps or 300, clumping=max(look.clumping, 0.75 * wet),
    )  # fmt: skip


def _weight(style: Style, male: float, african: float) -> float:
    return (style.women * (1.0 - male) + style.men * male) * (style.coily * african + (2.0 - style.coily) * (1.0 - african))


def _coloured(look: HairLook, age: float, colour: Colour, dyed: float, random: np.random.Generator) -> HairLook:
    """Give a look its colours: lighter tips, grey strands, highlights, dye, two tones."""
    dye = DYES[int(random.integers(len(DYES)))]
    chance, bright = random.random(), float(random.uniform(1.0, 1.5))
    look = replace(look, colour=colour, tip=_scaled(colour, bright))
    if chance < 0.5 * dyed:
        return replace(look, colour=dye, tip=_scaled(dye, bright))
    if chance < dyed:  # two tones
        return replace(look, tip=dye, tip_from=float(random.uniform(0.2, 0.6)))
    if chance < dyed + 0.10:
        light = _scaled(colour, 1.0, 0.25 + 0.2 * float(random.random()))
        return replace(look, tip=light, tip_from=float(random.uniform(0.0, 0.5)))
    if chance < dyed + 0.22:
        return replace(
            look, streak=_scaled(colour, 1.0, float(random.uniform(0.15, 0.35))), streaks=float(random.uniform(0.1, 0.4))
        )
    grey = float(np.clip(1.6 * (age - 0.35) * random.random(), 0.0, 0.6))
    if random.random() < 1.2 * (age - 0.6):  # white all over
        return replace(
            look, colour=WHITE, tip=_scaled(WHITE, min(bright, 1.2)), streak=(0.92, 0.91, 0.89), streaks=0.5 * grey, salted=True
        )
    return replace(look, streak=(0.68, 0.67, 0.66), streaks=0.5 * grey, salted=True)


def _scaled(colour: Colour, factor: float, lighter: float = 0.0) -> Colour:
    """Return a colour times a factor, drawn towards blond by a share."""
    red, green, blue = (
        float(np.clip(value * factor + lighter * (aim - value), 0.01, 0.95))
        for value, aim in zip(colour, (1.0, 0.85, 0.6), strict=True)
    )
    return red, green, blue


BEARDS: Mapping[str, tuple[float, Mapping[str, Range]]] = {
    "shadow": (0.25, {"cheeks": (0.1, 0.3), "chin": (0.1, 0.35), "moustache": (0.1, 0.3), "sideburns": (0.1, 0.3)}),
    "short": (0.30, {"cheeks": (0.4, 1.2), "chin": (0.5, 1.6), "moustache": (0.5, 1.0), "sideburns": (0.4, 1.0)}),
    "full": (0.18, {"cheeks": (1.2, 3.0), "chin": (2.0, 8.0), "moustache": (1.0, 1.8), "sideburns": (0.8, 1.5)}),
    "goatee": (0.10, {"chin": (0.8, 4.0), "moustache": (0.5, 1.3)}),
    "moustache": (0.10, {"moustache": (0.6, 1.8)}),
    "chin": (0.04, {"chin": (0.8, 5.0)}),
    "sideburns": (0.03, {"sideburns": (0.8, 2.0), "cheeks": (0.0, 0.0)}),
}
"""Kinds of beards: share, and ranges of lengths."""


def draw_beard(age: float, colour: Colour, random: np.random.Generator, kind: str = "") -> BeardLook:
    """Draw a beard."""
    names = list(BEARDS)
    shares = np.array([BEARDS[name][0] for name in names])
    chosen = kind or names[int(random.choice(len(names), p=shares / shares.sum()))]
    lengths = {name: float(random.uniform(*bounds)) for name, bounds in BEARDS[chosen][1].items()}
    grey = float(np.clip(1.8 * (age - 0.25) * random.random(), 0.0, 0.8))
    return BeardLook(
        chosen, **lengths, high=float(random.random()), density=float(random.uniform(0.6, 1.0)),
        curl=float(random.choice([0.0, 0.0, 0.12, 0.2])), colour=_scaled(colour, float(random.uniform(0.75, 1.1))), grey=grey,
        seed=int(random.integers(1 << 31)),
    )  # fmt: skip
