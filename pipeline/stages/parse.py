"""Give every pixel of the head one of 19 classes: by a face-parsing network, or from the face mesh, the matte and colours.

Our own network runs in `annotators.heads`, others in `onnx_parser`; the way without one is `mesh_parser`. Here they are chosen
and made to agree with the matte: a pixel is background exactly where the mask is under 128.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from ...datasets.arrays import Floats, Pixels
from ...datasets.camera import Camera
from ...datasets.canonical_face import canonical_vertices
from ...datasets.classes import CLASSES
from ...datasets.sample import Drop, Sample
from ...manifests.config import user_path
from ..annotators.faces.face_regions import EAR_CENTRE, feature_polygons
from ..annotators.faces.head_fit import HeadFit
from ..annotators.heads.files import weights as head_weights
from ..annotators.heads.parser import HeadParser
from ..annotators.heads.parsing import beard_of, parse_crop
from ..annotators.parsers.colour_models import ColourModel
from ..annotators.parsers.head_layout import project
from ..annotators.parsers.mesh_parser import INSIDE, Parsed, parse
from ..annotators.parsers.onnx_parser import class_map_path, load_class_map, run, sides_by_place, within_matte
from ..backends import onnx_session
from ..backends import weights as model_files
from ..stage import Backend, OpenStage, Stage


@dataclass(frozen=True)
class Parse(Stage):
    """Estimate the class map."""

    name = "parse"
    version = 12
    needs = ("image", "mask")
    gives = ("parsing",)

    parser: Literal["auto", "own", "mesh", "onnx"] = "auto"
    """By our own network, from mesh and colours, or by another network; auto = onnx if its weights are here, else own."""
    networks: str = ""
    """Folder with networks of your own (parser.onnx), see `annotators export`; empty: the package's."""
    model: str = "bisenet-resnet34"
    """Parser onnx: name of the network in the registry of models."""
    weights: str = ""
    """Parser onnx: path of an ONNX file of your own, instead of `model`."""
    class_map: str = "celebamask-hq"
    """Parser onnx: order of the network's classes: celebamask-hq (BiSeNet), segformer, or the path of a JSON or YAML file."""
    input_size: int = 512
    """Parser onnx: side of the square that the network wants."""
    mean: tuple[float, float, float] = onnx_session.IMAGENET_MEAN
    """Parser onnx: mean of RGB in 0..1 to subtract."""
    std: tuple[float, float, float] = onnx_session.IMAGENET_STD
    """Parser onnx: standard deviation of RGB in 0..1 to divide by."""
    sides: Literal["camera", "map"] = "camera"
    """Parser onnx: what tells left from right brows, eyes and ears: where they lie on the head, or the network's word."""
    beards: bool = False
    """Parser own: also write which hair is beard, as a member beard.png; the score beard_share is there without it."""
    colours: ColourModel = ColourModel()
    """Parser mesh: how colours are learnt and believed."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            ValueError: with the field, what was expected and what came.
        """
        if self.input_size < 1 or min(self.std) <= 0:
            raise ValueError(f"input_size and std must be positive, got {self.input_size} and {self.std}")

    def resolved(self) -> Parse:
        """Replace `auto` by onnx where that network's weights are on this machine, else by our own."""
        if self.parser != "auto":
            return self
        here = bool(self.weights) or model_files.find(self.model) is not None
        return dataclasses.replace(self, parser="onnx" if here else "own")

    def backend(self) -> Backend:
        """Name the parser, its library's version, and the digests of weights and class map."""
        own = self.resolved()
        if own.parser == "mesh":
            return Backend("mesh")
        if own.parser == "own":
            return Backend("own", onnx_session.version(), head_weights("parser", folder=own.networks))
        files = (onnx_session.weights(own.weights_path()), onnx_session.weights(class_map_path(own.class_map)))
        return Backend("onnx", onnx_session.version(), files)

    def weights_path(self) -> Path:
        """Return the network's file.

        Raises:
            WeightsError: it is not on this machine; the message says how to get it.
            FileNotFoundError: `weights` names no file.
        """
        if self.weights:
            path = user_path(self.weights)
            onnx_session.weights(path)
            return path
        return model_files.require(self.model).path

    def settings(self) -> dict[str, Any]:
        """Leave out where files lie: `backend` names their content."""
        return {name: value for name, value in super().settings().items() if name not in ("weights", "class_map", "networks")}

    @property
    def uses_device(self) -> bool:
        """Networks can."""
        return self.resolved().parser != "mesh"

    def open(self, device: str = "cpu") -> OpenParse:
        """Load the network, if there is one."""
        return OpenParse(self.resolved(), device)


class OpenParse(OpenStage):
    """A parser ready to run."""

    def __init__(self, stage: Parse, device: str) -> None:
        self.stage = stage
        self._model, self._table = None, np.zeros(0, dtype=np.uint8)
        self._parser = HeadParser(device, stage.networks) if stage.parser == "own" else None
        if stage.parser == "onnx":
            self._table = load_class_map(stage.class_map)
            self._model = onnx_session.OnnxModel(stage.weights_path(), device)
            self._model.expect_side(stage.input_size)

    def one(self, sample: Sample, rng: np.random.Generator) -> Iterable[Sample]:
        """Fill `parsing`, the confidence, the area of each class and, where our own network tells it, that of beard.

        Raises:
            Drop: "no_foreground", when the network sees no head within the matte.
        """
        image, mask, beard = sample.require("image"), sample.require("mask"), None
        if "parsing" in sample.known and sample.parsing is not None:
            parsed, source = Parsed(sample.parsing, 1.0), "known"
        elif self._model is not None:
            parsed, source = self._by_network(sample, image, mask), "onnx"
        elif self._parser is not None:
            maps, sample = self._parser.read_crop(sample)
            parsed, source = parse_crop(maps, image, mask, sample.mesh), "own"
            beard = None if maps.beard is None else beard_of(parsed.classes, maps.beard)
        else:
            parsed, source = parse(image, mask, sample.mesh, camera_of(sample), self.stage.colours), "mesh"
        yield sample.with_(
            beard=beard if self.stage.beards else None,
            parsing=parsed.classes,
            scores={"parse_confidence": round(parsed.confidence, 4), **area_scores(parsed.classes, beard)},
            notes={"parse_source": source},
        )

    def _by_network(self, sample: Sample, image: Pixels, mask: Pixels) -> Parsed:
        stage, inside = self.stage, mask >= INSIDE
        assert self._model is not None
        answer = run(self._model, self._table, image, stage.input_size, stage.mean, stage.std)
        seen = inside & (answer.classes > 0)
        if not seen.any():
            raise Drop("no_foreground", f"{self._model.path.name} sees no head within the matte", 0.0)
        classes = within_matte(answer.classes, inside)
        if stage.sides == "camera" and (sample.mesh is not None or sample.camera is not None):
            classes = sides_by_place(classes, expected_places(sample, len(image)))
        return Parsed(classes, float(answer.certainty[seen].sum()) / int(inside.sum()))


def area_scores(classes: Pixels, beard: Pixels | None) -> dict[str, float]:
    """Return each class's share of an (S, S) class map, and the share of its (S, S) beard where there is one."""
    counts = cv2.calcHist([classes], [0], None, [len(CLASSES)], [0, len(CLASSES)]).reshape(-1)
    areas = {f"area_{name}": round(int(count) / classes.size, 6) for name, count in zip(CLASSES, counts, strict=True)}
    if beard is not None:
        areas["beard_share"] = round(cv2.countNonZero(beard) / classes.size, 6)
    return areas


def camera_of(sample: Sample) -> Camera:
    """Return the crop's camera: the estimated one, else fitted to the mesh, else as the detector's coarse yaw has it."""
    if sample.camera is not None:
        return sample.camera
    if sample.mesh is not None:
        return HeadFit().fit(sample.mesh).camera
    return Camera.look_at(sample.head.yaw if sample.head is not None else 0.0, 0.0)


def expected_places(sample: Sample, size: int) -> dict[str, Floats]:
    """Return the (2,) pixel at which each brow, eye and ear is expected in the crop."""
    camera = camera_of(sample)
    if sample.mesh is not None:
        points = np.asarray(sample.mesh[:, :2], dtype=np.float64)
    else:
        points = project(camera, canonical_vertices(), size)
    places = {name: points[list(indices)].mean(axis=0) for name, indices in feature_polygons()}
    for name, side in (("left_ear", 1.0), ("right_ear", -1.0)):
        places[name] = project(camera, np.array([EAR_CENTRE]) * [side, 1.0, 1.0], size)[0]
    return places
