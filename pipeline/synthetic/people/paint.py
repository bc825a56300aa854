"""Textures of a person: skins blended and refined, hair and brows recoloured, scalps painted, lips and eyes left as they are.

The pictures come from `assets`; who has which colour is drawn by `population`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from ....datasets.arrays import Array, Pixels
from ..assets.library import Assets
from ..face.complexion import calm, complexion
from .appearance import skin_dimming
from .body import MOUTH_ISLAND
from .face_points import IRIS_MIDDLES, IRIS_RADIUS
from .population import Person
from .skin_marks import mark

HEAD_CROP = (320, 80, 512, 448)
"""Left, top, right, bottom of the head in skin textures of 512 pixels."""
FOREHEAD, EARS = np.s_[150:220, 84:96], ((111.0, 116.0), (257.0, 116.0))
"""Texels of the crop that show a forehead, and the rows and columns of the ears."""
STUBBLE = (4.0, 22.0)
"""Texels from the scalp's mask within which painted stubble is taken away wholly, and beyond which nothing is."""
FINE, COARSE = 2, 1
"""How fine textures are painted: texels of hair and cloth a texel of the assets' own along an axis, half as many as of skin."""
SMALL = 128
"""Side of pictures up to which coarse textures show all that fine ones do: a pixel covers five coarse texels of skin."""
EYE_GAIN = 0.8
"""Factor on the sRGB values of eyes."""
IRIS_COLOUR, IRIS_LIGHT = 0.65, 84.0
"""How much is kept of the colour of the assets' irises, and the mean sRGB value above which they are darkened."""
MOUTH_SHADE = 0.62
"""Factor on the sRGB values inside of mouths with teeth."""
UNSHADED = 0.95
"""How much of the shade painted into hair is taken out: lamps make their own, and dark patches would look like holes."""
Shade = tuple[Array, tuple[float, float, float]]
"""(512, 512) how much of the skin takes an sRGB colour, 0 to 1, and the colour."""
_LUMA = np.array([0.299, 0.587, 0.114])


def fineness_for(size: int) -> int:
    """Return how fine textures must be painted for pictures of a side."""
    return COARSE if size <= SMALL else FINE


def head_skin(
    assets: Assets, person: Person, grows: Array | None = None, places: Array | None = None, shades: Sequence[Shade] = (),
    blended: Pixels | None = None, fineness: int = FINE,
) -> Pixels:  # fmt: skip
    """Paint the (H, W, 3) sRGB skin of the head, `HEAD_CROP` enlarged 2 x `fineness` times, with scalp and fine texture.

    Args:
        assets: where textures come from.
        person: who it is.
        grows: (512, 512) how densely hair grows, times how much it hides; the assets' own scalp where None.
        places: (512, 512, 3) places on the mean head, needed where colours differ from place to place; even without them.
        shades: what darkens the skin beneath hair of the face.
        blended: what `body_skin` returns, where it is known.
        fineness: `FINE` or `COARSE`.
    """
    enlarged = 2 * fineness
    left, top, right, bottom = HEAD_CROP
    mask = scalp_mask(assets)[top:bottom, left:right]
    whole = body_skin(assets, person) if blended is None else blended
    bare = _without_stubble(whole.astype(np.float32)[top:bottom, left:right], _stubble_share(assets))
    size = ((right - left) * enlarged, (bottom - top) * enlarged)
    skin: Array = np.asarray(cv2.resize(bare, size, interpolation=cv2.INTER_CUBIC))
    shown = mask if grows is None else grows[top:bottom, left:right]
    scalp = np.clip(cv2.resize(shown, size, interpolation=cv2.INTER_CUBIC), 0.0, 1.0)
    where = np.full((*mask.shape, 3), 9.0, dtype=np.float32) if places is None else places[top:bottom, left:right]
    fine = complexion(person.detail_seed, (size[1], size[0]), where, person.male)
    skin *= 1.0 + fine
    if person.marks is not None and places is not None:
        skin = mark(skin.astype(np.float32), person.marks, where, (left, top), enlarged)
    cover = {"bare": 0.04, "stubble": 0.72, "covered": 0.93}[person.scalp]
    grain = 1.0 + 4.0 * fine[..., 1:2]
    grown = person.growth.hair if person.growth is not None else None
    root = person.hair_colour if grown is None else grown.colour  # dyed and white hair is so from its root on
    hair = 255.0 * np.array(root, dtype=np.float32) * (0.8 if person.scalp == "covered" else 0.9)
    box = _where(scalp)
    share = (cover * scalp[box])[..., None]
    skin[box] *= 1.0 - share
    skin[box] += hair * grain[box] * share
    for shade, colour in shades:
        _darken(skin, shade[top:bottom, left:right], colour, grain, enlarged)
    mixed: Pixels = np.clip(skin, 0.0, 255.0, out=skin).astype(np.uint8)
    return mixed


def _where(share: Array, scale: int = 1) -> tuple[slice, slice]:
    """Return the rows and columns beyond which nothing of an (H, W) map is above 0, on a picture `scale` times as fine."""
    rows, columns = (np.flatnonzero(share.max(axis=axis) > 0.0) for axis in (1, 0))
    top, bottom, left, right = (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) if len(rows) else (0, 0, 0, 0)
    return np.s_[top * scale : bottom * scale, left * scale : right * scale]


def _darken(skin: Array, shade: Array, colour: tuple[float, float, float], grain: Array, enlarged: int) -> None:
    """Mix an sRGB colour into an enlarged (H, W, 3) skin, in place, by shares told at its texture's own size."""
    box = _where(shade, enlarged)
    height, width = skin[box].shape[:2]
    if not height:
        return
    share = np.clip(cv2.resize(shade[_where(shade)], (width, height), interpolation=cv2.INTER_CUBIC), 0.0, 1.0)[..., None]
    skin[box] += share * (255.0 * np.array(colour, dtype=np.float32) * grain[box] - skin[box])


def body_skin(assets: Assets, person: Person) -> Pixels:
    """Blend the (512, 512, 3) skin of the whole body."""
    blended = np.zeros((512, 512, 3), dtype=np.float32)
    for name, share in person.skins:
        picture = assets.picture(name)[..., :3]
        if picture.shape[0] != 512:
            picture = np.asarray(cv2.resize(picture, (512, 512), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        blended += share * picture.astype(np.float32)
    gained = calm(blended) * np.array(person.skin_gain, dtype=np.float32) * np.float32(skin_dimming(assets, person))
    return np.asarray(np.clip(gained, 0.0, 255.0).astype(np.uint8))


def bust_skin(blended: Pixels, person: Person) -> Pixels:
    """Paint the (512, 512, 3) skin of bust and mouth; mouths with teeth are dark, for light does not bounce into them.

    Args:
        blended: what `body_skin` returns; it is left as it is.
        person: who it is.
    """
    skin = blended.copy()
    if person.teeth is not None:
        left, top, right, bottom = map(int, MOUTH_ISLAND)
        skin[top:bottom, left:right] = (MOUTH_SHADE * skin[top:bottom, left:right]).astype(np.uint8)
    return skin


def scalp_mask(assets: Assets) -> Array:
    """Return where hair grows on skin textures, (512, 512) float32 from 0 to 1.

    The darkest skin of a man has a shaven scalp painted on, with a crisp border; its darkness is the mask.
    """
    names = [name for name in assets.names("skins") if "old_darkskinned_male" in name] or list(assets.names("skins"))
    return _scalp(assets, names[0])


@lru_cache(maxsize=4)
def _scalp(assets: Assets, name: str) -> Array:
    luma = assets.picture(name)[..., :3].astype(np.float32) @ _LUMA.astype(np.float32)
    mask = np.clip((52.0 - cv2.GaussianBlur(luma, (0, 0), 1.5)) / 16.0, 0.0, 1.0)
    mask[:, :320] = 0.0
    mask[190:350, 430:] = 0.0  # the dark corners of eyes and mouth
    largest = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    grown = cv2.GaussianBlur(cv2.dilate(largest, np.ones((3, 3), np.uint8)), (0, 0), 1.2)
    grown.setflags(write=False)
    return grown


def _without_stubble(skin: Array, share: Array) -> Array:
    """Replace the painted stubble of a scalp, by shares, with the colour of the forehead."""
    forehead = np.median(skin[FOREHEAD].reshape(-1, 3), axis=0)
    luma = skin @ _LUMA.astype(np.float32)
    rough = luma / np.maximum(cv2.GaussianBlur(luma, (0, 0), 1.0), 1.0)
    mixed = skin + share[..., None] * (forehead * (0.7 + 0.3 * rough[..., None]) - skin)
    return np.asarray(mixed, dtype=np.float32)


@lru_cache(maxsize=4)
def _stubble_share(assets: Assets) -> Array:
    """Return how much of each texel of the head's crop may be painted stubble, softly far beyond the mask's crisp border.

    Light skins have a softer stubble that reaches farther, to temples and nape; ears keep their own colour.
    """
    left, top, right, bottom = HEAD_CROP
    scalp = scalp_mask(assets)[top:bottom, left:right]
    core = cv2.morphologyEx((scalp > 0.5).astype(np.uint8), cv2.MORPH_OPEN, np.ones((15, 15), np.uint8))
    away = np.asarray(cv2.distanceTransform(1 - core, cv2.DIST_L2, 5))
    share = np.clip((STUBBLE[1] - away) / (STUBBLE[1] - STUBBLE[0]), 0.0, 1.0)
    share = np.asarray(share * share * (3.0 - 2.0 * share))
    rows, columns = np.mgrid[: scalp.shape[0], : scalp.shape[1]]
    for row, column in EARS:
        ear = np.clip((24.0 - np.hypot(rows - row, columns - column)) / 8.0, 0.0, 1.0)
        share *= 1.0 - ear * np.clip(away / STUBBLE[0], 0.0, 1.0)
    share.setflags(write=False)
    return share


def hair(assets: Assets, texture: str, colour: tuple[float, float, float], fineness: int = FINE) -> Pixels:
    """Paint a hair piece's texture in a colour, `fineness` times as fine as it is and with strands that follow its flow."""
    relative, opacity = _fine_hair(assets, texture, fineness)
    painted = _painted(relative, colour)
    strands = 1.0 + _strands(assets, texture, fineness)[..., None]
    colours = np.clip(painted.astype(np.float32) * strands, 0.0, 255.0).astype(np.uint8)
    return np.dstack([colours, opacity])


@lru_cache(maxsize=16)
def _fine_hair(assets: Assets, texture: str, fineness: int) -> tuple[Array, Pixels]:
    """Return what of a hair texture no colour changes, enlarged by a fineness: relative light, and opacity."""
    fine = cv2.resize(assets.picture(texture), None, fx=fineness, fy=fineness, interpolation=cv2.INTER_LINEAR)
    picture = np.asarray(fine, dtype=np.uint8)
    return relative_light(picture), picture[..., 3]


@lru_cache(maxsize=16)
def _strands(assets: Assets, texture: str, fineness: int) -> Array:
    """Return (N H, N W) float32 relative brightness of fine strands, N the fineness: noise drawn out along the texture's flow.

    Line integral convolution (Cabral and Leedom 1993); the flow is the direction in which the picture changes least.
    """
    picture = assets.picture(texture)
    luma = picture[..., :3].astype(np.float32) @ _LUMA.astype(np.float32)
    across, down = (cv2.Sobel(luma, cv2.CV_32F, dx, 1 - dx, ksize=3) for dx in (1, 0))
    xx, yy, xy = (cv2.GaussianBlur(product, (0, 0), 6.0) for product in (across**2, down**2, across * down))
    prior = 0.3 * float(np.mean(xx + yy))  # most hair falls down its texture; highlights across it must not turn it
    angle = 0.5 * np.arctan2(2.0 * xy, xx - yy + prior) + np.pi / 2.0
    size = (fineness * picture.shape[1], fineness * picture.shape[0])
    cosine, sine = (cv2.resize(wave, size) for wave in (np.cos(2.0 * angle), np.sin(2.0 * angle)))
    angle = 0.5 * np.arctan2(sine, cosine)
    step = np.stack([np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32)
    step[step[..., 1] < 0] *= -1.0
    noise = np.random.Generator(np.random.Philox(len(texture))).standard_normal((size[1], size[0]), dtype=np.float32)
    grid = np.stack(np.meshgrid(np.arange(size[0]), np.arange(size[1])), axis=-1).astype(np.float32)
    total = np.zeros_like(noise)
    for along in range(-12, 13):
        place = grid + 1.5 * along * step
        total += cv2.remap(noise, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)  # type: ignore[call-overload]
    strands = np.clip(0.16 * total / max(float(total.std()), 1e-6), -0.45, 0.6)
    strands.setflags(write=False)
    return np.asarray(strands, dtype=np.float32)


def recoloured(picture: Pixels, colour: tuple[float, float, float]) -> Pixels:
    """Paint an RGBA picture of hair in another sRGB colour, keeping its light and dark strands and its alpha."""
    return np.dstack([_painted(relative_light(picture), colour), picture[..., 3]])


def relative_light(picture: Pixels) -> Array:
    """Return how light each texel of an RGBA picture of hair is beside its mean, shade taken out: (H, W) float32."""
    luma = cv2.GaussianBlur(picture[..., :3].astype(np.float32) @ _LUMA.astype(np.float32), (0, 0), 0.7)
    solid = picture[..., 3] > 127
    mean = max(float(luma[solid].mean()) if solid.any() else 128.0, 4.0)
    return np.asarray(np.clip(luma / mean / _shade(luma / mean, solid) ** UNSHADED, 0.4, 2.2) ** 0.8)


def _painted(relative: Array, colour: tuple[float, float, float]) -> Pixels:
    painted = relative[..., None] * np.array(colour, dtype=np.float32) + 0.05 * np.clip(relative - 1.0, 0.0, 1.0)[..., None]
    return np.clip(255.0 * painted, 0.0, 255.0).astype(np.uint8)


def _shade(relative: Array, solid: Array) -> Array:
    """Return the shade that a hair texture has painted on, as a wide mean over what is solid: (H, W) float32, about 1."""
    sigma = relative.shape[1] / 40.0
    cover = np.asarray(cv2.GaussianBlur(solid.astype(np.float32), (0, 0), sigma))
    wide = np.asarray(cv2.GaussianBlur(np.where(solid, relative, 0.0).astype(np.float32), (0, 0), sigma))
    return np.clip(np.where(cover > 0.02, wide / np.maximum(cover, 0.02), 1.0), 0.2, 3.0)


@lru_cache(maxsize=16)
def eye(assets: Assets, texture: str) -> Pixels:
    """Paint the (H, W, 3) sRGB picture of an eyeball, as dark as one between lids: the assets' white would glow.

    Irises lose what no iris has: they are paler and more colourful than the palest of photographs, and have no darker rim.
    """
    picture = assets.picture(texture)
    painted = picture[..., :3].astype(np.float32) * np.float32(EYE_GAIN)
    side = picture.shape[0] / 512.0
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32) + 0.5
    for middle in IRIS_MIDDLES:
        away = np.hypot(columns - side * middle[0], rows - side * middle[1]) / np.float32(side * IRIS_RADIUS)
        inside = (away > 0.45) & (away < 0.9)
        light = float((painted[inside] @ _LUMA).mean())
        grey = (painted @ _LUMA.astype(np.float32))[..., None]
        calm = (grey + IRIS_COLOUR * (painted - grey)) * min(1.0, IRIS_LIGHT / max(light, 1.0))
        calm *= (1.0 - 0.5 * np.clip((away - 0.72) / 0.28, 0.0, 1.0) ** 2)[..., None]
        share = np.clip((1.08 - away) / 0.08, 0.0, 1.0)[..., None]
        painted = painted * (1.0 - share) + calm * share
    found = np.round(painted).astype(np.uint8)
    found.setflags(write=False)
    return found


def flat(picture: Pixels, colour: tuple[float, float, float]) -> Pixels:
    """Paint an RGBA picture in one sRGB colour, keeping its alpha."""
    one = np.broadcast_to(np.round(255.0 * np.array(colour)).astype(np.uint8), (*picture.shape[:2], 3))
    return np.dstack([one, picture[..., 3]])


def plain(colour: tuple[float, float, float], opacity: float = 1.0) -> Pixels:
    """Return a (2, 2, 4) picture of one sRGB colour."""
    values = np.round(255.0 * np.array([*colour, opacity])).astype(np.uint8)
    return np.broadcast_to(values, (2, 2, 4)).copy()
