"""Guarantees of the matte stage on a real head: found, alone, within the photograph, the same every time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from spherehead.datasets import warp
from spherehead.datasets.sample import Crop, Drop, Photo, PhotoInfo, Sample, SourceImage
from spherehead.pipeline.annotators.mattes import matting
from spherehead.pipeline.backends import mediapipe_models, onnx_session, rembg_models
from spherehead.pipeline.stages.matte import Matte, _run_onnx, head_outline

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def selfie():
    stage = Matte(segmenter="selfie").open()
    yield stage
    stage.close()


def run(stage, sample: Sample) -> Sample:
    (out,) = stage.one(sample, RNG)
    return out


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


def own_crop(pixels: np.ndarray, like: Sample) -> Sample:
    """A sample whose photograph is the given 512 px crop itself, with the mesh of another sample of the same crop."""
    crop = Crop(np.eye(3), 512, 0.0, 1.0)
    return dataclasses.replace(like, photo=Photo.of_pixels(pixels), image=pixels, crop=crop, padding=None)


def test_head_is_kept_and_background_goes(selfie, astronaut_crop: Sample) -> None:
    out = run(selfie, astronaut_crop)
    assert out.mask is not None and out.mask.dtype == np.uint8 and out.mask.shape == (512, 512)
    face = np.zeros((512, 512), dtype=np.uint8)
    cv2.fillPoly(face, [np.round(head_outline(astronaut_crop, 512)).astype(np.int32)], 1)
    within = cv2.erode(face, np.ones((21, 21), dtype=np.uint8)) > 0  # the mesh's outline is a few pixels off the cheek's
    assert out.mask[within].min() > 250
    assert out.mask[:60, :40].max() < 10 and out.mask[:60, -40:].max() < 10
    assert out.image is astronaut_crop.image
    assert 0.4 < out.scores["matte_share"] < 0.8 and out.notes["matte_source"] == "mediapipe:selfie"


def test_matte_of_a_known_composite_is_the_known_matte(selfie, astronaut_crop: Sample) -> None:
    """The cut-out laid on a plain wall, and cut out again, is itself."""
    first = run(selfie, astronaut_crop)
    alpha = first.mask.astype(np.float64)[:, :, None] / 255
    wall = np.broadcast_to(np.linspace(90, 150, 512)[:, None, None] * (0.9, 1.0, 1.1), (512, 512, 3))
    laid = np.round(alpha * astronaut_crop.image + (1 - alpha) * wall).astype(np.uint8)
    again = run(selfie, own_crop(laid, astronaut_crop))
    assert iou(again.mask > 127, first.mask > 127) > 0.97
    assert np.abs(again.mask.astype(int) - first.mask).mean() < 6


def test_a_person_in_the_background_is_removed(selfie, astronaut_crop: Sample) -> None:
    first = run(selfie, astronaut_crop)
    small = cv2.resize(astronaut_crop.image, (150, 150), interpolation=cv2.INTER_AREA)
    head = cv2.resize(first.mask, (150, 150), interpolation=cv2.INTER_AREA)[:, :, None] / 255.0
    both = np.full((512, 512, 3), 140, dtype=np.uint8)
    large = cv2.resize(astronaut_crop.image, (330, 330), interpolation=cv2.INTER_AREA)
    own = cv2.resize(first.mask, (330, 330), interpolation=cv2.INTER_AREA)[:, :, None] / 255.0
    both[182:, :330] = np.round(own * large + (1 - own) * 140)
    both[40:190, 362:] = np.round(head * small + (1 - head) * 140)
    mesh = astronaut_crop.mesh * np.float32(330 / 512) + np.array([0, 182, 0], dtype=np.float32)
    sample = dataclasses.replace(own_crop(both, astronaut_crop), mesh=mesh)
    kept = run(selfie, sample).mask
    assert kept[40:190, 362:].max() < 30
    assert iou(kept[182:, :330] > 127, own[:, :, 0] > 0.5) > 0.93


def test_mirrored_crop_has_the_mirrored_matte(selfie, crop_of, astronaut: np.ndarray, astronaut_crop: Sample) -> None:
    mirrored = run(selfie, crop_of(np.ascontiguousarray(astronaut[:, ::-1])))
    assert iou(mirrored.mask[:, ::-1] > 127, run(selfie, astronaut_crop).mask > 127) > 0.95


def test_same_bytes_every_time(selfie, astronaut_crop: Sample) -> None:
    other = Matte(segmenter="selfie").open()
    try:
        assert run(selfie, astronaut_crop).mask.tobytes() == run(other, astronaut_crop).mask.tobytes()
    finally:
        other.close()


def test_padding_is_background(selfie, astronaut_crop: Sample) -> None:
    padding = np.zeros((512, 512), dtype=np.uint8)
    padding[400:] = 255
    assert run(selfie, dataclasses.replace(astronaut_crop, padding=padding)).mask[400:].max() == 0


@pytest.mark.parametrize("composite", ["keep", "white", "mean"])
def test_the_picture_is_made_again_from_crop_and_mask(astronaut_crop: Sample, composite) -> None:
    stage = Matte(segmenter="selfie", composite=composite)
    opened = stage.open()
    out = run(opened, astronaut_crop)
    opened.close()
    assert np.array_equal(stage.remake(out.with_(image=astronaut_crop.image)).image, out.image)


@pytest.mark.parametrize(("composite", "colour"), [("white", 255), ("black", 0)])
def test_composite_lays_the_colour_behind_the_head(astronaut_crop: Sample, composite, colour: int) -> None:
    stage = Matte(segmenter="selfie", composite=composite).open()
    out = run(stage, astronaut_crop)
    stage.close()
    assert (out.image[out.mask == 0] == colour).all()
    assert (out.image[out.mask == 255] == astronaut_crop.image[out.mask == 255]).all()


def test_transparent_file_brings_its_own_matte(selfie, astronaut_crop: Sample) -> None:
    photo = astronaut_crop.photo
    height, width = photo.pixels.shape[:2]
    alpha = np.zeros((height, width), dtype=np.uint8)
    cv2.ellipse(alpha, (width * 225 // 512, height * 115 // 512), (70, 110), 0, 0, 360, 255, -1)
    info = PhotoInfo(width, height, "png", flags=("alpha",))
    cut = Photo(SourceImage("memory", "cut.png", 1), "0" * 64, info, lambda: (photo.pixels, alpha))
    out = run(selfie, dataclasses.replace(astronaut_crop, photo=cut))
    assert out.notes["matte_source"] == "alpha"
    expected = warp.warp(alpha, astronaut_crop.crop.matrix, 512, border="black")
    assert iou(out.mask > 127, expected > 127) > 0.99


def test_known_mask_is_left_alone(selfie, astronaut_crop: Sample) -> None:
    known = np.full((512, 512), 200, dtype=np.uint8)
    out = run(selfie, dataclasses.replace(astronaut_crop, mask=known, known=frozenset({"mask"})))
    assert out.mask is known and out.notes["matte_source"] == "known"


def test_picture_without_anybody_is_dropped_with_the_reason(selfie, astronaut_crop: Sample) -> None:
    wall = np.full((512, 512, 3), 128, dtype=np.uint8)
    with pytest.raises(Drop) as caught:
        run(selfie, dataclasses.replace(own_crop(wall, astronaut_crop), mesh=None))
    assert caught.value.reason == "no_foreground" and caught.value.value is not None


@pytest.mark.slow
def test_closed_form_matting_agrees_with_the_guided_filter(selfie, astronaut_crop: Sample) -> None:
    stage = Matte(segmenter="selfie", refine="pymatting").open()
    out = run(stage, astronaut_crop)
    stage.close()
    assert iou(out.mask > 127, run(selfie, astronaut_crop).mask > 127) > 0.95


def test_auto_says_which_it_took(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    stage = Matte().resolved()
    assert stage.segmenter == "own" and stage.backend().name == "own"
    assert stage.backend().weights[0][0] == "parser.onnx" and len(stage.backend().weights[0][1]) == 64
    path = tmp_path / "models" / "isnet-general-use" / "isnet-general-use.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    there = Matte().resolved()
    assert there.segmenter == "rembg" and there.backend().name == "rembg:isnet-general-use"
    assert there.key("") != stage.key("")


def test_named_rembg_without_weights_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    with pytest.raises(rembg_models.MissingWeights, match="models fetch u2net"):
        Matte(segmenter="rembg", model="u2net").open()


@pytest.mark.parametrize("segmenter", ["onnx", "rembg"])
def test_file_of_the_users_own_makes_the_matte(
    segmenter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, astronaut_crop: Sample
) -> None:
    """A network that calls dark pixels foreground, where the head is painted black on white."""
    onnx = pytest.importorskip("onnx", reason="onnx writes the small model of this test; pip install onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weight = helper.make_tensor("w", kind, [1, 3, 1, 1], [-4.0, -4.0, -4.0])
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "dark",
        [helper.make_tensor_value_info("x", kind, [1, 3, 320, 320])],
        [helper.make_tensor_value_info("y", kind, [1, 1, 320, 320])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    onnx.save(model, str(tmp_path / "dark.onnx"))
    picture = np.full((512, 512, 3), 250, dtype=np.uint8)
    cv2.circle(picture, (256, 256), 150, (10, 10, 10), -1)
    sample = dataclasses.replace(own_crop(picture, astronaut_crop), mesh=None)
    stage = Matte(segmenter=segmenter, model="u2net_custom", weights=str(tmp_path / "dark.onnx"), refine="none")
    assert stage.backend().weights[0][0] == "dark.onnx"
    truth = (picture[:, :, 0] < 100).astype(bool)
    assert iou(run(stage.open(), sample).mask > 127, truth) > 0.97


def test_sure_background_goes_and_hair_at_the_outline_stays() -> None:
    """What the second network does not see goes where the first doubts, and stays within six cells of a sure outline."""
    person = np.zeros((64, 64), dtype=np.float32)
    person[20:, 20:44] = 1.0
    coverage = np.where(person > 0, 1.0, 0.0).astype(np.float32)
    coverage[14:20, 20:44] = 1.0  # hair that the second network cuts off
    coverage[30:40, 2:12] = 0.75  # a patch of background
    kept = matting.without_background(coverage, coverage, person)
    assert np.array_equal(kept[14:, 20:44], coverage[14:, 20:44]) and kept[30:40, 2:12].max() == 0
    doubted = np.where((coverage == 1.0) & (person == 0), np.float32(0.6), coverage)
    assert matting.without_background(doubted, doubted, person)[14:17, 20:44].max() == 0


def test_place_of_the_weights_is_no_part_of_the_settings(tmp_path: Path) -> None:
    assert "weights" not in Matte(segmenter="onnx", weights=str(tmp_path / "a.onnx")).settings()


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"context": 0.5}, "context"), ({"segmenter": "onnx"}, "weights"), ({"min_foreground": 2.0}, "share")],
)
def test_settings_that_cannot_work_are_refused(settings: dict, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Matte(**settings)


def test_a_head_from_behind_is_cut_out_though_the_crop_shows_hair_only(astronaut_crop: Sample) -> None:
    """As the network does, this segmenter sees nobody in a picture that hair fills; only wider views tell."""

    def segment(pixels: np.ndarray) -> np.ndarray:
        dark = (pixels.mean(axis=2) < 100).astype(np.float32)
        return dark if dark.mean() < 0.95 else np.zeros_like(dark)

    pixels = np.full((512, 512, 3), 200, dtype=np.uint8)
    cv2.circle(pixels, (256, 256), 150, (40, 30, 20), -1)
    scale = 512 / 200  # the crop is a square of 200 pixels within the disc
    matrix = np.array([[scale, 0, -156 * scale], [0, scale, -156 * scale], [0, 0, 1]])
    image = warp.warp(pixels, matrix, 512)
    photo = Photo.of_pixels(pixels)
    behind = dataclasses.replace(
        astronaut_crop, photo=photo, image=image, crop=Crop(matrix, 512, 0.0, scale), mesh=None, padding=None
    )
    stage = Matte(segmenter="selfie").open()
    stage._segment = segment
    assert run(stage, behind).mask.min() > 250
    with pytest.raises(Drop, match="matte covers"):
        run(stage, dataclasses.replace(behind, mesh=astronaut_crop.mesh))
    stage.close()


def test_the_projects_network_cuts_out_heads_with_and_without_a_face_mesh_alike(selfie, astronaut_crop: Sample) -> None:
    own = Matte(segmenter="own").open()
    confirmed, alone = run(own, astronaut_crop), run(own, dataclasses.replace(astronaut_crop, mesh=None))
    own.close()
    assert iou(confirmed.mask > 127, alone.mask > 127) > 0.98
    assert confirmed.notes["matte_source"] == alone.notes["matte_source"] == "own"
    assert iou(confirmed.mask > 127, run(selfie, astronaut_crop).mask > 127) > 0.9


def test_own_mattes_are_keyed_by_every_library_that_makes_them() -> None:
    version = Matte(segmenter="own").backend().version
    assert mediapipe_models.version() in version and onnx_session.version() in version


@pytest.mark.parametrize("shape", [(1, 2, 4, 4), (1, 0, 4, 4), (16,)])
def test_a_network_of_another_output_is_told_what_was_expected(shape: tuple[int, ...]) -> None:
    class Network:
        path = Path("net.onnx")

        def __call__(self, _: np.ndarray) -> list[np.ndarray]:
            return [np.zeros(shape, dtype=np.float32)]

    with pytest.raises(ValueError, match=r"net.onnx: expected a first output of shape \(1, 1, h, w\), got"):
        _run_onnx(Network(), np.zeros((8, 8, 3), dtype=np.uint8), Matte(input_size=8))  # type: ignore[arg-type]
