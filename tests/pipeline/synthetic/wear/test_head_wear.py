"""Kinds of head-wear: straw, brims, loose scarves, and how many people wear something."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from dressed_people import bare_surface, classes, dressed
from spherehead.datasets.classes import INDEX
from spherehead.manifests.config import ConfigError
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.hair.scalp import Surface
from spherehead.pipeline.synthetic.people.body import vertex_normals
from spherehead.pipeline.synthetic.people.glasses import APART, MORE_SHAPES, SHAPES, GlassesLook, Seat, build
from spherehead.pipeline.synthetic.wear.dress import MAKERS
from spherehead.pipeline.synthetic.wear.fabric import paint, plaited
from spherehead.pipeline.synthetic.wear.look import Fabric, HeadWear
from spherehead.pipeline.synthetic.wear.wardrobe import WearShares, draw_head_wear, more_head_wear
from spherehead.pipeline.synthetic.wear.wraps import CREASE, _creased


@pytest.fixture(scope="module")
def surface(makehuman: Assets) -> Surface:
    return bare_surface(makehuman)


def test_straw_closes_around_and_changes_its_slant_from_band_to_band() -> None:
    around = np.linspace(0.0, 60.0, 6000, endpoint=False)
    v, u = np.meshgrid(np.array([0.15, 0.75]), around, indexing="ij")
    assert np.allclose(plaited(u, v, 60.0, 0.6), plaited(u + 60.0, v, 60.0, 0.6), atol=1e-9)
    rising = [plaited(around, np.full_like(around, height), 60.0, 0.6) for height in (0.2, 0.35)]
    falling = [plaited(around, np.full_like(around, 0.6 + height), 60.0, 0.6) for height in (0.2, 0.35)]
    moved = [int(np.argmax([np.roll(a, -step) @ b for step in range(-10, 11)])) - 10 for a, b in (rising, falling)]
    assert moved[0] == -moved[1] != 0
    picture = paint(Fabric("straw", (0.8, 0.68, 0.45), (0.6, 0.5, 0.3), seed=2), 58.0, 19.0)
    assert (picture[..., 3] == 255).all() and picture[..., 0].mean() > picture[..., 2].mean()


def test_brims_turn_up_where_their_option_says(surface: Surface) -> None:
    def rise(option: int) -> np.ndarray:
        head = HeadWear("brim", Fabric(), edge=0.0, lean=18.0, option=option, seed=5)
        brim = next(part for part in MAKERS["brim"](surface.field, head, 0.0)[0] if part.name == "brim")
        ring = brim.points.reshape(180, -1, 3)
        return np.asarray(ring[:, 9, 1] - ring[:, 0, 1])  # outer edge over the sewn one

    assert rise(4).min() > 0.05 and rise(2).max() < 0.0
    assert rise(5).max() > 0.05 > 0.02 > rise(5).min()


def test_a_loose_scarf_shows_the_hair_in_front_and_a_tight_one_none(makehuman: Assets) -> None:
    shown = []
    for option in (0, 1):
        head = dataclasses.replace(draw_head_wear("hijab", np.random.default_rng(3)), option=option, edge=0.0, slack=1.0)
        shown.append((classes(dressed(makehuman, "hijab", "long", worn=head), 0.0) == INDEX["hair"]).mean())
    assert shown[1] > 0.01 and shown[0] < 0.3 * shown[1]


def test_more_head_wear_scales_its_shares_only() -> None:
    more = more_head_wear(2.0)
    assert more.cap == 2.0 * WearShares().cap and more.earrings == WearShares().earrings
    with pytest.raises(ConfigError, match="at most 1"):
        more_head_wear(5.0)


def close_eyes() -> Seat:
    """Return where glasses sit before eyes that stand close together."""
    ears, eye = np.array([[0.74, 7.36, 0.5], [-0.74, 7.36, 0.5]]), np.array([0.29, 7.3, 1.1])
    return Seat(eye, eye * [-1.0, 1.0, 1.0], np.array([0.0, 7.2, 1.4]), ears[0], ears[1], np.zeros((0, 3)))


@pytest.mark.parametrize("shape", [*SHAPES, *MORE_SHAPES])
def test_lenses_of_the_wider_choice_leave_room_for_a_bridge(shape: str) -> None:
    """The largest lenses before eyes that stand close together end 4.5 mm and their rim before the middle of the face."""
    _, lenses = build(GlassesLook(shape, (0.1, 0.1, 0.1), 1.15, 0.03, 0.9, False, "full", (0.03, 0.03, 0.03)), close_eyes())
    left = lenses.points[lenses.points[:, 0] > 0.0]
    assert len(left) * 2 == len(lenses.points)
    assert left[:, 0].min() >= APART + 0.03 - 1e-9


@pytest.mark.parametrize("shape", [*SHAPES, *MORE_SHAPES])
def test_both_lenses_face_forward(shape: str) -> None:
    """A lens whose triangles run the other way would mirror what lies behind it: black by raster light."""
    _, lenses = build(GlassesLook(shape, (0.1, 0.1, 0.1), 1.0, 0.03, 0.9, False, "full"), close_eyes())
    assert (vertex_normals(lenses.points, lenses.faces)[:, 2] > 0.5).all()


def test_cloth_is_darkest_in_the_depth_between_two_folds() -> None:
    fold = np.tile(np.array([0.0, 0.5, 1.0, 0.5, 0.0, 1.0]), (4, 1))
    shade = _creased(fold, (8, 4))  # one row of the picture for each row of the grid, from its upper edge
    assert shade[::-1, 0] == pytest.approx(CREASE + (1.0 - CREASE) * np.array([0, 0, 0, 0.5, 1, 0.5, 0, 1]) ** 0.6)
