"""The 25-number camera label of a canonical crop, with what says how far to trust it.

For a face the label's own camera is fitted to the meshes of the picture and of its mirror image, and the two must agree;
for a head without a face it is what our network read of it, in `detect` and in the crop, or comes from a few
points and is marked as coarse. Where the crop lies was settled by `align`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...datasets.arrays import Array, Floats, Pixels
from ...datasets.camera import Camera, canonical_to_world, geodesic, mean_rotation, published_rotation
from ...datasets.canonical_face import canonical_vertices
from ...datasets.sample import Drop, Head, HeadPose, Sample
from ...datasets.sources.camera_sidecar import file_sha256, look_up, read_cameras
from ..annotators.faces.coarse_pose import CoarseHead, head_of_body, head_of_face
from ..annotators.faces.face_crop import factor_to, mesh_in_region, reduce_by, region_of_mesh
from ..annotators.faces.head_fit import HeadFit, camera_of
from ..annotators.faces.upright import better_turn
from ..annotators.heads import files as head_files
from ..annotators.heads.fusion import part_way, reader_share
from ..annotators.heads.reader import HeadReader, Reading, confidence_of, joined_turns
from ..backends import mediapipe_models as models
from ..backends import onnx_session
from ..stage import Backend, OpenStage, Stage
from .camera_checks import (
    DIGITS,
    SIDECAR_DISAGREEMENT_DEGREES,
    Estimate,
    angle_scores,
    camera_from_label,
    check_label,
    crop_turn,
    label_residual,
    likely_mistake,
    meshes_in_crop,
    mirror_error,
    reading_in_crop,
    rounded,
)
from .detect import BODY_SCORE

BODY_PIXELS = 640
"""Longest side of the photograph as the pose model sees it, once more and mirrored."""
CENTRAL_FACE_SCORE = 0.3
"""Least score of a face in a crop that was made around one."""
COARSE_ROLL = math.radians(25.0)
"""Largest roll, by the face's points, that may be left in the crop of a head without a mesh; they are off by 10 degrees."""
MIRROR_STEPS = 2
"""Gauss-Newton steps from the camera of the mean of two meshes to that of each."""
COARSE_SPREAD = math.radians(25.0)
"""Disagreement under mirroring at which a coarse azimuth has lost about 40 per cent of its confidence."""
MESH_SPREAD = math.radians(8.0)
"""The same for a camera from the mesh."""
DISAGREEMENT = math.radians(20.0)
"""Angle beyond our network's expected error, between its camera and the mesh's, that costs a label 40 per cent of its trust."""
COARSE_TRUST = 0.5
"""Highest confidence of a camera that no mesh confirms."""


@dataclass(frozen=True)
class EstimateCamera(Stage):
    """Estimates the camera label."""

    name = "estimate_camera"
    version = 8
    needs = ("head", "image")
    gives = ("camera",)

    network: Literal["auto", "own", "mediapipe"] = "auto"
    """What tells the camera of a head without a mesh and checks a mesh's: our own network (auto), or MediaPipe's points."""
    networks: str = ""
    """Folder with networks of your own (head.onnx), see `annotators export`; empty: the package's."""
    min_confidence: float = 0.2
    """Least confidence of a camera; below it the head is refused rather than guessed."""
    max_mirror_error_degrees: float = 12.0
    """Largest angle between the camera of a face and that of its mirror image, mirrored back."""
    max_coarse_mirror_error_degrees: float = 35.0
    """The same for heads without a mesh, and between our network's readings of them."""
    max_residual: float = 0.06
    """Largest median distance of the mesh from the fitted face under the label, in eye distances."""
    max_yaw_degrees: float = 180.0
    """Largest azimuth to either side."""
    max_pitch_degrees: float = 75.0
    """Largest elevation up or down."""
    max_roll_degrees: float = 15.0
    """Largest roll that may be left in the upright crop."""
    sidecar: str = ""
    """File of known cameras (JSON, CSV, parquet) by path, sample id or sha256; heads that it does not name are estimated."""
    fit: HeadFit = HeadFit()
    """How the camera is fitted to a mesh."""

    def resolved(self) -> EstimateCamera:
        """Replace `auto` by our own network."""
        return self if self.network != "auto" else dataclasses.replace(self, network="own")

    def backend(self) -> Backend:
        """Name the models and the sidecar file by its content."""
        files = (*models.FaceFinder.FILES.values(), models.FaceMesher.FILES[True], *models.PoseFinder.FILES)
        weights = models.weights(*files)
        if self.sidecar:
            weights += (("sidecar, turned with the crop", file_sha256(self.sidecar)),)
        if self.network == "own":
            version = f"{models.version()}+onnxruntime-{onnx_session.version()}"
            return Backend("own+mediapipe", version, weights + head_files.weights("head", folder=self.networks))
        return Backend("mediapipe", models.version(), weights)

    def settings(self) -> dict[str, Any]:
        """Return the settings without where sidecar and networks lie; their content is in `backend`."""
        return {
            **head_files.without_place(super().settings()),
            **({"sidecar": Path(self.sidecar).name} if self.sidecar else {}),
        }

    @property
    def takes_labels(self) -> bool:
        """A camera that a list gives is treated as the sidecar's are."""
        return True

    @property
    def camera_file(self) -> str:
        """The sidecar, whose paths are matched where the inputs are listed."""
        return self.sidecar

    @property
    def uses_device(self) -> bool:
        """Our own network can; MediaPipe's run on the CPU."""
        return self.resolved().network == "own"

    def open(self, device: str = "cpu") -> OpenEstimateCamera:
        """Load the mesh network and the sidecar."""
        return OpenEstimateCamera(self.resolved(), device)


class OpenEstimateCamera(OpenStage):
    """The working stage; models for heads without a mesh are loaded when first needed."""

    def __init__(self, stage: EstimateCamera, device: str = "cpu") -> None:
        self.stage = stage
        self.reader = HeadReader(device, stage.networks) if stage.network == "own" else None
        self.mesher: models.FaceMesher | None = None
        self.finder: models.FaceFinder | None = None
        self.poser: models.PoseFinder | None = None
        self.cameras: Mapping[str, tuple[float, ...]] = read_cameras(stage.sidecar) if stage.sidecar else {}

    def close(self) -> None:
        """Free all models."""
        for model in (self.mesher, self.finder, self.poser):
            if model is not None:
                model.close()

    def one(self, sample: Sample, rng: np.random.Generator) -> Iterable[Sample]:
        """Fill the camera, its scores and where it came from."""
        known = sample.camera if "camera" in sample.known else None
        label = look_up(self.cameras, sample)
        if known is not None:
            check_label(known)
        elif label is not None:
            known = self._from_sidecar(sample, label)
        if known is not None:
            return [_filled(sample, Estimate(known, 0.0, 1.0, math.nan, math.nan, "sidecar"))]
        head: Head = sample.require("head")
        published = sample.notes.get("frame") == "published"
        if sample.mesh is not None:
            estimate = self._from_mesh(sample, sample.mesh)
            if self.reader is not None:
                told = reading_in_crop(sample, self.reader.digest)
                if told is None:
                    reading, sample = self.reader.read_crop(sample)
                    told = reading.pose
                estimate = _confirmed(told.rotation, told.spread, estimate)
        elif self.reader is not None:
            reading, sample = self.reader.read_crop(sample)
            estimate = _read(reading, reading_in_crop(sample, self.reader.digest))
        else:
            estimate = self._coarse(sample, head)
        if published:
            estimate = dataclasses.replace(estimate, camera=rounded(published_rotation(estimate.camera.world2cam)))
        self._judge(estimate)
        check_label(estimate.camera)
        return [_filled(sample, estimate)]

    def _from_sidecar(self, sample: Sample, label: tuple[float, ...]) -> Camera:
        """Turn a label of the photograph as its crop was turned, and compare it with the mesh where that agrees with itself.

        The crop is a similarity of the photograph, of whose exact label only the rotation is left once the head frame has been
        brought to its canonical place and scale, which is what `align` does.
        """
        camera = camera_from_label(label)
        check_label(camera)
        if sample.crop is not None:
            camera = camera.rolled(crop_turn(sample.crop.matrix))
        if sample.mesh is None or sample.image is None:
            return camera
        try:
            seen = self._from_mesh(sample, sample.mesh)
        except Drop:
            return camera
        off = math.degrees(geodesic(seen.camera.world2cam, camera.world2cam))
        if math.degrees(seen.mirror_error) <= self.stage.max_mirror_error_degrees and off > SIDECAR_DISAGREEMENT_DEGREES:
            detail = f"the known camera is {off:.1f} degrees off the face's mesh > {SIDECAR_DISAGREEMENT_DEGREES:.1f}"
            raise Drop("sidecar_mismatch", f"{detail}; {likely_mistake(camera, seen.camera, sample)}", off)
        return camera

    def _from_mesh(self, sample: Sample, mesh: Array) -> Estimate:
        """Fit the label to the mean of the picture's mesh and of its mirror image's, and see how far the two disagree.

        The label is fitted where the mesh alone would have laid the crop, to a per cent: held fast, what that is
        off would turn the camera (twice the scatter under turned pictures); left free, the points would lie beside the label.
        """
        image = sample.require("image")
        size = image.shape[1]
        first, second = meshes_in_crop(sample) or self._look(image, mesh)
        both = 0.5 * (first + second)
        free = self.stage.fit.fit(both)
        near = dataclasses.replace(self.stage.fit, max_steps=MIRROR_STEPS)
        here, there = (near.fit(one, start=free) for one in (first, second))
        error = mirror_error(here.camera, there.camera.mirrored())  # the second mesh was mirrored back already
        middle, growth = np.full(2, size / 2.0), size / free.scale
        both = np.column_stack([middle + growth * (both[:, :2] - free.centre), growth * both[:, 2]])
        label = self.stage.fit.fit(both, start=dataclasses.replace(free, centre=middle, scale=float(size)), size=size)
        camera = rounded(label.rotation)
        residual = label_residual(camera, label.face, both, size)
        plain = label_residual(camera, canonical_to_world(canonical_vertices()), both, size)
        return Estimate(camera, error, math.exp(-0.5 * (error / MESH_SPREAD) ** 2), residual, plain, "mesh")

    def _look(self, image: Pixels, mesh: Array) -> tuple[Array, Array]:
        """Return the (478, 3) meshes of a crop and of its mirror image, mirrored back, where only one mesh is known."""
        region = region_of_mesh(mesh)
        self.finder = self.finder or models.FaceFinder("short", CENTRAL_FACE_SCORE)
        if better_turn(self.finder, image, region) is not None:
            raise Drop("pose_unsure", "the face is surer the other way up than as the crop shows it")
        self.mesher = self.mesher or models.FaceMesher()
        first = mesh_in_region(self.mesher, image, region)
        second = mesh_in_region(self.mesher, image, region, mirrored=True)
        if first is None or second is None:
            raise Drop("pose_unsure", "the face mesh does not fit the crop and its mirror image")
        return first, second

    def _coarse(self, sample: Sample, head: Head) -> Estimate:
        """Take the azimuth from the face's or body's points, once more in the mirrored picture."""
        pair = self._twice(sample, head)
        if pair is None:
            raise Drop("pose_unsure", "neither face nor body was found again in the crop and its mirror image")
        first, second = pair
        error = mirror_error(first.placement.camera, second.placement.camera)
        confidence = COARSE_TRUST * min(first.confidence, second.confidence) * math.exp(-0.5 * (error / COARSE_SPREAD) ** 2)
        mean = mean_rotation([first.placement.rotation, second.placement.camera.mirrored().world2cam])
        camera = Camera.look_at(round(camera_of(mean).yaw, DIGITS), 0.0)
        return Estimate(camera, error, confidence, math.nan, math.nan, "pose")

    def _twice(self, sample: Sample, head: Head) -> tuple[CoarseHead, CoarseHead] | None:
        """Return what the points tell in the picture and in its mirror image, without roll; None where they are not seen."""
        first: CoarseHead | None
        if head.body is not None:
            first, second = head_of_body(head.body), self._mirrored_body(sample.photo.pixels, head)
        else:
            image = sample.require("image")
            first, second = self._central_face(image), self._central_face(np.ascontiguousarray(image[:, ::-1]))
        return None if first is None or second is None else (first.upright(), second.upright())

    def _mirrored_body(self, pixels: Pixels, head: Head) -> CoarseHead | None:
        """Look for the body in the mirrored photograph; None unless it is the same one."""
        self.poser = self.poser or models.PoseFinder(BODY_SCORE)
        factor = factor_to(pixels, BODY_PIXELS)
        reduced = reduce_by(pixels, factor)
        body = self.poser.body(np.ascontiguousarray(reduced[:, ::-1]))
        if body is None:
            return None
        seen = head_of_body(body)
        x, y = factor * (reduced.shape[1] - seen.placement.centre[0]), factor * seen.placement.centre[1]
        left, top, width, height = head.box
        return seen if left <= x <= left + width and top <= y <= top + height else None

    def _central_face(self, image: Pixels) -> CoarseHead | None:
        """Look for a face at the middle of a crop."""
        self.finder = self.finder or models.FaceFinder("short", CENTRAL_FACE_SCORE)
        middle = np.array([image.shape[1] / 2.0, image.shape[0] / 2.0])
        found = [head_of_face(face.points) for face in self.finder.find(image)]
        near = [head for head in found if np.linalg.norm(head.placement.centre - middle) < 0.2 * image.shape[1]]
        if near and abs(near[0].roll) > COARSE_ROLL:
            angle = math.degrees(near[0].roll)
            raise Drop("pose_implausible", f"the face lies in the crop with a roll of {angle:.0f} degrees", angle)
        return near[0] if near else None

    def _judge(self, estimate: Estimate) -> None:
        """Refuse what is outside the stage's limits."""
        stage = self.stage
        degrees = math.degrees(estimate.mirror_error)
        limit = stage.max_mirror_error_degrees if estimate.source == "mesh" else stage.max_coarse_mirror_error_degrees
        if degrees > limit:
            raise Drop("pose_mirror", f"the mirrored picture's camera is {degrees:.1f} degrees off > {limit:.1f}", degrees)
        if estimate.confidence < stage.min_confidence:
            detail = f"confidence {estimate.confidence:.2f} < {stage.min_confidence:.2f} ({estimate.source})"
            raise Drop("pose_unsure", detail, estimate.confidence)
        if estimate.residual > stage.max_residual:
            detail = f"median residual {estimate.residual:.1%} of the eye distance > {stage.max_residual:.1%}"
            raise Drop("pose_residual", detail, estimate.residual)
        limits = {"yaw": stage.max_yaw_degrees, "pitch": stage.max_pitch_degrees, "roll": stage.max_roll_degrees}
        for name, largest in limits.items():
            angle = math.degrees(getattr(estimate.camera, name))
            if abs(angle) > largest:
                raise Drop("pose_implausible", f"{name} {angle:.1f} degrees is outside +-{largest:.1f}", angle)


def _confirmed(rotation: Floats, spread: float, estimate: Estimate) -> Estimate:
    """Return an estimate from the mesh joined with our network's (3, 3) rotation, less sure where the two disagree."""
    apart = geodesic(rotation, estimate.camera.world2cam)
    beyond = max(0.0, apart - 3.0 * spread)  # what our network is off by itself, on average, says nothing
    trust = math.exp(-0.5 * (beyond / DISAGREEMENT) ** 2)
    camera = rounded(part_way(estimate.camera.world2cam, rotation, reader_share(rotation, spread)))
    return dataclasses.replace(estimate, camera=camera, confidence=estimate.confidence * trust, disagreement=apart)


def _read(reading: Reading, before: HeadPose | None) -> Estimate:
    """Return our network's reading of the crop as an estimate, joined with what it read before of the photograph.

    Readings that disagree are doubted as a mirror image's is: of rendered heads that one reading alone refuses, most joined
    labels are wrong (`tests/bench/truth_wild.py`).
    """
    turns, errors = [(reading.halves, reading.spread)], [reading.mirror_error]
    if before is not None and before.halves is not None:
        turns.append((before.halves, before.spread))
        errors.append(geodesic(before.rotation, reading.rotation))
    halves, spread = joined_turns(turns)
    error = max(geodesic(halves[0], halves[1]), *errors)
    return Estimate(rounded(mean_rotation(halves)), error, confidence_of(spread, error), math.nan, math.nan, "head")


def _filled(sample: Sample, estimate: Estimate) -> Sample:
    camera = estimate.camera
    scores = {
        **angle_scores(camera),
        "mirror_error_degrees": round(math.degrees(estimate.mirror_error), 4),
        "pose_confidence": round(estimate.confidence, 4),
    }
    if math.isfinite(estimate.residual):
        scores["pose_residual"] = round(estimate.residual, 6)
        scores["pose_residual_canonical"] = round(estimate.canonical_residual, 6)
    if math.isfinite(estimate.disagreement):
        scores["pose_disagreement_degrees"] = round(math.degrees(estimate.disagreement), 4)
    return sample.with_(camera=camera, scores=scores, notes={"pose_source": estimate.source})
