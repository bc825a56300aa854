"""Labels of photographs are exact: surfaces lie on their pixels, points are seen where they can be, who hides whom is told."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import INDEX
from spherehead.datasets.shards.photographs import HIDDEN, OCCLUDER, OUTSIDE, VISIBLE
from spherehead.manifests.identity import rng
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.people.population import draw_person
from spherehead.pipeline.synthetic.rendering.light import draw_light
from spherehead.pipeline.synthetic.wild import occluders
from spherehead.pipeline.synthetic.wild import scene as scene_module
from spherehead.pipeline.synthetic.wild.layout import Place, place_head
from spherehead.pipeline.synthetic.wild.occluders import KINDS
from spherehead.pipeline.synthetic.wild.people import Sitter, sitter_of
from spherehead.pipeline.synthetic.wild.scene import SUPERSAMPLING, Scene, _draw, draw_scene

SIZE = 160
NOSE_TIP, BROW = 1, 105
AHEAD = np.array([0.0, 0.0, 1.0])
LIGHT = draw_light(rng(1, "a", "light"))


@pytest.fixture(scope="module")
def sitters(makehuman: Assets) -> list[Sitter]:
    calm = {"hair": "", "hat": "", "scalp": "bare", "glasses": None, "expression": {}, "gaze": (0.0, 0.0)}
    people = [dataclasses.replace(draw_person(makehuman, 2, head), **calm) for head in range(2)]
    return [sitter_of(makehuman, person) for person in people]


def ray_to(x: float, y: float) -> np.ndarray:
    ray = np.array([x, y, 1.0])
    return np.asarray(ray / np.linalg.norm(ray))


def drawn(sitters: list[Sitter], *cameras: Camera) -> Scene:
    return draw_scene(sitters, [Place(index, camera) for index, camera in enumerate(cameras)], LIGHT, SIZE)


@pytest.mark.parametrize(
    ("x", "y", "distance", "focal"), [(0.0, 0.0, 2.7, 3.0), (0.25, -0.2, 1.2, 0.9), (-0.1, 0.06, 20.0, 5.0)]
)
def test_surfaces_lie_on_their_pixels(sitters: list[Sitter], x: float, y: float, distance: float, focal: float) -> None:
    """Every sample's point on its triangle, projected by the photograph's camera, is within 0.02 px of the sample."""
    camera = place_head(Camera.look_at(0.5, 0.2, 0.3), ray_to(x, y), distance, focal)
    window = _draw(sitters[0], camera, LIGHT, SIZE)
    points = window.seen.blend(sitters[0].drawing.points, sitters[0].drawing.faces)
    seen = window.seen.face >= 0
    assert seen.sum() > 200
    image, depth = camera.project(points[seen])
    row, column = np.nonzero(seen)
    expected = np.column_stack([column + 0.5, row + 0.5])
    expected = expected / SUPERSAMPLING + [window.left, window.top]
    assert np.abs(image * SIZE - expected).max() < 0.02
    assert np.abs(depth - window.seen.depth[seen]).max() < 1e-3


def test_points_in_front_are_seen_and_those_behind_are_not(sitters: list[Sitter]) -> None:
    front = drawn(sitters, place_head(Camera.look_at(0.0, 0.0), AHEAD, 5.0, 5.0)).heads[0]
    assert (front.points[:, 3] == VISIBLE).mean() > 0.85
    assert front.points[NOSE_TIP, 3] == VISIBLE
    back = drawn(sitters, place_head(Camera.look_at(np.pi, 0.0), AHEAD, 5.0, 5.0)).heads[0]
    assert (back.points[:, 3] == HIDDEN).mean() > 0.97
    side = drawn(sitters, place_head(Camera.look_at(np.pi / 2, 0.0), AHEAD, 5.0, 5.0)).heads[0]
    assert side.landmarks[36, 3] == HIDDEN  # the outer corner of the right eye, from the left
    assert side.landmarks[45, 3] == VISIBLE
    cut = drawn(sitters, place_head(Camera.look_at(0.0, 0.0), ray_to(0.0, -0.12), 5.0, 5.0)).heads[0]
    assert cut.points[BROW, 3] == OUTSIDE
    assert 0.2 < cut.inside < 0.9


def test_the_nearer_head_hides_the_farther_and_says_so(sitters: list[Sitter]) -> None:
    near = place_head(Camera.look_at(0.2, 0.0), AHEAD, 4.0, 4.0)
    far = place_head(Camera.look_at(-0.3, 0.1), ray_to(0.01, 0.0), 6.0, 4.0)
    scene = drawn(sitters, near, far)
    first, second = scene.heads
    assert first.hidden_by == {}
    assert second.hidden_by[0] > 0.9
    assert second.seen < 0.1
    assert (second.points[:, 3] == VISIBLE).mean() < 0.1
    beside = place_head(Camera.look_at(-0.3, 0.1), ray_to(0.22, 0.0), 6.0, 8.0)
    apart = drawn(sitters, place_head(Camera.look_at(0.2, 0.0), ray_to(-0.22, 0.0), 5.0, 8.0), beside)
    assert sum(apart.heads[1].hidden_by.values()) < 0.05


def test_matte_classes_owner_and_depth_agree(sitters: list[Sitter]) -> None:
    near = place_head(Camera.look_at(0.2, 0.0), ray_to(-0.05, 0.0), 4.0, 3.0)
    far = place_head(Camera.look_at(2.0, 0.1), ray_to(0.05, -0.03), 6.0, 3.0)
    scene = drawn(sitters, near, far)
    assert np.abs(sum(scene.alphas) - scene.cover).max() < 1e-5
    assert ((scene.parsing != INDEX["background"]) == (scene.who > 0)).all()
    for index, alpha in enumerate(scene.alphas):
        assert (alpha[scene.who == index + 1] > 0.45).mean() > 0.99
        distances = scene.depth[(scene.who == index + 1) & np.isfinite(scene.depth)]
        assert abs(np.median(distances) - (4.0, 6.0)[index]) < 0.5
    assert not np.isfinite(scene.depth[scene.who == 0]).any()


def test_boxes_bound_the_head(sitters: list[Sitter]) -> None:
    """A bald head's pixels fill its box to a pixel, and the box of the skull to the same."""
    scene = drawn(sitters[:1], place_head(Camera.look_at(0.4, 0.0, 0.2), AHEAD, 6.0, 6.0))
    own = ~np.isin(scene.parsing, [INDEX[name] for name in ("background", "neck", "cloth")])
    rows, columns = np.nonzero(own)
    for box in (scene.heads[0].box, scene.heads[0].skull):
        x, y, width, height = box
        assert abs(columns.min() - x) < 1.6
        assert abs(columns.max() + 1 - x - width) < 1.6
        assert abs(rows.min() - y) < 1.6
        assert abs(rows.max() + 1 - y - height) < 2.5


def test_what_an_occluder_hides_is_told(sitters: list[Sitter], monkeypatch: pytest.MonkeyPatch) -> None:
    """A hand of known cover over half of a head: its pixels belong to nobody, points under it are hidden, shares add up."""
    cover = np.zeros((SIZE, SIZE, 4), dtype=np.float32)
    cover[:, : SIZE // 2, 3] = 1.0
    monkeypatch.setattr(scene_module, "SHARE", 1.0)
    monkeypatch.setattr(scene_module, "draw_occluder", lambda *_: cover)
    camera = place_head(Camera.look_at(0.0, 0.0), AHEAD, 5.0, 5.0)
    scene = draw_scene(sitters, [Place(0, camera)], LIGHT, SIZE, rng(1, "a", "occluder"))
    plain = drawn(sitters, camera)
    head = scene.heads[0]
    assert (scene.who[:, : SIZE // 2] == OCCLUDER).all()
    assert (scene.parsing[:, : SIZE // 2] == 0).all()
    assert scene.cover[:, : SIZE // 2].max() == 0
    assert (scene.light + scene.ground[..., None] * 7.0)[:, : SIZE // 2].max() == 0
    assert np.array_equal(scene.parsing[:, SIZE // 2 :], plain.parsing[:, SIZE // 2 :])
    assert head.hidden_by == {-1: pytest.approx(0.5, abs=0.03)}
    under = head.points[:, 0] < SIZE / 2
    assert (head.points[under, 3] == HIDDEN).all()
    assert np.array_equal(head.points[~under], plain.heads[0].points[~under])
    assert head.box == plain.heads[0].box


@pytest.mark.parametrize("kind", KINDS)
def test_occluders_have_soft_premultiplied_colours(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(occluders, "KINDS", (kind,) * len(KINDS))
    drawn_ones = [occluders.draw_occluder(rng(1, str(n), kind), 96, (20.0, 20.0, 50.0, 60.0)) for n in range(6)]
    assert sum(float(one[..., 3].mean()) for one in drawn_ones) > 0.05
    for one in drawn_ones:
        assert one.min() >= 0.0
        assert one[..., 3].max() <= 1.0 + 1e-6
        assert (one[..., :3].max(axis=2) <= 1.5 * one[..., 3] + 1e-6).all()
