"""Guarantees of the parse stage on a real head: valid classes, the subject's own left, agreement with the matte."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from spherehead.datasets.classes import CLASSES, INDEX, mirror_parsing
from spherehead.datasets.sample import Drop, Sample
from spherehead.pipeline.stages.matte import Matte
from spherehead.pipeline.stages.parse import Parse, camera_of

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def cut(crop_of, astronaut: np.ndarray):
    """A function from a picture to the Sample with its matte and, fitted to the mesh, its camera."""
    stage = Matte(segmenter="selfie").open()

    def made(pixels: np.ndarray) -> Sample:
        (sample,) = stage.one(crop_of(pixels), RNG)
        return dataclasses.replace(sample, camera=camera_of(sample))

    yield made
    stage.close()


@pytest.fixture(scope="module")
def head(cut, astronaut: np.ndarray) -> Sample:
    return cut(astronaut)


def run(sample: Sample, **settings: object) -> Sample:
    (out,) = Parse(**{"parser": "mesh", **settings}).open().one(sample, RNG)
    return out


def centre(parsing: np.ndarray, name: str) -> np.ndarray:
    rows, columns = np.nonzero(parsing == INDEX[name])
    return np.array([columns.mean(), rows.mean()])


def test_every_pixel_has_a_class_and_background_is_the_mattes(head: Sample) -> None:
    parsing = run(head).parsing
    assert parsing.dtype == np.uint8 and parsing.shape == (512, 512) and parsing.max() < len(CLASSES)
    assert ((parsing == 0) == (head.mask < 128)).all()


def test_left_parts_are_the_subjects_left(head: Sample) -> None:
    parsing = run(head).parsing
    for part in ("brow", "eye"):
        assert centre(parsing, f"left_{part}")[0] > centre(parsing, f"right_{part}")[0]
    iris = head.mesh[[468, 473], :2]  # MediaPipe's subject's right and left iris
    assert np.linalg.norm(centre(parsing, "right_eye") - iris[0]) < 8
    assert np.linalg.norm(centre(parsing, "left_eye") - iris[1]) < 8


def test_hair_face_neck_and_suit_lie_in_order(head: Sample) -> None:
    parsing = run(head).parsing
    assert centre(parsing, "hair")[1] < centre(parsing, "skin")[1] < centre(parsing, "neck")[1] < centre(parsing, "cloth")[1]
    assert parsing[40, 256] == INDEX["hair"] and parsing[505, 120] == INDEX["cloth"]
    nose = head.mesh[1, :2].round().astype(int)
    assert parsing[nose[1], nose[0]] == INDEX["nose"]


def test_mirrored_photograph_has_the_mirrored_map(cut, head: Sample, astronaut: np.ndarray) -> None:
    mirrored = run(cut(np.ascontiguousarray(astronaut[:, ::-1])))
    assert (mirror_parsing(mirrored.parsing) == run(head).parsing).mean() > 0.95


@pytest.mark.slow
def test_every_photograph_has_eyes_hair_neck_and_clothes(cut, photos: list[Path]) -> None:
    import cv2

    least = {"skin": 0.1, "hair": 0.03, "neck": 0.005, "cloth": 0.01, "left_eye": 3e-4, "nose": 3e-3}
    for path in photos:
        scores = run(cut(np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1]))).scores
        for name, area in least.items():
            assert scores[f"area_{name}"] > area, (path.name, name)
        assert scores["area_glasses"] == scores["area_hat"] == scores["area_earring"] == 0.0


def test_areas_are_the_shares_of_the_crop_and_sum_to_one(head: Sample) -> None:
    out = run(head)
    areas = [out.scores[f"area_{name}"] for name in CLASSES]
    assert sum(areas) == pytest.approx(1.0, abs=2e-5)
    assert out.scores["area_hair"] == pytest.approx((out.parsing == INDEX["hair"]).mean(), abs=1e-6)
    assert 0.3 < out.scores["parse_confidence"] <= 1.0 and out.notes["parse_source"] == "mesh"


def test_same_bytes_every_time(head: Sample) -> None:
    assert run(head).parsing.tobytes() == run(head).parsing.tobytes()


def test_known_map_is_left_alone(head: Sample) -> None:
    known = np.full((512, 512), INDEX["hair"], dtype=np.uint8)
    out = run(dataclasses.replace(head, parsing=known, known=frozenset({"parsing"})))
    assert out.parsing is known and out.notes["parse_source"] == "known" and out.scores["parse_confidence"] == 1.0


def write_network(folder: Path, names: list[str]) -> dict[str, object]:
    """Write a network whose scores are fixed linear functions of colour, and its class map; return the stage's settings."""
    onnx = pytest.importorskip("onnx", reason="onnx writes the small model of this test; pip install onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    rows = [[4.0 * (i + 1), -2.0 * i, 1.0] for i in range(len(names))]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", kind, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("y", kind, [1, len(names), "h", "w"])],
        [helper.make_tensor("w", kind, [len(names), 3, 1, 1], [value for row in rows for value in row])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, str(folder / "net.onnx"))
    (folder / "map.json").write_text(json.dumps({"classes": names}))
    return {"parser": "onnx", "weights": str(folder / "net.onnx"), "class_map": str(folder / "map.json"), "input_size": 64}


def test_network_keeps_within_the_matte_and_takes_sides_from_the_head(tmp_path: Path, head: Sample) -> None:
    out = run(head, **write_network(tmp_path, ["left_eye", "left_eye"]))
    assert ((out.parsing == 0) == (head.mask < 128)).all()
    columns = {name: np.nonzero(out.parsing == INDEX[name])[1] for name in ("left_eye", "right_eye")}
    assert columns["left_eye"].mean() > columns["right_eye"].mean()
    assert out.notes["parse_source"] == "onnx" and 0.0 < out.scores["parse_confidence"] <= 1.0
    literal = run(head, **write_network(tmp_path, ["left_eye", "left_eye"]), sides="map")
    assert not (literal.parsing == INDEX["right_eye"]).any()


def test_network_that_sees_nothing_drops_the_head(tmp_path: Path, head: Sample) -> None:
    with pytest.raises(Drop) as caught:
        run(head, **write_network(tmp_path, ["background", "background"]))
    assert caught.value.reason == "no_foreground"


def test_auto_takes_the_network_only_where_its_weights_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPHEREHEAD_WEIGHTS", str(tmp_path))
    assert Parse().resolved().parser == "own"
    settings = write_network(tmp_path, ["skin", "hair"])
    own = Parse(**{**settings, "parser": "auto"})
    assert own.resolved().parser == "onnx"
    assert [name for name, _ in own.backend().weights] == ["net.onnx", "map.json"]
    (tmp_path / "bisenet-resnet34.onnx").write_bytes(b"weights")
    assert Parse().resolved().parser == "onnx"


def test_named_network_without_weights_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPHEREHEAD_WEIGHTS", str(tmp_path))
    with pytest.raises(RuntimeError, match="models fetch bisenet-resnet34"):
        Parse(parser="onnx").open()


def test_bare_eyes_are_eyes_and_no_glasses(head: Sample) -> None:
    """The portrait wears none; the project's network alone claims them on its eyes."""
    classes = run(head, parser="own").parsing
    assert not (classes == INDEX["glasses"]).any()
    for name in ("left_eye", "right_eye", "left_brow", "right_brow", "nose"):
        assert (classes == INDEX[name]).mean() > 0.0008, name  # 210 of 512 x 512 pixels: her brows are thin
