"""ViCo's negatives are pictures with cameras that truly look from elsewhere, and its settings mean what they say."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.camera import Camera
from spherehead.model.losses.step import Step
from spherehead.model.losses.vico import ViCo, far_partners, viewing_angles
from spherehead.model.portrait import Portrait
from torch.nn.functional import softplus


def cameras(*poses: tuple[float, float]) -> torch.Tensor:
    return torch.stack([torch.from_numpy(Camera.look_at(yaw, pitch).label()) for yaw, pitch in poses])


def angle(first: tuple[float, float], second: tuple[float, float]) -> float:
    """The great-circle angle by the haversine formula, another one than the code's."""
    half = math.sin((first[1] - second[1]) / 2) ** 2
    half += math.cos(first[1]) * math.cos(second[1]) * math.sin((first[0] - second[0]) / 2) ** 2
    return 2 * math.asin(min(1.0, math.sqrt(half)))


poses = st.tuples(st.floats(-math.pi, math.pi), st.floats(-1.2, 1.2))


@settings(max_examples=60, deadline=None)
@given(st.lists(poses, min_size=1, max_size=6), st.floats(0.0, 170.0), st.integers(0, 2**31))
def test_no_near_pair_is_ever_drawn(drawn: list[tuple[float, float]], minimum: float, seed: int) -> None:
    other, found = far_partners(cameras(*drawn), minimum, torch.Generator().manual_seed(seed))
    for row, pose in enumerate(drawn):
        gaps = [math.degrees(angle(pose, partner)) for partner in drawn]
        if found[row]:
            assert gaps[int(other[row])] > minimum - 1e-3
        else:
            assert max(gaps) < minimum + 1e-3


def test_partners_are_drawn_evenly_among_the_far_ones() -> None:
    label, random = cameras((0.0, 0.0), (0.1, 0.0), (1.0, 0.0), (-1.0, 0.0), (3.0, 0.0)), torch.Generator().manual_seed(0)
    counts = np.zeros((5, 5))
    for _ in range(3000):
        other, found = far_partners(label, 20.0, random)
        assert bool(found.all())
        counts[np.arange(5), other.numpy()] += 1
    assert np.diag(counts).max() == 0 and counts[0, 1] == counts[1, 0] == 0
    assert np.abs(counts[0, 2:] / 3000 - 1 / 3).max() < 0.04
    assert np.abs(counts[2, [0, 1, 3, 4]] / 3000 - 1 / 4).max() < 0.04


def test_mirrored_twins_are_poses_of_their_own() -> None:
    side, front = Camera.look_at(0.8, 0.2), Camera.look_at(0.05, 0.2)
    label = torch.stack([torch.from_numpy(camera.label()) for camera in (side, side.mirrored())])
    other, found = far_partners(label, 20.0, torch.Generator())
    assert found.tolist() == [True, True] and other.tolist() == [1, 0]
    label = torch.stack([torch.from_numpy(camera.label()) for camera in (front, front.mirrored())])
    assert not far_partners(label, 20.0, torch.Generator())[1].any()


def test_roll_and_intrinsics_do_not_make_a_camera_another_one() -> None:
    camera = Camera.look_at(0.4, 0.1)
    label = torch.stack([torch.from_numpy(c.label()) for c in (camera, camera.rolled(1.0), camera.cropped(0.1, 0.0, 0.7))])
    assert float(viewing_angles(label).abs().max()) < 1e-6
    assert not far_partners(label, 0.01, torch.Generator())[1].any()


def by_hand(step: Step, features: torch.Tensor, label: torch.Tensor, seed_state: torch.Tensor, minimum: float) -> float:
    """Softplus of every row with the partner that the same draw gives, one row after the other."""
    random = torch.Generator()
    random.set_state(seed_state)
    other, found = far_partners(label, minimum, random)
    scores = [
        float(softplus(step.discriminator.score(features[row : row + 1], label[int(other[row])][None])))
        for row in range(len(label))
        if found[row]
    ]
    return sum(scores) / len(label)


def test_the_term_shows_real_pictures_with_far_cameras(make_step: Callable[..., Step]) -> None:
    step = make_step("discriminator")
    features = step.real_features.detach()
    state = step.random.get_state()
    got = ViCo()(step)
    assert float(got) == pytest.approx(by_hand(step, features, step.real.camera, state, 20.0), rel=1e-5)
    got.backward()
    assert step.discriminator.from_picture.weight.grad is not None
    assert "fake" not in step.__dict__


def test_the_generated_variant_and_both(make_step: Callable[..., Step]) -> None:
    step = make_step("discriminator")
    features = step.fake_features.detach()
    state = step.random.get_state()
    got = ViCo(source="generated")(step)
    assert float(got) == pytest.approx(by_hand(step, features, step.camera, state, 20.0), rel=1e-5)
    assert "real_features" not in step.__dict__
    step.random.set_state(state)
    first = float(ViCo(source="real")(step))
    second = float(ViCo(source="generated")(step))
    step.random.set_state(state)
    assert float(ViCo(source="both")(step)) == pytest.approx((first + second) / 2, rel=1e-6)


def test_a_share_uses_so_many_rows_and_keeps_the_mean(make_step: Callable[..., Step]) -> None:
    step = make_step("discriminator")
    rows = step.real_features.detach().clone().requires_grad_(True)
    step.__dict__["real_features"] = rows
    for share, count in ((0.5, 3), (0.01, 1), (1.0, 6)):
        (slope,) = torch.autograd.grad(ViCo(share=share)(step), rows)
        assert int((slope.abs().sum(1) > 0).sum()) == count
    values = [float(ViCo(share=0.5)(step)) for _ in range(400)]
    whole = [float(ViCo()(step)) for _ in range(400)]
    spread = np.std(values) / 20 + np.std(whole) / 20
    assert abs(np.mean(values) - np.mean(whole)) < 4 * spread


def test_a_batch_seen_from_one_side_gives_nothing(make_step: Callable[..., Step], data: Callable[..., Portrait]) -> None:
    step = make_step("discriminator", real=data((0.0, 0.05, 0.1, 0.15)))
    got = ViCo()(step)
    assert float(got) == 0.0
    got.backward()
    assert float(ViCo()(make_step("discriminator", real=data((0.0,))))) == 0.0


def test_settings_out_of_range_are_named() -> None:
    with pytest.raises(ValueError, match=r"share in \(0, 1\], got 0"):
        ViCo(share=0)
    with pytest.raises(ValueError, match="min_angle_degrees"):
        ViCo(min_angle_degrees=180)
