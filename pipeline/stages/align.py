"""The canonical crop: one warp from the photograph to the picture that the head frame prescribes.

Where the head lies was found by `detect`; from where it is seen is settled by `estimate_camera` on the crop made here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...datasets import warp as warping
from ...datasets.arrays import Array, Floats
from ...datasets.camera import published_rise
from ...datasets.sample import Crop, Drop, Head, Sample
from ..annotators.faces.head_fit import HeadFit, Placement, placement_of_box
from ..annotators.faces.landmarks import landmarks_of_mesh
from ..annotators.heads.any_side import placement_of_pose
from ..annotators.heads.fusion import fused
from ..stage import OpenStage, Stage


@dataclass(frozen=True)
class Align(Stage):
    """Cut the head out so that its frame's origin is the centre and its scale the canonical one, upright."""

    name = "align"
    version = 5
    needs = ("head",)
    gives = ("crop", "image", "padding", "mesh", "landmarks")
    remade = ("image", "padding")

    size: int = 512
    """Side of the crop in pixels."""
    border: Literal["reflect", "replicate", "black"] = "reflect"
    """What stands where the photograph has no pixel."""
    min_head_px: float = 0.0
    """Least height of the head in source pixels."""
    max_upscale: float = 4.0
    """Most crop pixels a source pixel."""
    max_padding: float = 0.35
    """Largest share of the crop that the photograph does not cover."""
    fit: HeadFit = HeadFit()
    """How the head frame is fitted to a mesh."""
    frame: Literal["own", "published"] = "own"
    """Frame of crops and labels: that of rendered heads, or the one of the published PanoHead and SphereHead checkpoints."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            ValueError: with the field, what was expected and what came.
        """
        if self.size < 16:
            raise ValueError(f"size: expected 16 pixels or more, got {self.size}")
        if not (self.min_head_px >= 0.0 and self.max_upscale > 0.0):
            came = f"{self.min_head_px} and {self.max_upscale}"
            raise ValueError(f"min_head_px and max_upscale: expected 0 or more and more than 0, got {came}")
        if not 0.0 <= self.max_padding <= 1.0:
            raise ValueError(f"max_padding: expected a share of 0 to 1, got {self.max_padding}")

    @property
    def crop_size(self) -> int:
        """Side in pixels of the crops."""
        return self.size

    def remake(self, sample: Sample) -> Sample:
        """Cut the crop out again."""
        crop, info = sample.require("crop"), sample.photo.info
        image = warping.warp(sample.photo.pixels, crop.matrix, crop.size, border=self.border)
        return sample.with_(image=image, padding=warping.padding(info.width, info.height, crop.matrix, crop.size))

    def open(self, device: str = "cpu") -> OpenAlign:
        """Return the working stage; there are no models."""
        return OpenAlign(self)


class OpenAlign(OpenStage):
    """The working stage."""

    def __init__(self, stage: Align) -> None:
        self.stage = stage

    def one(self, sample: Sample, rng: np.random.Generator) -> Iterable[Sample]:
        """Fill crop, image, padding, mesh and landmarks."""
        stage, head = self.stage, sample.require("head")
        placement = place(head, stage.fit)
        if stage.frame == "published":
            centre = placement.centre + placement.scale * published_rise(placement.rotation)
            placement = dataclasses.replace(placement, centre=centre)
        matrix = placement.crop_matrix(stage.size)
        info = sample.photo.info
        padding = self._check(placement, matrix, info.width, info.height)
        scores = {
            "head_px": round(placement.head_size, 2),
            "upscale": round(stage.size / placement.scale, 4),
            "pad_ratio": round(float(np.count_nonzero(padding)) / padding.size, 6),
        }
        crop = Crop(matrix, stage.size, scores["pad_ratio"], scores["upscale"])
        image = warping.warp(sample.photo.pixels, matrix, stage.size, border=stage.border)
        mesh = None if head.mesh is None else warp_mesh(head.mesh, matrix)
        yield sample.with_(
            crop=crop, image=image, padding=padding, mesh=mesh, landmarks=_landmarks(head, mesh, matrix), scores=scores,
            notes={"frame": stage.frame} if stage.frame != "own" else {},
        )  # fmt: skip

    def _check(self, placement: Placement, matrix: Floats, width: int, height: int) -> Array:
        """Return the padding mask of a crop that is good enough, before any pixel is warped."""
        stage, size = self.stage, placement.head_size
        if size < stage.min_head_px:
            raise Drop("head_too_small", f"head of {size:.0f} px < {stage.min_head_px:.0f}", size)
        upscale = stage.size / placement.scale
        if upscale > stage.max_upscale:
            raise Drop("upscaled_too_much", f"{upscale:.2f} crop pixels a source pixel > {stage.max_upscale:.2f}", upscale)
        padding = warping.padding(width, height, matrix, stage.size)
        share = float(np.count_nonzero(padding)) / padding.size
        if share > stage.max_padding or share == 1.0:
            raise Drop("head_cut", f"{share:.1%} of the crop lies outside the photograph > {stage.max_padding:.1%}", share)
        return padding


def place(head: Head, fit: HeadFit) -> Placement:
    """Return where a head's frame lies in its photograph: by mesh and our network, by one of them, else by the box."""
    if head.mesh is not None:
        return fused(fit.fit(head.mesh), head.pose)
    if head.pose is not None:
        return placement_of_pose(head.pose)
    return placement_of_box(head.box, head.yaw, head.roll)


def warp_mesh(mesh: Array, matrix: Array) -> Array:
    """Map a (N, 3) mesh by a (3, 3) similarity; its depth is scaled alike."""
    scale = float(np.sqrt(abs(np.linalg.det(np.asarray(matrix)[:2, :2]))))
    return np.column_stack([warping.apply(matrix, mesh[:, :2]), scale * mesh[:, 2]]).astype(np.float32)


def _landmarks(head: Head, mesh: Array | None, matrix: Floats) -> Array | None:
    """Return the (68, 2) landmarks in crop pixels: the network's own where it ran, else those of the mesh."""
    if head.landmarks is not None:
        return warping.apply(matrix, head.landmarks).astype(np.float32)
    return None if mesh is None else landmarks_of_mesh(mesh)
