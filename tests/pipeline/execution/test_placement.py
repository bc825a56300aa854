"""The device of a file's stages follows from recipe and listing, and what is foretold of a file is what its worker finds."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from odd_stages import Placed
from spherehead.datasets.sample import SourceImage
from spherehead.datasets.sources.base import Source
from spherehead.datasets.sources.folder import FolderSource
from spherehead.pipeline.execution.file_run import FileRun
from spherehead.pipeline.execution.placement import CROP_FIELDS, Placement, known_fields
from spherehead.pipeline.execution.work import Task, WorkOrder
from spherehead.pipeline.execution.worker import Worker
from spherehead.pipeline.presets import preset
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.detect import Detect
from spherehead.pipeline.stages.estimate_camera import EstimateCamera
from spherehead.pipeline.stages.frame import Frame
from spherehead.pipeline.stages.matte import Matte
from spherehead.pipeline.stages.parse import Parse

LABEL = [1.0, 0, 0, 0, 0, -1.0, 0, 0, 0, 0, -1.0, 2.7, 0, 0, 0, 1, 4.2647, 0, 0.5, 0, 4.2647, 0.5, 0, 0, 1]
RENDERED = {"id": "a" * 16, "camera": "camera", "mask": "mask", "parsing": "parsing", "derivation": "{}", "renderer": "r"}
KINDS: tuple[dict[str, str], ...] = (
    {},
    {"camera": "camera"},
    {"camera": "camera", "mask": "mask", "parsing": "parsing"},
    {"id": "a" * 16},
    {"id": "a" * 16, "mask": "mask"},
    RENDERED,
)


class Beside(Source):
    """One square picture with whatever is named beside it."""

    label = "beside"

    def entries(self):
        return iter(())

    def read(self, image: SourceImage) -> bytes:
        return png(np.full((64, 64, 3), 90, np.uint8))

    def sidecar(self, image: SourceImage, kind: str) -> bytes | None:
        if kind not in image.sidecar:
            return None
        if kind == "camera":
            return json.dumps(LABEL).encode()
        return png(np.zeros((64, 64), np.uint8)) if kind in ("mask", "parsing") else None


def png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()


def image_with(kinds: dict[str, str]) -> SourceImage:
    return SourceImage("beside", "a.png", 0, sidecar=kinds)


@pytest.mark.parametrize("kinds", KINDS, ids=lambda kinds: "+".join(kinds) or "nothing")
@pytest.mark.parametrize("name", ["heads", "aligned", "untouched"])
def test_what_is_foretold_of_a_file_is_what_its_sample_starts_with(kinds: dict[str, str], name: str) -> None:
    recipe, source = preset(name), Beside()
    task = Task(0, 0, image_with(kinds))
    run = FileRun(Worker(WorkOrder((source,), recipe)), {}, task, source, source.read(task.image), "0" * 64, lambda _: None, {})
    run._start("key")
    assert run.alive[0].known - {"notes"} == known_fields(task.image, recipe)


def takes(recipe: Recipe, kinds: dict[str, str], device: str = "cuda", source: Source | None = None) -> bool:
    return Placement((source or Beside(),), recipe, device).takes_gpu(0, image_with(kinds))


def test_photographs_take_a_gpu_and_exact_samples_and_recipes_without_networks_do_not() -> None:
    assert takes(preset("heads"), {}) and takes(preset("heads"), {}, "cuda:1") and not takes(preset("heads"), {}, "cpu")
    assert not takes(preset("heads"), RENDERED)
    assert takes(preset("heads"), {kind: name for kind, name in RENDERED.items() if kind != "mask"})
    assert takes(preset("heads"), {kind: name for kind, name in RENDERED.items() if kind != "id"})  # the head is not found yet
    assert not any(takes(preset(name), kinds) for name in ("frames", "untouched") for kinds in KINDS)
    assert takes(preset("aligned"), {"camera": "camera", "mask": "mask"})  # a matte is laid on its background


def test_a_source_that_renders_on_a_gpu_takes_one_whatever_the_stages() -> None:
    class Traced(Beside):
        uses_gpu = True

    assert takes(preset("frames"), RENDERED, "cpu", Traced())
    assert Placement((Traced(),), preset("frames"), "cpu").may_take_gpu
    assert not Placement((Beside(),), preset("frames"), "cuda").may_take_gpu
    assert Placement((Beside(),), preset("heads"), "cuda").may_take_gpu


def test_stages_say_that_they_use_a_device_where_their_networks_can() -> None:
    told = {
        Detect(finder="mediapipe", landmarks="mediapipe"): False, Detect(finder="own", landmarks="mediapipe"): True,
        Detect(finder="mediapipe", landmarks="face-alignment"): True, Matte(segmenter="selfie"): False,
        Matte(segmenter="own"): True, Matte(segmenter="rembg"): True, Matte(segmenter="onnx", weights="x"): True,
        Parse(parser="mesh"): False, Parse(parser="own"): True, Parse(parser="onnx"): True,
        EstimateCamera(network="mediapipe"): False, EstimateCamera(network="own"): True,
    }  # fmt: skip
    assert {stage: stage.uses_device for stage in told} == told


def test_a_stage_that_says_it_uses_no_device_opens_nothing_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from spherehead.pipeline.annotators.faces import face_alignment_points
    from spherehead.pipeline.annotators.heads import files
    from spherehead.pipeline.backends import onnx_session

    files.forget_loaded()  # other tests of this process have opened networks
    asked: list[str] = []
    monkeypatch.setattr(onnx_session, "providers", lambda device: (asked.append(device), ["CPUExecutionProvider"])[1])
    monkeypatch.setattr(face_alignment_points.FaceAlignmentPoints, "__init__", lambda *_: asked.append("cuda"))
    stages: tuple[Any, ...] = (
        Detect(finder="mediapipe", landmarks="mediapipe"), Matte(segmenter="selfie"), Parse(parser="mesh"),
        EstimateCamera(network="mediapipe"), *preset("frames").stages, *preset("untouched").stages,
        *(stage for stage in preset("heads-augmented").stages if stage.name in ("align", "quality", "augment")),
    )  # fmt: skip
    for stage in stages:
        assert not stage.uses_device
        stage.open("cuda").close()
    assert set(asked) <= {"cpu"}
    for stage in (Detect(finder="own", landmarks="mediapipe"), Parse(parser="own"), EstimateCamera(network="own")):
        stage.open("cpu").close()
    assert asked and set(asked) == {"cpu"}


def test_a_worker_opens_a_stage_on_the_device_of_the_file_and_not_of_itself(tmp_path: Path) -> None:
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((64, 64, 3), 40 * number, np.uint8))
    source = FolderSource("pictures", str(tmp_path))
    recipe = Recipe("test", (Frame(size=64), Placed()))
    worker = Worker(WorkOrder((source,), recipe, device="cuda"))
    image = next(iter(source.entries()))
    assert isinstance(image, SourceImage)
    for takes_gpu, device in ((True, "cuda"), (False, "cpu"), (True, "cuda")):
        [(_, _, row)] = worker.process(Task(0, 0, image, takes_gpu)).heads
        assert json.loads(row)["notes"]["placed"] == device
    assert sorted(worker._open) == [(0, "cpu"), (1, "cpu"), (1, "cuda")]


def test_the_crop_fields_are_fields_of_a_sample() -> None:
    from spherehead.datasets.sample import Sample

    assert set(CROP_FIELDS) <= {field.name for field in dataclasses.fields(Sample)}
