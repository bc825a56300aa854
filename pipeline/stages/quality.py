"""Refuses heads that are too small, cut, blurred, badly exposed, compressed or edited, and scores those that pass.

How each number is measured stands in `curation.measures` and `annotators.heads.strengths`, where on the head in `head_regions`;
here is what is good enough. Which of several likenesses stays is decided over the whole set, from the hashes noted here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np

from ...datasets.sample import Drop, Sample
from ..annotators.heads import files as head_files
from ..annotators.heads.strengths import StrengthReader
from ..backends import onnx_session
from ..curation import measures
from ..curation.perceptual_hash import perceptual_hashes
from ..stage import Backend, OpenStage, Stage
from .head_regions import background, expected_head, regions, source_region, without_strands

_SHRUNK = 0.5
"""Crop pixels per source pixel up to which compression is averaged away."""

_STRONG_BLUR = 10.0
"""Blur in pixels, as edges show it, beyond which edges are believed: the network has learned from blur of at most 5 px, and
edges of untouched dark hair look blurred by up to 8."""

_CALM_NOISE, _CALM_HALO = 3.0, 0.1
"""Noise in grey levels beside the hair, and overshoot of the whole head, up to which a picture is calm: white noise of 8 levels
reads as 3.1 or more beside the hair."""

Limits = tuple[tuple[str, str, float, float], ...]
"""(score, reason, least, most) in the order in which they are judged."""


@dataclass(frozen=True)
class Quality(Stage):
    """Measure the crop inside the head; mask, parsing, mesh and camera are used where they are there.

    The defaults pass ordinary photographs and refuse plain defects. Set a limit to 0, or to a very large number, to only score.
    Limits on blur, enlargement, noise, smoothing and halos lie beyond what 299 of 300 untouched rendered heads have, of people
    that nothing was learned from (`tests/bench/quality_truth.py --seed 6006`).
    Rendered pictures are judged by size and direction alone: limits on pixels speak of lenses, compression and editing.
    """

    name: ClassVar[str] = "quality"
    version: ClassVar[int] = 6
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
    min_luma: float = 35.0
    """Least mean luma of the face, 0 to 255; low, so that dark skin in ordinary light passes."""
    min_highlights: float = 60.0
    """Least 95 % quantile of the face's luma: even dark skin has eyes, teeth and glints."""
    max_luma: float = 198.0
    """Largest mean luma of the face."""
    max_shadows: float = 170.0
    """Largest 5 % quantile of the face's luma: brows and nostrils of a washed-out face are above it."""
    max_clipped: float = 0.25
    """Largest share of the face (of the head, where no face is seen) at either end of the range."""
    max_blur_px: float = 1.02
    """Largest blur, as the standard deviation of a Gaussian in pixels of the crop, or of the source where that is coarser."""
    max_enlargement: float = 1.5
    """Largest number of pixels of the photograph for each that it had before somebody enlarged it."""
    max_halo: float = 0.25
    """Largest overshoot of edges outside of hair as a share of their height."""
    max_noise: float = 6.0
    """Largest noise of luma in grey levels: white noise of 15 levels in each channel has 10."""
    max_blockiness: float = 2.7
    """Largest extra step on the compression grid in grey levels, times the cube root of how much the crop enlarges it."""
    min_jpeg_quality: float = 35.0
    """Least quality of a JPEG, as its tables tell it, where the crop does not shrink it to less than half."""
    max_smoothing: float = 0.45
    """Largest share of its fine texture that a filter took from the head."""
    networks: str = ""
    """Folder with networks of your own (quality.onnx), see `annotators train quality`; empty: the package's."""
    hashes: bool = True
    """Note the perceptual hash of the crop and of its mirror image, for finding near duplicates."""

    def backend(self) -> Backend:
        """Name ONNX Runtime and the network's weights."""
        return Backend("own", onnx_session.version(), head_files.weights("quality", folder=self.networks))

    def settings(self) -> dict[str, Any]:
        """Leave out where the network lies: `backend` names its content."""
        return head_files.without_place(super().settings())

    def open(self, device: str = "cpu") -> OpenStage:
        """Load the network, which runs on the CPU."""
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
        """Return what is judged of the pixels; brightness only where a face is seen."""
        exposure: Limits = (
            ("face_luma", "dark", self.min_luma, math.inf),
            ("face_highlights", "dark", self.min_highlights, math.inf),
            ("face_luma", "bright", 0.0, self.max_luma),
            ("face_shadows", "bright", 0.0, self.max_shadows),
        )
        return (
            ("clipped_high", "clipped", 0.0, self.max_clipped),
            *(exposure if face else ()),
            ("clipped_low", "clipped", 0.0, self.max_clipped),
            ("blockiness", "blocky", 0.0, self.max_blockiness),
            ("jpeg_quality", "blocky", self.min_jpeg_quality, math.inf),
            ("blur_px", "blurred", 0.0, self.max_blur_px),
            ("enlargement", "blurred", 0.0, self.max_enlargement),
            ("halo", "oversharpened", -math.inf, self.max_halo),
            ("noise", "noisy", 0.0, self.max_noise),
            ("smoothing", "oversmoothed", -math.inf, self.max_smoothing),
        )


class _OpenQuality(OpenStage):
    def __init__(self, settings: Quality) -> None:
        self._settings, self._reader = settings, StrengthReader(settings.networks)

    def one(self, sample: Sample, rng: np.random.Generator) -> Iterable[Sample]:
        """Score a sample.

        Raises:
            Drop: the first limit, in the order of `placement_limits` and `pixel_limits`, that a score breaks.
        """
        image = sample.require("image")
        placement = placement_scores(sample)
        judge(placement, self._settings.placement_limits())
        pixels, face = pixel_scores(sample, self._reader)
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


def pixel_scores(sample: Sample, reader: StrengthReader) -> tuple[dict[str, float], bool]:
    """Return the scores of exposure, sharpness and editing, and whether a face was seen.

    A crop that is larger than its source is measured at the source's own pixels: that is judged by `max_upscale` alone.
    """
    crop, image = sample.crop, sample.require("image")
    upscale = 1.0 if crop is None else crop.upscale
    head, face = regions(sample)
    scores = strengths(sample, head, face, reader)
    picture = measures.luma(image)
    by_edges = (
        2.0 * measures.blur_sigma(measures.Edges.of(_halved(picture)), np.ascontiguousarray(head[::2, ::2])) / max(1.0, upscale)
    )
    if by_edges > _STRONG_BLUR:
        scores["blur_px"] = max(scores["blur_px"], by_edges)
    exposure = measures.exposure(picture, head if face is None else face)
    if exposure is not None:
        scores["clipped_low"], scores["clipped_high"] = exposure.clipped_low, exposure.clipped_high
    if face is not None and exposure is not None:
        scores["face_luma"], scores["face_shadows"] = exposure.mean, exposure.shadows
        scores["face_highlights"] = exposure.highlights
    if crop is not None and upscale > _SHRUNK and sample.photo.info.jpeg_quality > 0.0:
        scores["jpeg_quality"] = sample.photo.info.jpeg_quality
    if crop is not None:
        scores["blockiness"] = math.cbrt(upscale) * measures.blockiness(source_region(sample))
    return scores, face is not None


def strengths(sample: Sample, head: measures.Region, face: measures.Region | None, reader: StrengthReader) -> dict[str, float]:
    """Return the strengths that are read off the head: halos off its parts without hair, where enough of them is seen.

    A sensor's noise and a sharpened picture's halos are everywhere, while locs and curls look like noise and striped cloth like
    halos. So noise of the head counts only where the parts without hair, or else the background, are not calm, and halos only
    where the head with its hair has some.
    """
    image, pixels = sample.require("image"), sample.photo.pixels
    scores = reader.read(image, head, sample.crop, pixels)
    plain = without_strands(sample, face)
    beside = background(sample) if plain is None else plain
    there = scores if beside is None else reader.read(image, beside, sample.crop, pixels)
    if there["noise"] < _CALM_NOISE:
        scores["noise"] = min(scores["noise"], there["noise"])
    halo = scores.pop("halo")
    if plain is not None:
        scores["halo"] = there["halo"] if halo >= _CALM_HALO else min(halo, there["halo"])
    return scores


def overall(scores: Mapping[str, float]) -> float:
    """Return one number, 0 to 1, by which the best of several likenesses is chosen: how much of the crop's detail is real.

    It is the product of source pixels a crop pixel (at most 1), the inverse of the blur (at most 1), and what compression,
    clipping and padding leave; scores that are missing count as perfect.
    """
    spoilt = (scores.get("blockiness", 0.0) / 8.0, scores.get("clipped_low", 0.0), scores.get("clipped_high", 0.0))
    left = math.prod(max(0.0, 1.0 - share) for share in (*spoilt, scores.get("head_padding", 0.0)))
    return left / (max(1.0, scores.get("upscale", 1.0)) * max(1.0, scores.get("blur_px", 1.0)))


def _halved(picture: measures.Luma) -> measures.Luma:
    """Return every second pixel's mean with its neighbours: strong blur is as plain at half the size."""
    rows, columns = ((side + 1) // 2 for side in picture.shape)
    return np.asarray(cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA), dtype=np.float32)
