"""Derives changed copies of a sample: mirrored, turned, moved, lit and compressed otherwise, with labels that follow exactly.

The maths of a geometric change is `stages.geometry`, the change of light and colour `photometry`. Each copy is warped
once, from the photograph's own pixels.

Policy `canonical` offers only what keeps the canonical K: mirroring, and roll about the principal point. Zoom and shift are
not among them, not even by cropping the source anew: a picture that shows the head larger or off the centre was not taken
by the canonical camera, and a label that says so would be wrong by just the jitter. `free-k` offers every homography and
writes the K' and R' that belong to it.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Literal

import cv2
import numpy as np

from ...datasets import warp
from ...datasets.arrays import Floats, Pixels
from ...datasets.camera import Camera, CameraError
from ...datasets.classes import swap_sides
from ...datasets.depth import warp_depth
from ...datasets.sample import Crop, Drop, Sample
from ...manifests.config import canonical_json
from ...manifests.identity import derived_id
from ..annotators.mattes import matting
from ..backends.photometry import Darkroom, Photometry, version
from ..stage import Backend, OpenStage, Stage
from .camera_checks import angle_scores
from .geometry import Geometry
from .matte import matte_scores
from .parse import area_scores
from .quality import placement_scores

_SHOULDERS = 0.75
"""Share of the crop's height below which what touches its sides is shoulders."""


@dataclass(frozen=True)
class Moves:
    """How far copies may be moved; every draw is even between its bounds."""

    mirror: float = 0.5
    """Share of copies that are mirrored, 0 to 1."""
    roll_degrees: float = 8.0
    """Largest turn to either side."""
    zoom: float = 1.0
    """Largest factor by which the content grows or shrinks, 1 or more; free-k only."""
    shift: float = 0.0
    """Largest move along either axis in sides of the crop; free-k only."""
    aspect: float = 1.0
    """Largest factor by which the content is widened or narrowed, 1 or more; free-k only."""
    shear_degrees: float = 0.0
    """Largest lean of uprights; free-k only."""
    perspective: float = 0.0
    """Largest change of depth per side along either axis, up to 0.5; free-k only."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.mirror <= 1.0:
            raise ValueError(f"mirror: expected a share of 0 to 1, got {self.mirror}")
        if self.zoom < 1.0 or self.aspect < 1.0:
            raise ValueError(f"zoom and aspect: expected 1 or more, got {self.zoom} and {self.aspect}")
        if not (0 <= self.shift <= 0.5 and 0 <= self.perspective <= 0.5):
            raise ValueError(f"shift and perspective: expected 0 to 0.5, got {self.shift} and {self.perspective}")
        if not (0 <= self.shear_degrees <= 45 and 0 <= self.roll_degrees <= 180):
            raise ValueError("shear_degrees and roll_degrees: expected 0 to 45 and 0 to 180")

    def draw(self, rng: np.random.Generator) -> Geometry:
        """Draw one change; the numbers are drawn in one order whatever the settings, so that one does not move the others."""
        chance = rng.random()
        roll, zoom, right, down, aspect, shear, tilt, lean = rng.uniform(-1.0, 1.0, 8).tolist()
        return Geometry(
            mirror=chance < self.mirror,
            roll=math.radians(self.roll_degrees) * roll,
            zoom=self.zoom**zoom,
            shift=(self.shift * right, self.shift * down),
            aspect=self.aspect**aspect,
            shear=math.tan(math.radians(self.shear_degrees)) * shear,
            perspective=(self.perspective * tilt, self.perspective * lean),
        )


@dataclass(frozen=True)
class Augment(Stage):
    """Add changed copies of each sample."""

    name: ClassVar[str] = "augment"
    version: ClassVar[int] = 2
    needs: ClassVar[tuple[str, ...]] = ("image", "crop")
    gives: ClassVar[tuple[str, ...]] = (
        "id", "crop", "image", "padding", "mask", "parsing", "mesh", "landmarks", "camera", "parent", "derivation",
    )  # fmt: skip
    remade: ClassVar[tuple[str, ...]] = ("image", "padding")

    copies: int = 1
    """Copies a sample."""
    keep_original: bool = True
    """Hand the unchanged sample on as well."""
    policy: Literal["canonical", "free-k"] = "canonical"
    """Which labels may come out: the canonical K only, or any exact one."""
    moves: Moves = field(default_factory=Moves)
    """What moves pixels."""
    photometry: Photometry = field(default_factory=Photometry)
    """What changes light, colour and focus."""
    border: Literal["reflect", "replicate", "black"] = "reflect"
    """What stands where the photograph has no pixel."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            ValueError: with the field, what was expected and why.
        """
        if self.copies < 0 or (self.copies == 0 and not self.keep_original):
            raise ValueError(f"copies: expected 0 or more, and 1 or more without the original, got {self.copies}")
        plain = Moves()
        for name in ("zoom", "shift", "aspect", "shear_degrees", "perspective"):
            value = getattr(self.moves, name)
            if self.policy == "canonical" and value != getattr(plain, name):
                raise ValueError(
                    f"moves.{name}: policy canonical keeps K, so this must be {getattr(plain, name):g}, got {value:g}; "
                    "use policy: free-k, which writes the exact K of every copy"
                )

    @property
    def free_k(self) -> bool:
        """Whether copies have intrinsics of their own."""
        return self.policy == "free-k"

    def remake(self, sample: Sample) -> Sample:
        """Draw a copy's picture again from its derivation; other samples are left alone."""
        derivation = json.loads(sample.derivation) if sample.derivation else {}
        if derivation.get("step") != self.name:
            return sample
        crop, info = sample.require("crop"), sample.photo.info
        padding = warp.padding(info.width, info.height, crop.matrix, crop.size)
        return sample.with_(image=self.picture(sample, derivation["seed"], derivation["backdrop"])[0], padding=padding)

    def picture(self, sample: Sample, seed: int, backdrop: Sequence[int] | None) -> tuple[Pixels, list[dict[str, Any]]]:
        """Return a copy's picture, from its crop and mask, and what was done to its light and colour."""
        crop = sample.require("crop")
        image, steps = warp.warp(sample.photo.pixels, crop.matrix, crop.size, border=self.border), list[dict[str, Any]]()
        if not self.photometry.is_off:
            image, steps = _darkroom(self.photometry).develop(image, seed)
        if backdrop is not None:
            image = matting.composite(image, sample.require("mask"), np.array(backdrop, dtype=np.float32))
        return image, steps

    def backend(self) -> Backend:
        """Name albumentations where it runs."""
        return Backend("spherehead") if self.photometry.is_off else Backend("albumentations", version())

    def open(self, device: str = "cpu") -> OpenStage:
        """Load albumentations where it is used."""
        return _OpenAugment(self)


class _OpenAugment(OpenStage):
    def __init__(self, settings: Augment) -> None:
        self._settings = settings
        if not settings.photometry.is_off:
            _darkroom(settings.photometry)

    def one(self, sample: Sample, rng: np.random.Generator) -> Iterable[Sample]:
        """Yield the sample itself, if it is to stay, and its copies.

        Raises:
            Drop: "camera_invalid", where a copy's label breaks the contract of the policy.
        """
        if self._settings.keep_original:
            yield sample
        for copy, seed in enumerate(rng.integers(0, 2**31, self._settings.copies).tolist()):
            yield self._copy(sample, copy, seed)

    def _copy(self, sample: Sample, copy: int, seed: int) -> Sample:
        settings = self._settings
        geometry = settings.moves.draw(np.random.Generator(np.random.Philox(seed)))
        moved = move(sample, geometry)
        _check(moved.camera, settings.policy)
        backdrop = backdrop_of(sample)
        image, steps = settings.picture(moved, seed, backdrop)
        derivation = {
            "step": settings.name,
            "version": settings.version,
            "copy": copy,
            "seed": seed,
            "policy": settings.policy,
            "geometry": dataclasses.asdict(geometry),
            "photometry": steps,
            "backdrop": backdrop,
        }
        return moved.with_(
            id=derived_id(sample.id, settings.name, copy), parent=sample.id, derivation=canonical_json(derivation), image=image
        )


def move(sample: Sample, geometry: Geometry) -> Sample:
    """Return a sample under a geometric change, all but its image, which `Augment.picture` draws; its id stays.

    Mask and class map are known in the crop only and are warped from there. Scores that are told by the labels alone follow
    them; those of light and sharpness stay what they are of the sample.
    """
    crop: Crop = sample.require("crop")
    size, change = crop.size, geometry.pixel_matrix(crop.size)
    matrix = change @ crop.matrix
    info = sample.photo.info
    padding = warp.padding(info.width, info.height, matrix, size)
    share, upscale = float(np.count_nonzero(padding)) / padding.size, warp.magnification(matrix, size)
    changes: dict[str, Any] = {
        "crop": Crop(matrix, size, round(share, 6), round(upscale, 4)),
        "padding": padding,
        "scores": {"pad_ratio": round(share, 6), "upscale": round(upscale, 4)},
    }
    if sample.mask is not None:
        changes["mask"] = _moved_map(sample.mask, change, size, padding, nearest=False)
    if sample.parsing is not None:
        parsing = swap_sides(sample.parsing) if geometry.mirror else sample.parsing
        changes["parsing"] = _moved_map(parsing, change, size, padding, nearest=True)
    if sample.beard is not None:
        changes["beard"] = _moved_map(sample.beard, change, size, padding, nearest=True)
    if sample.landmarks is not None:
        changes["landmarks"] = geometry.landmarks(sample.landmarks, size)
    if sample.mesh is not None:
        changes["mesh"] = geometry.mesh(sample.mesh, size)
    if sample.camera is not None:
        changes["camera"] = geometry.camera(sample.camera)
        if sample.depth is not None:
            changes["depth"] = warp_depth(sample.depth, change, size, sample.camera, changes["camera"])
    moved = sample.with_(**changes)
    return moved.with_(scores={name: value for name, value in _told_by_labels(moved).items() if name in sample.scores})


def _told_by_labels(sample: Sample) -> dict[str, float]:
    """Return the scores that stages take from a sample's camera, mask, class map and padding, as they round them."""
    scores = {} if sample.camera is None else angle_scores(sample.camera)
    if sample.mask is not None:
        scores |= matte_scores(sample.mask)
    if sample.parsing is not None:
        scores |= area_scores(sample.parsing, sample.beard)
    placement = placement_scores(sample)
    return scores | {name: round(placement[name], 4) for name in ("foreground", "head_padding") if name in placement}


def backdrop_of(sample: Sample) -> tuple[int, int, int] | None:
    """Return the plain sRGB colour that `matte` laid the head on, or None where the photograph's background was kept."""
    if sample.notes.get("composite", "keep") == "keep" or sample.mask is None:
        return None
    behind = sample.require("image")[sample.mask == sample.mask.min()]
    red, green, blue = np.median(behind, axis=0).astype(int).tolist()
    return red, green, blue


def _moved_map(values: Pixels, change: Floats, size: int, padding: Pixels, nearest: bool) -> Pixels:
    """Warp a mask or class map from the crop; nothing stands where the photograph has no pixel.

    Beside the crop nothing is known: from its bottom and the lowest quarter of its sides the map continues, since shoulders
    do; a head that the crop cuts off ends there.
    """
    framed = np.asarray(cv2.copyMakeBorder(values, 1, 1, 1, 1, cv2.BORDER_REPLICATE), dtype=np.uint8)
    framed[0] = 0
    framed[: round(_SHOULDERS * size), [0, -1]] = 0
    shift = np.array([[1.0, 0.0, -1.0], [0.0, 1.0, -1.0], [0.0, 0.0, 1.0]])
    moved = warp.warp(framed, change @ shift, size, border="replicate", nearest=nearest)
    moved[padding > 0] = 0
    return moved


def _check(camera: Camera | None, policy: str) -> None:
    if camera is None:
        return
    try:
        camera.check(free_k=policy == "free-k")
    except CameraError as error:
        raise Drop("camera_invalid", str(error)) from error


@cache
def _darkroom(settings: Photometry) -> Darkroom:
    """Load albumentations once a process for each setting: each picture's outcome hangs on its seed alone."""
    return Darkroom(settings)
