"""Colours of skins: blood where faces have it, nothing where no head is, and less colour than the assets' skins have."""

from __future__ import annotations

import numpy as np
import pytest
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.face.complexion import COLOUR, FAIREST, MOTTLING, PALE, PORES, calm, complexion, fair
from spherehead.pipeline.synthetic.people.appearance import CHEEKS, lab, skin_colour
from spherehead.pipeline.synthetic.people.figure import body_of
from spherehead.pipeline.synthetic.people.growth import head_places
from spherehead.pipeline.synthetic.people.paint import HEAD_CROP, body_skin
from spherehead.pipeline.synthetic.people.population import draw_person

SHAPE = (1472, 768)


@pytest.fixture(scope="module")
def places(makehuman: Assets) -> np.ndarray:
    left, top, right, bottom = HEAD_CROP
    return head_places(makehuman, body_of(makehuman))[top:bottom, left:right]


def mean_at(changes: np.ndarray, places: np.ndarray, at: tuple[float, float]) -> np.ndarray:
    """The mean change within a centimetre of a place on the front of the mean head."""
    near = (np.hypot(np.abs(places[..., 0]) - at[0], places[..., 1] - at[1]) < 0.025) & (places[..., 2] > 0.1)
    near &= places[..., 2] < 1.0
    assert near.sum() > 8
    coarse = changes.reshape(places.shape[0], 4, places.shape[1], 4, 3).mean(axis=(1, 3))
    return coarse[near].mean(axis=0)


def test_noses_are_redder_than_foreheads_and_beards_grow_on_men_only(places: np.ndarray) -> None:
    """Over 30 skins: red over green at the nose exceeds that of the forehead, and men's jaws are darker than women's."""
    nose, brow, jaw = [], [], {0.0: [], 1.0: []}
    for seed in range(30):
        for male in (0.0, 1.0):
            changes = complexion(seed, SHAPE, places, male)
            jaw[male].append(mean_at(changes, places, (0.06, -0.15)).mean())
        nose.append(np.subtract(*mean_at(changes, places, (0.0, -0.06))[:2]))
        brow.append(np.subtract(*mean_at(changes, places, (0.0, 0.13))[:2]))
    assert np.mean(nose) > np.mean(brow) + 0.035
    assert np.mean(jaw[1.0]) < np.mean(jaw[0.0]) - 0.01 and np.allclose(jaw[0.0], 0.0, atol=0.04)


def test_texels_without_head_have_noise_alone_and_a_seed_always_the_same(places: np.ndarray) -> None:
    bare = np.full((92, 48, 3), 9.0, dtype=np.float32)
    changes = complexion(3, (368, 192), bare, 1.0)
    assert np.array_equal(changes, complexion(3, (368, 192), bare, 1.0))
    assert not np.array_equal(changes, complexion(4, (368, 192), bare, 1.0))
    assert np.abs(changes.mean(axis=(0, 1))).max() < 1e-3
    assert changes[..., 0].std() == pytest.approx(np.hypot(PORES, MOTTLING), rel=0.25)


def test_calm_skin_keeps_its_luma_and_loses_colour() -> None:
    skin = np.array([[[205.0, 140.0, 100.0]]], dtype=np.float32)
    calmed = calm(skin)
    luma = np.array([0.299, 0.587, 0.114])
    assert calmed @ luma == pytest.approx(skin @ luma, rel=1e-5)
    assert np.ptp(calmed) == pytest.approx(COLOUR * np.ptp(skin), rel=1e-5)


def test_skins_are_as_light_as_lightest_skins_and_lighter_ones_stay_lighter() -> None:
    """CIELAB lightness as OpenCV has it: the same up to `PALE`, rising to `FAIREST` and never beyond, in a light skin's hue."""
    light = [(value, 0.78 * value, 0.68 * value) for value in np.linspace(0.3, 1.2, 40)]
    factors = np.array([fair(colour) for colour in light])
    before = np.array([lab(colour)[0] for colour in light])
    after = np.array([lab(tuple(factor * np.array(colour)))[0] for factor, colour in zip(factors, light, strict=True)])
    assert (before.min(), before.max()) == (pytest.approx(29.0, abs=3.0), pytest.approx(97.0, abs=5.0))
    assert (factors[before < PALE] == 1.0).all()
    assert (np.diff(after) > 0.0).all() and FAIREST - 1.0 < after.max() < FAIREST + 1.0


def test_nobody_is_painted_lighter_than_the_lightest_skins(makehuman: Assets) -> None:
    """Some of 400 people were painted with cheeks of a lightness of 84 to 89; dark people keep theirs."""
    top, left, bottom, right = CHEEKS
    for head in (43, 230, 262, 399, 12, 13, 276):
        person = draw_person(makehuman, 1, head)
        cheeks = body_skin(makehuman, person)[top:bottom, left:right].reshape(-1, 3)
        red, green, blue = (np.median(cheeks, axis=0) / 255.0).tolist()
        assert lab((red, green, blue))[0] < FAIREST + 1.0
        assert lab((red, green, blue))[0] == pytest.approx(lab(skin_colour(makehuman, person))[0], abs=1.5)


def test_blotches_do_not_end_where_skins_are_cut_open(places: np.ndarray) -> None:
    """Red over green, which blotches alone change there, varies next to the cut by less than a third of what it does aside."""
    behind = (places[..., 2] < -0.1) & (places[..., 1] > -0.1)
    cut, aside = (
        behind & (low < np.abs(places[..., 0])) & (np.abs(places[..., 0]) < high) for low, high in ((-1, 0.01), (0.07, 0.1))
    )
    assert cut.sum() > 50 and aside.sum() > 50
    spread = {"cut": [], "aside": []}
    for seed in range(6):
        changes = complexion(seed, SHAPE, places, 0.0).reshape(places.shape[0], 4, places.shape[1], 4, 3).mean(axis=(1, 3))
        for name, where in (("cut", cut), ("aside", aside)):
            spread[name].append(np.square(changes[where][:, 0] - changes[where][:, 1]).mean())
    assert np.mean(spread["cut"]) < 0.1 * np.mean(spread["aside"])
