"""Light on strands: what neighbouring samples share of it is nearly what each would have of its own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from spherehead.datasets.camera import Camera
from spherehead.pipeline.synthetic.hair.strands import Strands, lay_end_to_end
from spherehead.pipeline.synthetic.rendering.light import draw_light
from spherehead.pipeline.synthetic.rendering.render import FINISHES
from spherehead.pipeline.synthetic.rendering.ribbons import draw_strands
from spherehead.pipeline.synthetic.shading import strands as module
from spherehead.pipeline.synthetic.shading.sky import sky_tables


def test_shared_light_is_nearly_that_of_each_sample_in_plain_python(monkeypatch: pytest.MonkeyPatch) -> None:
    random, size, step = np.random.default_rng(8), 8, 3
    along = np.linspace(0.0, 1.0, 8)[None]
    x = random.uniform(-0.2, 0.2, (120, 1)) + 0.03 * np.sin(6.0 * along + random.uniform(0, 3, (120, 1)))
    points = np.stack([x, 0.2 - 0.4 * along + 0.0 * x, 0.15 + random.uniform(-0.03, 0.03, (120, 1)) + 0.0 * x], axis=2)
    colours = np.tile(np.array([[0.3, 0.2, 0.1], [0.4, 0.3, 0.2]], np.float32), (120, 1, 1))
    laid = lay_end_to_end([Strands("hair", "hair", points.astype(np.float32), np.full((120, 8), 0.004, np.float32), colours)])
    seen = draw_strands(laid, Camera.look_at(0.2, 0.1), np.full((size * step, size * step), np.inf, np.float32))
    tables = sky_tables(draw_light(np.random.default_rng(3), True).sky)
    told = (laid, seen, tables, None, np.zeros(16, np.float32), np.zeros((3, 4)), step)
    shared, cover = module.light_strands(*told)
    monkeypatch.setattr(module, "compiled", lambda loop, *helpers: loop)
    monkeypatch.setattr(module, "alike", lambda *_: False)
    own, plain_cover = module.light_strands(*told)
    assert (cover > 0.5).sum() > 20 and np.allclose(cover, plain_cover, atol=1e-5)
    assert own.max() > 0.0 and np.abs(shared - own).max() < 0.03 * own.max()


def test_a_bent_strand_of_few_points_is_lit_as_evenly_as_one_of_many() -> None:
    """Tangents turn along segments: highlights of a strand with 8 points lie where they lie on one with 64."""
    pictures = []
    for count in (8, 64):
        angle = np.linspace(-1.2, 1.2, count)
        bent = np.stack([0.25 * np.sin(angle), 0.25 * np.cos(angle) - 0.1, 0.0 * angle + 0.2], axis=1)
        points = np.stack([bent + step * np.eye(3)[1] for step in np.linspace(-0.01, 0.01, 9)]).astype(np.float32)
        colours = np.full((9, 2, 3), 0.02, np.float32)
        laid = lay_end_to_end([Strands("hair", "hair", points, np.full((9, count), 0.003, np.float32), colours)])
        seen = draw_strands(laid, Camera.look_at(0.0, 0.2), np.full((192, 192), np.inf, np.float32))
        sky = np.zeros((32, 64, 3), np.float32)
        sky[2:5, 20:40] = 30.0  # one small window: a highlight with an edge
        colour, cover = module.light_strands(laid, seen, sky_tables(sky), None, np.zeros(16, np.float32), np.zeros((3, 4)), 3)
        pictures.append(np.where(cover > 0.9, colour[..., 0] / np.maximum(cover, 1e-6), np.nan))
    both = np.isfinite(pictures[0]) & np.isfinite(pictures[1])
    assert both.sum() > 40
    assert np.abs(pictures[0] - pictures[1])[both].mean() < 0.05 * np.nanmax(pictures[1])


X, Y, Z = np.eye(3, dtype=np.float32)


def sent(towards: np.ndarray, wet: float = 0.0) -> np.ndarray:
    """Return what a strand along x sends along z of light from a direction, from in front of which nothing hides it: (6,)."""
    light, told = np.zeros(6, np.float32), np.array([0.0] * 5 + [*module.gloss(wet)], np.float32)
    module.add_sky(X, towards.astype(np.float32), Z, np.ones((1, 3)), towards[None].astype(np.float32), told, light)
    return light


def mean_over_width(towards: np.ndarray, wet: float = 0.0) -> tuple[float, float]:
    """Return the same of a cylinder by summing over its visible half: Lambert's light and that of GGX microfacets."""
    place = np.linspace(-math.pi / 2, math.pi / 2, 4001)[1:-1]
    normals = np.stack([0.0 * place, np.sin(place), np.cos(place)], axis=1)
    half = (towards + Z) / np.linalg.norm(towards + Z)
    to_light, to_eye, aligned = (np.maximum(normals @ way, 1e-4) for way in (towards, Z, half))
    finish = FINISHES["wet strand" if wet else "strand"]
    head_on, rough = 0.08 * finish["specular"], finish["roughness"] ** 4
    facets = rough / (math.pi * ((rough - 1.0) * aligned**2 + 1.0) ** 2)
    mirrored = head_on + (1.0 - head_on) * (1.0 - float(half @ Z)) ** 5
    lit = normals @ towards > 0.0
    sums = [
        np.trapezoid(value * lit * to_eye, place) / 2.0 for value in (to_light / math.pi, mirrored * facets / (4.0 * to_eye))
    ]
    return float(sums[0]), float(sums[1])


@pytest.mark.parametrize("turn", [0.0, 30.0, 60.0, 90.0, 120.0, 150.0, 180.0])
def test_a_strand_sends_on_what_a_matt_cylinder_does(turn: float) -> None:
    towards = np.array([0.0, math.sin(math.radians(turn)), math.cos(math.radians(turn))])
    assert sent(towards)[0] == pytest.approx(mean_over_width(towards)[0], abs=0.0025)


@pytest.mark.parametrize("wet", [0.0, 1.0])
@pytest.mark.parametrize("lean", [0.0, 10.0, 20.0, 40.0])
@pytest.mark.parametrize("turn", [10.0, 60.0, 100.0])
def test_a_strand_mirrors_what_a_rough_cylinder_of_the_path_tracers_finish_does(turn: float, lean: float, wet: float) -> None:
    """Within a fifth, with light that leans along the strand too; masking between facets is left out of both."""
    across = np.array([0.0, math.sin(math.radians(turn)), math.cos(math.radians(turn))])
    towards = math.cos(math.radians(lean)) * across + math.sin(math.radians(lean)) * X
    assert sent(towards, wet)[3] == pytest.approx(mean_over_width(towards, wet)[1], rel=0.2)
