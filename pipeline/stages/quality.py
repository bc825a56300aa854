"""Refuses heads that are too small, cut, blurred, badly exposed, compressed or edited, and scores those that pass.

How each number is measured stands in `curation.measures`; here is where on the head it is measured and what is good enough.
Which of several likenesses stays is decided over the whole set, from the perceptual hashes noted here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import cv2
import numpy as np

from ...datasets import warp
from ...datasets.arrays import Pixels
from ...datasets.classes import INDEX
from ...datasets.sample import Drop, Sample
from ..annotators.faces.face_regions import FACE_OVAL, fill
from ..curation import measures
from ..curation.measures import Region
from ..curation.perceptual_hash import perceptual_hashes
from ..stage import OpenStage, Stage

_FACE = ("skin", "left_brow", "right_brow", "left_eye", "right_eye", "nose", "mouth", "upper_lip", "lower_lip")
_NOT_HEAD = ("background", "neck", "necklace", "cloth")
_NO_STRANDS = ("left_ear", "right_ear", "neck", "cloth", "glasses", "hat", *_FACE)
"""Where halos are looked for: strands of hair lie side by side, bright and dark, and look like halos of each other."""
_MIN_PLAIN_SHARE = 0.02
"""Share of the crop without strands below which halos are not told."""
_MIN_FACE_SHARE = 0.015
"""A face of less than this share of the crop is not judged by its skin: the head is seen from behind."""
_MARGIN = 1 / 64
"""Regions are drawn in by this share of the crop, so that the outline against the background is not measured."""
_BOX_MARGIN = 1 / 32
"""Share of the crop around the regions that filters may read."""
_HEAD_CENTRE, _HEAD_RADII = (0.5, 0.46), (0.30, 0.38)
"""The ellipse of the crop in which the head frame puts a head, from wherever it is seen."""
_SHRUNK = 0.5
"""Crop pixels per source pixel up to which compression is averaged away."""
_SOURCE_SIDE = 768
"""Largest side of the part of the photograph in which compression blocks are looked for."""

Limits = tuple[tuple[str, str, float, float], ...]
"""(score, reason, least, most) in the order in which they are judged."""


@dataclass(frozen=True)
class Quality(Stage):
    """Measure the crop inside the head; mask, parsing, mesh and camera are used where they are there.

    The defaults pass ordinary photographs and refuse plain defects. Set a limit to 0, or to a very large number, to only score.
    Rendered pictures are judged by size and direction alone: limits on pixels speak of lenses, compression and editing.
    """

    name: ClassVar[str] = "quality"
    version: ClassVar[int] = 3
    needs: ClassVar[tuple[str, ...]] = ("image",)

    min_head_px: float = 80.0
    """Least height of the head in source pixels."""
    max_upscale: float = 4.0
    """Most crop pixels a source pixel."""
    max_padding: float = 0.35
    """Largest share of the crop that the photograph does not cover."""
    max_head_padding: float = 0.10
    """The same share, within the ellipse where the head frame puts the head."""
    max_yaw_degrees: float = 180.0
    """Largest azimuth of the camera to either side."""
    max_pitch_degrees: float = 60.0
    """Largest elevation of the camera, above or below."""
    max_roll_degrees: float = 60.0
    """Largest turn of the picture to either side."""
    min_foreground: float = 0.08
    """Smallest share of the crop that the matte may cover."""
    max_foreground: float = 0.92
    """Largest share of the crop that the matte may cover."""
    min_luma: float = 40.0
    """Least mean luma of the face, 0 to 255; low, so that dark skin in ordinary light passes."""
    min_highlights: float = 85.0
    """Least 95 % quantile of the face's luma: even dark skin has eyes, teeth and glints."""
    max_luma: float = 198.0
    """Largest mean luma of the face."""
    max_shadows: float = 170.0
    """Largest 5 % quantile of the face's luma: brows and nostrils of a washed-out face are above it."""
    max_clipped: float = 0.25
    """Largest share of the face (of the head, where no face is seen) at either end of the range."""
    max_blur_px: float = 1.35
    """Largest blur, as the standard deviation of a Gaussian in pixels of the crop, or of the source where that is coarser."""
    max_halo: float = 0.075
    """Largest overshoot on both sides of edges outside of hair, as a share of their height."""
    max_noise: float = 2.0
    """Largest noise of the calmest parts of the head and shoulders in grey levels."""
    max_blockiness: float = 2.7
    """Largest extra step on the compression grid in grey levels, times the cube root of how much the crop enlarges it."""
    min_jpeg_quality: float = 35.0
    """Least quality of a JPEG, as its tables tell it, where the crop does not shrink it to less than half."""
    min_skin_texture: float = 0.95
    """Least fine texture of the smoothest part of the face in grey levels."""
    hashes: bool = True
    """Note the perceptual hash of the crop and of its mirror image, for finding near duplicates."""

    def open(self, device: str = "cpu") -> OpenStage:
        """Return the stage at work; there are no models."""
        return _OpenQuality(self)

    def placement_limits(self) -> Limits:
        """Return what is judged before any pixel is looked at."""
        return (
            ("head_px", "head_too_small", self.min_head_px, math.inf),
            ("upscale", "upscaled_too_much", 0.0, self.max_upscale),
            ("pad_ratio", "head_cut", 0.0, self.max_padding),
            ("head_padding", "head_cut", 0.0, self.max_head_padding),
            ("yaw_degrees", "pose_implausible", -self.max_yaw_degrees, self.max_yaw_degrees),
            ("pitch_degrees", "pose_implausible", -self.max_pitch_degrees, self.max_pitch_degrees),
            ("roll_degrees", "pose_implausible", -self.max_roll_degrees, self.max_roll_degrees),
            ("foreground", "foreground_share", self.min_foreground, self.max_foreground),
        )

    def pixel_limits(self, face: bool) -> Limits:
        """Return what is judged of the pixels; brightness and texture only where a face is seen."""
        exposure: Limits = (
            ("face_luma", "dark", self.min_luma, math.inf),
            ("face_highlights", "dark", self.min_highlights, math.inf),
            ("face_luma", "bright", 0.0, self.max_luma),
            ("face_shadows", "bright", 0.0, self.max_shadows),
        )
        texture: Limits = (("skin_texture", "oversmoothed", self.min_skin_texture, math.inf),)
        return (
            ("clipped_high", "clipped", 0.0, self.max_clipped),
            *(exposure if face else ()),
            ("clipped_low", "clipped", 0.0, self.max_clipped),
            ("blur_px", "blurred", 0.0, self.max_blur_px),
            ("halo", "oversharpened", -math.inf, self.max_halo),
            ("noise", "noisy", 0.0, self.max_noise),
            ("blockiness", "blocky", 0.0, self.max_blockiness),
            ("jpeg_quality", "blocky", self.min_jpeg_quality, math.inf),
            *(texture if face else ()),
        )


class _OpenQuality(OpenStage):
    def __init__(self, settings: Quality) -> None:
        self._settings = settings

    def one(self, sample: Sample, rng: np.random.Generator) -> Iterable[Sample]:
        """Score a sample.

        Raises:
            Drop: the first limit, in the order of `placement_limits` and `pixel_limits`, that a score breaks.
        """
        image = sample.require("image")
        placement = placement_scores(sample)
        judge(placement, self._settings.placement_limits())
        pixels, face = pixel_scores(sample)
        if not sample.is_rendered:  # sharp, exposed and uncompressed by construction; dark or fine hair fools the measures
            judge(pixels, self._settings.pixel_limits(face))
        notes = {}
        if self._settings.hashes:
            notes["phash"], notes["phash_mirror"] = perceptual_hashes(image)
        scores = {**placement, **pixels}
        scores["quality"] = overall(scores)
        kept = {name: round(value, 4) for name, value in scores.items() if not name.endswith("_degrees")}
        yield sample.with_(scores=kept, notes=notes)


def judge(scores: Mapping[str, float], limits: Limits) -> None:
    """Refuse the first score that breaks its limit; what was not measured is not judged.

    Raises:
        Drop: reason, the measured fact and its value.
    """
    for name, reason, least, most in limits:
        value = scores.get(name)
        if value is not None and value < least:
            raise Drop(reason, f"{name} {value:.4g} < {least:.4g}", value)
        if value is not None and value > most:
            raise Drop(reason, f"{name} {value:.4g} > {most:.4g}", value)


def placement_scores(sample: Sample) -> dict[str, float]:
    """Return the scores of size, padding, direction and matte that a sample has grounds for."""
    scores = {name: float(sample.scores[name]) for name in ("head_px",) if name in sample.scores}
    if sample.crop is not None:
        scores["upscale"], scores["pad_ratio"] = sample.crop.upscale, sample.crop.pad_ratio
    if sample.padding is not None:
        inside = expected_head(sample.padding.shape[0])
        scores["head_padding"] = float(np.count_nonzero(sample.padding[inside])) / int(inside.sum())
    if sample.camera is not None:
        for name in ("yaw", "pitch", "roll"):
            scores[f"{name}_degrees"] = math.degrees(getattr(sample.camera, name))
    if sample.mask is not None:
        scores["foreground"] = float(sample.mask.mean()) / 255.0
    return scores


def pixel_scores(sample: Sample) -> tuple[dict[str, float], bool]:
    """Return the scores of exposure, sharpness and editing, and whether a face was seen.

    A crop that was enlarged is measured at the scale of its source: that it is enlarged is judged by `max_upscale` alone.
    """
    upscale = 1.0 if sample.crop is None else sample.crop.upscale
    head, face = regions(sample)
    plain, person = without_strands(sample, face), _person(sample, head)
    box = _box(head | person if face is None else head | face | person)
    picture = measures.at_source_scale(measures.luma(sample.require("image")[box]), upscale)
    head, face = _scaled(head[box], upscale), None if face is None else _scaled(face[box], upscale)
    edges = measures.Edges.of(picture)
    scores = {"blur_px": measures.blur_sigma(edges, head, edges.strongest(head))}
    if plain is not None:
        scores["halo"] = measures.halo(edges, _scaled(plain[box], upscale))
    noise = edges.noise_floor(_scaled(person[box], upscale))
    if noise is not None:
        scores["noise"] = noise
    exposure = measures.exposure(picture, head if face is None else face)
    if exposure is not None:
        scores["clipped_low"], scores["clipped_high"] = exposure.clipped_low, exposure.clipped_high
    if face is not None and exposure is not None:
        scores["face_luma"], scores["face_shadows"] = exposure.mean, exposure.shadows
        scores["face_highlights"] = exposure.highlights
        scores["skin_texture"] = measures.skin_texture(picture, face, scores["blur_px"])
    if sample.crop is not None and upscale > _SHRUNK and sample.photo.info.jpeg_quality > 0.0:
        scores["jpeg_quality"] = sample.photo.info.jpeg_quality
    if sample.crop is not None:
        scores["blockiness"] = math.cbrt(upscale) * measures.blockiness(source_region(sample))
    return scores, face is not None


def overall(scores: Mapping[str, float]) -> float:
    """Return one number, 0 to 1, by which the best of several likenesses is chosen: how much of the crop's detail is real.

    It is the product of source pixels a crop pixel (at most 1), the inverse of the blur (at most 1), and what compression,
    clipping and padding leave; scores that are missing count as perfect.
    """
    spoilt = (scores.get("blockiness", 0.0) / 8.0, scores.get("clipped_low", 0.0), scores.get("clipped_high", 0.0))
    left = math.prod(max(0.0, 1.0 - share) for share in (*spoilt, scores.get("head_padding", 0.0)))
    return left / (max(1.0, scores.get("upscale", 1.0)) * max(1.0, scores.get("blur_px", 1.0)))


def regions(sample: Sample) -> tuple[Region, Region | None]:
    """Return where the head and, if it is seen, the face lie in the crop, each drawn in by a margin.

    The head is what the parsing calls head, else the matte, else where the head frame puts a head. The face is
    what the parsing calls face, else the mesh's oval, else the hull of the landmarks.

    Returns:
        Two (S, S) boolean maps; None for a face that nothing shows.
    """
    size = sample.require("image").shape[0]
    face = _face(sample, size)
    if sample.parsing is not None:
        head = ~_is_class(sample.parsing, _NOT_HEAD)
    elif sample.mask is not None:
        head = sample.mask > 127
    else:
        head = expected_head(size)
    if face is not None and np.count_nonzero(face) < _MIN_FACE_SHARE * size * size:
        face = None
    return _drawn_in(head), None if face is None else _drawn_in(face)


def without_strands(sample: Sample, face: Region | None) -> Region | None:
    """Return the (S, S) part of head and shoulders without hair, drawn in by a margin; None where too little is known of it."""
    if sample.parsing is None:
        found = face
    else:
        found = _drawn_in(_is_class(sample.parsing, _NO_STRANDS))
    if found is None or np.count_nonzero(found) < _MIN_PLAIN_SHARE * found.size:
        return None
    return found


def _person(sample: Sample, head: Region) -> Region:
    """Return where head and shoulders surely are: the matte drawn in, else the head."""
    return head if sample.mask is None else _drawn_in(sample.mask > 127)


@cache
def expected_head(size: int) -> Region:
    """Return the (size, size) ellipse in which the head frame puts the head; read-only."""
    axis = (np.arange(size) + 0.5) / size
    x, y = (axis - _HEAD_CENTRE[0]) / _HEAD_RADII[0], (axis - _HEAD_CENTRE[1]) / _HEAD_RADII[1]
    inside: Region = x[None, :] ** 2 + y[:, None] ** 2 <= 1.0
    inside.setflags(write=False)
    return inside


def source_region(sample: Sample) -> Pixels:
    """Return the photograph's own pixels under the crop, at most `_SOURCE_SIDE` a side round its middle."""
    crop, pixels = sample.require("crop"), sample.photo.pixels
    corners = warp.quad(crop.matrix, crop.size)
    middle = corners.mean(axis=0)
    low = np.maximum(corners.min(axis=0), middle - _SOURCE_SIDE / 2)
    high = np.minimum(corners.max(axis=0), middle + _SOURCE_SIDE / 2)
    x0, y0 = np.maximum(np.floor(low), 0).astype(int)
    x1, y1 = np.ceil(high).astype(int)
    return np.ascontiguousarray(pixels[y0 : max(y1, 0), x0 : max(x1, 0)])


def _face(sample: Sample, size: int) -> Region | None:
    if sample.parsing is not None:
        return _is_class(sample.parsing, _FACE)
    if sample.mesh is not None:
        polygon = sample.mesh[list(FACE_OVAL), :2]
    elif sample.landmarks is not None:
        polygon = cv2.convexHull(np.asarray(sample.landmarks, dtype=np.float32)).reshape(-1, 2)
    else:
        return None
    canvas = np.zeros((size, size), dtype=np.uint8)
    fill(canvas, polygon, 1)
    return np.asarray(canvas > 0)


def _is_class(parsing: Pixels, names: tuple[str, ...]) -> Region:
    table = np.zeros(256, dtype=np.uint8)
    table[[INDEX[name] for name in names]] = 1
    return np.asarray(cv2.LUT(parsing, table)).view(bool)


def _drawn_in(region: Region) -> Region:
    reach = 2 * round(region.shape[0] * _MARGIN / 2) + 1
    eroded = cv2.erode(region.view(np.uint8), np.ones((reach, reach), dtype=np.uint8), borderValue=0)
    return np.asarray(eroded).view(bool)


def _scaled(region: Region, upscale: float) -> Region:
    whole = np.ascontiguousarray(region).view(np.uint8)
    return np.ascontiguousarray(measures.at_source_scale(whole, upscale, nearest=True)).view(bool)


def _box(region: Region) -> tuple[slice, slice]:
    """Return the part of the crop that holds a region and what filters read around it; everything for an empty region."""
    margin = round(_BOX_MARGIN * region.shape[0])
    slices = []
    for axis in (1, 0):
        places = np.flatnonzero(region.any(axis=axis))
        low, high = (places[0], places[-1] + 1) if places.size else (0, region.shape[1 - axis])
        slices.append(slice(max(0, int(low) - margin), min(region.shape[1 - axis], int(high) + margin)))
    return slices[0], slices[1]
