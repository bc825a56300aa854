"""Heads in real photographs and in pictures made from them: what is found, in which order, and what is refused."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.camera import Camera, geodesic
from spherehead.datasets.sample import Drop, Head, Photo, Sample
from spherehead.manifests.identity import rng, sample_id
from spherehead.pipeline.annotators.faces.face_crop import distance, factor_to, reduce_by
from spherehead.pipeline.annotators.faces.head_fit import HeadFit
from spherehead.pipeline.annotators.faces.tiles import TILE, TILE_OVERLAP, factors_of_tiles, tiles
from spherehead.pipeline.annotators.heads.boxes import overlap
from spherehead.pipeline.backends.mediapipe_models import Face, Region
from spherehead.pipeline.stages.align import Align, place
from spherehead.pipeline.stages.detect import Detect, OpenDetect
from spherehead.pipeline.stages.found_heads import distinct, in_order, mean_mesh, pick

DRAW = rng(0, "0" * 16, "detect")
SHA = "5a" * 32


@pytest.fixture(scope="module")
def every() -> Iterator[OpenDetect]:
    stage = Detect(faces="all", landmarks="mediapipe").open()
    yield stage
    stage.close()


def detect(stage: OpenDetect, pixels: np.ndarray) -> list[Sample]:
    return list(stage.one(Sample("", Photo.of_pixels(np.ascontiguousarray(pixels), SHA)), DRAW))


@pytest.fixture(scope="module")
def pair(astronaut: np.ndarray) -> np.ndarray:
    """The portrait beside its mirror image at three quarters of the size."""
    small = cv2.resize(astronaut[:, ::-1], (384, 384), interpolation=cv2.INTER_AREA)
    canvas = np.full((512, 896, 3), 128, np.uint8)
    canvas[:, :512], canvas[128:, 512:] = astronaut, small
    return canvas


def test_the_portrait_has_one_head_from_hair_to_chin(every: OpenDetect, astronaut: np.ndarray) -> None:
    (found,) = detect(every, astronaut)
    head = found.require("head")
    x, y, width, height = head.box
    assert head.kind == "mesh" and head.confidence > 0.8 and head.num_heads == 1
    assert abs(x + width / 2 - 226) < 12 and 15 < y < 45 and 165 < y + height < 190
    assert abs(head.yaw) < 0.1 and abs(head.roll) < 0.12
    assert head.mesh is not None and np.hypot(*(head.mesh[468, :2] - (203.5, 101.1))) < 3


def test_identity_comes_from_content_and_place_in_the_order(every: OpenDetect, pair: np.ndarray) -> None:
    first, second = detect(every, pair)
    assert (first.id, second.id) == (sample_id(SHA, 0), sample_id(SHA, 1))
    assert (first.head_index, second.head_index) == (0, 1)
    large, small = first.require("head").box, second.require("head").box
    assert large[2] * large[3] > small[2] * small[3] and small[0] > 512
    assert first.require("head").num_heads == 2 and first.scores["num_heads"] == 2


@pytest.mark.parametrize(("faces", "expected"), [("largest", [0]), ("all", [0, 1]), ("center", [1])])
def test_policies_pick_without_renumbering(pair: np.ndarray, faces: str, expected: list[int]) -> None:
    stage = dataclasses.replace(Detect(landmarks="mediapipe"), faces=faces)
    with_more_on_the_left = np.concatenate([np.full((512, 300, 3), 128, np.uint8), pair[:, ::-1]], axis=1)
    picture = with_more_on_the_left if faces == "center" else pair
    opened = stage.open()
    found = detect(opened, picture)
    opened.close()
    assert [sample.head_index for sample in found] == expected
    assert [sample.id for sample in found] == [sample_id(SHA, index) for index in expected]


def test_reject_refuses_several_faces(pair: np.ndarray) -> None:
    opened = Detect(faces="reject", landmarks="mediapipe").open()
    with pytest.raises(Drop) as caught:
        detect(opened, pair)
    opened.close()
    assert caught.value.reason == "several_faces" and caught.value.value == 2


@pytest.mark.parametrize("shape", [(300, 400), (1, 1), (9, 2000), (3000, 3)])
def test_a_picture_without_people_is_refused_and_never_a_crash(every: OpenDetect, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    with pytest.raises(Drop) as caught:
        detect(every, noise)
    assert caught.value.reason == "no_head"


@pytest.fixture(scope="module")
def hidden(shared: Path) -> np.ndarray:
    """A standing man whose face and hair are painted over: only his body tells where the head is."""
    picture = cv2.imread(str(shared / "photos" / "obama-blue-room.jpg"))[::4, ::4, ::-1].copy()
    cv2.ellipse(picture, (192, 107), (44, 56), 0, 0, 360, (60, 45, 35), -1)
    return picture


def test_a_hidden_face_is_found_by_its_body(hidden: np.ndarray) -> None:
    opened = Detect(finder="mediapipe", landmarks="mediapipe").open()
    (found,) = detect(opened, hidden)
    opened.close()
    head = found.require("head")
    x, y, width, height = head.box
    assert head.kind == "pose" and head.mesh is None and head.body is not None
    assert np.hypot(x + width / 2 - 192, y + height / 2 - 107) < 25 and 80 < height < 150
    assert abs(head.yaw) < 0.6


def test_a_body_whose_head_lies_outside_of_the_picture_shows_no_head(hidden: np.ndarray) -> None:
    """The network of bodies places the head above the border; cut lower still, it once lay where nothing can be read."""
    opened = Detect(finder="mediapipe", landmarks="mediapipe", min_body_confidence=0.0).open()
    for first in (165, 175):
        body = np.ascontiguousarray(hidden[first:])
        with pytest.raises(Drop, match="no_head"):
            detect(opened, body)
    opened.close()


def test_without_the_pose_model_a_hidden_face_is_no_head(hidden: np.ndarray) -> None:
    stage = Detect(finder="mediapipe", use_pose=False, landmarks="mediapipe")
    opened = stage.open()
    with pytest.raises(Drop, match="no_head"):
        detect(opened, hidden)
    opened.close()
    assert not any("pose" in name for name, _ in stage.backend().weights)


def test_the_same_pixels_give_the_same_bits_whatever_came_before(
    every: OpenDetect, astronaut: np.ndarray, pair: np.ndarray
) -> None:
    (first,) = detect(every, astronaut)
    detect(every, pair)
    (second,) = detect(every, astronaut)
    assert np.array_equal(first.require("head").mesh, second.require("head").mesh)
    assert first.require("head").box == second.require("head").box


def test_a_large_photograph_is_placed_in_its_own_pixels(every: OpenDetect, astronaut: np.ndarray) -> None:
    large = cv2.resize(astronaut, (2304, 2304), interpolation=cv2.INTER_CUBIC)
    (small_head,), (large_head,) = detect(every, astronaut), detect(every, large)
    a, b = small_head.require("head").mesh, large_head.require("head").mesh
    assert np.abs(4.5 * a[:, :2] - b[:, :2]).mean() < 3.5  # under 0.8 px of the small picture


def test_the_real_photographs_have_their_person_and_no_ghosts(every: OpenDetect, photos: list[Path]) -> None:
    for path in photos:
        found = detect(every, np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1]))
        assert [sample.require("head").kind for sample in found] == ["mesh"], path.name


def test_auto_takes_face_alignment_only_where_its_weights_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert Detect().resolved().landmarks == "mediapipe"
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "2DFAN4-11f355bf06.pth.tar").write_bytes(b"x")
    resolved = Detect().resolved()
    assert resolved.landmarks == "face-alignment"
    assert resolved.backend().name == "own+mediapipe+face-alignment"
    assert resolved.key("up") != dataclasses.replace(resolved, landmarks="mediapipe").key("up")


def test_auto_finds_with_our_own_networks_and_the_old_way_stays_selectable() -> None:
    own, old = Detect().resolved(), Detect(finder="mediapipe").resolved()
    assert own.finder == "own" and {"finder.onnx", "head.onnx"} <= {name for name, _ in own.backend().weights}
    assert old.finder == "mediapipe" and not any(name.endswith(".onnx") for name, _ in old.backend().weights)


@pytest.mark.parametrize("head", range(2))
def test_a_rendered_head_from_behind_is_found_and_known_for_a_back(shared: Path, head: int) -> None:
    from spherehead.pipeline.synthetic.assets.library import open_assets
    from spherehead.pipeline.synthetic.people.figure import build_figure
    from spherehead.pipeline.synthetic.people.population import draw_person
    from spherehead.pipeline.synthetic.people.settings import PopulationSettings
    from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing
    from spherehead.pipeline.synthetic.rendering.preview import preview

    assets = open_assets(shared / "assets" / "makehuman")
    person = draw_person(assets, 90210, head, PopulationSettings(hats=0.0, bald=0.0))
    camera = Camera.look_at(math.radians(165.0), 0.0)
    wide = np.diag([0.7, 0.7, 1.0]) @ camera.intrinsics
    wide[:2, 2] = 0.5
    picture = preview(Drawing(build_figure(assets, person)), Camera(camera.cam2world, wide), 256)
    opened = Detect(landmarks="mediapipe").open()
    (found,) = detect(opened, picture)
    opened.close()
    pose = found.require("head").pose
    assert found.require("head").kind == "head" and geodesic(pose.rotation, camera.world2cam) < math.radians(25.0)
    assert np.hypot(*(pose.centre - 128.0)) < 0.08 * pose.scale and 0.85 < pose.scale / (0.7 * 256) < 1.18


def test_asking_for_absent_weights_says_where_they_belong(tmp_path: Path) -> None:
    stage = Detect(landmarks="face-alignment", face_alignment_weights=str(tmp_path))
    with pytest.raises(FileNotFoundError, match="2DFAN4"):
        stage.open()


boxes = st.tuples(st.floats(0, 100), st.floats(0, 100), st.floats(1, 60), st.floats(1, 60))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(boxes, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_heads_does_not_depend_on_how_they_came(places: list[tuple[float, ...]], random: object) -> None:
    heads = [Head(box, 0.9, "mesh", 0.0) for box in places]  # type: ignore[arg-type]
    shuffled = list(heads)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    keys = [tuple(round(v) for v in head.box) for head in in_order(heads)]
    assert keys == [tuple(round(v) for v in head.box) for head in in_order(shuffled)] or len(
        {(k[2] * k[3], k[0], k[1]) for k in keys}
    ) < len(keys)
    areas = [k[2] * k[3] for k in keys]
    assert areas == sorted(areas, reverse=True)


def test_distinct_keeps_the_best_of_faces_that_overlap() -> None:
    def face(x: float, score: float) -> Face:
        return Face((x, 0.0, 10.0, 10.0), score, np.zeros((6, 2)))

    kept = distinct([face(0, 0.6), face(2, 0.9), face(30, 0.7)])
    assert [k.score for k in kept] == [0.9, 0.7]
    assert overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 10, 10), (20, 0, 10, 10)) == 0


def test_center_picks_the_head_nearest_to_the_middle() -> None:
    heads = [Head((0, 0, 50, 50), 1, "mesh", 0), Head((90, 90, 20, 20), 1, "mesh", 0)]
    assert pick(heads, "center", 200, 200) == [1]


@pytest.mark.parametrize("factor", [1, 2, 3, 7])
def test_reduction_is_the_mean_of_whole_blocks(factor: int) -> None:
    image = np.random.default_rng(1).integers(0, 256, (50, 71, 3), dtype=np.uint8)
    height, width = 50 // factor, 71 // factor
    blocks = image[: height * factor, : width * factor].reshape(height, factor, width, factor, 3).mean(axis=(1, 3))
    assert np.abs(reduce_by(image, factor) - blocks).max() <= 0.5001 + (factor == 2) * 0.5


def test_the_factor_brings_the_longest_side_down_and_leaves_a_pixel() -> None:
    assert factor_to(np.zeros((640, 480, 3), np.uint8), 640) == 1
    assert factor_to(np.zeros((641, 480, 3), np.uint8), 640) == 2
    assert factor_to(np.zeros((3000, 3, 3), np.uint8), 640) == 3


def test_squares_differ_by_place_size_or_angle() -> None:
    square = Region(50, 50, 100, 0.1)
    assert distance(square, square) == 0
    assert distance(square, dataclasses.replace(square, x=53)) == pytest.approx(0.03)
    assert distance(square, dataclasses.replace(square, side=105)) == pytest.approx(np.log(1.05))
    assert distance(square, dataclasses.replace(square, angle=0.1 + 2 * np.pi + 0.04)) == pytest.approx(0.04)


def test_every_head_of_a_crowd_is_found(every: OpenDetect, shared: Path) -> None:
    picture = cv2.imread(str(shared / "failing" / "thirty_faces.jpg"))[:, :, ::-1]
    found = detect(every, picture)
    assert len(found) == 30 and all(sample.require("head").kind == "mesh" for sample in found)
    centres = {(round(x + w / 2) // 210, round(y + h / 2) // 210) for x, y, w, h in (s.require("head").box for s in found)}
    assert len(centres) == 30


def test_a_crowd_in_a_large_photograph_is_found_once_each(every: OpenDetect, astronaut: np.ndarray) -> None:
    face = cv2.resize(astronaut[:220, 120:340], (110, 110), interpolation=cv2.INTER_AREA)
    canvas = np.full((1500, 2000, 3), 150, np.uint8)
    places = [(x, y) for y in range(40, 1400, 270) for x in range(30, 1900, 310)]
    for x, y in places:
        canvas[y : y + 110, x : x + 110] = face
    found = detect(every, canvas)
    middles = [(x + w / 2, y + h / 2) for x, y, w, h in (sample.require("head").box for sample in found)]
    nearest = [
        min(range(len(places)), key=lambda i: np.hypot(places[i][0] + 55 - x, places[i][1] + 55 - y)) for x, y in middles
    ]
    assert sorted(nearest) == list(range(len(places)))


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_tiles_cover_a_picture_and_hold_every_small_face_whole(width: int, height: int) -> None:
    for length, at in ((width, 0), (height, 1)):
        starts = sorted({tile[at] for tile in tiles(width, height)})
        assert starts[0] == 0 and starts[-1] == max(0, length - TILE)
        assert all(after <= before + TILE - TILE_OVERLAP for before, after in itertools.pairwise(starts))
    factors = factors_of_tiles(width, height)
    assert factors == [] or factors[0] == 1
    assert max(width, height) <= TILE or max(width, height) / factors[-1] <= 2.5 * TILE or min(width, height) < 16 * factors[-1]


def turned_by(picture: np.ndarray, degrees: float, grey: int) -> tuple[np.ndarray, np.ndarray]:
    """Turn a picture clockwise on a canvas that holds it whole; also return the (3, 3) map."""
    height, width = picture.shape[:2]
    side = int(np.ceil(np.hypot(height, width)))
    turn = np.vstack([cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1), (0, 0, 1)])
    turn[:2, 2] += (side - np.array([width, height])) / 2
    return cv2.warpAffine(picture, turn[:2], (side, side), flags=cv2.INTER_AREA, borderValue=(grey,) * 3), turn


@pytest.fixture(scope="module")
def largest() -> Iterator[OpenDetect]:
    stage = Detect(landmarks="mediapipe").open()
    yield stage
    stage.close()


def test_a_turned_head_gets_an_upright_crop_or_a_refusal(
    largest: OpenDetect, astronaut: np.ndarray, photos: list[Path]
) -> None:
    pictures = [astronaut, *(reduce_by(cv2.imread(str(path))[:, :, ::-1], 2) for path in photos)]
    align, upright, wrong = Align(size=128).open(), 0, []
    for number, picture in enumerate(pictures):
        (level,) = detect(largest, picture)
        expected = place(level.require("head"), HeadFit()).crop_matrix(128)
        for degrees in (120, 135, 150, 165, 180, 195, 210, 240, 255):
            canvas, turn = turned_by(picture, degrees, 128)
            try:
                (sample,) = align.one(detect(largest, canvas)[0], DRAW)
            except Drop:
                continue
            apart = sample.crop.matrix @ turn @ np.linalg.inv(expected)
            roll = abs(np.degrees(np.arctan2(apart[1, 0], apart[0, 0])))
            upright += roll < 15
            if roll >= 15 and sample.require("head").kind == "mesh":
                wrong.append((number, degrees, round(roll)))
    assert wrong == [] and upright >= 25


def test_an_upside_down_portrait_is_cut_out_upright(largest: OpenDetect, shared: Path) -> None:
    picture = np.ascontiguousarray(cv2.imread(str(shared / "failing" / "upside_down.jpg"))[:, :, ::-1])
    (sample,) = detect(largest, picture)
    assert abs(abs(np.degrees(sample.require("head").roll)) - 180) < 5
    (back,) = detect(largest, picture[::-1, ::-1])
    assert abs(np.degrees(back.require("head").roll)) < 5


def test_an_upright_head_is_left_as_the_mesh_network_sees_it(largest: OpenDetect, astronaut: np.ndarray) -> None:
    (sample,) = detect(largest, astronaut)
    faces = distinct(largest.near.find(astronaut))
    head, seen = sample.require("head"), largest._mesh(astronaut, faces[0])
    assert np.array_equal(head.mesh_pair, seen) and np.array_equal(head.mesh, mean_mesh(seen))
