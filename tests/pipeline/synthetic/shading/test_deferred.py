"""Raster light: known light on known surfaces gives the radiance of the formula, and labels are those of the exact pass."""

from __future__ import annotations

import dataclasses
import math
import types

import numpy as np
import pytest
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import INDEX
from spherehead.datasets.images.colour_space import srgb_to_linear
from spherehead.manifests.identity import rng
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.people.body import vertex_normals
from spherehead.pipeline.synthetic.people.figure import build_figure
from spherehead.pipeline.synthetic.people.parts import Part
from spherehead.pipeline.synthetic.people.population import draw_person
from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing, labels_of, look
from spherehead.pipeline.synthetic.rendering.light import KeyLight, Light, draw_light, sky_directions
from spherehead.pipeline.synthetic.shading import deferred
from spherehead.pipeline.synthetic.shading.deferred import photograph
from spherehead.pipeline.synthetic.shading.points import BLUE_WRAP, GREEN_WRAP, RED_WRAP, ROUGH_EDGE
from spherehead.pipeline.synthetic.shading.sky import sky_tables, turned
from spherehead.pipeline.synthetic.shading.surfaces import FINISHES, SKIN, Finish, surfaces_of

GREY = 140
ALBEDO = float(srgb_to_linear(np.array(GREY / 255.0)))


def part_of(name: str, points: np.ndarray, faces: np.ndarray, finish: str = "matt") -> Part:
    """A grey opaque part."""
    texture = np.full((2, 2, 4), (GREY, GREY, GREY, 255), dtype=np.uint8)
    labels = np.full(len(faces), INDEX["cloth"], dtype=np.uint8)
    faces = faces.astype(np.int32)
    return Part(
        name, points, vertex_normals(points, faces), faces, np.full((1, 2), 0.5), np.zeros_like(faces), texture, labels, finish
    )


def ball(radius: float = 0.3, rings: int = 40) -> Part:
    """A sphere of triangles that face outwards."""
    polar, around = np.meshgrid(np.linspace(1e-3, np.pi - 1e-3, rings), np.linspace(0, 2 * np.pi, 2 * rings), indexing="ij")
    points = np.stack([np.sin(polar) * np.sin(around), np.cos(polar), np.sin(polar) * np.cos(around)], axis=-1).reshape(-1, 3)
    at = np.arange(rings * 2 * rings).reshape(rings, 2 * rings)
    a, b, c, d = at[:-1, :-1].ravel(), at[1:, :-1].ravel(), at[1:, 1:].ravel(), at[:-1, 1:].ravel()
    return part_of("ball", radius * points, np.vstack([np.column_stack([a, b, c]), np.column_stack([a, c, d])]))


def plate(height: float, half: float, steps: int = 24) -> Part:
    """A square that faces up."""
    axis = np.linspace(-half, half, steps)
    x, z = np.meshgrid(axis, axis)
    points = np.stack([x, np.full_like(x, height), z], axis=-1).reshape(-1, 3)
    at = np.arange(steps * steps).reshape(steps, steps)
    a, b, c, d = at[:-1, :-1].ravel(), at[1:, :-1].ravel(), at[1:, 1:].ravel(), at[:-1, 1:].ravel()
    return part_of("plate", points, np.vstack([np.column_stack([a, b, c]), np.column_stack([a, c, d])]))


@pytest.fixture
def matt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finish that only diffuses, as Lambert says."""
    monkeypatch.setitem(FINISHES, "matt", Finish(facing=0.0, shine=0.0))


def taken(parts: tuple[Part, ...], camera: Camera, light: Light, size: int = 64) -> np.ndarray:
    drawing = Drawing(types.SimpleNamespace(strands=(), parts=parts))
    return photograph(surfaces_of(drawing), drawing.see(camera, 3 * size, with_clear=False), camera, light, 3)


DARK = np.zeros((32, 64, 3), dtype=np.float32)


def test_a_matt_ball_under_an_even_sky_has_its_albedo(matt: None) -> None:
    picture = taken((ball(),), Camera.look_at(0.3, 0.1), Light(DARK + np.float32([1.0, 0.5, 2.0]), None, 0.4))
    solid = picture[..., 3] > 0.999
    assert solid.sum() > 500
    expected = ALBEDO * np.array([1.0, 0.5, 2.0])
    assert np.abs(picture[solid][:, :3] / expected - 1.0).max() < 0.08
    assert picture[solid][:, :3].mean(axis=0) == pytest.approx(expected, rel=0.02)


def test_a_matt_ball_under_a_lamp_follows_lamberts_cosine(matt: None) -> None:
    """Radiance = albedo / pi * lamp's radiance * pi r^2 / d^2 * cosine, at a place that nothing hides."""
    key = KeyLight((0.0, 3.2 * math.sin(0.6), 3.2 * math.cos(0.6)), 0.4, (9.0, 6.0, 3.0))
    camera = Camera.look_at(0.0, 0.0)
    picture = taken((ball(),), camera, Light(DARK, key, 0.4), 65)
    place = np.array([0.0, 0.0, 0.3])
    towards = np.array(key.place) - place
    distance = float(np.linalg.norm(towards))
    expected = ALBEDO / np.pi * np.array(key.colour) * np.pi * key.radius**2 / distance**2 * towards[2] / distance
    assert picture[32, 32, :3] == pytest.approx(expected, rel=0.03)
    below = camera.project(np.array([[0.0, -0.297, 0.04]]))[0][0] * 65
    assert picture[int(below[1]), int(below[0]), :3].max() < 0.01 * expected.max()


def test_light_behind_the_terminator_of_skin_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    """A white lamp from the side: radiance is (cosine + w) / (1 + w)^2, with a w of its own for red, green and blue."""
    monkeypatch.setitem(FINISHES, "flesh", Finish(kind=SKIN, wrap=0.2, facing=0.0, shine=0.0))
    key = KeyLight((30.0, 0.0, 0.0), 3.0, (50.0, 50.0, 50.0))
    picture = taken((dataclasses.replace(ball(), finish="flesh"),), Camera.look_at(0.0, 0.0), Light(DARK, key, 0.4), 129)
    size = np.pi * key.radius**2 / key.place[0] ** 2
    for x in (-0.005, 0.0, 0.15):
        (column, row) = Camera.look_at(0.0, 0.0).project(np.array([[x, 0.0, math.sqrt(0.09 - x * x)]]))[0][0] * 129
        reach = 0.2 * np.array([RED_WRAP, GREEN_WRAP, BLUE_WRAP])
        normal = np.array([x, 0.0, math.sqrt(0.09 - x * x)]) / 0.3
        towards = np.array(key.place) - 0.3 * normal
        cosine = float(normal @ towards / np.linalg.norm(towards))
        expected = ALBEDO / np.pi * 50.0 * size * np.maximum(cosine + reach, 0.0) / (1.0 + reach) ** 2
        assert picture[int(row), int(column), :3] == pytest.approx(expected, rel=0.12, abs=0.006)
    red, green, blue = picture[64, 64, :3]
    assert red > 1.3 * green and green > 1.2 * blue


def test_rough_surfaces_shine_less_against_a_lamp_than_smooth_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reflectance that grows at grazing angles only, and a lamp behind: the rim is as bright as `ROUGH_EDGE` of a mirror's."""
    key, rims = KeyLight((0.0, 1.4, -3.0), 0.3, (9.0, 9.0, 9.0)), []
    for mirror in (1, 2):
        monkeypatch.setitem(FINISHES, "rim", Finish(facing=0.0, shine=1.0, mirror=mirror, sharpness=30.0))
        picture = taken((dataclasses.replace(ball(), finish="rim"),), Camera.look_at(0.0, 0.0), Light(DARK, key, 0.4), 65)
        monkeypatch.setitem(FINISHES, "rim", Finish(facing=0.0, shine=0.0, mirror=mirror, sharpness=30.0))
        matt_one = taken((dataclasses.replace(ball(), finish="rim"),), Camera.look_at(0.0, 0.0), Light(DARK, key, 0.4), 65)
        rims.append(float((picture[..., :3] - matt_one[..., :3]).sum()))
    assert rims[1] > 0.0 and rims[0] == pytest.approx(ROUGH_EDGE * rims[1], rel=1e-3)


def test_what_lies_over_a_plate_darkens_it(matt: None) -> None:
    """A lamp straight above a plate with a roof over its middle; the sky reaches the rim of the plate, hardly its middle."""
    parts = (plate(-0.2, 0.32), plate(0.0, 0.2))
    camera = Camera.look_at(0.0, 0.35)
    alone = taken(parts[:1], camera, Light(DARK + np.float32(1.0), None, 0.4))
    lit = taken(parts, camera, Light(DARK + np.float32(1.0), None, 0.4))
    (column, row), (edge, edge_row) = (camera.project(np.array([[0.0, -0.2, z]]))[0][0] * 64 for z in (0.05, 0.29))
    middle = lit[int(row), int(column), 0] / alone[int(row), int(column), 0]
    assert middle < 0.75
    assert lit[int(edge_row), int(edge), 0] / alone[int(edge_row), int(edge), 0] > middle + 0.15
    key = KeyLight((0.0, 3.2, 0.0), 0.35, (9.0, 9.0, 9.0))
    shadow = taken(parts, camera, Light(DARK, key, 0.4))
    assert shadow[int(row), int(column), 0] < 0.05 * shadow[int(edge_row), int(edge), 0]


def test_the_tables_keep_the_light_of_a_sky() -> None:
    sky = draw_light(rng(1, "a", "sky")).sky
    directions, solid_angles = sky_directions()
    tables = sky_tables(sky)
    total = (sky * solid_angles[:, None, None]).sum(axis=(0, 1))
    assert tables.arriving.sum(axis=0) == pytest.approx(total, rel=1e-4)
    quarter = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    assert np.allclose(turned(turned(sky, quarter), quarter.T), sky, atol=0.2 * float(sky.max()))
    one = np.zeros_like(sky)
    one[10, 20] = 1.0
    seen = turned(one, quarter)
    brightest = directions[np.unravel_index(seen[..., 0].argmax(), seen.shape[:2])]
    assert brightest @ (quarter @ directions[10, 20]) > 0.99


@pytest.fixture(scope="module")
def head(makehuman: Assets) -> Drawing:
    return Drawing(build_figure(makehuman, draw_person(makehuman, 1, 2)))


def test_opacity_and_labels_are_those_of_the_exact_pass(head: Drawing) -> None:
    camera, light = Camera.look_at(0.5, 0.1), draw_light(rng(1, "a", "light"))
    seen = head.see(camera, 3 * 96, with_clear=False)
    picture = photograph(surfaces_of(head), seen, camera, light, 3)
    exact = look(head, camera, 96)
    view = labels_of(head, head.see_clear(seen, camera), 3)
    assert (view.parsing == exact.parsing).all()
    assert (view.mask == exact.mask).all()
    assert np.abs(255.0 * picture[..., 3] - exact.mask).max() < 0.6
    assert (picture[..., 3] > 0).sum() > 1000
    assert np.isfinite(picture).all()
    assert (picture[..., :3][picture[..., 3] == 0] == 0).all()
    assert (picture[..., :3].max(axis=2)[picture[..., 3] > 0.1] > 0).mean() > 0.999


def test_less_light_comes_into_a_mouth_than_other_hollows_send_back(head: Drawing) -> None:
    surfaces = surfaces_of(head)
    finish = np.array([part.finish for part in head.parts])[head.part_of]
    walls = np.unique(head.faces[(head.labels == INDEX["mouth"]) & (finish == "skin")])
    others = np.setdiff1d(np.arange(len(head.points)), walls)
    assert len(walls) > 50 and np.median(1.0 - surfaces.ambient[walls]) > 0.8
    others = others[surfaces.ambient[others] < 0.9]
    share = surfaces.bounced / np.maximum(1.0 - surfaces.ambient, 1e-3)
    assert share[walls].max() < 0.301 and share[others].min() > 0.99


def test_compiled_and_plain_loops_shade_alike(head: Drawing, monkeypatch: pytest.MonkeyPatch) -> None:
    camera, light = Camera.look_at(-0.7, 0.2), draw_light(rng(1, "a", "light-4"))
    light = dataclasses.replace(light, key=KeyLight((1.2, 1.5, 2.5), 0.4, (6.0, 6.0, 6.0)))
    surfaces = surfaces_of(head)
    seen = head.see(camera, 3 * 12, with_clear=False)
    fast = photograph(surfaces, seen, camera, light, 3)
    kept = {"cover_softly", "fill_depth", "weigh"}  # tens of thousands of faces, and sums of thousands: too slow uncompiled
    compiled = deferred.compiled
    monkeypatch.setattr(deferred, "compiled", lambda loop: compiled(loop) if loop.__name__ in kept else loop)
    with np.errstate(all="ignore"):
        slow = photograph(surfaces, seen, camera, light, 3)
    assert np.abs(fast - slow).max() < 2e-3 * float(fast.max())
