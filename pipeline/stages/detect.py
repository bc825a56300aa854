"""Find every head in a photograph: by our own network from any side, by its face where one is seen, by the body where neither.

It says where heads are and how far each can be trusted; the exact placement of the head frame is left to `align`, the camera
to `estimate_camera`. The models look at a reduced copy and at cut-outs of it, so a large photograph costs little more than a
small one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...datasets.arrays import Array, Pixels
from ...datasets.sample import Drop, Head, Sample
from ...manifests.identity import sample_id
from ..annotators.faces.coarse_pose import head_of_body, head_of_face
from ..annotators.faces.face_alignment_points import FaceAlignmentPoints, find_weights, weight_files
from ..annotators.faces.face_crop import REGION_PIXELS, distance, factor_to, mesh_in_region, reduce_by, region_of_mesh
from ..annotators.faces.tiles import TILE, factors_of_tiles, tiles
from ..annotators.faces.upright import SURE, better_turn, region_of_face, same_face
from ..annotators.heads import files as head_files
from ..annotators.heads.any_side import ENOUGH_CONFIDENCE, READING_COUNTS, AnySideHeads
from ..annotators.heads.boxes import inside, middle, overlap
from ..annotators.heads.crowd import LEAST_SHOWN
from ..backends import mediapipe_models as models
from ..backends import onnx_session
from ..stage import Backend, OpenStage, Stage
from .found_heads import (
    SeenFace,
    distinct,
    in_order,
    lone_head,
    mean_mesh,
    mesh_box,
    mesh_corners,
    pick,
    shifted,
    to_source,
    without_twins,
)

FIRST_GROWTH = 1.6
"""Side of the square in which the mesh is first sought, in sides of the detector's box: where looks settle, on average."""
BODY_SCORE = 0.2
"""Least score of a body's detection; what it is worth is judged by its points."""
SETTLED = 0.025
"""A square that moves, grows or turns by less than this share of its side is not looked at again."""

STRONG_ROLL = math.radians(25.0)
"""Turn beyond which a face without a mesh must be found again level."""


@dataclass(frozen=True)
class Detect(Stage):
    """Heads in a photograph, in a stable order."""

    name = "detect"
    version = 10
    gives = ("id", "head")

    finder: Literal["auto", "own", "mediapipe"] = "auto"
    """Our own networks find heads from any side and MediaPipe's mesh confirms faces, or MediaPipe alone; auto = own."""
    networks: str = ""
    """Folder with networks of your own (finder.onnx, head.onnx), see `annotators export`; empty: the package's."""
    landmarks: Literal["auto", "mediapipe", "face-alignment"] = "auto"
    """Where the 68 points come from: read off MediaPipe's mesh, or face-alignment's own network if its weights are here."""
    faces: Literal["largest", "all", "center", "reject"] = "largest"
    """Which heads become samples; "reject" refuses a photograph with several."""
    min_head_confidence: float = 0.4
    """Finder own: least score of a head."""
    min_other_confidence: float = 0.55
    """Finder own: the same for heads beside a face or beside another head."""
    min_crowd_confidence: float = 0.68
    """Finder own, faces = "all": least sum of the score that copies of all scales agree on and of 0.4 of the reader's
    confidence, which counts up to a half; lower finds more heads and more that are none."""
    least_head: float = 24.0
    """Finder own, faces = "all": height in pixels of the smallest heads that are sought; 48 takes half as long or less."""
    min_confidence: float = 0.5
    """Least score of a face on which the mesh fits."""
    min_lone_confidence: float = 0.75
    """Least score of a face on which no mesh fits and which no body explains."""
    min_body_confidence: float = 0.3
    """Least confidence of a head that only the body's pose tells of."""
    max_looks: int = 4
    """Times the mesh network looks at a face at most, 3.5 ms each, 2 or more: the face and its mirror image; two or three
    suffice for most."""
    thorough: bool = False
    """With faces = "largest", run the full-range detector even where the short-range one found a face (6 ms more)."""
    use_pose: bool = True
    """Look for bodies where no face is found or a face has no mesh (30 to 60 ms more there)."""
    max_side: int = 800
    """Longest side in pixels of the copy that face and body detectors look at; "all" looks at tiles of the photograph too."""
    max_heads: int = 100
    """Most heads that are kept of one photograph, by size."""
    face_alignment: Literal["2d", "3d"] = "2d"
    """Which of face-alignment's networks; "3d" marks the jaw where it is, not its visible outline."""
    face_alignment_weights: str = ""
    """Folder with face-alignment's weights; empty: $TORCH_HOME/hub/checkpoints."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            ValueError: with the field, what was expected and what came.
        """
        if not self.least_head >= LEAST_SHOWN:
            raise ValueError(
                f"least_head: expected {LEAST_SHOWN:g} pixels or more, the least that are seen, got {self.least_head}"
            )
        most = 1.0 + READING_COUNTS * ENOUGH_CONFIDENCE
        if not 0.0 <= self.min_crowd_confidence <= most:
            raise ValueError(f"min_crowd_confidence: expected 0 to {most:g}, the largest sum, got {self.min_crowd_confidence}")
        if self.max_looks < 2:
            raise ValueError(
                f"max_looks: expected 2 or more, one at the face and one at its mirror image, got {self.max_looks}"
            )
        if self.max_heads < 1 or self.max_side < 1:
            raise ValueError(f"max_heads and max_side: expected 1 or more, got {self.max_heads} and {self.max_side}")

    def resolved(self) -> Detect:
        """Replace `auto`: points by face-alignment where its weights are, else by MediaPipe; heads by our own networks."""
        own = self if self.finder != "auto" else dataclasses.replace(self, finder="own")
        if self.landmarks != "auto":
            return own
        found = find_weights(self.face_alignment, self.face_alignment_weights)
        return dataclasses.replace(own, landmarks="face-alignment" if found else "mediapipe")

    def backend(self) -> Backend:
        """Name MediaPipe's models, and face-alignment's weights where they are used."""
        files = [*models.FaceFinder.FILES.values(), models.FaceMesher.FILES[True]]
        if self.use_pose:
            files += models.PoseFinder.FILES
        own = Backend("mediapipe", models.version(), models.weights(*files))
        if self.finder == "own":
            version = f"{own.version}+onnxruntime-{onnx_session.version()}"
            own = Backend("own+mediapipe", version, own.weights + head_files.weights("finder", "head", folder=self.networks))
        if self.landmarks != "face-alignment":
            return own
        extra = weight_files(self.face_alignment, self.face_alignment_weights)
        return dataclasses.replace(own, name=f"{own.name}+face-alignment", weights=own.weights + extra)

    def settings(self) -> dict[str, Any]:
        """Leave out where the networks and face-alignment's weights lie: `backend` names their content."""
        return {**head_files.without_place(super().settings()), "face_alignment_weights": ""}

    @property
    def uses_device(self) -> bool:
        """Our own networks and face-alignment's can; MediaPipe's run on the CPU."""
        return self.resolved().finder == "own" or self.resolved().landmarks == "face-alignment"

    def open(self, device: str = "cpu") -> OpenDetect:
        """Load the models."""
        return OpenDetect(self.resolved(), device)


class OpenDetect(OpenStage):
    """The detectors, loaded; the body's only when first needed."""

    def __init__(self, stage: Detect, device: str) -> None:
        self.stage = stage
        self.near = models.FaceFinder("short", stage.min_confidence)
        self.far = models.FaceFinder("full", stage.min_confidence)
        self.mesher = models.FaceMesher()
        self.poser: models.PoseFinder | None = None
        self.own: AnySideHeads | None = None
        if stage.finder == "own":
            scores = stage.min_head_confidence, stage.min_other_confidence
            self.own = AnySideHeads(device, *scores, stage.networks, stage.min_crowd_confidence)
        self.points: FaceAlignmentPoints | None = None
        if stage.landmarks == "face-alignment":
            self.points = FaceAlignmentPoints(stage.face_alignment, stage.face_alignment_weights, device)

    def close(self) -> None:
        """Free all models."""
        for model in (self.near, self.far, self.mesher, self.poser):
            if model is not None:
                model.close()

    def one(self, sample: Sample, rng: np.random.Generator) -> Iterable[Sample]:
        """Return one sample a head that `faces` picks."""
        pixels = sample.photo.pixels
        heads = in_order(self.heads(pixels))[: self.stage.max_heads]
        if not heads:
            raise Drop("no_head", f"{self._sought()} in {pixels.shape[1]} x {pixels.shape[0]} pixels")
        if self.stage.faces == "reject" and len(heads) > 1:
            raise Drop("several_faces", f"{len(heads)} heads", float(len(heads)))
        picked = pick(heads, self.stage.faces, pixels.shape[1], pixels.shape[0])
        return [self._sample(sample, index, heads[index], len(heads)) for index in picked]

    def _sought(self) -> str:
        """Say what was sought and with which settings, where nothing was found."""
        stage = self.stage
        parts = [f"no face (min_confidence {stage.min_confidence:g})"]
        if stage.finder == "own":
            parts.insert(0, f"no head (min_head_confidence {stage.min_head_confidence:g})")
        if stage.use_pose:
            parts.append(f"no body (min_body_confidence {stage.min_body_confidence:g})")
        return ", ".join(parts)

    def _sample(self, sample: Sample, index: int, head: Head, num_heads: int) -> Sample:
        head = dataclasses.replace(head, num_heads=num_heads)
        if self.points is not None and head.kind == "mesh":
            head = dataclasses.replace(head, landmarks=self.points.find(sample.photo.pixels, mesh_corners(head)))
        return sample.with_(
            id=sample_id(sample.photo.sha256, index),
            head_index=index,
            head=head,
            scores={"num_heads": float(num_heads), "head_confidence": round(head.confidence, 4)},
            notes={"head_kind": head.kind},
        )

    def heads(self, pixels: Pixels) -> list[Head]:
        """Return the heads in an (H, W, 3) uint8 picture, in no particular order."""
        factor = factor_to(pixels, self.stage.max_side)
        reduced = reduce_by(pixels, factor)
        faces = distinct(self.near.find(reduced))
        heads, lone = self._with_mesh(pixels, reduced, faces, factor)
        if not heads or lone or self.stage.thorough or self.stage.faces != "largest":
            more = distinct([*faces, *self.far.find(reduced)])
            unseen = [face for face in more if not any(face is other for other in faces)]
            more_heads, more_lone = self._with_mesh(pixels, reduced, unseen, factor)
            heads, lone = without_twins([*heads, *more_heads]), [*lone, *more_lone]
        if self.stage.faces == "all":
            heads = without_twins([*heads, *self._in_tiles(pixels, heads)])
        lone = [face for face in lone if not any(inside(middle(face.box), head.box) for head in heads)]
        if self.own is not None:
            sure = [lone_head(face) for face in lone if face.score >= self.stage.min_lone_confidence]
            known, fine = [*heads, *sure], self.stage.thorough or self.stage.faces != "largest"
            heads = []
            if self.stage.faces == "all":
                heads = self.own.crowd(pixels, known, self.stage.least_head, 2 * self.stage.max_heads)
            heads = heads or self.own.join(pixels, reduced, factor, known, fine)
            if heads or not self.stage.use_pose:
                return heads
            return [self.own.posed(pixels, head) for head in self._with_body(reduced, factor, lone, heads)]
        if self.stage.use_pose and (lone or not heads):
            heads += self._with_body(reduced, factor, lone, heads)
        else:
            heads += [lone_head(face) for face in lone if face.score >= self.stage.min_lone_confidence]
        return heads

    def _with_mesh(
        self, pixels: Pixels, reduced: Pixels, faces: Sequence[models.Face], factor: int
    ) -> tuple[list[Head], list[models.Face]]:
        """Return heads for those faces of the reduced picture on which the mesh fits, and the others in source pixels.

        A face that neither turn makes upright is neither.
        """
        heads, lone = [], []
        for face in faces:
            place = to_source(face, factor)
            fine = FIRST_GROWTH * max(face.box[2:]) >= REGION_PIXELS  # the network sees no more than this anyway
            standing = self._upright_mesh(reduced, face) if fine else self._upright_mesh(pixels, place)
            if standing is None:
                continue
            if standing.meshes is None:
                lone.append(to_source(standing.face, factor) if fine else standing.face)
            else:
                heads.append(dataclasses.replace(standing, face=face).head(factor if fine else 1))
        return heads, lone

    def _upright_mesh(self, pixels: Pixels, face: models.Face) -> SeenFace | None:
        """Fit the mesh to a face the way up that the detector is surer of; None where it doubts both.

        A face that our network sees as the mesh has it is not turned: it would see an inverted one by half a turn off.
        """
        mesh = self._mesh(pixels, face)
        if mesh is not None and self.own is not None:
            pose = self.own.confirmed(pixels, mean_mesh(mesh))
            if pose is not None:
                return SeenFace(face, mesh, pose)
        roll = head_of_face(face.points).roll  # in a profile the eyes lie too close to tell
        if mesh is None and abs(roll) > STRONG_ROLL:
            again = same_face(self.near, pixels, dataclasses.replace(region_of_face(face, FIRST_GROWTH), angle=roll))
            if again is None:
                return None
            face, mesh = again, self._mesh(pixels, again)  # the detector marks a level face better
        for _ in range(3):
            better = better_turn(
                self.near, pixels, region_of_face(face, FIRST_GROWTH) if mesh is None else region_of_mesh(mean_mesh(mesh))
            )
            if better is None:
                return SeenFace(face, mesh)
            face, mesh = better, self._mesh(pixels, better)
        return None

    def _mesh(self, pixels: Pixels, face: models.Face) -> Array | None:
        """Fit the mesh to a face; (2, 478, 3) in the pixels of the given picture, or None.

        The detector's box is loose and the mesh leans towards where it was sought, so the network looks again at the square
        around its own answer until that square stays where it is. Every other look is at the mirrored picture, and the last two
        are returned: in their mean, what the network answers differently for left and right cancels.
        """
        region = region_of_face(face, FIRST_GROWTH)
        pair = np.zeros((2, models.NUM_MESH_POINTS, 3), dtype=np.float32)
        for look in range(self.stage.max_looks):
            mesh = mesh_in_region(self.mesher, pixels, region, mirrored=look % 2 == 1)
            if mesh is None:
                return None
            pair[look % 2] = mesh
            before, region = region, region_of_mesh(mesh)
            if look and distance(before, region) < SETTLED:
                break
        return pair

    def _in_tiles(self, pixels: Pixels, heads: Sequence[Head]) -> list[Head]:
        """Return further heads, seen in tiles of the photograph: a crowd's faces are too small for a look at the whole."""
        found: list[models.Face] = []
        for factor in factors_of_tiles(pixels.shape[1], pixels.shape[0]):
            reduced = reduce_by(pixels, factor)
            for x, y in tiles(reduced.shape[1], reduced.shape[0]):
                tile = reduced[y : y + TILE, x : x + TILE]
                found += [to_source(shifted(face, x, y), factor) for face in self.near.find(tile)]
        known = [mesh_box(head) for head in heads if head.mesh is not None]
        fresh = [face for face in distinct(found) if all(overlap(face.box, box) <= 0.3 for box in known)]
        return [head for head in self._with_mesh(pixels, pixels, fresh, 1)[0] if self._is_sure(pixels, head)]

    def _is_sure(self, pixels: Pixels, head: Head) -> bool:
        """Tell whether the detector sees a head's face again, level: of many tiles some look like faces by chance."""
        assert head.mesh is not None
        again = same_face(self.near, pixels, region_of_mesh(head.mesh))
        return again is not None and again.score >= SURE

    def _with_body(self, reduced: Pixels, factor: int, lone: Sequence[models.Face], heads: Sequence[Head]) -> list[Head]:
        """Return a head for each face without mesh, and for a body whose head no face explains and the picture shows.

        Where body and face tell of the same head the body is believed: from behind, BlazeFace sees faces in hair.
        """
        self.poser = self.poser or models.PoseFinder(BODY_SCORE)
        body = self.poser.body(reduced)
        found = []
        if body is not None:
            body[:, :3] *= factor
            seen = head_of_body(body)
            here = [face for face in lone if inside(middle(face.box), seen.box)]
            score = max([seen.confidence, *(face.score for face in here)])
            shown = inside(middle(seen.box), (0.0, 0.0, factor * reduced.shape[1], factor * reduced.shape[0]))
            taken = any(inside(middle(seen.box), head.box) or inside(middle(head.box), seen.box) for head in heads)
            if seen.confidence >= self.stage.min_body_confidence and shown and not taken:
                found.append(Head(seen.box, score, "pose", seen.yaw, body=body, roll=seen.roll))
                lone = [face for face in lone if not any(face is other for other in here)]
        return found + [lone_head(face) for face in lone if face.score >= self.stage.min_lone_confidence]
