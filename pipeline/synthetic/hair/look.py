"""What hair a person has, as numbers: lengths, combing, curls, ties and colours. Drawing them is `styles`' business."""

from __future__ import annotations

from dataclasses import dataclass

Colour = tuple[float, float, float]
"""sRGB, 0 to 1."""
COMBS = ("whorl", "back", "forward", "up", "side", "parted", "down")
TIES = (
    "", "ponytail", "pigtails", "half-up", "bun", "top-knot", "space buns", "braid", "two braids", "cornrows", "box braids",
    "locs", "twists",
)  # fmt: skip


@dataclass(frozen=True)
class HairLook:
    """Hair of the head. Lengths are centimetres of a mean head."""

    style: str = "short"
    """Name for people; what counts are the numbers."""
    top: float = 6.0
    """Length on top."""
    sides: float = 3.0
    """Length over the ears."""
    back: float = 3.0
    """Length at the nape."""
    fade: float = 0.0
    """Distance from the lower hairline over which hair grows to its length."""
    fringe: float = 0.0
    """Length of a fringe; 0 for none."""
    receding: float = 0.0
    """0 to 1: how far temples and forehead have moved back."""
    crown: float = 0.0
    """0 to 1: how bald the crown is."""
    strip: float = 0.0
    """Half width of a strip along the middle outside of which hair is shaved; 0 for none."""
    shaved: float = 0.15
    """Length where it is shaved."""
    bare: float = 0.0
    """0 to 1: how far skin shows where it is shaved or faded; 1 for a skin fade."""
    comb: str = "whorl"
    """One of `COMBS`."""
    part: float = 0.0
    """Where hair is parted, to the subject's left of the middle."""
    lift: float = 0.3
    """0 to 1: how upright hair leaves the skin."""
    hold: float = 4.0
    """Length over which it stays as it is combed before it falls."""
    weight: float = 1.0
    """How much it falls."""
    volume: float = 0.8
    """Thickness of the hair on the head."""
    curl: float = 0.0
    """Radius of curls."""
    turn: float = 3.0
    """Length of one turn of a curl."""
    flat: float = 0.0
    """1 for waves in a plane, 0 for helices."""
    clumps: int = 0
    """Number of locks that curls and tips gather in; 0 for none."""
    clumping: float = 0.5
    """0 to 1: how closely strands of a lock lie at the tip."""
    frizz: float = 0.08
    """How far strands stray at random."""
    tie: str = ""
    """One of `TIES`."""
    tie_height: float = 20.0
    """Elevation in degrees at the back of the head where hair is tied."""
    tail: float = 25.0
    """Length behind the tie."""
    thickness: float = 1.0
    """Factor on the thickness of tails, braids and locs."""
    colour: Colour = (0.16, 0.11, 0.08)
    tip: Colour = (0.20, 0.14, 0.10)
    tip_from: float = 0.0
    """Share of the way from root to tip where the colour starts to turn."""
    streak: Colour = (0.6, 0.6, 0.6)
    """Colour of single strands: highlights, or grey ones."""
    streaks: float = 0.0
    """Share of them."""
    salted: bool = False
    """Whether streaks are single hairs, such as grey ones, many of which lie in each strand."""
    wet: float = 0.0
    """0 to 1: how wet it is; wet hair is darker, glossier, and lies in locks."""
    band: Colour = (0.05, 0.05, 0.06)
    """Colour of hair ties."""
    count: int = 22000
    """Strands of a full head."""
    radius: float = 0.016
    """Half the thickness of a strand: fewer and thicker ones than in life."""
    seed: int = 0


@dataclass(frozen=True)
class BeardLook:
    """Hair of the face. Lengths are centimetres."""

    style: str = "full"
    cheeks: float = 0.0
    """Length on cheeks and jaw."""
    chin: float = 0.0
    """Length on and under the chin."""
    moustache: float = 0.0
    """Length over the lip."""
    sideburns: float = 0.0
    """Length before the ears."""
    high: float = 0.5
    """0 to 1: how far up the cheeks it grows."""
    density: float = 1.0
    """0 to 1: how dense."""
    curl: float = 0.0
    """Radius of curls."""
    colour: Colour = (0.16, 0.11, 0.08)
    grey: float = 0.0
    """Share of grey strands."""
    seed: int = 0


@dataclass(frozen=True)
class BrowLook:
    """Both brows."""

    thick: float = 1.0
    """Factor on their height."""
    arch: float = 0.0
    """How much they rise outwards; negative for flat ones."""
    begin: float = 0.0
    """World units by which they begin farther from the middle."""
    density: float = 0.8
    """0 to 1: how dense."""
    length: float = 0.6
    """Centimetres."""
    colour: Colour = (0.16, 0.11, 0.08)
    grey: float = 0.0
    """Share of grey strands."""
    seed: int = 0


@dataclass(frozen=True)
class LashLook:
    """Lashes of both eyes."""

    length: float = 1.0
    """Factor on their length."""
    density: float = 0.8
    """0 to 1: how dense."""
    curl: float = 0.5
    """0 to 1: how far they bend away from the eye."""
    clumping: float = 0.4
    """0 to 1: how closely neighbours lie at their tips."""
    thick: float = 1.0
    """Factor on their thickness."""
    colour: Colour = (0.05, 0.04, 0.04)
    seed: int = 0


@dataclass(frozen=True)
class Growth:
    """Everything that grows on a head in strands."""

    hair: HairLook | None = None
    beard: BeardLook | None = None
    brows: BrowLook | None = None
    lashes: LashLook | None = None
