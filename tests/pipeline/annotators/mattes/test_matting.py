"""Guarantees of the matte's pixel work: one head, no holes, no halo, the same bytes."""

from __future__ import annotations

import cv2
import numpy as np
from spherehead.pipeline.annotators.mattes import matting


def disc(size: int, x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[0:size, 0:size] + 0.5
    return np.asarray(np.hypot(columns - x, rows - y) < radius)


def square(x: float, y: float, half: float) -> np.ndarray:
    return np.array([[x - half, y - half], [x + half, y - half], [x + half, y + half], [x - half, y + half]])


def test_smoothstep_is_the_cubic_between_its_ends() -> None:
    values = np.array([-1.0, 0.2, 0.35, 0.5, 2.0], dtype=np.float32)
    assert np.allclose(matting.smoothstep(values, 0.2, 0.5), [0.0, 0.0, 0.5, 1.0, 1.0], atol=1e-6)


def test_a_soft_coverage_stays_as_soft_as_it_is() -> None:
    rows, columns = np.mgrid[0:256, 0:256] + 0.5
    alpha = np.clip((80.0 - np.hypot(columns - 128, rows - 128)) / 8.0 + 0.5, 0.0, 1.0).astype(np.float32)
    picture = np.round(40 + 180 * alpha[..., None] * np.ones(3)).astype(np.uint8)
    small = cv2.resize(alpha, (128, 128), interpolation=cv2.INTER_AREA)
    edge = (alpha > 0.05) & (alpha < 0.95)
    found = matting.sharpened(picture, small)
    assert float(np.abs(found - alpha)[edge].mean()) < 0.08
    assert float(np.abs(matting.refine(picture, small) - alpha)[edge].mean()) > 0.1
    assert found[alpha == 0.0].max() < 0.02 and found[alpha == 1.0].min() > 0.98


def test_a_coverage_that_lies_beside_the_edge_is_pulled_onto_it() -> None:
    truth = disc(512, 256, 256, 160).astype(np.float32)
    picture = np.round(40 + 180 * truth[..., None] * np.ones(3)).astype(np.uint8)
    for off in (-8.0, 8.0):  # two cells of a coverage of 128
        coarse = cv2.resize(disc(512, 256, 256, 160 + off).astype(np.float32), (128, 128), interpolation=cv2.INTER_AREA)
        found = matting.sharpened(picture, cv2.GaussianBlur(coarse, (0, 0), 1.0))
        assert float(((found > 0.5) != (truth > 0.5)).mean()) < 0.1 * abs(off) * 2 * np.pi * 160 / truth.size


def test_other_people_go_and_holes_are_filled() -> None:
    chance = (disc(256, 100, 128, 60) | disc(256, 225, 128, 28)).astype(np.float32)
    chance[disc(256, 90, 150, 5)] = 0.0
    kept = matting.keep_head(chance, square(100, 120, 25))
    assert kept[disc(256, 100, 128, 56)].min() > 0.9
    assert kept[disc(256, 225, 128, 26)].max() < 0.05


def test_a_person_joined_by_a_narrow_bridge_goes_too() -> None:
    chance = (disc(256, 90, 128, 60) | disc(256, 220, 128, 34)).astype(np.float32)
    chance[124:132, 140:200] = 1.0
    kept = matting.keep_head(chance, square(90, 120, 25))
    assert kept[disc(256, 220, 128, 30)].max() < 0.05
    assert kept[disc(256, 90, 128, 50)].min() > 0.9


def test_view_through_a_large_loop_stays_background() -> None:
    chance = disc(256, 128, 128, 90).astype(np.float32)
    chance[disc(256, 128, 185, 16)] = 0.0
    assert matting.keep_head(chance, square(128, 100, 30))[disc(256, 128, 185, 10)].max() < 0.05


def test_no_region_on_the_face_gives_nothing() -> None:
    chance = disc(256, 220, 220, 30).astype(np.float32)
    assert matting.keep_head(chance, square(60, 60, 20)).max() == 0.0


def test_veto_drops_only_what_the_second_look_denies() -> None:
    first = np.ones((64, 64), dtype=np.float32)
    second = np.zeros((64, 64), dtype=np.float32)
    second[:, :32] = 1.0
    seen = matting.veto(first, second)
    assert seen[:, :34].min() == 1.0
    assert seen[:, 40:].max() == 0.0


def textured(size: int, colour: tuple[int, int, int], seed: int) -> np.ndarray:
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 30, (size, size, 3)), (0, 0), 2.0)
    return np.clip(np.array(colour) + 3 * noise, 0, 255)


def test_refined_edge_is_nearer_the_true_matte_than_the_segmenters() -> None:
    truth = cv2.GaussianBlur(disc(256, 128, 128, 70).astype(np.float32), (0, 0), 1.5)
    front, back = textured(256, (150, 90, 60), 1), textured(256, (60, 110, 190), 2)
    picture = np.round(truth[:, :, None] * front + (1 - truth[:, :, None]) * back).astype(np.uint8)
    rough = cv2.GaussianBlur(disc(256, 131, 126, 71).astype(np.float32), (0, 0), 5.0)
    refined = matting.refine(picture, rough)
    assert np.abs(refined - truth).mean() < 0.65 * np.abs(rough - truth).mean()


def test_foreground_colours_leave_no_halo() -> None:
    mask = matting.quantise(cv2.GaussianBlur(disc(256, 128, 128, 70).astype(np.float32), (0, 0), 4.0))
    alpha = mask.astype(np.float64)[:, :, None] / 255.0
    front, back = np.full((256, 256, 3), (120.0, 70.0, 40.0)), np.full((256, 256, 3), (250.0, 250.0, 245.0))
    picture = np.round(alpha * front + (1 - alpha) * back).astype(np.uint8)
    laid = matting.composite(picture, mask, np.zeros(3))
    plain = alpha * picture
    wanted = alpha * front
    soft = (mask > 25) & (mask < 230)
    assert np.abs(laid - wanted)[soft].mean() < 0.2 * np.abs(plain - wanted)[soft].mean()


def test_composite_keeps_the_head_and_lays_the_colour() -> None:
    mask = np.where(disc(64, 32, 32, 20), 255, 0).astype(np.uint8)
    picture = textured(64, (130, 100, 90), 3).astype(np.uint8)
    laid = matting.composite(picture, mask, np.array([255.0, 255.0, 255.0]))
    assert (laid[mask == 255] == picture[mask == 255]).all()
    assert (laid[mask == 0] == 255).all()


def test_background_colour_is_the_mean_of_what_is_neither_head_nor_padding() -> None:
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    picture[:4] = (10, 20, 30)
    picture[4:] = (90, 80, 70)
    mask, padding = np.zeros((8, 8), dtype=np.uint8), np.zeros((8, 8), dtype=np.uint8)
    padding[4:] = 255
    mask[0] = 255
    assert np.allclose(matting.background_colour(picture, mask, padding), (10, 20, 30))
    assert np.allclose(matting.background_colour(picture, np.full_like(mask, 255), None), picture.mean(axis=(0, 1)))


def test_trimap_knows_both_sides_and_leaves_the_edge_open() -> None:
    trimap = matting.trimap(disc(256, 128, 128, 60).astype(np.float32))
    assert trimap[128, 128] == 255 and trimap[2, 2] == 0 and trimap[128, 188] == 128


def test_quantise_rounds_and_clips() -> None:
    values = np.array([[-0.2, 0.0, 0.5, 127.4 / 255, 1.0, 1.7]], dtype=np.float32)
    assert matting.quantise(values).tolist() == [[0, 0, 128, 127, 255, 255]]
