"""Light and background of a picture, drawn at random: a sky with lamps and windows, a key light, and what is behind the head.

Only numbers and arrays: `render` makes emitters of them.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from ....datasets.arrays import Array, Floats, Pixels

SKY = (32, 64)
"""Height and width of the environment map."""
FINE = 4
"""How many times as finely a sky is drawn that holds the lamp too."""

_LUMA = np.array([0.2126, 0.7152, 0.0722])
WINDOWS = 0.85
"""Share of pictures with a window in front of the face: without one, eyes mirror nothing that is small and bright."""
BALANCE = 0.8
"""How much of the colour cast of all light together a camera's white balance takes out."""


@cache
def sky_directions(times: int = 1) -> tuple[Floats, Floats]:
    """Return (32 n, 64 n, 3) unit directions of the pixels of a sky drawn n times as finely, and (32 n,) their solid angles."""
    height, width = times * SKY[0], times * SKY[1]
    elevation = (0.5 - (np.arange(height) + 0.5) / height) * np.pi
    azimuth = (np.arange(width) + 0.5) / width * 2.0 * np.pi
    level, up = np.cos(elevation)[:, None], np.broadcast_to(np.sin(elevation)[:, None], (height, width))
    directions = np.stack([level * np.sin(azimuth), up, level * np.cos(azimuth)], axis=-1)
    edges = np.sin((0.5 - np.arange(height + 1) / height) * np.pi)
    return directions, (edges[:-1] - edges[1:]) * 2.0 * np.pi / width


@dataclass(frozen=True, eq=False)
class KeyLight:
    """A round lamp that shines at the head."""

    place: tuple[float, float, float]
    """World units."""
    radius: float
    colour: tuple[float, float, float]
    """Radiance, linear sRGB."""


@dataclass(frozen=True, eq=False)
class Light:
    """Everything that lights one picture."""

    sky: Array
    """(32, 64, 3) float32 linear radiance by direction: rows from straight up to straight down."""
    key: KeyLight | None
    exposure: float
    """Linear grey that a surface of albedo 0.4 is brought to, turned to the camera and to both sides of it."""
    steady: bool = False
    """One exposure for all cameras, from all sides together, instead of one metered in every picture."""

    def gain(self, towards: Array) -> float:
        """Return the factor on radiance that gives the wanted exposure, as an incident light meter would set it.

        Args:
            towards: (3,) unit direction from the head to the camera; it does not matter to a steady light.
        """
        if self.steady:
            around = [np.array([math.sin(yaw), 0.0, math.cos(yaw)]) for yaw in np.arange(8) * (np.pi / 4)]
            return self.exposure / max(0.4 / np.pi * float(np.mean([self.irradiance(side) for side in around])), 1e-6)
        sideways = np.cross([0.0, 1.0, 0.0], towards)
        length = float(np.linalg.norm(sideways))
        sideways = sideways / length if length > 1e-6 else np.array([1.0, 0.0, 0.0])
        faces = [towards, 0.7 * towards + 0.7 * sideways, 0.7 * towards - 0.7 * sideways]
        irradiance = [self.irradiance(np.asarray(face) / np.linalg.norm(face)) for face in faces]
        mixed = 0.5 * irradiance[0] + 0.25 * (irradiance[1] + irradiance[2])
        return self.exposure / max(0.4 / np.pi * mixed, 1e-6)

    def irradiance(self, normal: Array) -> float:
        """Return the luminance that falls on a surface with a unit normal, nothing being in between."""
        directions, solid_angle = sky_directions()
        cosine = np.clip(directions @ normal, 0.0, None)
        total = float((self.sky @ _LUMA * cosine * solid_angle[:, None]).sum())
        if self.key is not None:
            place = np.array(self.key.place)
            distance = float(np.linalg.norm(place))
            size = np.pi * self.key.radius**2 / distance**2
            total += float(np.array(self.key.colour) @ _LUMA) * size * max(0.0, float(place @ normal) / distance)
        return total


def all_round(light: Light) -> Array:
    """Return the (32 n, 64 n, 3) float32 radiance of sky and lamp by direction from the head's centre, n being `FINE`.

    The lamp is a disc of its own radiance, as wide as it looks from there, with an edge of one pixel.
    """
    around = np.concatenate([light.sky[:, -1:], light.sky, light.sky[:, :1]], axis=1)
    size = (FINE * around.shape[1], FINE * SKY[0])
    sky = cv2.resize(around, size, interpolation=cv2.INTER_LINEAR)[:, FINE:-FINE]
    if light.key is None:
        return np.ascontiguousarray(sky)
    place = np.array(light.key.place)
    distance = float(np.linalg.norm(place))
    away = np.arccos(np.clip(sky_directions(FINE)[0] @ (place / distance), -1.0, 1.0))
    half, pixel = math.asin(min(light.key.radius / distance, 1.0)), math.pi / (FINE * SKY[0])
    share = np.clip((half - away) / pixel + 0.5, 0.0, 1.0)[..., None]
    return np.asarray(sky * (1.0 - share) + share * np.array(light.key.colour), dtype=np.float32)


def blackbody(kelvin: float) -> Floats:
    """Return the (3,) linear sRGB colour of a temperature, brightest channel 1; a fit that is good from 2,500 to 12,000 K.

    Straight lines in the reciprocal temperature through the daylight and tungsten points of CIE illuminants A and D65.
    """
    share = (1.0 / kelvin - 1.0 / 6504.0) / (1.0 / 2856.0 - 1.0 / 6504.0)
    colour = np.exp(share * np.log([1.0, 0.50, 0.155]))
    return np.asarray(colour / colour.max())


def draw_light(random: np.random.Generator, steady: bool = False) -> Light:
    """Draw the light of one picture, or with `steady` of all pictures of a head."""
    directions, _ = sky_directions()
    up = directions[..., 1:2]
    above, below = (blackbody(float(random.uniform(3500, 9500))) * random.uniform(0.25, 1.0) for _ in range(2))
    sky = above * np.clip(0.5 + 0.5 * up, 0.0, 1.0) + 0.5 * below * np.clip(0.5 - 0.5 * up, 0.0, 1.0)
    for _ in range(int(random.integers(1, 5))):
        towards = random.normal(0.0, 1.0, 3)
        towards[1] = abs(towards[1]) * 0.8
        towards /= np.linalg.norm(towards)
        sharp = float(np.exp(random.uniform(math.log(2.0), math.log(40.0))))
        strength = float(random.uniform(0.4, 1.5)) * math.sqrt(sharp)
        colour = blackbody(float(random.uniform(2800, 9000)))
        sky += strength * colour * np.exp(sharp * (directions @ towards - 1.0))[..., None]
    key, exposure = _key(random), float(np.exp(random.normal(math.log(0.44), 0.16)))
    return _balanced(Light((sky + _window(sky, random)).astype(np.float32), key, exposure, steady))


def _window(sky: Floats, random: np.random.Generator) -> Floats:
    """Draw a window or softbox in front of the face, (32, 64, 3) radiance: small and bright, with part of the sky's light."""
    directions, solid_angle = sky_directions()
    drawn = random.random() < WINDOWS
    azimuth, elevation = float(np.clip(random.normal(0.0, 0.7), -1.4, 1.4)), float(random.uniform(0.1, 0.9))
    half, share = float(random.uniform(0.10, 0.20)), float(random.uniform(0.15, 0.45))
    colour = blackbody(float(random.uniform(4500.0, 7500.0)))
    towards = np.array([math.sin(azimuth) * math.cos(elevation), math.sin(elevation), math.cos(azimuth) * math.cos(elevation)])
    disc = np.clip((half - np.arccos(np.clip(directions @ towards, -1.0, 1.0))) / 0.08 + 0.5, 0.0, 1.0)
    size = float((disc * solid_angle[:, None]).sum())
    whole = float((sky @ _LUMA * solid_angle[:, None]).sum()) / 4.0  # what falls on a surface, on the mean of all directions
    strength = share * whole / max(size * float(colour @ _LUMA), 1e-9)
    return np.asarray((strength if drawn else 0.0) * disc[..., None] * colour)


def _balanced(light: Light) -> Light:
    """Return light as a camera's white balance leaves it: its mean colour nearer to grey, its luminance kept."""
    _, solid_angle = sky_directions()
    cast = (light.sky * solid_angle[:, None, None]).sum(axis=(0, 1)).astype(np.float64)
    if light.key is not None:
        away = float(np.linalg.norm(light.key.place))
        cast += np.array(light.key.colour) * np.pi * light.key.radius**2 / away**2
    gains = (float(cast @ _LUMA) / np.maximum(cast, 1e-9)) ** BALANCE
    gains *= float(cast @ _LUMA) / max(float((gains * cast) @ _LUMA), 1e-9)
    key = light.key
    if key is not None:
        red, green, blue = (gains * key.colour).tolist()
        key = dataclasses.replace(key, colour=(red, green, blue))
    return dataclasses.replace(light, sky=(light.sky * gains).astype(np.float32), key=key)


def _key(random: np.random.Generator) -> KeyLight | None:
    """Draw a lamp in most pictures: mostly from above, small and hard or large and soft."""
    if random.random() > 0.65:
        return None
    azimuth, elevation = float(random.uniform(-np.pi, np.pi)), float(random.uniform(-0.1, 1.1))
    place = 3.2 * np.array(
        [math.sin(azimuth) * math.cos(elevation), math.sin(elevation), math.cos(azimuth) * math.cos(elevation)]
    )
    radius = float(np.exp(random.uniform(math.log(0.35), math.log(1.1))))
    colour = blackbody(float(random.uniform(3000, 7500))) * float(random.uniform(4.0, 14.0)) / radius**2
    return KeyLight((float(place[0]), float(place[1]), float(place[2])), radius, (*colour.tolist(),))


KINDS = ("plain", "gradient", "blurred", "cluttered")
"""Backgrounds."""


def draw_background(random: np.random.Generator, size: int, kind: str = "") -> Pixels:
    """Draw an (S, S, 3) sRGB background.

    Args:
        random: source of chance.
        size: side in pixels.
        kind: one of `KINDS`; drawn where empty.
    """
    drawn = KINDS[int(random.choice(len(KINDS), p=[0.2, 0.25, 0.3, 0.25]))]
    kind = kind or drawn
    first, second = random.uniform(0.05, 0.95, (2, 3)) * 0.35 + random.uniform(0.05, 0.95, (2, 1)) * 0.65
    if kind == "plain":
        return _to_pixels(np.broadcast_to(first, (size, size, 3)))
    axis = np.linspace(-1.0, 1.0, size)
    angle = float(random.uniform(0.0, 2.0 * np.pi))
    slope = 0.5 + 0.5 * (axis[None, :] * math.cos(angle) + axis[:, None] * math.sin(angle))
    picture = first + (second - first) * np.clip(slope, 0.0, 1.0)[..., None]
    if kind == "gradient":
        return _to_pixels(picture)
    canvas = np.ascontiguousarray(picture.astype(np.float32))
    for _ in range(int(random.integers(15, 60))):
        colour = tuple(float(value) for value in random.uniform(0.0, 1.0, 3) * 0.4 + random.uniform(0.0, 0.6))
        centre = tuple(int(value) for value in random.integers(0, size, 2))
        half = tuple(int(value) for value in np.maximum(1, size * random.gamma(1.2, 0.06, 2)))
        turn = float(random.uniform(0.0, 180.0))
        if random.random() < 0.4:
            cv2.ellipse(canvas, centre, half, turn, 0.0, 360.0, colour, -1, cv2.LINE_AA)
        else:
            box = cv2.boxPoints((centre, (2.0 * half[0], 2.0 * half[1]), turn))
            cv2.fillPoly(canvas, [np.round(box).astype(np.int32)], colour, cv2.LINE_AA)
    blur = size * (random.uniform(0.02, 0.06) if kind == "blurred" else random.uniform(0.001, 0.006))
    return _to_pixels(cv2.GaussianBlur(canvas, (0, 0), float(max(blur, 0.3))))


def _to_pixels(picture: Array) -> Pixels:
    return np.clip(np.round(255.0 * picture), 0, 255).astype(np.uint8)
