"""Who is rendered: a person drawn from (seed, head) alone, with plausible face, expression, hair, eyes and clothes.

What a person looks like as meshes and pictures is made by `figure`. Shares and ranges here are choices of this toolkit, not
statistics of a population; they keep faces plausible and give rare things (glasses from behind, hats, bald heads) a fair share.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ....datasets.arrays import Floats
from ....manifests.identity import rng
from ..assets.library import Assets
from ..face.morphs import build_weights, detail_weights, expression_weights, macro_weights
from ..face.units import unit_weights
from ..hair.brows import draw_brows
from ..hair.colours import draw_colour
from ..hair.lashes import draw_lashes
from ..hair.look import Colour, Growth
from ..hair.styles import draw_beard, draw_hair
from ..wear.clothes import ClothesLook, draw_clothes
from ..wear.look import Wear
from ..wear.wardrobe import draw_clip, draw_wear, under
from .glasses import SHAPES, GlassesLook, draw_frame
from .mouth import TeethLook, draw_teeth
from .settings import ASSETS, CARDS, DEFAULTS, UNITS, WIDE, PopulationSettings
from .skin_marks import SkinMarks, draw_marks

NECK_DEGREES = (9.0, 25.0, 6.0)
"""Standard deviations of how heads nod, turn and tilt on their bodies, in degrees."""
AHEAD = 0.3
"""Share of heads, where necks are drawn, that look where their shoulders do."""
LONG_HAIR = ("long01", "bob01", "ponytail01")


@dataclass(frozen=True)
class Person:
    """Everything that decides what a head looks like."""

    name: str
    """Key of the person: identity in manifests."""
    male: float
    """0 woman, 1 man."""
    age: float
    """0 young, 1 old."""
    ancestry: tuple[float, float, float]
    """Shares of `face.morphs.ANCESTRIES`, sum 1."""
    shape: Mapping[str, float]
    """Morphs of the face at rest."""
    expression: Mapping[str, float]
    """Morphs that pass."""
    skins: tuple[tuple[str, float], ...]
    """Skin textures and their shares."""
    skin_gain: Colour
    """Factors on the skin's colour."""
    eye_texture: str
    gaze: tuple[float, float]
    """Yaw and pitch of both eyes in radians, towards the person's left and up."""
    hair_colour: Colour
    scalp: str
    """bare, stubble or covered: what the skin of the head shows where hair grows."""
    hair: str = ""
    """Name of the hair piece; empty for none."""
    brows: str = ""
    lashes: str = ""
    eyes: str = ""
    hat: str = ""
    hat_texture: str = ""
    clothes: str = ""
    clothes_look: ClothesLook = ClothesLook()
    glasses: GlassesLook | None = None
    detail_seed: int = 0
    """Seed of the skin's fine texture."""
    growth: Growth | None = None
    """Hair that is grown in strands; then `hair` is empty."""
    wear: Wear = Wear()
    """What is worn beside the assets' clothes, hat and glasses."""
    marks: SkinMarks | None = None
    """What is painted on the skin."""
    teeth: TeethLook | None = None
    """What an open mouth shows; nothing where None."""
    neck: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """How the head is turned on the body, see `Body.turned`."""

    @property
    def assets(self) -> tuple[str, ...]:
        """Names of everything that the person wears or is painted with."""
        worn = (self.hair, self.brows, self.lashes, self.eyes, self.hat, self.clothes, self.eye_texture, self.hat_texture)
        return tuple(sorted({name for name in (*worn, *(name for name, _ in self.skins)) if name}))


def person_name(seed: int, head: int) -> str:
    """Return the name of the person with a number."""
    return f"makehuman-{seed}-{head:06d}"


def draw_person(assets: Assets, seed: int, head: int, settings: PopulationSettings = DEFAULTS) -> Person:
    """Draw the person with a number; the same three give the same person whatever else is drawn."""
    name = person_name(seed, head)
    random = rng(seed, name, "person")
    male = float(np.clip(random.beta(0.25, 0.25), 0.0, 1.0))
    age = float(np.clip(random.beta(1.1, 2.2), 0.0, 0.9))
    ancestry = tuple(float(share) for share in random.dirichlet([0.35, 0.35, 0.35]))
    african, asian, caucasian = ancestry
    shape = macro_weights(male, age, ancestry, random if settings.children else None)
    if settings.bodies != ASSETS:
        shape |= build_weights(shape, rng(seed, name, "build"))
    shape |= {key: value * settings.detail for key, value in detail_weights(assets.names("targets"), random).items()}
    skins = _skins(assets.names("skins"), male, age, ancestry, random)
    hair, scalp, hat, hat_texture = _head_wear(assets, male, age, african, settings, random)
    grey = float(np.clip((age - 0.45) * 2.2 + random.normal(0.0, 0.2), 0.0, 1.0))
    brightness = float(np.exp(random.normal(0.0, 0.07)))
    person = Person(
        name, male, age, (african, asian, caucasian), shape, expression_weights(settings.expressions, random), skins,
        _triple(brightness * np.exp(random.normal(0.0, [0.02, 0.015, 0.02]))),
        _eye_texture(assets, caucasian, random),
        (float(np.clip(random.normal(0.0, 0.16), -0.5, 0.5)), float(np.clip(random.normal(0.0, 0.07), -0.3, 0.3))),
        (drawn := draw_colour(caucasian, grey, settings.dyed, random))[0], scalp, hair,
        _pick(assets.names("eyebrows"), random), _lashes(assets, male, random), _pick(assets.names("eyes"), random),
        hat, hat_texture, _clothes(assets, male, random),
        _clothes_look(seed, name, random),
        _glasses(settings.glasses, random), int(random.integers(1 << 31)),
    )  # fmt: skip
    if settings.hair != CARDS:
        natural = person.hair_colour
        if drawn[1]:
            natural, _ = draw_colour(caucasian, grey, 0.0, rng(seed, name, "natural"))
        person = _grown(dataclasses.replace(person, hair_colour=natural), seed, settings)
    if settings.faces == WIDE:
        wide = expression_weights(settings.expressions, rng(seed, name, "faces"), wide=True)
        person = dataclasses.replace(person, expression=wide)
    elif settings.faces == UNITS:
        person = dataclasses.replace(person, expression=unit_weights(settings.expressions, rng(seed, name, "faces")))
    if settings.teeth != ASSETS:
        person = dataclasses.replace(person, teeth=draw_teeth(age, rng(seed, name, "teeth")))
    if settings.necks != ASSETS:
        person = dataclasses.replace(person, neck=draw_neck(rng(seed, name, "neck")))
    if settings.skins != ASSETS:
        dark = sum(share for name, share in skins if "darkskinned" in name)
        person = dataclasses.replace(person, marks=draw_marks(male, age, dark, rng(seed, name, "marks"), settings.oily))
    return person if settings.wear == ASSETS else _dressed(person, seed, settings)


def draw_neck(random: np.random.Generator) -> tuple[float, float, float]:
    """Draw how a head is turned on its body in radians: three in ten are not, others mostly aside, as far as necks go."""
    ahead, drawn = random.random() < AHEAD, random.normal(0.0, 1.0, 3)
    nod, turn, tilt = (np.radians(NECK_DEGREES) * np.clip(drawn, -2.2, 2.2)).tolist()
    return (0.0, 0.0, 0.0) if ahead else (nod, turn, tilt)


def _dressed(person: Person, seed: int, settings: PopulationSettings) -> Person:
    """Give somebody things to wear; cards of hair, which nothing presses, are not worn under head-wear."""
    random = rng(seed, person.name, "wear")
    wear = draw_wear(settings.shares, person.male, random)
    if person.glasses is not None and random.random() < settings.shares.frames:
        person = dataclasses.replace(person, glasses=draw_frame(random, person.glasses.frame))
    if wear.head is not None and wear.head.kind == "hairband" and person.scalp != "covered":
        wear = dataclasses.replace(wear, head=None)
    if wear.head is None:
        hair = person.growth.hair if person.growth is not None else None
        clip = draw_clip(settings.shares, person.male, hair, rng(seed, person.name, "clip"))
        return dataclasses.replace(person, wear=dataclasses.replace(wear, clip=clip))
    growth, scalp = person.growth, "stubble" if person.growth is None and person.scalp != "bare" else person.scalp
    if growth is not None and growth.hair is not None:
        growth = dataclasses.replace(growth, hair=under(growth.hair, wear.head))
    return dataclasses.replace(person, wear=wear, growth=growth, scalp=scalp, hair="", hat="", hat_texture="")


def _grown(person: Person, seed: int, settings: PopulationSettings) -> Person:
    """Give somebody hair that is grown; their colour is natural, and what dyes it is drawn with the style."""
    random = rng(seed, person.name, "growth")
    bald = not person.hat and random.random() < settings.bald * (0.4 + 2.5 * person.male * (0.3 + person.age))
    colour, dyed = person.hair_colour, 4.0 * settings.dyed
    hair = draw_hair(person.male, person.age, person.ancestry[0], colour, dyed, random, settings.kinds, settings.wet)
    beard = draw_beard(person.age, person.hair_colour, random)
    bearded = random.random() < settings.beards * (person.male > 0.6)
    growth = Growth(
        None if bald else hair,
        beard if bearded else None,
        draw_brows(person.male, person.age, person.hair_colour, rng(seed, person.name, "brows")),
        draw_lashes(person.male, person.hair_colour, rng(seed, person.name, "lashes")),
    )
    return dataclasses.replace(
        person, hair="", brows="", lashes="", hat="", hat_texture="", scalp="bare" if bald else "covered", growth=growth
    )


def _triple(values: Floats) -> Colour:
    first, second, third = values.tolist()
    return first, second, third


def _pick(names: Sequence[str], random: np.random.Generator) -> str:
    return str(names[int(random.integers(len(names)))]) if names else ""


def _skins(
    names: Sequence[str], male: float, age: float, ancestry: Sequence[float], random: np.random.Generator
) -> tuple[tuple[str, float], ...]:
    """Choose one light and one dark skin of the right age and sex, blended by ancestry."""
    sex = "_male_" if male > 0.5 else "_female_"
    years = "young_" if age < 0.3 else "middleage_" if age < 0.6 else "old_"
    fitting = [name for name in names if sex in name and name.rsplit("/", 1)[-1].startswith(years)]
    light = [name for name in fitting if "lightskinned" in name]
    dark = [name for name in fitting if "darkskinned" in name]
    if not light or not dark:
        return tuple((name, 1.0) for name in (light or dark or list(names))[:1])
    asian = ancestry[1] > ancestry[2]
    variants = [name for name in light if name.endswith(("2.png", "3.png")) == asian] or light
    share = float(np.clip(ancestry[0] * 1.15 - 0.05 + 0.12 * ancestry[1] * random.random(), 0.0, 1.0))
    return ((_pick(variants, random), 1.0 - share), (_pick(dark, random), share))


def _head_wear(
    assets: Assets, male: float, age: float, african: float, settings: PopulationSettings, random: np.random.Generator
) -> tuple[str, str, str, str]:
    """Choose (hair, scalp, hat, hat's texture)."""
    hats = [name for name in assets.names("clothes") if "fedora" in name]
    hat = _pick(hats, random) if hats and random.random() < settings.hats else ""
    textures = [name for name in assets.files("clothes/fedora") if "texture" in name]
    hat_texture = _pick(textures, random) if hat else ""
    chance = random.random()
    bald = settings.bald * (0.4 + 2.5 * male * (0.3 + age))
    if chance < bald:
        return "", "bare", hat, hat_texture
    if chance < bald + 0.04 + 0.10 * male:
        return "", "stubble", hat, hat_texture
    styles = list(assets.names("hair"))
    weights = []
    for style in styles:
        long = any(word in style for word in LONG_HAIR)
        weight = (0.04 * male + 1.0 * (1.0 - male)) if long else (1.0 * male + 0.25 * (1.0 - male))
        if "bob" in style:
            weight *= 0.5  # its fringe hides an eye
        if "afro" in style:
            weight = 0.05 + 1.6 * african
        elif long and african > 0.6:
            weight *= 0.5
        weights.append(weight)
    if not styles:
        return "", "stubble", hat, hat_texture
    probabilities = np.array(weights) / np.sum(weights)
    style = styles[int(random.choice(len(styles), p=probabilities))]
    if hat:  # only flat hair goes under a hat; the others would come through its crown
        return "", "stubble", hat, hat_texture
    return style, "covered", hat, hat_texture


def _eye_texture(assets: Assets, caucasian: float, random: np.random.Generator) -> str:
    names = assets.files("eyes/materials")
    brown = [name for name in names if "brown" in name]
    return _pick(names if random.random() < 0.75 * caucasian else brown or names, random)


def _lashes(assets: Assets, male: float, random: np.random.Generator) -> str:
    names = assets.names("eyelashes")
    return _pick(names[:1] if male > 0.5 else names, random)


def _clothes_look(seed: int, name: str, random: np.random.Generator) -> ClothesLook:
    """Draw colours of clothes, passing over the numbers that gave them before: what is drawn after them stays as it was."""
    random.random(), random.normal(size=3)
    return draw_clothes(rng(seed, name, "clothes"))


def _clothes(assets: Assets, male: float, random: np.random.Generator) -> str:
    sex = "/male_" if male > 0.5 else "/female_"
    return _pick([name for name in assets.names("clothes") if sex in name], random)


def _glasses(share: float, random: np.random.Generator) -> GlassesLook | None:
    worn = random.random() < share
    shape = list(SHAPES)[int(random.integers(len(SHAPES)))]
    frames = (
        (0.03, 0.03, 0.035), (0.16, 0.09, 0.05), (0.45, 0.38, 0.22), (0.55, 0.56, 0.58), (0.30, 0.05, 0.07), (0.08, 0.12, 0.25),
    )  # fmt: skip
    frame = frames[int(random.integers(len(frames)))]
    dark = random.random() < 0.3
    size, thickness = float(random.uniform(0.9, 1.12)), float(random.uniform(0.008, 0.024))
    look = GlassesLook(shape, frame, size, thickness, 0.88 if dark else 0.0, bool(random.random() < 0.35))
    return look if worn else None
