"""An augmented picture and its label stay one: points are where the label says, at every resolution, with the right classes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.camera import Camera
from spherehead.model.losses.augment import (
    Augmentation,
    AugmentSettings,
    adapted,
    apply,
    augment,
    colour_matrix,
    draw,
    similarity,
    warped_label,
)
from spherehead.model.losses.step import ScheduleState, Step
from spherehead.model.portrait import Portrait

PARTS = ("image", "raw", "mask", "parsing", "camera")
SHAPES_ONLY = AugmentSettings(brightness=0, contrast=0, luma_flip=0, hue=0, saturation=0)
COLOURS_ONLY = AugmentSettings(mirror=0, roll=0, zoom=0, shift=0)


def parts(portrait: Portrait) -> dict[str, torch.Tensor]:
    found = {name: getattr(portrait, name) for name in PARTS}
    assert all(part is not None for part in found.values())
    return found


def still(batch: int) -> Augmentation:
    """A change that changes nothing, to replace parts of."""
    no, yes = torch.zeros(batch, dtype=torch.bool), torch.eye(3, dtype=torch.float64).expand(batch, 3, 3)
    return Augmentation(no, no, yes, no, torch.eye(3, 4, dtype=torch.float64).expand(batch, 3, 4))


def spot(place: np.ndarray, side: int, width: float = 0.04) -> torch.Tensor:
    """A Gaussian spot of the same size, in shares of the side, whatever the number of pixels."""
    axis = (torch.arange(side) + 0.5) / side
    squares = (axis[None, :] - float(place[0])) ** 2 + (axis[:, None] - float(place[1])) ** 2
    return torch.exp(-squares / (2 * width**2))


def centre(picture: torch.Tensor, near: np.ndarray) -> np.ndarray:
    """Centre of gravity of what is bright near a place (borders reflect spots), in normalised image coordinates."""
    axis = (torch.arange(len(picture)) + 0.5) / len(picture)
    window = ((axis[None, :] - float(near[0])).abs() < 0.12) & ((axis[:, None] - float(near[1])).abs() < 0.12)
    bright = torch.where(window, picture - 0.3, 0.0).clamp_min(0).double()
    return np.array([float((bright.sum(0) * axis).sum() / bright.sum()), float((bright.sum(1) * axis).sum() / bright.sum())])


def scene(cameras: list[Camera], points: np.ndarray) -> Portrait:
    """Pictures of one bright point each, at 64 and 32 pixels; mask and class 4 (left eye) show it too."""
    image, raw = [], []
    for camera, point in zip(cameras, points, strict=True):
        image.append(spot(camera.project(point)[0], 64))
        raw.append(spot(camera.project(point)[0], 32))
    large, small = torch.stack(image)[:, None].expand(-1, 3, -1, -1), torch.stack(raw)[:, None]
    parsing = torch.zeros(len(points), 20, 32, 32)
    parsing[:, 4] = small[:, 0]
    label = torch.stack([torch.from_numpy(camera.label()) for camera in cameras])
    return Portrait(large, small.expand(-1, 3, -1, -1), label, small, parsing)


@pytest.mark.parametrize("seed", range(3))
def test_the_augmented_label_projects_points_to_where_the_augmented_picture_shows_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cameras = [
        Camera.look_at(yaw, pitch, 0.1) for yaw, pitch in zip(rng.uniform(-3, 3, 24), rng.uniform(-1, 1, 24), strict=True)
    ]
    points = rng.uniform(-0.1, 0.1, (24, 3))
    change = draw(24, SHAPES_ONLY, 0.8, torch.Generator().manual_seed(seed))
    seen = apply(scene(cameras, points), change)
    assert seen.mask is not None and seen.parsing is not None
    checked = 0
    for row in range(24):
        mirrored = bool(change.mirrored[row])
        point = points[row] * (-1.0 if mirrored else 1.0, 1.0, 1.0)
        wanted = Camera.from_label(seen.camera[row].numpy()).project(point)[0]
        if np.abs(wanted - 0.5).max() > 0.3:
            continue  # the spot may touch the border, where its reflection adds to it
        checked += 1
        for picture in (seen.image[row, 0], seen.raw[row, 1], seen.mask[row, 0], seen.parsing[row, 5 if mirrored else 4]):
            assert np.abs(centre(picture, wanted) - wanted).max() < 0.15 / len(picture)
        assert float(seen.parsing[row, 4 if mirrored else 5].abs().max()) == 0.0
    assert checked >= 12 and 0 < int(change.mirrored.sum()) < 24


@settings(max_examples=40, deadline=None)
@given(
    st.floats(-3.1, 3.1), st.floats(-1.2, 1.2), st.floats(-1, 1), st.floats(-3.1, 3.1), st.floats(0.3, 3),
    st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.floats(-0.2, 0.2),
)  # fmt: skip
def test_labels_are_those_of_the_one_place_with_camera_maths(
    yaw: float, pitch: float, roll: float, angle: float, scale: float, x: float, y: float, tilt: float
) -> None:
    camera = Camera.look_at(yaw, pitch, roll).warped(np.array([[1.1, 0.05, 0.02], [0.0, 0.9, -0.03], [0.0, 0.0, 1.0]]))
    homography = similarity(
        *(torch.tensor([value], dtype=torch.float64) for value in (angle, scale)), torch.tensor([[x, y]]).double()
    )
    homography = homography.clone()
    homography[:, 2, 0] = tilt  # keystone as well: the formula holds for any homography
    got = warped_label(torch.from_numpy(camera.label())[None].double(), homography)[0].numpy()
    reference = Camera.from_label(camera.label()).warped(homography[0].numpy())
    np.testing.assert_allclose(got[:16].reshape(4, 4), reference.cam2world, atol=1e-9)
    np.testing.assert_allclose(got[16:].reshape(3, 3), reference.intrinsics, atol=1e-9)


def test_mirrored_labels_have_the_bits_of_the_camera_module(data: Callable[..., Portrait]) -> None:
    given_data = data()
    label = given_data.camera.clone()
    label[:, 18] += torch.linspace(-0.1, 0.1, 6)
    label[:, 17] = torch.linspace(-0.1, 0.1, 6)
    change = dataclasses.replace(still(6), mirrored=torch.ones(6, dtype=torch.bool))
    seen = apply(dataclasses.replace(given_data, camera=label), change)
    wanted = np.stack([Camera.from_label(row.numpy()).mirrored().label() for row in label])
    assert seen.camera.numpy().tobytes() == wanted.tobytes()
    assert torch.equal(seen.image, given_data.image.flip(3))
    twice = apply(seen, change)
    assert all(torch.equal(part, parts(given_data)[name]) for name, part in parts(twice).items() if name != "camera")


def test_nothing_changes_at_probability_zero_and_untouched_rows_keep_their_bits(data: Callable[..., Portrait]) -> None:
    before = data()
    assert augment(before, AugmentSettings(), 0.0, torch.Generator()) is before
    off = dataclasses.replace(AugmentSettings(), **dict.fromkeys(
        ("mirror", "roll", "zoom", "shift", "brightness", "contrast", "luma_flip", "hue", "saturation"), 0.0
    ))  # fmt: skip
    for name, part in parts(augment(before, off, 1.0, torch.Generator())).items():
        assert torch.equal(part, parts(before)[name])
    change = draw(6, AugmentSettings(), 0.12, torch.Generator().manual_seed(4))
    untouched = ~(change.mirrored | change.warped | change.recoloured)
    assert 0 < int(untouched.sum()) < 6
    for name, part in parts(apply(before, change)).items():
        assert torch.equal(part[untouched], parts(before)[name][untouched])


def test_the_same_source_of_randomness_gives_the_same_pictures(data: Callable[..., Portrait]) -> None:
    first, second, other = (
        parts(augment(data(), AugmentSettings(), 0.7, torch.Generator().manual_seed(seed))) for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], second[name]) for name in PARTS)
    assert not torch.equal(first["image"], other["image"])


def test_each_change_has_its_probability_and_strength() -> None:
    one = dict.fromkeys(("mirror", "roll", "zoom", "shift", "brightness", "contrast", "luma_flip", "hue", "saturation"), 0.0)
    count = 4000

    def drawn(**changes: float) -> Augmentation:
        return draw(count, dataclasses.replace(AugmentSettings(), **{**one, **changes}), 0.5, torch.Generator().manual_seed(0))

    assert float(drawn(mirror=1.0).mirrored.double().mean()) == pytest.approx(0.25, abs=0.03)
    for name in ("roll", "zoom", "shift"):
        assert float(drawn(**{name: 0.6}).warped.double().mean()) == pytest.approx(0.3, abs=0.03)
    for name in ("brightness", "contrast", "hue", "saturation"):
        assert float(drawn(**{name: 0.6}).recoloured.double().mean()) == pytest.approx(0.3, abs=0.03)
    assert float(drawn(luma_flip=1.0).recoloured.double().mean()) == pytest.approx(0.25, abs=0.03)
    change = drawn(roll=2.0)
    angle = torch.atan2(change.homography[:, 1, 0], change.homography[:, 0, 0])
    assert 29 < math.degrees(float(angle.abs().max())) <= 30 + 1e-9
    change = drawn(zoom=2.0)
    assert float(change.homography[:, 0, 0].log2().std()) == pytest.approx(0.2, rel=0.05)
    change = drawn(shift=2.0)
    assert float(change.homography[:, 0, 2].std()) == pytest.approx(0.125, rel=0.05)


def test_colours_change_as_their_formulas_say() -> None:
    rng = np.random.default_rng(0)
    colour = rng.uniform(-1, 1, 3)
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    no, yes = torch.tensor([False]), torch.tensor([True])

    def changed(*given: torch.Tensor) -> np.ndarray:
        matrix = colour_matrix(*given)[0].numpy()
        return np.asarray(matrix[:, :3] @ colour + matrix[:, 3])

    grey = colour.mean()
    np.testing.assert_allclose(changed(zero, one, no, zero, one), colour, atol=1e-12)
    np.testing.assert_allclose(changed(zero + 0.3, one, no, zero, one), colour + 0.3, atol=1e-12)
    np.testing.assert_allclose(changed(zero + 0.3, one * 2, no, zero, one), (colour + 0.3) * 2, atol=1e-12)
    np.testing.assert_allclose(changed(zero, one, yes, zero, one), colour - 2 * grey, atol=1e-12)
    np.testing.assert_allclose(changed(zero, one, no, zero, one * 0), np.full(3, grey), atol=1e-12)
    np.testing.assert_allclose(changed(zero, one, no, zero, one * 3), grey + 3 * (colour - grey), atol=1e-12)
    third = changed(zero, one, no, zero + 2 * math.pi / 3, one)
    np.testing.assert_allclose(third, colour[[2, 0, 1]], atol=1e-12)  # a third of a turn exchanges the channels


def test_colours_change_alike_at_both_sizes_and_never_in_mask_or_parsing(data: Callable[..., Portrait]) -> None:
    flat = data()
    tint = torch.rand(6, 3, 1, 1, generator=torch.Generator().manual_seed(0)) * 2 - 1
    flat = dataclasses.replace(flat, image=tint.expand(-1, -1, 16, 16), raw=tint.expand(-1, -1, 8, 8))
    seen = augment(flat, COLOURS_ONLY, 1.0, torch.Generator().manual_seed(0))
    torch.testing.assert_close(seen.image[:, :, 0, 0], seen.raw[:, :, 0, 0])
    assert not torch.equal(seen.image, flat.image)
    assert all(torch.equal(parts(seen)[name], parts(flat)[name]) for name in ("mask", "parsing", "camera"))


def test_shares_of_classes_still_sum_to_one(data: Callable[..., Portrait]) -> None:
    seen = augment(data(), AugmentSettings(), 1.0, torch.Generator().manual_seed(3))
    assert seen.parsing is not None and seen.mask is not None
    torch.testing.assert_close(seen.parsing.sum(1), torch.ones(6, 8, 8))
    assert float(seen.mask.min()) >= -1e-6 and float(seen.mask.max()) <= 1 + 1e-6


def test_gradients_reach_the_generators_pictures(data: Callable[..., Portrait]) -> None:
    """The change is linear in the pictures: its slope times a direction is the change of that direction, less the offset."""
    before = data()
    change = draw(6, AugmentSettings(), 0.8, torch.Generator().manual_seed(0))
    leaves = {name: getattr(before, name).clone().requires_grad_(True) for name in PARTS if name != "camera"}
    seen = apply(dataclasses.replace(before, **leaves), change)
    random = torch.Generator().manual_seed(1)
    for name, leaf in leaves.items():
        part = getattr(seen, name)
        weight = torch.randn(part.shape, generator=random)
        move = torch.randn(leaf.shape, generator=random)
        (slope,) = torch.autograd.grad((part * weight).sum(), leaf, retain_graph=True)
        moved = getattr(apply(dataclasses.replace(before, **{name: leaf.detach() + move}), change), name)
        assert float((slope * move).sum()) == pytest.approx(float(((moved - part.detach()) * weight).sum()), rel=1e-3, abs=1e-3)


def test_a_portrait_of_picture_and_raw_picture_alone_will_do(data: Callable[..., Portrait]) -> None:
    bare = dataclasses.replace(data(), mask=None, parsing=None)
    seen = augment(bare, AugmentSettings(), 1.0, torch.Generator().manual_seed(0))
    assert seen.mask is None and seen.parsing is None and seen.image.shape == bare.image.shape


def test_a_step_shows_the_discriminator_augmented_pictures_with_their_labels(make_step: Callable[..., Step]) -> None:
    def change(portrait: Portrait, random: torch.Generator) -> Portrait:
        return augment(portrait, AugmentSettings(), 0.9, random)

    step = make_step("generator", augment=change, schedule=ScheduleState(image_resolution=16, neural_resolution=8, augment=0.9))
    step.fake_score.sum().backward()
    assert not torch.equal(step.fake_seen.camera, step.camera)
    assert any(p.grad is not None and bool(p.grad.any()) for p in step.generator.backbone.parameters())


def test_the_probability_follows_the_mean_sign_of_the_scores() -> None:
    how = AugmentSettings(adapt_images=1000, limit=0.03)
    assert adapted(0.0, 1.0, 10, how) == pytest.approx(0.01)
    assert adapted(0.01, 0.61, 10, how) == pytest.approx(0.02)
    assert adapted(0.01, 1.0, 30, how) == 0.03
    assert adapted(0.03, 0.5, 20, how) == pytest.approx(0.01)
    assert adapted(0.01, -1.0, 20, how) == 0.0
    assert adapted(0.01, 0.6, 20, how) == 0.01
    assert adapted(0.2, 1.0, 500, AugmentSettings(start=0.2, target=None)) == 0.2
    probability = 0.0
    for _ in range(500_000 // 32 + 1):
        probability = adapted(probability, 1.0, 32, AugmentSettings())
    assert probability == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": 0.5, "limit": 0.2}, "start <= limit"),
        ({"target": 1.5}, "target between"),
        ({"adapt_images": 0}, "adapt_images"),
        ({"shift_deviation": -1.0}, "shift_deviation of 0 or more, got -1"),
    ],
)
def test_settings_out_of_range_are_named(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AugmentSettings(**changes)  # type: ignore[arg-type]
