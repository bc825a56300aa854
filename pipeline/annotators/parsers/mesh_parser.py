"""The 19-class map without a parsing network: face parts from the mesh, hair, skin and clothes from colours and places.

Classes it cannot tell reliably (glasses, earrings, necklaces, hats) it never claims: they come out as what lies under or
around them. `head_layout` says where things are likely, `colour_models` what colours say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ....datasets.arrays import Array, Pixels
from ....datasets.camera import Camera
from ....datasets.classes import INDEX
from ..faces.face_regions import FACE_OVAL, fill, paint_features
from ..mattes.guided_filter import GuidedFilter
from .colour_models import ColourModel, PixelFeatures, classify, colour_density, local_deviation, separation
from .head_layout import CLOTH, HAIR, NECK, SKIN, Layout, disc, layout_of_camera, layout_of_mesh, visible_ears

GRID = 128
"""Side of the grid on which colours are weighed."""
INSIDE = 128
"""Mask value from which a pixel belongs to the head: below it the class is background."""

_KINDS = np.array([INDEX["skin"], INDEX["neck"], INDEX["hair"], INDEX["cloth"]], dtype=np.uint8)
"""Class of each entry of a prior."""

_EAR_EVIDENCE = 1.25
"""Least logarithm of how much better skin explains an ear than hair does: over 26 heads, bare ears had 1.3 to 3.6 and hair in
their place 0 to 1.4.
"""
_ORDINARY_SKIN = 170.0
"""Largest of red, green and blue of a face in fair light."""
_BALD_UNLIKE, _BALD_LIGHT = 0.25, 0.66
"""Largest share of the places of hair that differ from skin, and least light relative to skin, of a bald head."""


@dataclass(frozen=True)
class Parsed:
    """A class map and how far it can be trusted."""

    classes: Pixels
    """(S, S) uint8 class map."""
    confidence: float
    """0 to 1."""


def parse(image: Pixels, mask: Pixels, mesh: Array | None, camera: Camera, model: ColourModel) -> Parsed:
    """Build the class map of a crop.

    Args:
        image: (S, S, 3) uint8 RGB crop.
        mask: (S, S) uint8 matte; pixels under `INSIDE` become background, all others something else.
        mesh: (478, 3) face mesh in crop pixels, or None.
        camera: the crop's camera.
        model: settings of the colour models.
    """
    size = image.shape[0]
    inside = mask >= INSIDE
    layout = layout_of_mesh(mesh, camera, size, GRID) if mesh is not None else layout_of_camera(camera, size, GRID)
    small: Pixels = np.asarray(cv2.resize(image, (GRID, GRID), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    region = _region(mask)
    skin = _skin_cells(layout, region, small)
    gain = _gain(small, skin)
    small = np.asarray(cv2.convertScaleAbs(small, alpha=gain), dtype=np.uint8)
    features = PixelFeatures(small, gain * _texture(image))
    prior = layout.prior
    shaded = _shaded_likeness(small, skin)
    if _is_bald(layout, region, skin, shaded, small):
        prior = prior * np.array([1.0, 1.0, 0.01, 1.0], dtype=np.float32)[:, None, None]
    seeds = _seeds(features, layout, region, skin, shaded)
    posterior = classify(features, prior, seeds, region, model)
    posterior = _tidied(_without_hidden_ears(posterior, prior, layout, region, camera), layout, region)
    kinds = _full_size(image, posterior)
    classes = np.zeros((size, size), dtype=np.uint8)
    classes[inside] = _KINDS[kinds[inside]]
    _mark_ears(classes, mesh, layout, camera)
    if mesh is not None:
        paint_features(classes, mesh, inside)
    return Parsed(classes, _confidence(features, posterior, layout, region, camera))


def _texture(image: Pixels) -> Array:
    """Return the (g, g) standard deviation of the lightness, measured at twice the grid's resolution."""
    twice = cv2.resize(image, (2 * GRID, 2 * GRID), interpolation=cv2.INTER_AREA)
    lightness = np.asarray(cv2.cvtColor(twice, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    return np.asarray(cv2.resize(local_deviation(lightness, 2), (GRID, GRID), interpolation=cv2.INTER_AREA))


def _region(mask: Pixels) -> Array:
    """Return the (g, g) weight of cells whose colour is the head's own: those well inside the matte."""
    share = cv2.resize(mask, (GRID, GRID), interpolation=cv2.INTER_AREA).astype(np.float32) * np.float32(1 / 255)
    return np.asarray(cv2.erode(share, np.ones((3, 3), dtype=np.uint8)))


def _skin_cells(layout: Layout, region: Array, small: Pixels) -> Array:
    """Return (g, g) boolean: cells that show this person's skin, without what is unusually dark or light among them."""
    skin = layout.skin_seed & (region > 0.9)
    if not layout.core.any():  # no mesh: the usual colours of skin, where skin may be
        usual = _skin_like(small) & (region > 0.9)
        sure = usual & skin
        skin = sure if sure.sum() >= 0.15 * skin.sum() else skin
        skin = skin if skin.any() else usual & (layout.prior[SKIN] + layout.prior[NECK] > 0.3)
    return _without_outliers(skin, small)


def _gain(small: Pixels, skin: Array) -> float:
    """Return the factor that brings this skin to ordinary brightness, so that a dark photograph is judged like any other."""
    if not skin.any():
        return 1.0
    return float(np.clip(_ORDINARY_SKIN / max(1.0, float(np.median(small[skin].max(axis=1)))), 0.8, 3.0))


def _is_bald(layout: Layout, region: Array, skin: Array, shaded: Array, small: Pixels) -> bool:
    """Say whether the places of hair show nothing but skin: its chromaticity, and no less than two thirds of its light.

    Of the 26 heads with hair that this was tried on, at least half of these places differ; of bald ones under a tenth.
    """
    weight = layout.hair_seed * region
    total = float(weight.sum())
    if total < 10.0 or skin.sum() < 20:
        return False
    unlike = float((weight * (1.0 - shaded)).sum()) / total
    light = cv2.transform(small, np.ones((1, 3), dtype=np.float32) / 3.0)
    return unlike < _BALD_UNLIKE and float((weight * light).sum()) / total > _BALD_LIGHT * float(np.median(light[skin]))


def _seeds(features: PixelFeatures, layout: Layout, region: Array, skin: Array, shaded: Array) -> Array:
    """Return (4, g, g) weights of cells that show what skin, neck, hair and clothes look like in this picture.

    Skin is given; a neck is skin in the shade; hair and clothes are where they are likely, less what looks like skin.
    """
    not_skin = 1.0 - _likeness(features, skin.astype(np.float32))
    hair = layout.hair_seed * region * not_skin
    neck = layout.prior[NECK] ** 2 * region * shaded
    not_skin = np.minimum(not_skin, 1.0 - _likeness(features, neck))
    cloth = layout.prior[CLOTH] * layout.below * region * not_skin * (1.0 - _likeness(features, hair))
    return np.stack([skin, neck, hair, cloth]).astype(np.float32)


def _shaded_likeness(small: Pixels, skin: Array) -> Array:
    """Return (g, g): 1 where a pixel has the chromaticity of the skin cells and at least a fifth of their brightness."""
    if not skin.any():
        return np.zeros(small.shape[:2], dtype=np.float32)
    red, green, blue = (small[:, :, channel].astype(np.float32) + np.float32(4.0) for channel in range(3))
    light = red + green + blue
    red, green = red / light, green / light
    distance = (red - np.median(red[skin])) ** 2 + (green - np.median(green[skin])) ** 2
    brightness = light / np.median(light[skin])
    return np.asarray(np.exp(-distance / np.float32(2.0 * 0.025**2)) * np.clip((brightness - 0.2) / 0.15, 0.0, 1.0))


def _likeness(features: PixelFeatures, weights: Array) -> Array:
    """Return (g, g): 1 where a colour is common among the weighted pixels, 0 where it does not occur."""
    if weights.sum() < 10.0:
        return np.zeros(features.shape, dtype=np.float32)
    density = colour_density(features, weights, ColourModel())
    return np.asarray(np.minimum(density / (0.15 * density.max()), 1.0)[features.colour].reshape(features.shape))


def _without_outliers(chosen: Array, small: Pixels) -> Array:
    """Keep the chosen cells whose Lab colour is within three robust deviations of the median."""
    if not chosen.any():
        return chosen
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    middle = np.median(lab[chosen], axis=0)
    spread = np.maximum(1.48 * np.median(np.abs(lab[chosen] - middle), axis=0), [8.0, 3.0, 3.0])
    return np.asarray(chosen & (np.abs(lab - middle) < 3.0 * spread).all(axis=2))


def _skin_like(small: Pixels) -> Array:
    """Return where a colour lies in the usual range of skin: Cr 133 to 173, Cb 77 to 127 (Chai and Ngan 1999)."""
    chroma = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb)
    red, blue = chroma[:, :, 1], chroma[:, :, 2]
    return np.asarray((red >= 133) & (red <= 173) & (blue >= 77) & (blue <= 127))


def _without_hidden_ears(posterior: Array, prior: Array, layout: Layout, region: Array, camera: Camera) -> Array:
    """Give the place of an ear to hair where its colours speak for skin hardly more than for hair."""
    for _, outline in visible_ears(camera, GRID):
        place = np.zeros((GRID, GRID), dtype=np.uint8)
        fill(place, outline, 1)
        ear = (place > 0) & ~layout.face & (region > 0.5) & (posterior.argmax(axis=0) == SKIN)
        if ear.any():
            chances = posterior[[SKIN, HAIR]][:, ear] / prior[[SKIN, HAIR]][:, ear] + np.float32(1e-6)
            if float(np.median(np.log(chances[0] / chances[1]))) < _EAR_EVIDENCE:
                posterior = _without(posterior, SKIN, ear)
    return posterior


def _tidied(posterior: Array, layout: Layout, region: Array) -> Array:
    """Move what cannot be to the next likely class: loose skin, hair that hangs from nowhere, floating clothes."""
    present = region > 0.05
    for _ in range(2):
        kinds = np.where(present, posterior.argmax(axis=0), -1)
        moved = (kinds == HAIR) & (layout.below > 0.5) & ~_reached(kinds == HAIR, layout.below < 0.5)
        posterior = _without(posterior, HAIR, moved)
        bottom = np.zeros_like(present)
        bottom[-3:] = True
        loose = (kinds == CLOTH) & ~_reached(kinds == CLOTH, bottom)
        posterior = _without(posterior, CLOTH, loose)
        if layout.face.any():
            stray = (kinds == SKIN) & (layout.below < 0.5) & ~_reached(kinds == SKIN, layout.core | layout.skin_seed)
            posterior = _without(posterior, SKIN, stray)
        inner = (kinds == HAIR) & layout.face & ~_reached(kinds == HAIR, ~layout.face & (layout.below < 0.5))
        posterior = _without(posterior, HAIR, inner)
    return posterior


def _reached(region: Array, start: Array) -> Array:
    """Return the part of a boolean region that is connected with `start`."""
    _, labels = cv2.connectedComponents(region.astype(np.uint8), connectivity=4)
    kept = np.zeros(labels.max() + 1, dtype=bool)
    kept[labels[start & region]] = True
    kept[0] = False
    return np.asarray(kept[labels])


def _without(posterior: Array, kind: int, where: Array) -> Array:
    """Return the posterior with one class all but ruled out at some places."""
    changed = posterior.copy()
    changed[kind][where] *= np.float32(0.02)
    return np.asarray(changed / changed.sum(axis=0))


def _full_size(image: Pixels, posterior: Array) -> Array:
    """Return the (S, S) index of the strongest class, its borders drawn by the guided filter at half the crop's size."""
    size = image.shape[0]
    half = max(GRID, size // 2)
    guide = cv2.resize(image, (half, half), interpolation=cv2.INTER_AREA)
    subsample = max(1, half // GRID)
    guided = GuidedFilter(guide, 3 * subsample, 5e-4, subsample)
    chances = np.empty((len(posterior), size, size), dtype=np.float32)
    for kind in (SKIN, NECK, CLOTH):
        drawn = guided(cv2.resize(posterior[kind], guided.reduced_size))
        chances[kind] = cv2.resize(cv2.blur(drawn, (3, 3)), (size, size), interpolation=cv2.INTER_LINEAR)
    chances[HAIR] = 1.0 - chances[SKIN] - chances[NECK] - chances[CLOTH]  # the filter is linear and keeps constants
    return strongest(chances)


def strongest(chances: Array) -> Pixels:
    """Return the (H, W) index of the largest of (n, H, W) planes, the first of equals: `argmax`, several times faster."""
    best, index = chances[0], np.zeros(chances.shape[1:], dtype=np.uint8)
    for kind in range(1, len(chances)):
        better = chances[kind] > best
        index[better] = kind
        best = np.maximum(best, chances[kind])
    return index


def _mark_ears(classes: Pixels, mesh: Array | None, layout: Layout, camera: Camera) -> None:
    """Turn skin beside the face into ears, in place, where enough of the expected ear shows to be one.

    Shadows within an ear look like hair; they are closed where ear surrounds them.
    """
    unit = layout.centimetre * len(classes) / GRID
    for side, outline in visible_ears(camera, len(classes)):
        margin = 1.0 * unit
        x0, y0 = np.maximum(np.floor(outline.min(axis=0) - margin), 0).astype(int)
        x1, y1 = np.minimum(np.ceil(outline.max(axis=0) + margin), len(classes)).astype(int)
        if x1 <= x0 or y1 <= y0:
            continue
        cut = classes[y0:y1, x0:x1]
        place, face = np.zeros_like(cut), np.zeros_like(cut)
        fill(place, outline - [x0, y0], 1)
        if mesh is not None:
            fill(face, mesh[list(FACE_OVAL), :2] - [x0, y0], 1)
        skin, hair = cut == INDEX["skin"], cut == INDEX["hair"]
        beside = (place > 0) & (face == 0)
        shown = cv2.morphologyEx((beside & skin).astype(np.uint8), cv2.MORPH_OPEN, disc(0.25 * unit))
        shown = cv2.morphologyEx(shown, cv2.MORPH_CLOSE, disc(0.9 * unit))
        ear = (shown > 0) & beside & (skin | hair)
        if ear.sum() >= 1.5 * unit * unit:
            cut[ear] = INDEX["left_ear" if side > 0 else "right_ear"]


def _confidence(features: PixelFeatures, posterior: Array, layout: Layout, region: Array, camera: Camera) -> float:
    """Say how far to trust the map: how clearly pixels fell, how unlike hair and skin are, and what was known of the face.

    The parts from the mesh are good up to about 45 degrees of azimuth; without a mesh there are only places and colours.
    """
    clear = float((posterior.max(axis=0) * region).sum() / max(float(region.sum()), 1e-6))
    apart = separation(features, posterior[SKIN] * region, posterior[HAIR] * region, ColourModel())
    yaw = abs(camera.yaw)
    known = 1.0 - 0.5 * min(1.0, max(0.0, (yaw - math.radians(30.0)) / math.radians(45.0)))
    if not layout.core.any():
        known = 0.35 if layout.face.any() else 0.25
    return float(known * clear * (0.5 + 0.5 * apart))
