"""Every head of a crowd, once: copies of all scales, their tiles, and what looks of several scales agree on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spherehead.datasets.camera import Camera, geodesic
from spherehead.datasets.sample import Head, HeadPose, Photo, Sample
from spherehead.manifests.identity import rng
from spherehead.pipeline.annotators.faces.tiles import tiles
from spherehead.pipeline.annotators.heads import any_side
from spherehead.pipeline.annotators.heads.any_side import on_body, without_worn
from spherehead.pipeline.annotators.heads.boxes import overlap
from spherehead.pipeline.annotators.heads.crowd import (
    COARSEST,
    LEAST_SHOWN,
    TILE,
    TILE_OVERLAP,
    Sighting,
    factors_of_copies,
    find_crowd,
    in_copy,
    is_own,
    together,
)
from spherehead.pipeline.annotators.heads.finder import FoundHead, HeadFinder
from spherehead.pipeline.stages.detect import Detect

Box = tuple[float, float, float, float]


class MarksFinder(HeadFinder):
    """Finds red squares: exact where the network is not, and like it blind for what is small or cut."""

    def __init__(self) -> None:
        self.pixels = 0

    def find(self, image: np.ndarray, sides: Sequence[int] = (), min_score: float = 0.3) -> list[FoundHead]:
        self.pixels += image.shape[0] * image.shape[1]
        count, _, stats, _ = cv2.connectedComponentsWithStats((image[..., 0] > 128).astype(np.uint8))
        boxes = [tuple(float(value) for value in stats[number, :4]) for number in range(1, count)]
        whole = [box for box in boxes if min(box[2:]) >= 12 and abs(box[2] - box[3]) <= 0.1 * max(box[2:])]
        return [FoundHead((x, y, width, height), 0.6) for x, y, width, height in whole]


@given(st.integers(1, 5000), st.integers(1, 5000), st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(1.0, TILE_OVERLAP))
def test_every_place_of_a_copy_is_some_tiles_own_and_a_head_there_is_whole_in_it(
    width: int, height: int, across: float, down: float, head: float
) -> None:
    point = across * width, down * height
    own = [corner for corner in tiles(width, height, TILE, TILE_OVERLAP) if is_own(corner, point, (width, height))]
    assert own
    for corner in own:
        for start, place, length in zip(corner, point, (width, height), strict=True):
            shown = max(place - head / 2.0, 0.0), min(place + head / 2.0, float(length))
            assert shown[0] >= start - 1e-9 and shown[1] <= min(start + TILE, length) + 1e-9


@given(st.integers(8, 12_000), st.integers(8, 12_000), st.floats(1.0, 100.0), st.floats(0.0, 1.0))
def test_each_head_from_the_least_to_one_that_fills_the_picture_is_shown_well_in_some_copy(
    width: int, height: int, least: float, share: float
) -> None:
    factors = factors_of_copies(width, height, least)
    assert factors[0] == max(1.0, least / LEAST_SHOWN) and all(b == 2 * a for a, b in itertools.pairwise(factors))
    largest, smallest = float(max(width, height)), max(least, LEAST_SHOWN)
    head = smallest * (max(largest, smallest) / smallest) ** share
    shown = [head / factor for factor in factors]
    assert any(LEAST_SHOWN <= pixels <= max(COARSEST, 2 * LEAST_SHOWN) for pixels in shown) or shown[-1] < LEAST_SHOWN
    assert shown[-1] <= COARSEST or head > largest


@pytest.mark.parametrize(("width", "height"), [(1900, 700), (640, 2500), (500, 400)])
def test_heads_at_tile_borders_are_found_once_and_whole(width: int, height: int) -> None:
    """Marks of 20 to 150 pixels in a row and a column, so that borders of tiles cut many."""
    picture, marks = np.zeros((height, width, 3), dtype=np.uint8), list[Box]()
    random, y = np.random.default_rng(3), 3
    while y + 150 < height:
        side, x, row = int(random.integers(20, 150)), 3, 0
        while x + side < width:
            marks.append((float(x), float(y), float(side), float(side)))
            picture[y : y + side, x : x + side, 0] = 255
            x, row, side = x + side + 40, max(row, side), int(random.integers(20, 150))
        y += row + 40
    found = find_crowd(MarksFinder(), picture)
    assert len(found) == len(marks) > 5
    for mark in marks:
        assert max(overlap(mark, head.box) for head in found) > 0.85


def test_a_copys_boxes_are_in_pixels_of_the_picture() -> None:
    picture = np.zeros((801, 1203, 3), dtype=np.uint8)
    picture[300:390, 640:730, 0] = 255
    (head,) = in_copy(MarksFinder(), picture, 3.0)
    assert overlap(head.box, (640.0, 300.0, 90.0, 90.0)) > 0.9


@pytest.mark.parametrize("factor", [1.0, 1.5, 8.5, 16.0])
def test_boxes_of_a_coarse_copy_stay_in_place_up_to_the_last_column(factor: float) -> None:
    """Brightness tells the column: the one that the last pixel of a copy shows is the one where its box lies."""
    picture = np.repeat(np.arange(247, dtype=np.uint8)[None, :, None], 31, axis=0).repeat(3, axis=2)
    shown: list[float] = []

    def find(image: np.ndarray, sides: Sequence[int], min_score: float) -> list[FoundHead]:
        shown.append(float(image[0, -1, 0]) + 0.5)
        return [FoundHead((image.shape[1] - 4.5, image.shape[0] - 4.5, 8.0, 8.0), 0.6)]

    finder = MarksFinder()
    finder.find = find  # type: ignore[assignment]
    (head,) = in_copy(finder, picture, factor)
    assert head.box[0] + 0.5 * head.box[2] == pytest.approx(shown[0], abs=0.75)


def test_larger_least_heads_cost_less() -> None:
    picture, costs = np.zeros((1500, 2000, 3), dtype=np.uint8), list[int]()
    for least in (24.0, 48.0, 96.0):
        finder = MarksFinder()
        find_crowd(finder, picture, least)
        costs.append(finder.pixels)
    assert costs[0] > 2.5 * costs[1] and costs[1] > 2.5 * costs[2]


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6))
def test_what_more_copies_see_is_surer_and_never_less_than_the_best(scores: list[float]) -> None:
    box = (10.0, 10.0, 30.0, 40.0)
    (seen,) = together([(number, FoundHead(box, score)) for number, score in enumerate(scores)])
    best = sorted(scores, reverse=True)[:3]
    assert seen.joined() == pytest.approx(1.0 - math.prod(1.0 - score for score in best))
    assert seen.joined() >= max(scores) - 1e-12
    (again,) = together([(0, FoundHead(box, score)) for score in scores])
    assert again.joined() == pytest.approx(max(scores)), "one copy's boxes of a head are one witness"


def test_boxes_of_one_head_are_gathered_and_of_neighbours_are_not() -> None:
    first, second = FoundHead((0.0, 0.0, 40.0, 50.0), 0.6), FoundHead((30.0, 0.0, 40.0, 50.0), 0.5)
    gathered = together([(0, first), (1, FoundHead((2.0, 1.0, 42.0, 48.0), 0.4)), (1, second)])
    assert gathered == [Sighting(first.box, {0: 0.6, 1: 0.4}), Sighting(second.box, {1: 0.5})]


def test_the_largest_head_costs_no_search_for_a_crowd(astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> list[FoundHead]:
        raise AssertionError("only faces=all looks for crowds")

    monkeypatch.setattr(any_side, "find_crowd", refused)
    for policy in ("largest", "center", "reject"):
        opened = Detect(faces=policy, landmarks="mediapipe").open()
        assert len(opened.heads(astronaut)) == 1
        opened.close()
    opened = Detect(faces="all", landmarks="mediapipe").open()
    with pytest.raises(AssertionError, match="only faces=all"):
        opened.heads(astronaut)
    opened.close()


def test_small_heads_from_behind_are_found_in_a_large_photograph(shared: Path) -> None:
    """Heads of 36 to 70 pixels in one of 2,000 by 1,500: in a copy of 320 pixels they have 6 to 11."""
    from spherehead.pipeline.synthetic.assets.library import open_assets
    from spherehead.pipeline.synthetic.people.figure import build_figure
    from spherehead.pipeline.synthetic.people.population import draw_person
    from spherehead.pipeline.synthetic.people.settings import PopulationSettings
    from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing
    from spherehead.pipeline.synthetic.rendering.preview import preview

    assets = open_assets(shared / "assets" / "makehuman")
    drawing = Drawing(build_figure(assets, draw_person(assets, 90210, 0, PopulationSettings(hats=0.0, bald=0.0))))
    canvas, ground = np.full((1500, 2000, 3), 150, dtype=np.uint8), (150, 150, 150)
    canvas = np.clip(canvas + np.random.default_rng(1).normal(0.0, 3.0, canvas.shape), 0, 255).astype(np.uint8)
    places = [(300, 200, 60), (910, 620, 72), (870, 1170, 90), (1600, 300, 110), (1800, 1350, 84), (440, 1250, 66)]
    cameras = [Camera.look_at(math.radians(yaw), 0.05) for yaw in (180, 150, -160, 170, -140, 175)]
    for (x, y, side), camera in zip(places, cameras, strict=True):
        picture = preview(drawing, camera, 192, ground)
        canvas[y : y + side, x : x + side] = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    opened = Detect(faces="all", landmarks="mediapipe").open()
    found = list(opened.one(Sample("", Photo.of_pixels(canvas, "5a" * 32)), rng(0, "0" * 16, "detect")))
    opened.close()
    assert len(found) == len(places)
    for (x, y, side), camera in zip(places, cameras, strict=True):
        middles = [np.array(head.box[:2]) + np.array(head.box[2:]) / 2.0 for head in (one.require("head") for one in found)]
        away = [float(np.hypot(*(middle - (x + side / 2.0, y + side / 2.0)))) for middle in middles]
        nearest = found[int(np.argmin(away))].require("head")
        assert min(away) < 0.25 * side and nearest.pose is not None
        assert geodesic(nearest.pose.rotation, camera.world2cam) < math.radians(60.0)


def seen_head(box: Box, confidence: float, roll: float = 0.0, mesh: bool = False) -> Head:
    pose = HeadPose(np.eye(3), np.zeros(2), 100.0, confidence, 0.1)
    return Head(box, 0.7, "head", 0.0, roll=roll, pose=pose, mesh=np.zeros((478, 3), dtype=np.float32) if mesh else None)


@pytest.mark.parametrize(("small", "confidence", "mesh", "kept"), [
    ((140.0, 420.0, 30.0, 36.0), 0.2, False, False), ((140.0, 420.0, 30.0, 36.0), 0.9, False, True),
    ((140.0, 420.0, 30.0, 36.0), 0.2, True, True), ((100.0, 420.0, 100.0, 110.0), 0.2, False, True),
    ((135.0, 150.0, 40.0, 40.0), 0.9, False, False), ((500.0, 420.0, 30.0, 36.0), 0.2, False, True),
    ((140.0, 20.0, 30.0, 36.0), 0.2, False, True), ((260.0, 210.0, 30.0, 36.0), 0.2, False, True),
    ((500.0, 20.0, 11.0, 13.0), 0.2, False, False), ((500.0, 20.0, 11.0, 13.0), 0.6, False, True),
])  # fmt: skip
def test_what_is_too_small_to_be_before_a_person_is_no_head(small: Box, confidence: float, mesh: bool, kept: bool) -> None:
    """A hand, a face part, a light, and what may be: a child, a picture, people beside, above and over the shoulder."""
    large, head = seen_head((75.0, 80.0, 150.0, 170.0), 0.9), seen_head(small, confidence, mesh=mesh)
    assert without_worn([head, large]) == ([head, large] if kept else [large])
    assert head in without_worn([head, seen_head(large.box, 0.3)]), "a doubtful head has no body"


@given(st.floats(-3.1, 3.1), st.floats(-2.0, 2.0), st.floats(-1.0, 4.0))
def test_a_turned_head_has_its_body_where_it_is_turned_to(roll: float, across: float, down: float) -> None:
    upright, turned = seen_head((-50.0, -50.0, 100.0, 100.0), 0.9), seen_head((-50.0, -50.0, 100.0, 100.0), 0.9, roll)
    x, y = 100.0 * across, 100.0 * down
    moved = math.cos(roll) * x - math.sin(roll) * y, math.sin(roll) * x + math.cos(roll) * y
    if min(abs(abs(across) - 0.6), abs(abs(across) - 1.3), abs(down), abs(down - 1.0)) > 1e-6:
        assert on_body((x, y), upright) == on_body(moved, turned)


@pytest.mark.parametrize(("score", "confidence", "kept"), [
    (0.69, 0.0, True), (0.67, 0.0, False), (0.66, 0.04, False), (0.60, 0.21, True), (0.49, 0.9, True), (0.47, 0.9, False),
])  # fmt: skip
def test_a_head_of_a_crowd_needs_less_of_the_finder_the_surer_the_reader_is(
    astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch, score: float, confidence: float, kept: bool
) -> None:
    own = Detect().open().own
    assert own is not None
    box = (150.0, 20.0, 150.0, 190.0)
    reading = own.reader.settle(astronaut, box)
    monkeypatch.setattr(type(reading), "confidence", property(lambda _: confidence))
    monkeypatch.setattr(any_side, "find_crowd", lambda *_: [FoundHead(box, score)])
    assert [head.box for head in own.crowd(astronaut, [], 24.0, 10)] == ([box] if kept else [])


@pytest.mark.parametrize(
    ("setting", "value"), [("least_head", 0.0), ("least_head", float("nan")), ("min_crowd_confidence", 1.3), ("max_heads", 0)]
)
def test_settings_that_would_find_nobody_are_refused(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{setting}.*expected .*, got"):
        Detect(**{setting: value})  # type: ignore[arg-type]
