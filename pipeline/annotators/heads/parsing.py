"""Class maps of a crop from what the parser says of it: enlarged along the picture's own edges.

Running the network is left to `parser`; that class map and matte agree is settled in `stages.parse`.
"""

from __future__ import annotations

import cv2
import numpy as np

from ....datasets.arrays import Array, Pixels
from ....datasets.classes import CLASSES, INDEX, is_class
from ..faces.face_regions import paint_features
from ..mattes.guided_filter import GuidedFilter
from ..parsers.mesh_parser import INSIDE, Parsed
from ..parsers.onnx_parser import within_matte
from .parser import CropMaps

GRID = 256
"""Side at which boundaries are drawn along edges before the map is enlarged to the crop."""
RADIUS, EPSILON = 6, 1e-3
"""Of the guided filter, in pixels of the grid and for colours in 0..1."""
GUIDED = tuple(INDEX[name] for name in ("skin", "neck", "cloth", "hair", "hat"))
"""Classes whose outlines follow edges; the others are small and are only enlarged."""
FEATURES = tuple(
    INDEX[name] for name in ("left_brow", "right_brow", "left_eye", "right_eye", "nose", "mouth", "upper_lip", "lower_lip")
)
"""Classes that the mesh marks, finer than the network but for those of `OWN`."""
FACE = (INDEX["skin"], *FEATURES)
"""Classes that the mesh's own marks may replace; glasses lie over them."""
OWN = tuple(INDEX[name] for name in ("left_brow", "right_brow", "nose"))
"""Features that the network marks better than the mesh, where it sees them: on rendered fronts the IoU of its brows is 0.47, of
the mesh's 0.17, which are bands that hold skin and lie on glasses; of noses 0.81 and 0.64."""
SEEN = 0.15
"""Share of the mesh's area of a feature from which the network sees it: on blurred and half hidden faces it may see none."""
JEWELLERY = (INDEX["earring"], INDEX["necklace"])
"""Classes that have no place on the features of a face, such as a necklace that is seen in teeth."""

LEAST = {
    INDEX[name]: area for names, area in ((("hat", "glasses", "necklace"), 1e-3), (("cloth", "neck"), 1e-4)) for name in names
}
"""Class -> share of the crop under which a patch of it is mostly not of that class: measured on 160 rendered crops with known
classes, where such patches were right on 0 to 33 % of their area, and the second most likely class more often. Earrings are
small."""
HAIR, APART, LOW = INDEX["hair"], 3e-3, 0.62
"""Patches of hair apart from the largest one, smaller than a share of the crop and below a share of its height: crumbs on necks
and shoulders, right on 16 % of their area on 12 wide people of `truth.py`, the second most likely class on 45 %. Higher ones
stay: seen from the side they are right more often than that class."""
BEARD = 0.5
"""Chance of being beard from which hair is."""
GLASSES = INDEX["glasses"]
PART = 0.1
"""Patches of glasses smaller than this share of all that is of the class are parts of a frame, and right."""


def chances(classes: Array) -> Array:
    """Return the (C, h, w) chances of logits."""
    raised = np.exp(classes - classes.max(axis=0, keepdims=True))
    return np.asarray(raised / raised.sum(axis=0, keepdims=True), dtype=np.float32)


def _enlarged(plane: Array, guided: GuidedFilter | None, side: int) -> Array:
    """Return a class's (side, side) chances: along the picture's edges where a filter is given."""
    if guided is None:
        return np.asarray(cv2.resize(plane, (side, side), interpolation=cv2.INTER_LINEAR))
    return guided(plane if plane.shape[1::-1] == guided.reduced_size else cv2.resize(plane, guided.reduced_size))


def without_crumbs(planes: Array, kinds: Array, cover: Array) -> Array:
    """Return the most likely class of each pixel, small patches of classes that are large given to the second most likely.

    Of hair these are patches low in a canonical crop, apart from the largest one.

    Args:
        planes: (K, S, S) float32 chances, K of 1 or more.
        kinds: (K,) uint8, the class of each plane.
        cover: (S, S) uint8, how far the head covers a pixel; patches lie where it does in part, and are as large as where it
            does by half or more.

    Returns:
        (S, S) uint8 classes.
    """
    best, found = planes[0].copy(), np.full(planes.shape[1:], kinds[0], dtype=np.uint8)
    for plane, kind in zip(planes[1:], kinds[1:], strict=True):
        np.copyto(found, kind, where=plane > best)
        np.maximum(best, plane, out=best)
    first = found.copy()
    for plane, kind in enumerate(kinds.tolist()):
        seen = (first == kind) & (cover > 0) if kind in (*LEAST, HAIR) and len(kinds) > 1 else None
        if seen is None or not seen.any():
            continue
        num, patches, _, middles = cv2.connectedComponentsWithStats(seen.astype(np.uint8), connectivity=8)
        areas = np.bincount(patches[cover >= INSIDE], minlength=num)
        small = areas < LEAST.get(kind, APART) * seen.size
        if kind == GLASSES:
            small &= areas >= PART * seen.sum()
        if kind == HAIR:
            small[1 + areas[1:].argmax()] = False
            small &= middles[:, 1] > LOW * len(seen)
        small[0] = False
        there = small[patches]
        others = planes[:, there]
        others[plane] = -np.inf
        found[there] = kinds[others.argmax(axis=0)]
    return found


def parse_crop(maps: CropMaps, image: Pixels, mask: Pixels, mesh: Array | None) -> Parsed:
    """Build the class map of a crop.

    Args:
        maps: what was read of it.
        image: (S, S, 3) uint8 RGB crop.
        mask: (S, S) uint8 matte; pixels under 128 become background, all others something else.
        mesh: (478, 3) face mesh in crop pixels, whose eyes and lips are finer than the network's; or None.
    """
    inside = mask >= INSIDE
    planes = chances(maps.classes)
    side = min(GRID, image.shape[0])
    small = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    guided = GuidedFilter(small, RADIUS, EPSILON, 2)
    kinds = np.flatnonzero(planes.max(axis=(1, 2)) >= 0.2).astype(np.uint8)
    kinds = kinds[kinds > 0]  # background is the matte's affair
    cover = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)
    classes = np.zeros((side, side), dtype=np.uint8)
    if len(kinds):
        fine = np.stack([_enlarged(planes[kind], guided if kind in GUIDED else None, side) for kind in kinds])
        classes = without_crumbs(fine, kinds, np.asarray(cover))
    coarse = cv2.resize(classes, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    found = within_matte(np.asarray(coarse), inside)
    if mesh is not None:
        _mark_features(found, mesh)
    certain = cv2.resize(planes[1:].max(axis=0) + planes[0], (side, side), interpolation=cv2.INTER_LINEAR)
    where = cover >= INSIDE
    return Parsed(found, float(np.clip(certain[where].mean(), 0.0, 1.0)) if where.any() else 0.0)


def beard_of(classes: Pixels, chance: Array) -> Pixels:
    """Return (S, S) 255 where the hair of a class map is beard, 0 elsewhere.

    Args:
        classes: (S, S) class map.
        chance: (h, w) float32, that hair is beard, see `CropMaps.beard`.
    """
    if chance.max() <= BEARD:
        return np.zeros_like(classes)
    likely = cv2.resize(chance, classes.shape[1::-1], interpolation=cv2.INTER_LINEAR) > BEARD
    return np.asarray((likely & (classes == HAIR)).view(np.uint8) * np.uint8(255))


def _mark_features(found: Pixels, mesh: Array) -> None:
    """Paint a class map's features as a (478, 3) mesh in crop pixels has them, but those of `OWN` that the map shows itself."""
    marked = np.zeros_like(found)
    paint_features(marked, mesh, np.ones(found.shape, dtype=bool))
    areas, marks = (np.bincount(classes.ravel(), minlength=len(CLASSES)) for classes in (found, marked))
    shown = tuple(kind for kind in OWN if areas[kind] >= SEEN * max(int(marks[kind]), 1))
    face = is_class(found, tuple(kind for kind in FACE if kind not in shown))  # background lies outside, no such class does
    over = face | is_class(found, (*shown, *JEWELLERY))
    np.copyto(found, np.uint8(INDEX["skin"]), where=face)
    np.copyto(found, marked, where=over & is_class(marked, tuple(kind for kind in FEATURES if kind not in shown)))
