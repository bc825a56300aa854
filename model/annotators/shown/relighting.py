"""Light on surfaces that were rendered without: sky, lamps and highlights from colours and normals, and other paint.

Shadows that heads cast are not known here; smooth and sharp darkenings in the picture stand for them.
"""

from __future__ import annotations

import cv2
import numpy as np

from ....datasets.arrays import Array, Pixels
from ....datasets.classes import INDEX

_LINEAR = (np.arange(256, dtype=np.float32) / 255.0) ** 2
HAIR, CLOTH, HAT, SKIN, NECK, GLASSES = (INDEX[name] for name in ("hair", "cloth", "hat", "skin", "neck", "glasses"))
_FACE_PARTS = tuple(INDEX[name] for name in ("left_brow", "right_brow", "left_eye", "right_eye", "mouth"))
_SKIN_LIKE = tuple(INDEX[name] for name in ("skin", "nose", "left_ear", "right_ear", "neck", "upper_lip", "lower_lip"))


def repaint(random: np.random.Generator, colour: Array, parsing: Pixels) -> Array:
    """Return an (S, S, 3) float32 linear colour with hair, cloth and hat in other colours and skin a little different."""
    out = colour
    if random.random() < 0.6:
        wanted = _tinted(random, out, parsing == HAIR, _hair_colour(random), 0.75)
        shown = shown_hair(out, parsing)[..., None]
        out = out + shown * (wanted - out)
    if random.random() < 0.6:
        out = _tinted(random, out, parsing == CLOTH, random.uniform(0.01, 0.8, 3) ** 1.3, random.uniform(0.3, 1.0))
    if random.random() < 0.7:
        out = _tinted(random, out, parsing == HAT, random.uniform(0.01, 0.8, 3) ** 1.3, random.uniform(0.3, 1.0))
    skin = np.isin(parsing, _SKIN_LIKE)
    out = np.where(skin[..., None], out * np.exp(random.normal(0.0, [0.12, 0.12, 0.14])).astype(np.float32), out)
    if random.random() < 0.35:
        out = _patterned(random, out, (parsing == CLOTH) | (parsing == HAT))
    return np.asarray(out, dtype=np.float32)


def _hair_colour(random: np.random.Generator) -> Array:
    """Draw a linear hair colour: from black over brown, red and blond to grey and white, some dyed."""
    if random.random() < 0.08:
        return np.asarray(random.uniform(0.01, 0.7, 3))
    lightness = random.beta(0.9, 1.6)
    warm = np.array([1.0, random.uniform(0.55, 0.9), random.uniform(0.28, 0.7)])
    grey = random.random() ** 3
    return np.asarray((0.008 + 0.6 * lightness**1.6) * (warm * (1.0 - grey) + grey))


def _tinted(random: np.random.Generator, colour: Array, where: Array, target: Array, share: float) -> Array:
    """Bring the mean colour of a region `share` of the way to a target, keeping its texture."""
    if int(where.sum()) < 12:
        return colour
    there = colour[where]
    mean = there.mean(axis=0)
    wanted = np.exp((1.0 - share) * np.log(mean + 1e-3) + share * np.log(target + 1e-3)).astype(np.float32)
    texture = (there / (mean + np.float32(1e-3))) ** np.float32(random.uniform(0.5, 1.3))
    out = np.array(colour, dtype=np.float32)
    out[where] = np.clip(texture * wanted, 0.0, 1.2)
    return out


def _patterned(random: np.random.Generator, colour: Array, where: Array) -> Array:
    """Lay stripes, checks or blots over a region."""
    size = colour.shape[0]
    angle, period = random.uniform(0, np.pi), random.uniform(2.5, 16.0)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    waves = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period)
    kind = random.random()
    if kind < 0.35:
        waves = waves * np.sin(2 * np.pi * (y * np.cos(angle) - x * np.sin(angle)) / period)
    elif kind < 0.7:
        coarse = random.uniform(-1, 1, (int(size / period) + 2,) * 2).astype(np.float32)
        waves = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    over = np.clip(waves * 2.0 + random.uniform(-1, 1), 0.0, 1.0)[..., None] * where[..., None]
    return np.asarray(colour * (1.0 - over) + over * random.uniform(0.01, 0.8, 3).astype(np.float32), dtype=np.float32)


def shown_hair(colour: Array, parsing: Pixels) -> Array:
    """Return (S, S) float32: how much of a pixel of class hair looks like hair, 0 where it has the colour of the face's skin.

    Faded and shaven sides are of class hair and show skin, which neither dye nor locks change. Where hair and skin are of
    nearly one colour, all hair counts.

    Args:
        colour: (S, S, 3) float32 linear colour.
        parsing: (S, S) classes.
    """
    hair, skin = parsing == HAIR, parsing == SKIN
    whole: Array = hair.astype(np.float32)
    if int(hair.sum()) < 12 or int(skin.sum()) < 12:
        return whole
    bare, levels = (np.log(colour[where] + np.float32(0.01)) for where in (skin, hair))
    middle, covered = np.median(bare, axis=0), np.median(levels, axis=0)
    towards = covered - middle
    far = float(towards @ towards)
    if far < 0.5:
        return whole
    whole[hair] = np.clip(1.5 * ((levels - middle) @ (towards / far)) - 0.15, 0.0, 1.0)
    return whole


def strands(random: np.random.Generator, colour: Array, parsing: Pixels) -> Array:
    """Vary the brightness of hair along a random direction field, from fine strands to thick locks and curls."""
    size = colour.shape[0]
    noise: Array = random.standard_normal((size, size), dtype=np.float32)
    length, angle = random.uniform(2, 14), random.uniform(0, np.pi)
    if random.random() < 0.65:
        across = max(0.5, random.uniform(0.4, 2.5))
        matrix = cv2.getRotationMatrix2D((size / 2, size / 2), float(np.degrees(angle)), 1.0)
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), sigmaX=float(length), sigmaY=float(across)))
        noise = np.asarray(cv2.warpAffine(noise, matrix, (size, size), borderMode=cv2.BORDER_REFLECT))
    else:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), float(random.uniform(0.6, 4.0))))
    gain = np.exp(float(random.uniform(0.1, 0.7)) / max(float(noise.std()), 1e-6) * noise)
    share = shown_hair(colour, parsing) * (np.clip(gain, 0.2, 3.5) - np.float32(1))
    return np.asarray(colour * (np.float32(1) + share[..., None]), dtype=np.float32)


def linear(pixels: Pixels) -> Array:
    """Return float32 light, 0 to 1, of sRGB pixels (a power of 2)."""
    return np.asarray(_LINEAR[pixels])


def light(
    random: np.random.Generator, colour: Array, normals: Array, ahead: Array, parsing: Pixels, covered: Array | None = None
) -> Array:
    """Light surfaces by a sky of two colours, one to three lamps and their highlights, and draw darkenings for shadows.

    Args:
        random: what the light is drawn from.
        colour: (S, S, 3) float32 linear colour of surfaces.
        normals: (S, S, 3) float32 normals in the head frame, either side up.
        ahead: (3,) direction in which the camera looks.
        parsing: (S, S) classes; hair and eyes shine more.
        covered: (S, S) bool, where there are surfaces to be lit; None for everywhere.

    Returns:
        (S, S, 3) float32 linear light, 0 where nothing is lit.
    """
    size = colour.shape[0]
    where = np.ones((size, size), dtype=bool) if covered is None else covered
    # all that follows is (3, N) or (N,), a plane of each channel: numpy multiplies triples by triples slowly
    ahead = np.asarray(ahead, dtype=np.float32)
    out, normal = np.ascontiguousarray(colour[where].T), np.ascontiguousarray(normals[where].T)
    normal *= np.where(ahead @ normal > 0, np.float32(-1), np.float32(1))
    lit, highlights = _by_sky(random, normal), np.zeros_like(normal)
    hairy, other = np.float32(random.uniform(0.0, 0.5)), np.float32(random.uniform(0.0, 0.12))
    shine = np.where(parsing[where] == HAIR, hairy, other)
    for _ in range(int(random.integers(1, 4))):
        _add_lamp(random, normal, ahead, shine, lit, highlights)
    out = out * lit + highlights
    if random.random() < 0.6:
        side = int(random.integers(2, 7))
        coarse = cv2.resize(
            random.normal(0.0, 1.0, (side, side)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC
        )
        out *= np.exp(np.float32(random.uniform(0.1, 0.45)) * np.asarray(coarse)[where])
    if random.random() < 0.25:
        across = _direction(random) @ normal
        edge = np.clip(across * np.float32(random.uniform(2, 12)) + np.float32(random.uniform(-1, 1)), 0.0, 1.0)
        out *= np.float32(1) - np.float32(random.uniform(0.2, 0.7)) * edge
    found = np.zeros((size, size, 3), dtype=np.float32)
    found[where] = out.T
    return found


def _by_sky(random: np.random.Generator, normal: Array) -> Array:
    """Return (3, N) float32 light of a sky and a floor of two colours on (3, N) normals."""
    up = 0.6 * _direction(random) + np.array([0.0, 0.8, 0.0], dtype=np.float32)
    sky, floor = _tint(random, 0.15), _tint(random, 0.2)
    share = np.float32(0.5) + np.float32(0.5) * ((up / np.linalg.norm(up)) @ normal)
    ambient, below = np.float32(random.uniform(0.15, 0.9)), np.float32(random.uniform(0.2, 0.9))
    return np.stack([ambient * (share * sky[i] + (np.float32(1) - share) * (floor[i] * below)) for i in range(3)])


def _add_lamp(random: np.random.Generator, normal: Array, ahead: Array, shine: Array, lit: Array, highlights: Array) -> None:
    """Add one lamp's light to (3, N) `lit` and its highlights to (3, N) `highlights`.

    Args:
        random: what the lamp is drawn from.
        normal: (3, N) float32 normals towards the camera.
        ahead: (3,) float32 direction in which the camera looks.
        shine: (N,) float32 strength of highlights.
        lit: added to.
        highlights: added to.
    """
    towards = _direction(random)
    if random.random() < 0.5:
        towards = towards - np.float32(0.8) * ahead
        towards = towards / np.linalg.norm(towards)
    lamp = _tint(random, 0.18) * np.float32(random.uniform(0.1, 1.2))
    wrap = np.float32(random.uniform(0.0, 0.4))
    facing = np.maximum(towards @ normal + wrap, np.float32(0)) / (np.float32(1) + wrap)
    half = towards - ahead
    gloss = np.maximum((half / max(float(np.linalg.norm(half)), 1e-6)) @ normal, np.float32(0))
    gloss = shine * gloss ** np.float32(random.uniform(4, 60))
    for channel in range(3):
        lit[channel] += lamp[channel] * facing
        highlights[channel] += lamp[channel] * gloss


def _direction(random: np.random.Generator) -> Array:
    vector = random.normal(0.0, 1.0, 3)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def _tint(random: np.random.Generator, spread: float) -> Array:
    return np.asarray(np.exp(random.normal(0.0, spread, 3)), dtype=np.float32)


def develop(random: np.random.Generator, lit: Array, covered: Array) -> Array:
    """Return (S, S, 3) float32 sRGB values 0 to 255 of linear light, exposed by what is covered, with a soft shoulder.

    Args:
        random: what exposure and contrast are drawn from.
        lit: (S, S, 3) linear light.
        covered: (S, S) bool: where the head is.
    """
    grey = float(lit[covered].mean()) if covered.any() else 0.3
    exposed = lit * np.float32(random.uniform(0.1, 0.42) / max(grey, 1e-3))
    over = np.maximum(exposed - np.float32(0.8), 0.0)
    exposed = np.minimum(exposed, np.float32(0.8)) + np.float32(0.2) * over / (over + np.float32(0.2))
    return np.asarray(np.float32(255.0) * np.sqrt(np.clip(exposed, 0.0, 1.0)), dtype=np.float32)


def shadowed(random: np.random.Generator, image: Array, parsing: Pixels) -> Array:
    """Darken what lies under the chin, beside hair and under a hat, and what a soft edge cuts off, as shadows do.

    Args:
        random: what the shadows are drawn from.
        image: (S, S, 3) float32 sRGB values of the lit head.
        parsing: (S, S) classes, not yet mirrored.
    """
    size = image.shape[0]
    shade = np.ones((size, size), dtype=np.float32)
    receives = np.isin(parsing, (*_SKIN_LIKE, *_FACE_PARTS)).astype(np.float32)
    casts = ((NECK, 0.6, (-0.05, 0.0)), (HAIR, 0.5, (-0.02, 0.05)), (HAT, 0.8, (0.02, 0.12)))
    for kind, share, down in casts:
        if random.random() > share or not (parsing == kind).any():
            continue
        move = np.array([[1.0, 0.0, size * random.normal(0.0, 0.02)], [0.0, 1.0, size * random.uniform(*down)]])
        cast = cv2.warpAffine((parsing == kind).astype(np.float32), move, (size, size), borderMode=cv2.BORDER_REPLICATE)
        soft = cv2.GaussianBlur(cast, (0, 0), size * float(random.uniform(0.004, 0.03)))
        shade *= 1.0 - np.float32(random.uniform(0.15, 0.75)) * soft * receives
    if random.random() < 0.4:
        y, x = np.mgrid[-0.5 : 0.5 : size * 1j, -0.5 : 0.5 : size * 1j].astype(np.float32)
        angle, bend = random.uniform(0, 2 * np.pi), random.normal(0.0, 1.5)
        across = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle)) - np.float32(random.uniform(-0.15, 0.3))
        across += np.float32(bend) * (y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle))) ** 2
        depth, steep = np.float32(random.uniform(0.2, 0.7)), np.float32(random.uniform(8, 60))
        shade *= 1.0 - depth * np.clip(across * steep + 0.5, 0.0, 1.0)
    return np.asarray(image * shade[..., None], dtype=np.float32)


def alike(random: np.random.Generator, ground: Array, image: Array, parsing: Pixels) -> Array:
    """Bring an (S, S, 3) ground's mean colour to that of the head's hair, skin or clothes, less its contrast, streaked or not.

    Args:
        random: what is chosen from.
        ground: float32 sRGB values.
        image: the lit head, of the same size.
        parsing: (S, S) classes.
    """
    where = parsing == (HAIR, HAIR, SKIN, CLOTH)[int(random.integers(4))]
    if int(where.sum()) < 12:
        return ground
    if random.random() < 0.5:  # as hair is streaked, so that streaks alone say nothing
        ground = np.float32(255) * strands(random, ground * np.float32(1 / 255), np.full_like(parsing, HAIR))
    mean, wanted = ground.mean(axis=(0, 1)), image[where].mean(axis=0) * np.float32(np.exp(random.normal(0.0, 0.15)))
    return np.asarray((ground - mean) * np.float32(random.uniform(0.3, 1.0)) + wanted, dtype=np.float32)


def glinting(random: np.random.Generator, image: Array, parsing: Pixels, around: Array) -> Array:
    """Let glasses reflect what is around, a bright ramp or a tint, and give their lenses an edge.

    Args:
        random: what is drawn from.
        image: (S, S, 3) float32 sRGB values of the lit head.
        parsing: (S, S) classes.
        around: (S, S, 3) float32 sRGB values of a ground.
    """
    where = (parsing == GLASSES).astype(np.float32)
    if float(where.sum()) < 12.0:
        return image
    size = image.shape[0]
    out, over = image, where[..., None]
    if random.random() < 0.5:
        out = out + np.float32(random.uniform(0.05, 0.35)) * over * around[::-1]
    if random.random() < 0.5:
        y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j].astype(np.float32)
        angle = random.uniform(0, 2 * np.pi)
        ramp = np.clip((x * np.cos(angle) + y * np.sin(angle)) * random.uniform(3, 25) + random.uniform(-8, 4), 0.0, 1.0)
        out = out + (np.float32(random.uniform(20, 170)) * ramp.astype(np.float32))[..., None] * over
    if random.random() < 0.3:
        out = out * (1.0 - over * np.float32(random.uniform(0.05, 0.6)) * (1.0 - _tint(random, 0.4).clip(0.0, 1.0)))
    if random.random() < 0.6:
        inner = cv2.erode(where, np.ones((3, 3), dtype=np.uint8))
        rim = cv2.GaussianBlur(where - inner, (0, 0), float(random.uniform(0.4, 0.9)))[..., None]
        out = out + rim * (np.float32(random.uniform(0, 255)) - out) * np.float32(random.uniform(0.2, 0.9))
    return np.asarray(out, dtype=np.float32)
