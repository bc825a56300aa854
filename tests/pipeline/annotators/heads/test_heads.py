"""The networks for heads of any side at work: geometry by formula, pictures by rendered truth."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.stats import gamma
from spherehead.datasets.classes import INDEX
from spherehead.datasets.sample import Head, Photo, Sample
from spherehead.pipeline.annotators.faces.face_regions import feature_polygons
from spherehead.pipeline.annotators.heads import files
from spherehead.pipeline.annotators.heads.any_side import shows_head
from spherehead.pipeline.annotators.heads.finder import FoundHead, HeadFinder, peaks, without_twins
from spherehead.pipeline.annotators.heads.parser import CropMaps, HeadParser
from spherehead.pipeline.annotators.heads.parsing import FACE, parse_crop, without_crumbs
from spherehead.pipeline.annotators.heads.reader import (
    SWAP,
    HeadReader,
    Reading,
    Square,
    chance_within,
    whole,
)
from spherehead.pipeline.annotators.heads.strengths import StrengthReader
from spherehead.pipeline.stage import OpenStage
from spherehead.pipeline.stages.align import Align
from spherehead.pipeline.stages.estimate_camera import EstimateCamera
from spherehead.pipeline.stages.matte import Matte
from spherehead.pipeline.stages.parse import Parse


@pytest.mark.parametrize("limit", [0.05, 0.3])
@pytest.mark.parametrize("spread", [0.02, 0.1, 0.5])
def test_confidence_is_the_gamma_distribution_of_an_errors_length(limit: float, spread: float) -> None:
    assert chance_within(limit, spread) == pytest.approx(gamma(3, scale=spread).cdf(limit), abs=1e-9)


def test_a_peak_is_the_box_that_its_cell_tells() -> None:
    heat, boxes = np.zeros((6, 8), dtype=np.float32), np.zeros((4, 6, 8), dtype=np.float32)
    heat[2, 3], heat[2, 4] = 0.9, 0.6
    boxes[:, 2, 3] = 0.25, -0.25, math.log(2.0), math.log(3.0)
    ((box, score),) = peaks(heat, boxes, 0.5)
    assert score == pytest.approx(0.9)
    assert box == pytest.approx((8 * 3.75 - 8.0, 8 * 2.25 - 12.0, 16.0, 24.0))


def test_of_twin_boxes_the_better_stays() -> None:
    heads = [FoundHead((0, 0, 10, 10), 0.5), FoundHead((1, 1, 10, 10), 0.9), FoundHead((30, 0, 10, 10), 0.4)]
    assert [head.score for head in without_twins(heads)] == [0.9, 0.4]


def test_files_are_what_their_cards_name() -> None:
    total = sum(files.path_of(name).stat().st_size for name in files.NAMES)
    assert total < 16e6
    for name in files.NAMES:
        card = files.card(name)
        assert card["licence"] == "Apache-2.0" and card["pictures"] > 0


@pytest.fixture(scope="module")
def reader() -> HeadReader:
    return HeadReader()


def test_the_astronaut_is_found_and_read_from_the_front(reader: HeadReader, astronaut: np.ndarray) -> None:
    found = HeadFinder().find(astronaut)
    assert found
    x, y, width, height = found[0].box
    assert x < 225 < x + width and y < 110 < y + height
    reading = reader.settle(astronaut, found[0].box)
    backward = -reading.rotation[2]
    assert abs(math.degrees(math.atan2(backward[0], backward[2]))) < 35.0
    hair = int(np.count_nonzero(reading.classes.argmax(axis=0) == 17))
    assert hair > 200


@pytest.mark.parametrize("seed", range(4))
def test_no_head_is_found_in_smooth_noise(seed: int) -> None:
    import cv2

    coarse = np.random.default_rng(seed).uniform(0, 255, (6, 6, 3)).astype(np.float32)
    picture = np.clip(cv2.resize(coarse, (256, 256), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)
    assert [head for head in HeadFinder().find(picture) if head.score > 0.5] == []


def through(stages: list[OpenStage], sample: Sample, forget: bool) -> Sample:
    """Run stages one after the other, with or without what they share."""
    for stage in stages:
        (sample,) = stage.one(replace(sample, shared={}) if forget else sample, np.random.default_rng(0))
    return sample


def test_stages_read_a_crop_once_and_label_it_as_if_each_had_read_it(
    astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    squares: list[Square] = []
    crops: list[np.ndarray] = []
    read, parse = HeadReader.read, HeadParser.read

    def counted(self: HeadReader, image: np.ndarray, square: Square, quick: bool = False) -> Reading:
        squares.append(square)
        return read(self, image, square, quick)

    def counted_crop(self: HeadParser, image: np.ndarray) -> CropMaps:
        crops.append(image)
        return parse(self, image)

    reader = HeadReader()
    head = Head((150.0, 20.0, 150.0, 190.0), 0.9, "head", 0.0, pose=reader.settle(astronaut, (150.0, 20.0, 150.0, 190.0)).pose)
    sample = Sample("a" * 16, Photo.of_pixels(astronaut), head=head)
    settings = (Align(max_upscale=16.0, max_padding=0.9), Matte(), EstimateCamera(max_roll_degrees=90), Parse())
    stages = [stage.open() for stage in settings]
    monkeypatch.setattr(HeadReader, "read", counted)
    monkeypatch.setattr(HeadParser, "read", counted_crop)
    together = through(stages, sample, forget=False)
    assert len(squares) == len(crops) == 1
    apart = through(stages, sample, forget=True)
    assert len(squares) == 2 and len(crops) == 3
    assert np.array_equal(together.mask, apart.mask) and np.array_equal(together.parsing, apart.parsing)
    assert np.array_equal(together.camera.label(), apart.camera.label()) and together.scores == apart.scores


def test_a_crop_on_another_background_is_read_anew(astronaut: np.ndarray) -> None:
    crop = np.ascontiguousarray(astronaut[:256, 100:356])
    white = np.full_like(crop, 255)
    for network, alone in ((HeadReader(), HeadReader().read(white, whole(white))), (HeadParser(), HeadParser().read(white))):
        first, sample = network.read_crop(Sample("a" * 16, Photo.of_pixels(astronaut), image=crop))
        again, sample = network.read_crop(sample)
        assert again is first
        other, _ = network.read_crop(sample.with_(image=white))
        assert np.array_equal(other.classes, alone.classes) and other is not first


def test_a_mirrored_crop_has_the_mirrored_maps(astronaut: np.ndarray) -> None:
    parser = HeadParser()
    crop = np.ascontiguousarray(astronaut[:256, 100:356])
    here, there = parser.read(crop), parser.read(np.ascontiguousarray(crop[:, ::-1]))
    assert here.classes.shape == (19, 128, 128) and here.alpha.shape == (128, 128)
    assert np.abs(there.classes[SWAP][..., ::-1] - here.classes).max() < 1e-3
    assert np.abs(there.alpha[:, ::-1] - here.alpha).max() < 1e-4


def test_a_crop_of_another_size_has_nearly_the_same_maps(astronaut: np.ndarray) -> None:
    parser = HeadParser()
    crop = np.ascontiguousarray(astronaut[:256, 100:356])
    small, large = parser.read(crop), parser.read(np.asarray(cv2.resize(crop, (512, 512), interpolation=cv2.INTER_LINEAR)))
    assert float(np.mean(small.classes.argmax(axis=0) == large.classes.argmax(axis=0))) > 0.97
    assert float(np.abs(small.alpha - large.alpha).mean()) < 0.02


def test_glasses_that_the_parser_sees_lie_over_the_meshes_eyes() -> None:
    classes = np.full((19, 128, 128), -9.0, dtype=np.float32)
    classes[INDEX["skin"]] = 0.0
    classes[INDEX["glasses"], 40:60, 20:108] = 3.0
    image, mask = np.full((256, 256, 3), 128, dtype=np.uint8), np.full((256, 256), 255, dtype=np.uint8)
    mesh = np.random.default_rng(0).uniform(60.0, 190.0, (478, 3)).astype(np.float32)
    found = parse_crop(CropMaps(image, classes, np.ones((128, 128), dtype=np.float32), "0" * 64), image, mask, mesh).classes
    assert (found[86:114, 46:210] == INDEX["glasses"]).all()
    assert np.isin(found[130:], FACE).all() and len(np.unique(found[130:])) > 2


def test_brows_that_the_parser_sees_stay_and_others_are_the_meshes() -> None:
    """A brow seen on 200 of the mesh's 450 or so pixels stays as seen, one seen on 9 is drawn by the mesh, and eyes are."""
    classes = np.full((19, 256, 256), -9.0, dtype=np.float32)
    classes[INDEX["skin"]] = 0.0
    classes[INDEX["left_brow"], 60:65, 150:190] = 3.0
    classes[INDEX["right_brow"], 60:63, 60:63] = 3.0
    mesh = np.zeros((478, 3), dtype=np.float32)
    for name, indices in feature_polygons():
        x = {"left_brow": 170.0, "left_eye": 170.0, "right_brow": 86.0, "right_eye": 86.0}.get(name)
        if x is not None:
            turn = np.linspace(0.0, 2.0 * np.pi, len(indices), endpoint=False)
            y, high = (62.0, 8.0) if "brow" in name else (90.0, 10.0)
            mesh[list(indices), :2] = np.stack([x + 20.0 * np.cos(turn), y + high * np.sin(turn)], axis=1)
    image, mask = np.full((256, 256, 3), 128, dtype=np.uint8), np.full((256, 256), 255, dtype=np.uint8)
    found = parse_crop(CropMaps(image, classes, np.ones((256, 256), dtype=np.float32), "0" * 64), image, mask, mesh).classes
    left, right = found == INDEX["left_brow"], found == INDEX["right_brow"]
    assert left[60:65, 150:190].all() and left.sum() == 200
    assert right.sum() > 300 and right[62, 68:104].all()
    assert (found[90, 155:185] == INDEX["left_eye"]).all() and (found[90, 71:101] == INDEX["right_eye"]).all()


@pytest.mark.parametrize(
    ("hole", "open_below", "shown"), [("background", False, True), ("background", True, False), ("neck", False, False)]
)
def test_what_is_held_before_a_head_leaves_it_a_head(hole: str, open_below: bool, shown: bool) -> None:
    seen = np.full((64, 64), INDEX["background"])
    seen[8:56, 8:56] = INDEX["hair"]
    seen[22:42, 22:42] = INDEX[hole]
    if open_below:
        seen[42:, 30:34] = INDEX["background"]
    classes = np.eye(19, dtype=np.float32)[seen].transpose(2, 0, 1)
    reading = Reading(
        np.eye(3), np.full(2, 32.0), 64.0, 0.05, np.stack([np.eye(3)] * 2), np.zeros((68, 2)), np.ones(68),
        Square(32.0, 32.0, 64.0, 0.0), classes, np.ones((64, 64)),
    )  # fmt: skip
    assert shows_head(reading, 0.05) is shown
    assert not shows_head(reading, 0.999)


def _exported(folder: Path, name: str, **changes: Any) -> Path:
    """Lay a copy of a network of the package in a folder, with one byte of its description changed and a card of its own."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.onnx"
    path.write_bytes(files.path_of(name).read_bytes() + b"\x32\x01x")  # doc of the model, "x": another file, the same network
    card = {**files.card(name), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), **changes}
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


def test_networks_of_a_folder_are_read_and_what_it_lacks_is_the_packages(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    path = _exported(folder, "head", spread_factor=2.0 * files.card("head")["spread_factor"])
    assert files.path_of("head", str(folder)) == path
    assert files.path_of("finder", str(folder)) == files.path_of("finder")
    assert dict(files.weights("finder", "head", folder=str(folder))) == {
        "finder.onnx": files.card("finder")["sha256"],
        "head.onnx": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    white = np.full((128, 128, 3), 255, dtype=np.uint8)
    mine, theirs = (HeadReader(networks=place).read(white, whole(white)) for place in (str(folder), ""))
    np.testing.assert_array_equal(mine.rotation, theirs.rotation)
    assert mine.spread == pytest.approx(2.0 * theirs.spread)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: [path.unlink() for path in folder.iterdir()], "at least one of head.onnx"),
        (lambda folder: (folder / "head.onnx").unlink(), "expected a network head.onnx beside"),
        (lambda folder: (folder / "head.json").unlink(), "expected a card head.json"),
        (lambda folder: (folder / "head.json").write_text("[]"), "a card with a sha256"),
        (lambda folder: (folder / "head.json").write_text("{"), "expected JSON"),
        (lambda folder: (folder / "head.onnx").write_bytes(b"else"), "not what its card names"),
    ],
)
def test_a_folder_without_sound_networks_is_refused(tmp_path: Path, spoil: Callable[[Path], object], told: str) -> None:
    folder = tmp_path / "mine"
    _exported(folder, "head")
    spoil(folder)
    with pytest.raises(files.HeadNetworkError, match=told):
        files.path_of("head", str(folder))


def test_a_quality_network_of_another_version_is_refused_with_the_remedy(tmp_path: Path) -> None:
    _exported(tmp_path / "renamed", "quality", strengths=["blur_px"])
    with pytest.raises(files.HeadNetworkError, match=r"to blur_px: another version wrote it; fit it again by"):
        StrengthReader(str(tmp_path / "renamed"))


def test_networks_stay_loaded_however_many_are_in_use_and_a_new_file_takes_the_place_of_the_old(tmp_path: Path) -> None:
    files.forget_loaded()
    places = [("quality", "")]
    for number in range(6):
        _exported(tmp_path / str(number), "quality", number=number)
        places.append(("quality", str(tmp_path / str(number))))
    first = [files.network(name, "cpu", place) for name, place in places]
    assert len({id(model) for model in first}) == len(places)
    assert all(files.network(name, "cpu", place) is model for (name, place), model in zip(places, first, strict=True))
    path = tmp_path / "0" / "quality.onnx"
    path.write_bytes(path.read_bytes() + b"\x32\x01y")
    card = {**files.card("quality"), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(card))
    assert files.network("quality", "cpu", str(tmp_path / "0")) is not first[1]
    assert len(files._loaded) == len(places)


def test_a_reading_is_shared_only_among_stages_with_the_same_network(tmp_path: Path) -> None:
    _exported(tmp_path / "mine", "parser")
    grey = np.full((256, 256, 3), 128, dtype=np.uint8)
    own, other = HeadParser(), HeadParser(networks=str(tmp_path / "mine"))
    first, sample = own.read_crop(Sample(id="a", photo=Photo.of_pixels(grey), image=grey))
    assert own.read_crop(sample)[0] is first
    again, sample = other.read_crop(sample)
    assert again is not first and other.read_crop(sample)[0] is again
    np.testing.assert_array_equal(again.classes, first.classes)


def test_small_patches_of_large_classes_are_given_to_the_second_most_likely_class() -> None:
    """A necklace of 9 pixels is none, one of 20 is; 4 pixels of glasses are a part of a large frame, else none."""
    kinds = np.array([INDEX[name] for name in ("skin", "glasses", "neck", "necklace")], dtype=np.uint8)
    planes = np.zeros((4, 100, 100), dtype=np.float32)
    planes[0], planes[2] = 0.3, 0.2
    planes[2, 60:] = 0.4  # neck below
    planes[3, 80:83, 10:13] = planes[3, 70, 40:60] = 0.5
    planes[1, 20:50, 20:22] = planes[1, 10:12, 60:62] = 0.6
    found = without_crumbs(planes, kinds, np.full((100, 100), 255, dtype=np.uint8))
    expected = np.full((100, 100), INDEX["skin"], dtype=np.uint8)
    expected[60:] = INDEX["neck"]
    expected[70, 40:60] = INDEX["necklace"]
    expected[20:50, 20:22] = expected[10:12, 60:62] = INDEX["glasses"]
    np.testing.assert_array_equal(found, expected)
    planes[1, 20:50, 20:22] = 0.0  # without the frame the other patch is a crumb
    expected[20:50, 20:22] = expected[10:12, 60:62] = INDEX["skin"]
    np.testing.assert_array_equal(without_crumbs(planes, kinds, np.full((100, 100), 255, dtype=np.uint8)), expected)


def test_crumbs_of_hair_on_neck_and_shoulders_are_none_and_higher_ones_and_beards_of_some_size_are() -> None:
    kinds = np.array([INDEX[name] for name in ("skin", "hair", "cloth")], dtype=np.uint8)
    planes = np.zeros((3, 100, 100), dtype=np.float32)
    planes[0] = 0.3
    planes[2, 75:] = 0.4
    planes[1, 5:40, 20:80] = 0.6  # the hair of the head
    planes[1, 45:48, 10:13] = 0.5  # a strand beside the face
    planes[1, 62:70, 45:55] = 0.5  # a beard
    planes[1, 80:84, 70:75] = planes[1, 70:73, 20:23] = 0.5  # crumbs of 20 and 9 pixels on a shoulder and on the neck
    expected = np.full((100, 100), INDEX["skin"], dtype=np.uint8)
    expected[75:] = INDEX["cloth"]
    expected[5:40, 20:80] = expected[45:48, 10:13] = expected[62:70, 45:55] = INDEX["hair"]
    np.testing.assert_array_equal(without_crumbs(planes, kinds, np.full((100, 100), 255, dtype=np.uint8)), expected)
    planes[1, 5:40] = planes[1, 45:48] = planes[1, 62:70] = planes[1, 70:73] = 0.0  # what is left is all the hair there is
    found = without_crumbs(planes, kinds, np.full((100, 100), 255, dtype=np.uint8))
    assert (found[80:84, 70:75] == INDEX["hair"]).all()
    half = np.where(np.arange(100) < 82, 255, 100).astype(np.uint8)[:, None].repeat(100, axis=1)  # soft below
    planes[1, 5:40, 20:80] = 0.6
    assert (without_crumbs(planes, kinds, half)[80:84, 70:75] == INDEX["cloth"]).all()
