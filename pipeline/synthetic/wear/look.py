"""What a person wears, as numbers: fabrics, head-wear, jewellery, what covers mouth and neck. `wardrobe` draws them."""

from __future__ import annotations

from dataclasses import dataclass

from ..hair.look import Colour

PATTERNS = ("plain", "knit", "twill", "stripes", "check", "dots", "blots", "panels", "straw")
HEAD_WEAR = (
    "cap", "beanie", "brim", "turban", "headscarf", "hijab", "hood", "headband", "hairband", "helmet", "headphones",
)  # fmt: skip
EARRINGS = ("studs", "hoops", "drops", "beads")
CLIPS = ("barrette", "pins", "bow")
NECKLACES = ("chain", "pendant", "pearls", "choker")


@dataclass(frozen=True)
class Fabric:
    """What a thing is made of."""

    pattern: str = "plain"
    """One of `PATTERNS`."""
    colour: Colour = (0.2, 0.2, 0.22)
    second: Colour = (0.8, 0.8, 0.8)
    """Colour of stripes, dots and the like."""
    scale: float = 1.0
    """Factor on the size of the pattern."""
    seed: int = 0


@dataclass(frozen=True)
class HeadWear:
    """Something on the head. Lengths are centimetres, angles degrees in a frame that leans back with it."""

    kind: str
    """One of `HEAD_WEAR`."""
    fabric: Fabric
    trim: Colour = (0.1, 0.1, 0.1)
    """Colour of visor, hat band, cuff, rim or shell."""
    edge: float = -6.0
    """Elevation of the lower edge at the sides; of hoods and hijabs, how far the opening narrows."""
    lean: float = 28.0
    """How much higher the edge lies in front than at the sides."""
    slack: float = 0.5
    """Height above the crown, or how loosely it lies."""
    brim: float = 6.5
    """Length of visor or brim; width of bands."""
    turn: float = 0.0
    """Azimuth at which its front lies: 180 for caps worn backwards."""
    option: int = 0
    """Which of the kind's variants it is."""
    seed: int = 0


@dataclass(frozen=True)
class Accessory:
    """Something on ears, neck or mouth."""

    kind: str
    """One of `EARRINGS`, `NECKLACES`, `CLIPS`, "scarf", "collar" or "mask"."""
    fabric: Fabric = Fabric()
    colour: Colour = (0.8, 0.65, 0.3)
    """Colour of its metal."""
    second: Colour = (0.85, 0.85, 0.85)
    """Colour of stones, pearls and pendants."""
    size: float = 1.0
    """Factor on its size, for earrings and chains the size in centimetres or so."""
    length: float = 1.0
    """How far it hangs: centimetres for earrings, 0 to 1 for necklaces."""
    option: int = 0
    """Which of the kind's variants it is."""
    seed: int = 0


@dataclass(frozen=True)
class Wear:
    """Everything that a person wears beside MakeHuman's clothes."""

    head: HeadWear | None = None
    ears: Accessory | None = None
    neck: Accessory | None = None
    mask: Accessory | None = None
    clip: Accessory | None = None

    @property
    def things(self) -> tuple[str, ...]:
        """Names of what is worn."""
        return tuple(piece.kind for piece in (self.head, self.ears, self.neck, self.mask, self.clip) if piece is not None)
