"""What strands and lids hide of light, against formulas."""

from __future__ import annotations

import types

import numpy as np
import pytest
from spherehead.datasets.compiled import compiled
from spherehead.pipeline.synthetic.hair.strands import Strands, lay_end_to_end
from spherehead.pipeline.synthetic.people.parts import Part
from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing
from spherehead.pipeline.synthetic.shading.occlusion import MAP_SIDE, REACH, directions, visibility
from spherehead.pipeline.synthetic.shading.surfaces import HAIR_BOUNCE, surfaces_of
from spherehead.pipeline.synthetic.shading.thickness import SOFT, fade, strand_map, through_strands


def lawn(count: int, height: float, half_width: float, seed: int = 1) -> Strands:
    """Return `count` level strands across a square of side 0.6 at a height, along x, at random z."""
    z = np.random.default_rng(seed).uniform(-0.3, 0.3, count)
    x = np.linspace(-0.3, 0.3, 6)
    points = np.stack(np.broadcast_arrays(x, height, z[:, None]), axis=2).astype(np.float32)
    return Strands("hair", "hair", points, np.full((count, 6), half_width, np.float32), np.full((count, 2, 3), 0.1, np.float32))


@pytest.mark.parametrize("layers", [0.3, 1.5])
def test_a_layer_of_strands_lets_through_what_its_thickness_says(layers: float) -> None:
    """Strands at random that cover `layers` times the area leave exp(-layers) of the light, in the mean of logarithms."""
    half_width = layers * 0.6 / (2.0 * 4000)
    strands = lay_end_to_end([lawn(4000, 0.2, half_width)])
    places = np.random.default_rng(2).uniform(-0.1, 0.1, (500, 3)) * [1.0, 0.0, 1.0]
    through = through_strands(strands, places)
    steep = directions()[:, 1] > 0.9
    slant = directions()[steep, 1]
    expected = np.exp(-layers / slant * np.hypot(slant, directions()[steep, 2]))  # seen along the strands they lie as dense
    assert steep.sum() >= 2
    assert np.allclose(np.exp(np.log(through[:, steep]).mean(axis=0)), expected, atol=0.05)
    assert (through[:, directions()[:, 1] < -0.1] == 1.0).all()


def test_what_lies_before_the_strands_is_not_faded_and_what_lies_among_them_partly() -> None:
    placed = np.array([[1.0, 4.5, 1.0], [8.99, 4.5, 1.0]], np.float32)
    veil = strand_map(placed, np.full(2, 0.25, np.float32), np.zeros(2, np.int32), 12)
    assert veil[4, 1:9, 1] == pytest.approx(0.5, rel=0.01)
    assert veil[..., 1].sum() == pytest.approx(0.5 * 7.99, rel=1e-5)  # the strand's own area, in texels
    places = np.array([[5.0, 4.5, depth] for depth in (0.9, 1.0 + 0.5 * SOFT, 2.0)], np.float32)
    out = np.ones(3, np.float32)
    compiled(fade)(places, veil, np.float32(SOFT), out)
    assert out == pytest.approx([1.0, np.exp(-0.25), np.exp(-0.5)], rel=0.05)


def test_a_lid_hides_from_an_eyeball_what_lies_behind_it() -> None:
    """Points of a small sphere under a level plate see what rays past the plate's edge see."""
    random = np.random.default_rng(4)
    ball = random.standard_normal((200, 3))
    ball = 0.03 * ball / np.linalg.norm(ball, axis=1, keepdims=True)
    plate = np.array([[-0.04, 0.031, 0.0], [0.04, 0.031, 0.0], [0.04, 0.031, 0.04], [-0.04, 0.031, 0.04]])
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    points = np.vstack([plate, ball])
    seen = visibility(points, points, faces, np.zeros(len(points), np.float32), 0.0, 0.05, 56)[4:]
    towards = directions()
    with np.errstate(divide="ignore"):
        way = (0.031 - ball[:, None, 1]) / towards[None, :, 1]
    hit = ball[:, None, :] + way[..., None] * towards
    free = ~((way > 0) & (np.abs(hit[..., 0]) < 0.04) & (hit[..., 2] > 0.0) & (hit[..., 2] < 0.04))
    assert 0.08 < 1.0 - free.mean() < 0.5
    assert np.abs(seen - free).mean() < 0.03
    assert MAP_SIDE / (2.0 * REACH) < 56 / 0.1  # the map of the whole head is coarser


def test_brows_and_lashes_shade_nothing() -> None:
    plain = lawn(2000, 0.2, 1e-4)
    brow = Strands("brow", "brow", plain.points, plain.radii * 20, plain.colours)
    assert (through_strands(lay_end_to_end([brow]), np.zeros((3, 3))) == 1.0).all()


def test_hair_sends_back_less_light_than_the_skin_and_cloth_that_hide_as_much() -> None:
    floor = np.array([[-0.05, 0.0, -0.05], [0.05, 0.0, -0.05], [0.05, 0.0, 0.05], [-0.05, 0.0, 0.05]])
    roof = floor * [5.0, 1.0, 5.0] + [0.0, 0.2, 0.0]
    up = np.tile([0.0, 1.0, 0.0], (4, 1))
    faces, uvs = np.array([[0, 2, 1], [0, 3, 2]], np.int32), np.zeros((1, 2))
    texture = np.full((2, 2, 4), 255, dtype=np.uint8)
    made = [Part("p", points, up, faces, uvs, 0 * faces, texture, np.ones(2, np.uint8), "skin") for points in (floor, roof)]
    under_hair = surfaces_of(Drawing(types.SimpleNamespace(parts=(made[0],), strands=(lawn(4000, 0.2, 3e-4),))))
    under_roof = surfaces_of(Drawing(types.SimpleNamespace(parts=tuple(made), strands=())))
    hidden = 1.0 - under_hair.ambient[:4]
    assert hidden.min() > 0.5
    assert under_hair.bounced[:4] == pytest.approx(HAIR_BOUNCE * hidden, abs=0.02)
    assert under_roof.bounced[:4] == pytest.approx(1.0 - under_roof.ambient[:4], abs=1e-5)
