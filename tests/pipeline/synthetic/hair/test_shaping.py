"""Strands have no corners: their points lie where they bend, on the same curve, with the colours and radii of their places."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.hair.look import Growth, HairLook
from spherehead.pipeline.synthetic.hair.shaping import bend_evenly, evenly_bent, smoothed
from spherehead.pipeline.synthetic.hair.strands import Strands, lay_end_to_end
from spherehead.pipeline.synthetic.hair.styles import draw_hair, wetted
from spherehead.pipeline.synthetic.people.figure import build_figure
from spherehead.pipeline.synthetic.people.population import draw_person


def corners(points: np.ndarray) -> np.ndarray:
    """Return the (S, K - 2) angles in degrees between neighbouring segments of (S, K, 3) curves."""
    along = np.diff(points.astype(np.float64), axis=1)
    along /= np.linalg.norm(along, axis=2, keepdims=True)
    return np.degrees(np.arccos(np.clip((along[:, 1:] * along[:, :-1]).sum(axis=2), -1.0, 1.0)))


def over_a_head(num_points: int, radius: float = 0.25, hangs: float = 1.0) -> np.ndarray:
    """Return one strand that lies a quarter of a circle on a head and hangs, its points evenly spread: (1, K, 3)."""
    arc = 0.5 * np.pi * radius
    way = np.linspace(0.0, arc + hangs, num_points)
    angle = np.minimum(way, arc) / radius
    points = np.stack([radius * np.sin(angle), radius * np.cos(angle) - np.maximum(way - arc, 0.0), 0.0 * way], axis=1)
    return points[None].astype(np.float32)


def test_a_strand_over_a_head_bends_evenly_and_stays_on_its_curve() -> None:
    """26 points, a quarter of them on the arc, have corners of 12 degrees; 25 stretches share 90 degrees."""
    before = over_a_head(26)
    points, place = evenly_bent(before)
    assert corners(before).max() > 11.5
    assert corners(points).max() < 7.0 and np.median(corners(points)[corners(points) > 1.0]) < 1.2 * 90.0 / 25
    assert np.allclose(points[:, [0, -1]], before[:, [0, -1]], atol=1e-6)
    x, y = points[0, :, 0], points[0, :, 1]
    off = np.where(y > 0.0, np.hypot(x, np.maximum(y, 0.0)) - 0.25, x - 0.25)
    assert np.abs(off).max() < 0.003  # as far as a curve through the points before leaves the circle
    assert place[0, 0] == 0.0 and place[0, -1] == 1.0 and (np.diff(place) > 0.0).all()
    fine = over_a_head(25 * 400 + 1)[0]
    assert np.abs(points[0] - fine[np.round(place[0] * 25 * 400).astype(int)]).max() < 0.004


def test_compiled_stretches_are_those_of_plain_python() -> None:
    random = np.random.default_rng(0)
    points = np.cumsum(random.normal(size=(7, 9, 3)) * 0.05 + [0.0, -0.1, 0.0], axis=1).astype(np.float32)
    points[3, 4] = points[3, 5]  # two points in one place
    plain, place = np.empty_like(points), np.empty(points.shape[:2], np.float32)
    bend_evenly(points, np.float32(0.35), plain, place)
    found = evenly_bent(points)
    assert np.isfinite(plain).all()
    assert np.allclose(found[0], plain, atol=1e-5) and np.allclose(found[1], place, atol=1e-5)


def test_smoothed_hair_keeps_colours_and_radii_where_they_were() -> None:
    points = over_a_head(26)
    radii = np.linspace(0.004, 0.001, 26, dtype=np.float32)[None]
    colours = np.array([[[0.1, 0.2, 0.3], [0.9, 0.8, 0.7]]], np.float32)
    strands = Strands("hair", "hair", points, radii, colours, (0.5, 0.9))
    found = smoothed(strands)
    assert found.along is not None
    share = np.clip((found.along[0] - 0.5) / 0.4, 0.0, 1.0)[:, None]
    assert np.allclose(found.point_colours()[0], (1.0 - share) * colours[0, 0] + share * colours[0, 1], atol=1e-6)
    assert np.allclose(found.radii[0], 0.004 - 0.003 * found.along[0], atol=1e-7)
    assert smoothed(dataclasses.replace(strands, kind="beard")).points is points


def test_a_person_with_wet_hair_is_drawn_with_wet_strands(makehuman: Assets) -> None:
    """Through growing, pressing and smoothing: what is drawn shines by how wet the look is, and a dry one does not."""
    look = HairLook(top=12.0, sides=12.0, back=12.0, count=1500)
    for wet in (0.0, 0.7):
        growth = Growth(wetted(look, wet))
        figure = build_figure(makehuman, dataclasses.replace(draw_person(makehuman, 1, 0), hair="", hat="", growth=growth), 64)
        assert lay_end_to_end(figure.strands).wet == wet


@pytest.mark.parametrize(("style", "most"), [("long", 40.0), ("bob", 10.0)])
def test_grown_hair_has_no_corners(makehuman: Assets, style: str, most: float) -> None:
    """The largest corner, on shoulders mostly, is below this many degrees in nine of ten strands; 58 and 16 before."""
    look = draw_hair(0.0, 0.2, 0.3, (0.2, 0.1, 0.1), 0.0, np.random.default_rng(2), (style,))
    growth = Growth(dataclasses.replace(look, count=3000))
    strands = build_figure(makehuman, dataclasses.replace(draw_person(makehuman, 1, 0), hair="", hat="", growth=growth)).strands
    assert np.quantile(corners(strands[0].points).max(axis=1), 0.9) < most
