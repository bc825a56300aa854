"""Cut the head out: a soft mask from a segmenter, refined on the picture, and the head laid on a plain colour if asked.

The pixel work is left to `matting` and `guided_filter`, the networks to their wrapping modules.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from ...datasets import warp
from ...datasets.arrays import Array, Floats, Pixels
from ...datasets.sample import Drop, Sample
from ...manifests.config import user_path
from ..annotators.faces.face_regions import FACE_OVAL
from ..annotators.heads.files import weights as head_weights
from ..annotators.heads.parser import HeadParser
from ..annotators.mattes import closed_form, matting
from ..backends import mediapipe_models, onnx_session, rembg_models
from ..stage import Backend, OpenStage, Stage

Segment = Callable[[Pixels], Array]
"""(H, W, 3) uint8 RGB -> (H, W) float32 chance of foreground."""

SELFIE = "mediapipe:selfie"
"""Name of MediaPipe's selfie network in provenance."""
_SEGMENTER_SIDE = 256
"""Side of the selfie network's own input; more pixels only cost time."""
_DOUBT = (0.4, 0.7)
"""Coverages between which our own network's word begins to stand by itself. On rendered heads that leaves the worst tenth at an
IoU of 0.963 (0.949 where the region about the face decides alone) and takes a third of what lies on backs' background."""
_FACELESS_VIEWS = (1.0, 1.6)
"""Wider views of a head without a face mesh, in units of `context`."""
_HEAD_HIGH = 0.08
"""The wide view holds the head this share of its side above the middle, so that the shoulders are seen."""


@dataclass(frozen=True)
class Matte(Stage):
    """Estimate the matte of the head and shoulders, keep this head only, and lay it on a background."""

    name = "matte"
    version = 8
    needs = ("image",)
    gives = ("mask", "image")
    remade = ("image",)

    segmenter: Literal["auto", "own", "selfie", "rembg", "onnx"] = "auto"
    """Our own network, with MediaPipe's selfie network as a second opinion on background where a face mesh fits (own), the
    selfie network alone, a session of rembg, or an ONNX file; auto = rembg if the weights of `model` are here, else own."""
    networks: str = ""
    """Folder with networks of your own (parser.onnx), see `annotators export`; empty: the package's."""
    model: str = "isnet-general-use"
    """Session of rembg, always by name; u2net_custom, dis_custom and ben_custom run the file in `weights`."""
    weights: str = ""
    """Path of the ONNX file, for segmenter onnx and rembg's custom sessions."""
    input_size: int = 320
    """Segmenter onnx: side of the square that the network wants."""
    mean: tuple[float, float, float] = onnx_session.IMAGENET_MEAN
    """Segmenter onnx: mean of RGB in 0..1 to subtract."""
    std: tuple[float, float, float] = onnx_session.IMAGENET_STD
    """Segmenter onnx: standard deviation of RGB in 0..1 to divide by."""
    context: float = 1.4
    """Segmenter selfie: also look at a view this many times wider and drop what it calls background; 1 does not look.

    Of a head without a face the crop may show hair only, in which the network sees nobody: there every view, one of them
    wider still, adds what it sees instead.
    """
    refine: Literal["none", "guided", "pymatting"] = "guided"
    """How the edge is found: as segmented, by guided filters (10 to 15 ms; two for our own network's coverage), by
    closed-form matting (half a second)."""
    composite: Literal["keep", "white", "black", "mean"] = "keep"
    """What lies behind the head: the photograph, a plain colour, or the mean colour of the photograph's background."""
    min_foreground: float = 0.04
    """Smallest share of the crop that the matte must cover."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            ValueError: with the field, what was expected and what came.
        """
        if self.context < 1.0:
            raise ValueError(f"context: expected 1 or more, got {self.context}")
        if not 0.0 <= self.min_foreground < 1.0:
            raise ValueError(f"min_foreground: expected a share in 0..1, got {self.min_foreground}")
        if self.segmenter == "onnx" and not self.weights:
            raise ValueError("weights: segmenter onnx needs the path of a model file")
        if self.input_size < 1 or min(self.std) <= 0:
            raise ValueError("input_size and std must be positive")

    def resolved(self) -> Matte:
        """Replace `auto` by rembg where the weights of `model` are on this machine, else by our own network."""
        if self.segmenter != "auto":
            return self
        found = self.model not in (*rembg_models.REFUSED, *rembg_models.CUSTOM) and rembg_models.find(self.model)
        return dataclasses.replace(self, segmenter="rembg" if found else "own")

    def backend(self) -> Backend:
        """Name the segmenter, the versions of what runs it and its weights, and the matting library where one refines."""
        own = self.resolved()
        if own.segmenter == "rembg":
            path = rembg_models.locate(own.model, own.weights)
            found = Backend(f"rembg:{own.model}", rembg_models.version(), (onnx_session.weights(path),))
        elif own.segmenter == "onnx":
            found = Backend("onnx", onnx_session.version(), (onnx_session.weights(user_path(own.weights)),))
        elif own.segmenter == "own":
            second = mediapipe_models.weights(*mediapipe_models.SelfieSegmenter.FILES)
            version = f"{mediapipe_models.version()}+onnxruntime-{onnx_session.version()}"
            found = Backend("own", version, (*head_weights("parser", folder=own.networks), *second))
        else:
            files = mediapipe_models.weights(*mediapipe_models.SelfieSegmenter.FILES)
            found = Backend(SELFIE, mediapipe_models.version(), files)
        if own.refine == "pymatting":
            found = dataclasses.replace(found, version=f"{found.version}+pymatting-{closed_form.version()}")
        return found

    def settings(self) -> dict[str, Any]:
        """Leave out where the weights lie: `backend` names their content."""
        return {name: value for name, value in super().settings().items() if name not in ("weights", "networks")}

    def laid(self, image: Pixels, mask: Pixels, padding: Pixels | None) -> Pixels:
        """Return the head on the background that `composite` asks for."""
        if self.composite == "keep":
            return image
        if self.composite == "mean":
            colour = matting.background_colour(image, mask, padding)
        else:
            colour = np.full(3, 255.0 if self.composite == "white" else 0.0, dtype=np.float32)
        return matting.composite(image, mask, colour)

    def remake(self, sample: Sample) -> Sample:
        """Lay the crop, as it was cut out again, on its background once more."""
        if self.composite == "keep" or sample.mask is None:
            return sample
        return sample.with_(image=self.laid(sample.require("image"), sample.mask, sample.padding))

    @property
    def uses_device(self) -> bool:
        """Every segmenter can but MediaPipe's; the edge is always refined on the CPU."""
        return self.resolved().segmenter != "selfie"

    def open(self, device: str = "cpu") -> OpenMatte:
        """Load the segmenter."""
        return OpenMatte(self.resolved(), device)


class OpenMatte(OpenStage):
    """A loaded segmenter and what to do with its map."""

    def __init__(self, stage: Matte, device: str) -> None:
        self.stage = stage
        self.source = stage.backend().name
        self._parser = HeadParser(device, stage.networks) if stage.segmenter == "own" else None
        selfie = stage.segmenter in ("own", "selfie")
        self._selfie = mediapipe_models.SelfieSegmenter() if selfie else None
        self._segment = self._load(device)

    def _load(self, device: str) -> Segment:
        """Load the network of the settings; beside our own parser, the one that gives a second opinion."""
        stage = self.stage
        if stage.segmenter == "rembg":
            return rembg_models.Remover(stage.model, stage.weights, device).chance
        if stage.segmenter == "onnx":
            model = onnx_session.OnnxModel(user_path(stage.weights), device)
            model.expect_side(stage.input_size)
            return lambda image: _run_onnx(model, image, stage)
        assert self._selfie is not None
        return self._selfie.segment

    def close(self) -> None:
        """Free the network."""
        if self._selfie is not None:
            self._selfie.close()

    def one(self, sample: Sample, rng: np.random.Generator) -> Iterable[Sample]:
        """Fill `mask` and, where asked, lay the head on a plain colour.

        Raises:
            Drop: "no_foreground", when the matte covers less than `min_foreground`.
        """
        image: Pixels = sample.require("image")
        sample, mask, source = self._mask(sample, image)
        share = _share(mask)
        if share < self.stage.min_foreground:
            raise Drop("no_foreground", f"the matte covers {share:.3f} < {self.stage.min_foreground:.3f} of the crop", share)
        yield sample.with_(
            mask=mask,
            image=self.stage.laid(image, mask, sample.padding),
            scores=matte_scores(mask),
            notes={"matte_source": source, "composite": self.stage.composite},
        )

    def _mask(self, sample: Sample, image: Pixels) -> tuple[Sample, Pixels, str]:
        """Return the sample with what was read of it, the (S, S) mask and the word that says where that came from."""
        if "mask" in sample.known and sample.mask is not None:
            return sample, sample.mask, "known"
        outline = head_outline(sample, image.shape[0])
        alpha = _file_alpha(sample)
        if alpha is not None:
            chance, source = alpha, "alpha"
        elif self._parser is not None:
            maps, sample = self._parser.read_crop(sample)
            chance, source = maps.alpha, "own"
        else:
            chance, source = self._chance(sample, image), self.source
        own = source == "own"
        matte = matting.keep_head(chance, outline * (chance.shape[0] / image.shape[0]))
        if own:  # which knows whose head it is: only what it doubts goes with distance from the head
            matte = np.maximum(matte, chance * matting.smoothstep(chance, *_DOUBT))
            if sample.mesh is not None:
                matte = matting.without_background(matte, chance, self._person(image, matte.shape[0]))
        if source != "alpha":
            matte = self._refined(image, matte, own)
        mask = matting.quantise(matte)
        if sample.padding is not None:
            mask[sample.padding > 0] = 0
        return sample, mask, source

    def _chance(self, sample: Sample, image: Pixels) -> Array:
        """Return the (s, s) float32 map of the segmenter, at its own resolution."""
        if self._selfie is None:
            return self._segment(image)
        side = min(image.shape[0], _SEGMENTER_SIDE)
        reduced: Pixels = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        chance = self._segment(reduced)
        if self.stage.context == 1.0 or sample.crop is None:
            return chance
        if sample.mesh is not None:
            return matting.veto(chance, self._wide_chance(sample, side, self.stage.context))
        wider = [self._wide_chance(sample, side, factor * self.stage.context) for factor in _FACELESS_VIEWS]
        return np.asarray(np.maximum.reduce([chance, *wider]))

    def _person(self, image: Pixels, side: int) -> Array:
        """Return the (side, side) float32 map of the selfie network."""
        reduced = cv2.resize(image, (_SEGMENTER_SIDE, _SEGMENTER_SIDE), interpolation=cv2.INTER_AREA)
        chance = self._segment(np.asarray(reduced, dtype=np.uint8))
        return np.asarray(cv2.resize(chance, (side, side), interpolation=cv2.INTER_AREA), dtype=np.float32)

    def _wide_chance(self, sample: Sample, side: int, wider: float) -> Array:
        """Return the map of a view `wider` times as wide as the crop, brought back to the crop at `side` pixels."""
        assert sample.crop is not None
        scale = _SEGMENTER_SIDE / (sample.crop.size * wider)
        middle = np.array([0.5, 0.5 - _HEAD_HIGH]) * _SEGMENTER_SIDE
        to_wide = warp.similarity(scale, 0.0, np.full(2, sample.crop.size / 2.0), middle)
        view = warp.warp_reduced(sample.photo.pixels, to_wide @ sample.crop.matrix, _SEGMENTER_SIDE)
        back = np.diag([side / sample.crop.size, side / sample.crop.size, 1.0]) @ np.linalg.inv(to_wide)
        seen = warp.warp(matting.quantise(self._segment(view)), back, side, border="replicate")
        return seen.astype(np.float32) * np.float32(1 / 255)

    def _refined(self, image: Pixels, chance: Array, own: bool = False) -> Array:
        """Return the (S, S) float32 matte of a map of any size; our own network's is a coverage and no mere chance."""
        if self.stage.refine == "guided":
            return matting.sharpened(image, chance) if own else matting.refine(image, chance)
        if chance.shape != image.shape[:2]:
            chance = np.asarray(cv2.resize(chance, image.shape[1::-1], interpolation=cv2.INTER_LINEAR))
        if self.stage.refine == "pymatting":
            return closed_form.matte(image, matting.trimap(chance))
        return chance


def matte_scores(mask: Pixels) -> dict[str, float]:
    """Return the scores that follow from an (S, S) uint8 mask alone: the head's share of the crop, and its soft edge's."""
    soft = float(np.count_nonzero((mask > 12) & (mask < 243))) / mask.size
    return {"matte_share": round(_share(mask), 6), "matte_soft_share": round(soft, 6)}


def _share(mask: Pixels) -> float:
    return float(np.count_nonzero(mask >= 128)) / mask.size


def head_outline(sample: Sample, size: int) -> Floats:
    """Return an (N, 2) polygon in crop pixels that lies on the head: the face oval, or a disc where the head frame is."""
    if sample.mesh is not None:
        return np.asarray(sample.mesh[list(FACE_OVAL), :2], dtype=np.float64)
    angles = np.linspace(0.0, 2.0 * np.pi, 32, endpoint=False)
    return 0.5 * size + 0.15 * size * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _file_alpha(sample: Sample) -> Array | None:
    """Return the photograph's own transparency in the crop, (S, S) float32 in 0..1, or None where it has none.

    Whether the file has one is read from its header, so that the answer does not depend on what is already decoded.
    """
    if "alpha" not in sample.photo.info.flags or sample.crop is None or sample.photo.alpha is None:
        return None
    if int(sample.photo.alpha.min()) > 250:
        return None
    warped = warp.warp(sample.photo.alpha, sample.crop.matrix, sample.crop.size, border="black")
    return warped.astype(np.float32) * np.float32(1 / 255)


def _run_onnx(model: onnx_session.OnnxModel, image: Pixels, stage: Matte) -> Array:
    """Run a network whose first output is (1, 1, h, w): logits are squashed, then the map is brought to the crop."""
    output = model(onnx_session.prepare(image, stage.input_size, stage.mean, stage.std))[0]
    if output.ndim < 2 or not output.size or output.size != output.shape[-2] * output.shape[-1]:
        raise ValueError(f"{model.path}: expected a first output of shape (1, 1, h, w), got {output.shape}")
    plane: Array = np.asarray(output, dtype=np.float32).reshape(output.shape[-2:])
    if plane.min() < -1e-3 or plane.max() > 1.0 + 1e-3:
        plane = 1.0 / (1.0 + np.exp(-plane))
    return np.asarray(cv2.resize(np.clip(plane, 0.0, 1.0), image.shape[1::-1], interpolation=cv2.INTER_LINEAR))
