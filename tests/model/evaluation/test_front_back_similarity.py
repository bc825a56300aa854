"""Mirror scores: a head whose back repeats its face scores high in every part, a head with hair behind scores low."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spherehead.datasets.classes import INDEX
from spherehead.model.evaluation.front_back_similarity import (
    MirrorScores,
    correlation,
    detail,
    face_parts,
    mirror_scores,
    summarise,
)

SIDE = 96


def outline(side: int = SIDE, shift: float = 0.03) -> np.ndarray:
    """The mask of a head that leans to the right, (side, side) in [0, 1]."""
    v, u = (np.indices((side, side)) + 0.5) / side
    return 1 / (1 + np.exp(80 * (np.hypot((u - 0.5 - shift) / 0.8, v - 0.5) - 0.36)))


def face(side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """A drawn face with one larger eye, and its class map."""
    mask = outline(side)
    picture = np.where(mask[..., None] >= 0.5, (205.0, 160.0, 135.0), (90.0, 110.0, 140.0))
    parsing = np.where(mask >= 0.5, INDEX["skin"], 0).astype(np.uint8)
    hair = (mask >= 0.5) & ((np.indices((side, side))[0] + 0.5) / side < 0.3)
    picture[hair], parsing[hair] = (70, 45, 30), INDEX["hair"]
    parts = [
        ("right_eye", 0.42, 0.45, 0.06),
        ("left_eye", 0.64, 0.45, 0.045),
        ("nose", 0.54, 0.57, 0.04),
        ("mouth", 0.53, 0.7, 0.06),
    ]
    for (name, x, y, radius), colour in zip(parts, ((30, 30, 40), (40, 30, 30), (220, 140, 120), (150, 50, 60)), strict=True):
        centre, size = (round(x * side), round(y * side)), round(radius * side)
        spot = np.zeros((side, side), np.uint8)
        cv2.circle(spot, centre, size, 1, -1)
        picture[spot == 1], parsing[spot == 1] = colour, INDEX[name]
    return picture.round().astype(np.uint8), parsing


def hair_behind(side: int = SIDE, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same head from behind: strands of hair inside the mirrored outline, its class map and mask."""
    mask = outline(side)[:, ::-1]
    strands = cv2.GaussianBlur(np.random.default_rng(seed).standard_normal((side, side)), (0, 0), 1.0, sigmaY=8.0)
    picture = np.where(mask[..., None] >= 0.5, 70 + 300 * strands[..., None] * (1.0, 0.7, 0.5), (90.0, 110.0, 140.0))
    return picture.clip(0, 255).astype(np.uint8), np.where(mask >= 0.5, INDEX["hair"], 0).astype(np.uint8), mask


def test_a_head_with_its_face_mirrored_on_the_back_scores_one() -> None:
    front, parsing = face()
    found = mirror_scores(front, front[:, ::-1], outline(), outline()[:, ::-1], parsing[:, ::-1])
    assert found.luminance == pytest.approx(1) and found.detail == pytest.approx(1)
    assert found.face_parts == pytest.approx(face_parts(parsing)) and found.face_parts > 0.05


def test_a_real_back_scores_near_zero() -> None:
    front, _ = face()
    found = [
        mirror_scores(front, back, outline(), mask, parsing) for back, parsing, mask in (hair_behind(seed=s) for s in range(8))
    ]
    total = summarise(found)
    assert abs(total.mean.luminance) < 0.15 and abs(total.mean.detail) < 0.15 and total.mean.face_parts == 0
    assert total.count == 8 and 0 < total.error.detail < 0.1


@given(st.floats(0, 1))
def test_the_more_the_face_shines_through_the_higher_the_scores(share: float) -> None:
    front, _ = face(48)
    back, _, mask = hair_behind(48)
    mixed = [np.round((1 - s) * back + s * front[:, ::-1]).astype(np.uint8) for s in (share * 0.5, 0.5 + share * 0.5)]
    less, more = (mirror_scores(front, picture, outline(48), mask).detail for picture in mixed)
    assert more >= less - 0.02


def test_light_and_contrast_of_the_back_do_not_matter() -> None:
    front, _ = face()
    dim = np.round(20 + 0.4 * front[:, ::-1]).astype(np.uint8)
    found = mirror_scores(front, dim, outline(), outline()[:, ::-1])
    assert found.luminance > 0.995 and found.detail > 0.99 and math.isnan(found.face_parts)


def test_the_background_does_not_matter() -> None:
    front, _ = face()
    back, _, mask = hair_behind()
    same = mirror_scores(front, back, outline(), mask)
    noisy = back.copy()
    noisy[mask < 0.5] = np.random.default_rng(0).integers(0, 255, ((mask < 0.5).sum(), 3))
    other = mirror_scores(front, noisy, outline(), mask)
    assert other.luminance == pytest.approx(same.luminance) and other.detail == pytest.approx(same.detail)


def test_the_same_scores_come_at_other_sides_and_from_coarse_masks() -> None:
    scores = []
    for side in (64, 192):
        front, _ = face(side)
        small = [cv2.resize(mask, (32, 32), interpolation=cv2.INTER_AREA) for mask in (outline(side), outline(side)[:, ::-1])]
        # a face that shines through at one half
        back = np.round(0.5 * hair_behind(side)[0] + 0.5 * front[:, ::-1]).astype(np.uint8)
        scores.append(mirror_scores(front, back, *small))
    assert scores[0].luminance == pytest.approx(scores[1].luminance, abs=0.12)


def test_light_that_falls_alike_on_both_sides_counts_in_luminance_not_in_detail() -> None:
    ramp = np.linspace(40, 220, SIDE)[:, None, None] * np.ones((1, SIDE, 3))
    noise = [6 * np.random.default_rng(seed).standard_normal((SIDE, SIDE, 1)) for seed in (0, 1)]
    front, back = ((ramp + part).clip(0, 255).astype(np.uint8) for part in noise)
    found = mirror_scores(front, back, outline(), outline()[:, ::-1])
    assert found.luminance > 0.95 and found.detail < 0.3


def test_detail_takes_away_a_constant_even_at_the_outline() -> None:
    inside = outline() >= 0.5
    assert np.abs(detail(np.where(inside, 0.7, 0.1), inside)).max() < 1e-6


@given(st.lists(st.floats(-10, 10), min_size=3, max_size=20), st.floats(0.1, 9), st.floats(-5, 5))
def test_correlation_is_pearsons(values: list[float], factor: float, offset: float) -> None:
    first = np.array(values)
    other = np.random.default_rng(0).standard_normal(len(values))
    if first.std() > 1e-3:
        assert correlation(first, other) == pytest.approx(np.corrcoef(first, other)[0, 1])
        assert correlation(first, factor * first + offset) == pytest.approx(1) and correlation(first, -first) == pytest.approx(
            -1
        )
    assert correlation(first, np.full(len(values), 3.0)) == 0


def test_heads_without_an_outline_have_no_score_and_do_not_count() -> None:
    front, parsing = face()
    nothing = mirror_scores(front, front, outline(), np.zeros((8, 8)), parsing)
    assert math.isnan(nothing.luminance) and math.isnan(nothing.detail) and nothing.face_parts > 0
    total = summarise([nothing, MirrorScores(0.5, 0.25, 0.0)])
    assert (total.count, total.mean.luminance, total.mean.detail) == (1, 0.5, 0.25) and math.isnan(total.error.detail)
    assert summarise([]).count == 0 and math.isnan(face_parts(np.zeros((4, 4), np.uint8)))


def test_ears_hair_and_skin_are_no_parts_of_a_face() -> None:
    names = ("left_ear", "hair", "skin", "neck", "glasses", "mouth", "nose", "left_brow")
    assert face_parts(np.array([[INDEX[name] for name in names]], np.uint8)) == 3 / 8
