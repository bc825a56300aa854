"""Colours of people: what a photograph shows of skin and hair, and who among drawn people comes nearest to it.

Which photograph a rendered person follows is chosen by `back_view`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from ....datasets.arrays import Array, Floats
from ....datasets.classes import INDEX
from ....datasets.shards.codec import decode_grey, decode_image
from ..assets.library import Assets
from ..face.complexion import fair
from ..hair.look import Colour
from .population import Person

SIDE = 128
"""Side in pixels at which photographs are looked at: enough for medians."""
MIN_SHARE = 0.004
"""Skin or hair that covers less of the crop is not measured."""
HAIR_WEIGHT = 0.6
"""How much a difference of hair counts beside one of skin."""
CHEEKS = (190, 415, 350, 470)
"""Top, left, bottom, right of the face in skin textures of 512 pixels, whose median is the skin's colour."""
SKIN_IN_PICTURES: tuple[tuple[float, float], ...] = ((0.656, 24.2), (0.729, 2.8), (0.888, 1.6))
HAIR_IN_PICTURES: tuple[tuple[float, float], ...] = ((0.735, 13.9), (0.922, 1.3), (0.835, 3.0))
"""For L, a and b of CIELAB: (factor, offset) from a person's own colour to its median in rendered pictures, in which light and
exposure take part. Fitted by tests/bench/synthetic_looks.py to 717 pictures."""


@dataclass(frozen=True)
class Appearance:
    """Median colours of a person in a picture, sRGB 0 to 1; None where too little is seen."""

    skin: Colour | None
    hair: Colour | None

    def to_text(self) -> str:
        """Return the colours as text."""
        return json.dumps([self.skin, self.hair])

    @classmethod
    def from_text(cls, text: str) -> Appearance:
        """Read what `to_text` wrote."""
        skin, hair = (tuple(colour) if colour else None for colour in json.loads(text))
        return cls(skin, hair)


def appearance_of(picture: bytes, parsing: bytes) -> Appearance:
    """Measure skin and hair in an encoded picture with its encoded class map."""
    image = np.asarray(cv2.resize(decode_image(picture), (SIDE, SIDE), interpolation=cv2.INTER_AREA))
    classes = np.asarray(cv2.resize(decode_grey(parsing), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST))
    return Appearance(*(_median(image[classes == INDEX[name]]) for name in ("skin", "hair")))


def _median(pixels: Array) -> Colour | None:
    if len(pixels) < MIN_SHARE * SIDE * SIDE:
        return None
    red, green, blue = (round(float(value) / 255.0, 4) for value in np.median(pixels, axis=0))
    return red, green, blue


def nearest(assets: Assets, people: Sequence[Person], appearance: Appearance) -> Person:
    """Return who of some people looks most like what a photograph shows; the first among equals.

    Colours are compared in CIELAB (CIE 1976), after bringing those of people to what pictures of them show.
    """
    distances = [0.0] * len(people)
    for index, person in enumerate(people):
        for seen, own, weight in (
            (appearance.skin, in_pictures(skin_colour(assets, person), SKIN_IN_PICTURES), 1.0),
            (appearance.hair, in_pictures(person.hair_colour, HAIR_IN_PICTURES), HAIR_WEIGHT),
        ):
            if seen is not None:
                distances[index] += weight * float(np.linalg.norm(lab(seen) - own))
    return people[int(np.argmin(distances))]


def skin_colour(assets: Assets, person: Person) -> Colour:
    """Return the sRGB colour that a person's skin is painted with."""
    red, green, blue = np.clip(_undimmed(assets, person) * skin_dimming(assets, person), 0.0, 1.0).tolist()
    return red, green, blue


def skin_dimming(assets: Assets, person: Person) -> float:
    """Return the factor on sRGB values by which a person's skin is darker than textures and gains would make it."""
    red, green, blue = _undimmed(assets, person).tolist()
    return fair((red, green, blue))


def _undimmed(assets: Assets, person: Person) -> Floats:
    mixed = sum((share * _texture_colour(assets, name) for name, share in person.skins), np.zeros(3))
    return np.asarray(mixed * person.skin_gain)


@lru_cache(maxsize=64)
def _texture_colour(assets: Assets, name: str) -> Floats:
    picture = assets.picture(name)[..., :3]
    scale = picture.shape[0] / 512.0
    top, left, bottom, right = (round(side * scale) for side in CHEEKS)
    colour: Floats = np.median(picture[top:bottom, left:right].reshape(-1, 3), axis=0) / 255.0
    return colour


def in_pictures(colour: Colour, fit: Sequence[tuple[float, float]]) -> Floats:
    """Return the (3,) CIELAB median that pictures of something with an sRGB colour of its own show."""
    factors, offsets = np.array(fit).T
    return np.asarray(factors * lab(colour) + offsets)


def lab(colour: Colour) -> Floats:
    """Return the (3,) CIELAB (D65) of an sRGB colour from 0 to 1."""
    pixel = np.array([[colour]], dtype=np.float32)
    return np.asarray(cv2.cvtColor(pixel, cv2.COLOR_RGB2Lab)[0, 0], dtype=np.float64)
