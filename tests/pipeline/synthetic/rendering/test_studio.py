"""Path tracing: light comes from where it is said to, order does not matter, and strands cover what the exact pass says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import INDEX
from spherehead.pipeline.synthetic.hair.strands import Strands, StrandSet, lay_end_to_end
from spherehead.pipeline.synthetic.people.parts import Part
from spherehead.pipeline.synthetic.rendering.curves import curves_of
from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing, look
from spherehead.pipeline.synthetic.rendering.light import FINE, SKY, KeyLight, Light, all_round, draw_light, sky_directions
from spherehead.pipeline.synthetic.rendering.render import Studio

trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")
pytest.importorskip("mitsuba", reason="mitsuba is not installed")

RADIUS = 0.3


@dataclass(frozen=True)
class Figure:
    parts: tuple[Part, ...]
    strands: tuple[Strands, ...] = ()


def ball() -> Part:
    shape = trimesh.creation.icosphere(subdivisions=4, radius=RADIUS)
    points, faces = np.array(shape.vertices), np.array(shape.faces)
    return Part(
        "ball", points, points / RADIUS, faces, np.zeros((1, 2)), np.zeros_like(faces),
        np.full((1, 1, 4), 255, np.uint8), np.full(len(faces), INDEX["skin"], np.uint8), "scan",
    )  # fmt: skip


def lobe(towards: tuple[float, float, float]) -> Light:
    """Return a sky with all its light around a direction, and no lamp."""
    directions, _ = sky_directions()
    return Light(np.exp(30.0 * (directions @ np.array(towards) - 1.0))[..., None].repeat(3, 2).astype(np.float32), None, 0.4)


def lamp(towards: tuple[float, float, float]) -> Light:
    return Light(np.zeros((*SKY, 3), np.float32), KeyLight((*(3.2 * np.array(towards)).tolist(),), 0.4, (9.0, 9.0, 9.0)), 0.4)


@pytest.mark.parametrize("light_from", [lobe, lamp])
@pytest.mark.parametrize("towards", [(1.0, 0.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.6, 0.0, 0.8)])
def test_light_comes_from_the_direction_that_it_is_given_for(light_from: object, towards: tuple[float, float, float]) -> None:
    """The light's first moment over a white ball points where the light is; the sky was the wrong way round before."""
    camera = Camera.look_at(0.4, 0.2)
    assert callable(light_from)
    picture = Studio(Figure((ball(),))).photograph(camera, light_from(towards), 32, 16, 1)
    normals = look(Drawing(Figure((ball(),))), camera, 32).normals
    moment = (normals * picture[..., 1:2]).sum(axis=(0, 1))
    seen = (normals * (normals @ np.array(towards)).clip(0.0)[..., None]).sum(axis=(0, 1))  # what an even surface would give
    cosine = float(moment @ seen / np.linalg.norm(moment) / np.linalg.norm(seen))
    assert cosine > 0.98


@pytest.mark.parametrize("seed", [0, 3, 5])
def test_a_lamp_in_the_sky_gives_what_a_meter_reads_of_the_lamp(seed: int) -> None:
    """Where the whole disc is above the horizon, pi r^2 / d^2 times its radiance and the cosine is exact."""
    light = draw_light(np.random.default_rng(seed))
    assert light.key is not None
    towards = np.array(light.key.place) / np.linalg.norm(light.key.place)
    aside = np.cross(towards, [0.3, 0.9, 0.1])
    aside /= np.linalg.norm(aside)
    directions, solid_angle = sky_directions(FINE)
    radiance = all_round(light) @ np.array([0.2126, 0.7152, 0.0722])
    for angle in (0.0, 0.5, 1.0):
        normal = np.cos(angle) * towards + np.sin(angle) * aside
        summed = float((radiance * np.clip(directions @ normal, 0.0, None) * solid_angle[:, None]).sum())
        assert summed == pytest.approx(light.irradiance(normal), rel=0.02)


def test_a_picture_does_not_depend_on_the_pictures_before_it() -> None:
    """One scene serves all pictures of a person; builds may ask for views in any order."""
    strands = (curls(np.random.default_rng(1), 40),)
    lights = [draw_light(np.random.default_rng(seed)) for seed in (1, 2)]
    cameras = [Camera.look_at(yaw, 0.1) for yaw in (0.5, -2.0)]
    kept = Studio(Figure((ball(),), strands))
    taken = [kept.photograph(cameras[turn], lights[turn], 24, 4, 7) for turn in (0, 1, 0)]
    assert np.array_equal(taken[0], taken[2])
    assert not np.array_equal(taken[0], taken[1])
    assert np.array_equal(taken[1], Studio(Figure((ball(),), strands)).photograph(cameras[1], lights[1], 24, 4, 7))


def curls(random: np.random.Generator, count: int, length: int = 12) -> Strands:
    """Return strands that leave a ball and curl."""
    root = random.normal(size=(count, 1, 3))
    root *= RADIUS / np.linalg.norm(root, axis=2, keepdims=True)
    along = np.linspace(0.0, 1.0, length)[None, :, None]
    turn = 6.0 * along + random.uniform(0.0, 6.0, (count, 1, 1))
    points = root * (1.0 + 0.25 * along) + 0.01 * np.concatenate([np.sin(turn), np.cos(turn), 0.0 * turn], axis=2)
    colours = random.uniform(0.1, 0.6, (count, 2, 3)).astype(np.float32)
    return Strands("hair", "hair", points.astype(np.float32), np.full((count, length), 0.002, np.float32), colours)


def test_strands_cover_what_the_exact_pass_says() -> None:
    figure = Figure((ball(),), (curls(np.random.default_rng(2), 600),))
    camera = Camera.look_at(0.3, 0.1)
    light = Light(np.ones((*SKY, 3), np.float32), None, 0.4)
    opacity = Studio(figure).photograph(camera, light, 64, 64, 1)[..., 3]
    exact = look(Drawing(figure), camera, 64, supersampling=9).mask / 255.0
    wisps = (exact > 0.0) & (exact < 1.0)
    assert wisps.sum() > 300
    assert np.abs(opacity - exact)[wisps].mean() < 0.06
    assert (opacity - exact)[wisps].mean() == pytest.approx(0.0, abs=0.02)


def test_strands_have_their_own_colours() -> None:
    """Under an even sky, red strands on the left and blue ones on the right keep their colours to the last segment."""
    points = np.zeros((2, 5, 3), np.float32)
    points[:, :, 0], points[:, :, 1] = np.array([[-0.1], [0.1]]), np.linspace(-0.3, 0.3, 5)
    colours = np.array([[[0.8, 0.05, 0.05]] * 2, [[0.05, 0.05, 0.8]] * 2], np.float32)
    strands = Strands("hair", "hair", points, np.full((2, 5), 0.04, np.float32), colours)
    light = Light(np.ones((*SKY, 3), np.float32), None, 0.4)
    camera = Camera.look_at(0.0, 0.0)
    picture = Studio(Figure((), (strands,))).photograph(camera, light, 48, 16, 1)
    for x, own, other in ((-0.1, 0, 2), (0.1, 2, 0)):
        for y in (-0.28, -0.1, 0.0, 0.16, 0.28):
            place = camera.project(np.array([[x, y, 0.0]]))[0][0] * 48
            pixel = picture[int(place[1]), int(place[0])]
            assert pixel[own] > 1.5 * pixel[other]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 9), min_size=1, max_size=8), st.integers(0, 1000))
def test_curves_hold_every_segment_of_every_strand(lengths: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    laid = laid_out(lengths, random)
    made = curves_of(laid)
    assert made.lengths.tolist() == lengths
    assert np.array_equal(made.points, np.column_stack([laid.points, laid.radii]))
    plain = [
        0.5 * (laid.colours[place] + laid.colours[place + 1])
        for place in range(len(laid.points) - 1)
        if laid.strand_of[place] == laid.strand_of[place + 1]
    ]
    assert np.allclose(made.colours, plain)
    curves = [curve.split("\n") for curve in made.skeleton().decode().removesuffix("\n\n").split("\n\n")]
    assert [len(curve) for curve in curves] == lengths
    assert {len(point.split()) for curve in curves for point in curve} == {4}


def laid_out(lengths: list[int], random: np.random.Generator) -> StrandSet:
    groups = [
        Strands("hair", "hair", random.random((1, length, 3), np.float32), random.random((1, length), np.float32),
                random.random((1, 2, 3), np.float32))
        for length in lengths
    ]  # fmt: skip
    return lay_end_to_end(groups)
