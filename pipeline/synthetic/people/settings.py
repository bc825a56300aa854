"""What kinds of people are drawn, as settings, and what of them decides who comes of a number.

Who is drawn is `population`'s business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ....manifests.config import ConfigError
from ..assets.library import Assets
from ..hair.styles import STYLES, WET
from ..wear.wardrobe import WearShares
from .skin_marks import OILY

CARDS, GROWN = "cards", "grown"
ASSETS, DRAWN = "assets", "drawn"
USUAL, WIDE, UNITS = "usual", "wide", "units"
GROWTH_VERSION = 17
"""Raise it when the same settings would grow other hair, or tell other labels of it."""
WEAR_VERSION = 5
"""Raise it when the same settings would make other things to wear."""
MARKS_VERSION = 2
"""Raise it when the same settings would paint other marks on skins."""
MOUTH_VERSION = 2
"""Raise it when the same settings would make other teeth, gums or tongues."""


@dataclass(frozen=True)
class PopulationSettings:
    """What kinds of people there are."""

    children: bool = False
    """Draw children too."""
    glasses: float = 0.22
    """Share with glasses."""
    hats: float = 0.06
    """Share with a hat."""
    bald: float = 0.06
    """Share without hair, before age and sex count."""
    dyed: float = 0.03
    """Share with hair in no natural colour."""
    detail: float = 1.0
    """How far faces differ in detail; 0 leaves only sex, age and ancestry."""
    expressions: float = 0.7
    """Share with another expression than none."""
    hair: str = CARDS
    """cards: MakeHuman's seven styles; grown: strands of every kind."""
    styles: str = ""
    """Kinds of grown hair to draw from, names of `hair.styles.STYLES` joined by "+"; all by their shares where empty."""
    beards: float = 0.45
    """Share of men with a beard or stubble, of those with grown hair."""
    wet: float = WET
    """Share with wet hair, of those with grown hair."""
    wear: str = ASSETS
    """assets: MakeHuman's clothes and one hat; drawn: head-wear and jewellery of every kind too."""
    shares: WearShares = WearShares()
    """Who wears what, where wear is drawn."""
    skins: str = ASSETS
    """assets: skins as they are; drawn: with freckles, moles, flushes, make-up, wrinkles and tattoos."""
    oily: float = OILY
    """Share with oily skin, of those with drawn skins."""
    faces: str = USUAL
    """usual: seven expressions, mostly weak; wide: shouts, yawns, kisses, winks, grimaces and the like too; units: of 44 face
    units (`face.units`), alone and together, which `assets fetch morphs` brings."""
    bodies: str = ASSETS
    """assets: of mean weight and muscle; drawn: thin to heavy, of morphs that `assets fetch morphs` brings."""
    teeth: str = ASSETS
    """assets: mouths are hollow; drawn: with teeth, gums and a tongue."""
    necks: str = ASSETS
    """assets: every head looks where its shoulders do; drawn: seven in ten are turned on their necks."""

    def __post_init__(self) -> None:
        if self.faces not in (USUAL, WIDE, UNITS):
            raise ConfigError(f"people: expected faces of {USUAL}, {WIDE} or {UNITS}, got {self.faces!r}")
        for name in ("wear", "skins", "teeth", "bodies", "necks"):
            if getattr(self, name) not in (ASSETS, DRAWN):
                raise ConfigError(f"people: expected {name} of {ASSETS} or {DRAWN}, got {getattr(self, name)!r}")
        if self.hair not in (CARDS, GROWN):
            raise ConfigError(f"people: expected hair of {CARDS} or {GROWN}, got {self.hair!r}")
        if self.detail < 0.0:
            raise ConfigError(f"people: expected detail of 0 or more, got {self.detail}")
        for name in ("glasses", "hats", "bald", "dyed", "expressions", "beards", "wet", "oily"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"people: expected {name} of 0 to 1, got {getattr(self, name)}")
        for name in set(self.kinds) - set(STYLES):
            raise ConfigError(f"people: expected styles of {', '.join(STYLES)}, got {name!r}")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names in `styles`."""
        return tuple(name for name in self.styles.split("+") if name)


DEFAULTS = PopulationSettings()


def deciding(people: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of plain `PopulationSettings` decides who is drawn: without what only grown hair or drawn wear read."""
    idle: tuple[str, ...] = () if people.get("hair", CARDS) != CARDS else ("hair", "beards", "styles", "wet")
    idle += () if people.get("wear", ASSETS) != ASSETS else ("wear", "shares")
    idle += tuple(name for name in ("skins", "teeth", "bodies", "necks") if people.get(name, ASSETS) == ASSETS)
    idle += () if people.get("faces", USUAL) != USUAL else ("faces",)
    idle += () if people.get("styles", "") else ("styles",)
    idle += ("wet",) if people.get("wet", WET) == WET else ()
    idle += ("oily",) if people.get("oily", OILY) == OILY or people.get("skins", ASSETS) == ASSETS else ()
    told = {key: value for key, value in people.items() if key not in idle}
    versions = {
        "hair": ("growth", GROWTH_VERSION), "wear": ("dressing", WEAR_VERSION), "skins": ("marks", MARKS_VERSION),
        "teeth": ("mouth", MOUTH_VERSION),
    }  # fmt: skip
    return told | {name: version for key, (name, version) in versions.items() if key in told}


def fingerprint_of(assets: Assets, settings: PopulationSettings) -> str:
    """Return 64 hex digits over all files that people of some settings are drawn from.

    Raises:
        AssetError: the settings need further morphs, which were not fetched.
    """
    if settings.faces != UNITS and settings.bodies == ASSETS:
        return assets.fingerprint
    return hashlib.sha256(f"{assets.fingerprint}{assets.morphs.fingerprint}".encode()).hexdigest()
