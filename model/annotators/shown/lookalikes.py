"""Things that a finder takes for heads and that are none: lit balls, patches of hair as fur, busts without a head.

They are made of the same views as heads are, so that nothing but the shape tells them apart. Which pictures hold some is
decided in `scenes`.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from ....datasets.arrays import Array, Pixels
from ....datasets.classes import INDEX
from .augmentation import CropGeometry, laid, lit_crop
from .views import Views

HAIR = INDEX["hair"]
BUST = tuple(INDEX[name] for name in ("neck", "necklace", "cloth"))
SMALLEST, LARGEST = 0.12, 0.6
"""Extents in sides of the picture."""
PATCH = 48
"""Side in pixels of what is cut out of hair."""


def with_lookalike(random: np.random.Generator, views: Views, made: Array) -> Array:
    """Lay one look-alike on an (S, S, 3) float32 picture; return it as it is where the view that was drawn has none to give."""
    view = views.view(int(random.integers(len(views))))
    size = made.shape[0]
    scale = float(np.exp(random.uniform(math.log(0.3), math.log(1.2))))
    x, y = random.uniform(-0.45, 0.45, 2).tolist()
    geometry = CropGeometry(bool(random.random() < 0.5), float(random.normal(0.0, 0.3)), scale, (x, y))
    image, mask, parsing = lit_crop(random, view, geometry, size)
    kind = random.random()
    if kind < 0.3:
        bust = np.where(np.isin(parsing, BUST), mask, np.uint8(0))
        return laid(random, made, image, np.asarray(bust, dtype=np.uint8))
    if kind < 0.65:
        patch = _patch(random, image, parsing == HAIR)
        if patch is None:
            return made
        across = cv2.resize(patch, (size, size), interpolation=cv2.INTER_LINEAR)
        return laid(random, made, across, _blob(random, size))
    colour = image[mask > 127].reshape(-1, 3)
    if not len(colour):
        return made
    return _with_ball(random, made, colour[int(random.integers(len(colour)))])


def _patch(random: np.random.Generator, image: Array, hair: Array) -> Array | None:
    """Cut a square out of hair and continue it by reflection; None where there is too little hair."""
    inner = cv2.erode(hair.astype(np.uint8), np.ones((7, 7), np.uint8), borderValue=0)
    places = np.argwhere(inner > 0)
    if len(places) < 60:
        return None
    row, column = places[int(random.integers(len(places)))].tolist()
    reach = 3
    while reach < PATCH // 2 and inner[max(row - reach, 0) : row + reach, max(column - reach, 0) : column + reach].all():
        reach += 1
    cut = image[max(row - reach, 0) : row + reach, max(column - reach, 0) : column + reach]
    wide = max(1, math.ceil(random.uniform(1.0, 3.0)))
    tile = np.hstack([cut, cut[:, ::-1]] * wide)
    return np.ascontiguousarray(np.vstack([tile, tile[::-1]] * wide), dtype=np.float32)


def _blob(random: np.random.Generator, size: int) -> Pixels:
    """Draw an (S, S) ellipse, box or ragged outline."""
    cover = np.zeros((size, size), dtype=np.uint8)
    extent = size * random.uniform(SMALLEST, LARGEST, 2)
    centre = random.uniform(0.0, size, 2)
    angle = float(random.uniform(0.0, 180.0))
    if random.random() < 0.4:
        box = (tuple(centre.tolist()), tuple(extent.tolist()), angle)
        cv2.fillPoly(cover, [np.asarray(cv2.boxPoints(box), dtype=np.int32)], 255, cv2.LINE_AA)
        return cover
    turns = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    radii = 0.5 * np.exp(float(random.uniform(0.0, 0.35)) * random.normal(0.0, 1.0, 24))[:, None]
    outline = centre + radii * extent * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    cv2.fillPoly(cover, [outline.astype(np.int32)], 255, cv2.LINE_AA)
    return cover


def _with_ball(random: np.random.Generator, made: Array, colour: Array) -> Array:
    """Lay a lit ball of one colour, stretched by chance, on a picture."""
    size = made.shape[0]
    half = 0.5 * size * random.uniform(SMALLEST, LARGEST)
    stretch = float(random.uniform(0.75, 1.35))
    centre = random.uniform(0.0, size, 2)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) + np.float32(0.5)
    across, down = (x - np.float32(centre[0])) / np.float32(half), (y - np.float32(centre[1])) / np.float32(half * stretch)
    inside = across**2 + down**2
    depth = np.sqrt(np.clip(1.0 - inside, 0.0, 1.0))
    light = random.normal(0.0, 1.0, 3)
    light = light / np.linalg.norm(light) * np.sign(light[2] if light[2] else 1.0)
    shade = float(random.uniform(0.2, 0.6)) + np.clip(across * light[0] + down * light[1] + depth * light[2], 0.0, 1.0)
    cover = np.clip(255.0 * (1.0 - np.sqrt(inside)) * half, 0, 255).astype(np.uint8)
    return laid(random, made, np.asarray(colour * shade[..., None], dtype=np.float32), cover)
