"""Hair of the head around faces and ears, and how fine it is: against geometry."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import find_peaks
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.hair.density import density
from spherehead.pipeline.synthetic.hair.growing import ASIDE, FACE_FROM, FACE_REACH
from spherehead.pipeline.synthetic.hair.head_hair import EYES, alone, build_hair, flyaways, off_face, over_eyes
from spherehead.pipeline.synthetic.hair.look import HairLook
from spherehead.pipeline.synthetic.hair.scalp import CENTIMETRE, Surface, within
from spherehead.pipeline.synthetic.hair.strands import SHORT
from spherehead.pipeline.synthetic.people.figure import body_of
from spherehead.pipeline.synthetic.people.growth import surface_of
from spherehead.pipeline.synthetic.people.placement import place
from spherehead.pipeline.synthetic.people.population import draw_person


@pytest.fixture(scope="module")
def surface(makehuman: Assets) -> Surface:
    body, person = body_of(makehuman), draw_person(makehuman, 3, 0)
    vertices = body.morph(person.shape)
    return surface_of(body, vertices, place(vertices), (np.zeros((0, 3)), np.zeros((0, 3))))


def test_hair_is_drawn_off_a_face_without_corners() -> None:
    """Plumb strands before a face leave its middle by at most `ASIDE` a unit of length, and free it below the brows."""
    down = np.linspace(0.22, -0.4, 40, dtype=np.float32)
    x = np.array([-0.03, -0.001, 0.02, 0.2], np.float32)
    points = np.stack(np.broadcast_arrays(x[:, None], down, FACE_FROM + FACE_REACH), axis=2).astype(np.float32)
    moved = off_face(points, np.full((4, 1), 0.1))
    aside = np.diff(moved[..., 0], axis=1) / np.abs(np.diff(down))
    assert np.abs(aside).max() < 1.001 * ASIDE
    assert np.array_equal(moved[:, 0], points[:, 0]) and np.array_equal(moved[3], points[3])
    assert (np.abs(moved[:, down < 0.03, 0]) > 0.0999).all() and (np.sign(moved[:, -1, 0]) == np.sign(x)).all()
    assert np.array_equal(moved[..., 1:], points[..., 1:])


def test_no_hair_without_a_fringe_hangs_before_the_eyes(surface: Surface) -> None:
    look = HairLook(top=35.0, sides=35.0, back=35.0, comb="parted", part=4.0, frizz=0.3, count=6000, seed=5)
    (hair,) = build_hair(look, surface)
    x, y, z = hair.points[..., 0], hair.points[..., 1], hair.points[..., 2]
    assert not ((np.abs(x) < EYES) & (y < 0.08) & (y > -0.2) & (z > 0.08)).any()
    assert len(hair.points) > 0.97 * look.count  # few strands are left out for that
    one = np.array([[[0.0, 0.2, 0.1], [0.0, 0.0, 0.15]], [[0.2, 0.2, 0.1], [0.2, 0.0, 0.15]]], np.float32)
    assert over_eyes(one).tolist() == [True, False]


@pytest.mark.parametrize("tie", ["bun", "ponytail"])
def test_hair_before_the_ears_is_too_short_to_be_tied(surface: Surface, tie: str) -> None:
    """No strand of tied hair crosses an ear: those that begin before one and below its top end there."""
    hair = build_hair(HairLook(count=8000, tie=tie, tie_height=10.0, tail=20.0, seed=3), surface)
    roots = np.concatenate([group.points[:, 0] for group in hair if group.name != "hair tie"])
    tips = np.concatenate([group.points[:, -1] for group in hair if group.name != "hair tie"])
    before = (np.abs(roots[:, 0]) > 0.12) & (roots[:, 1] < 0.04) & (roots[:, 2] > -0.055)
    assert before.sum() > 30
    assert np.linalg.norm((tips - roots)[before], axis=1).max() < 2.0 * CENTIMETRE


def test_what_clippers_leave_is_finer_and_has_lost_its_lighter_tips(surface: Surface) -> None:
    tones = {"colour": (0.1, 0.08, 0.06), "tip": (0.8, 0.7, 0.5)}
    look = HairLook(top=5.0, sides=1.5, back=1.5, fade=8.0, shaved=0.12, count=6000, frizz=0.0, **tones)
    (hair,) = build_hair(look, surface)
    long = np.linalg.norm(np.diff(hair.points, axis=1), axis=2).sum(axis=1) / CENTIMETRE
    width, light = hair.radii[:, 0] / CENTIMETRE / look.radius, hair.colours.mean(axis=2)
    cut, whole = long < 0.2, long > 3.0
    assert cut.sum() > 100 and whole.sum() > 100
    assert np.median(width[cut]) < 0.62 * np.median(width[whole]) and np.median(width[whole]) == pytest.approx(1.0, abs=0.05)
    assert np.median(light[cut, 1] / light[cut, 0]) < 6.0 < 20.0 < np.median(light[whole, 1] / light[whole, 0])
    assert hair.counts is not None and hair.counts[long > 1.05 * SHORT].all()
    assert 0.0 < (~hair.counts).mean() < 0.1


def test_strands_that_stand_off_the_others_are_single_hairs(surface: Surface) -> None:
    random = np.random.default_rng(1)
    points = np.zeros((5000, 6, 3), np.float32)
    moved, single = flyaways(points, 0.01, random)
    assert np.array_equal(single, (moved != 0.0).any(axis=(1, 2))) and single.mean() == pytest.approx(0.03, abs=0.01)
    look = HairLook(top=12.0, sides=12.0, back=12.0, count=6000, seed=2)
    (hair,) = build_hair(look, surface)
    width = hair.radii[:, 0] / CENTIMETRE / look.radius
    long, inner = np.linalg.norm(np.diff(hair.points, axis=1), axis=2).sum(axis=1), hair.points[:, 0, 1] > 0.2
    thin = width[inner & (long > 8.0 * CENTIMETRE)] < 0.62  # others spread by 15 per cent around 1
    assert thin.mean() == pytest.approx(0.03, abs=0.015)


@pytest.mark.parametrize("seed", [0, 5, 77])
def test_a_hairline_waves_widely_and_has_no_teeth(seed: int) -> None:
    """Over the forehead it comes down by more than 1.5 mm at three places at most, as it is where density is a half."""
    azimuth, elevation = np.radians(np.linspace(-38.0, 38.0, 400)), np.radians(np.linspace(25.0, 60.0, 500))
    level = np.empty(400)
    for column, around in enumerate(azimuth):
        inside = within(np.full(500, around), elevation)
        level[column] = np.interp(0.5, density(HairLook(seed=seed), np.full(500, around), elevation), inside)
    assert 0.2 < np.median(level) < 0.6 and np.ptp(level) > 0.1
    assert len(find_peaks(-level, prominence=0.15)[0]) <= 3


def test_a_hair_that_hangs_before_the_cheek_without_others_is_left_out() -> None:
    """A curtain of 200 strands at the side of a face, one strand 3 cm nearer to its middle, and one behind the head."""
    down = np.linspace(0.12, -0.4, 24)
    random = np.random.default_rng(2)
    curtain = [np.stack([np.full(24, x), down, np.full(24, 0.12)], axis=1) for x in random.uniform(0.12, 0.14, 200)]
    single = np.stack([np.full(24, 0.12 - 3.0 * CENTIMETRE), down, np.full(24, 0.14)], axis=1)
    behind = np.stack([np.full(24, 0.05), down, np.full(24, -0.15)], axis=1)
    found = alone(np.stack([*curtain, single, behind]))
    assert found.tolist() == [False] * 200 + [True, False]
    assert not alone(behind[None]).any()
