"""Views: one seed one head, cameras where they are said to be, cached planes that change nothing, and pictures in bytes."""

from __future__ import annotations

import dataclasses
import hashlib
import math

import numpy as np
import pytest
import torch
from spherehead.datasets.camera import Camera
from spherehead.manifests.config import override
from spherehead.model.generator import Generator
from spherehead.model.nets.backbone import SynthesisSettings
from spherehead.model.presets import preset
from spherehead.model.visualization.views import (
    RenderSettings,
    ViewError,
    each_view,
    head_styles,
    ring,
    seeded_latents,
    to_pixels,
    usual_condition,
)

SMALL = ["generator.z_dim=16", "generator.w_dim=16", "generator.renderer.coarse_samples=6", "generator.renderer.fine_samples=6"]
TINY = ["tiny-64", "tiny-64-single", "tiny-64-planar", "tiny-64-trigrid", "tiny-64-hyplane"]


def made(name: str = "tiny-64", *changes: str) -> Generator:
    settings = override(preset(name), [*SMALL, *changes]).generator
    torch.manual_seed(0)
    return Generator(dataclasses.replace(settings, backbone=SynthesisSettings(channel_base=256, channel_max=8)))


@pytest.fixture(scope="module")
def generator() -> Generator:
    return made()


def test_a_seed_gives_its_latent_whatever_stands_beside_it() -> None:
    alone, among = seeded_latents([5], 512), seeded_latents([0, 5, 9], 512)
    assert torch.equal(alone[0], among[1]) and not torch.equal(among[0], among[2])
    assert among.dtype == torch.float32 and abs(float(among.mean())) < 0.1 and abs(float(among.std()) - 1) < 0.1


def test_a_latent_comes_from_its_seeds_hash() -> None:
    key = int.from_bytes(hashlib.sha256(b"7\x00latent\x00z").digest()[:16], "big")
    wanted = np.random.Generator(np.random.Philox(key=key)).standard_normal(6, dtype=np.float32)
    assert np.array_equal(seeded_latents([7], 6)[0].numpy(), wanted)


def test_the_ring_starts_in_front_and_passes_the_left_ear_and_the_back() -> None:
    cameras = [Camera.from_label(row.numpy()) for row in ring(4, pitch=0.1)]
    yaws = [camera.yaw for camera in cameras]
    assert np.allclose(np.cos(yaws), [1, 0, -1, 0], atol=1e-6) and np.allclose(np.sin(yaws), [0, 1, 0, -1], atol=1e-6)
    assert all(math.isclose(camera.pitch, 0.1, abs_tol=1e-6) for camera in cameras)
    for camera in cameras:
        camera.check()


@pytest.mark.parametrize("name", TINY)
def test_views_of_one_head_are_those_of_the_whole_generator(name: str) -> None:
    generator = made(name)
    latents, cameras = seeded_latents([3], 16), ring(3, 0.2)
    ws = head_styles(generator, latents, psi=0.7)
    views = list(each_view(generator, ws, cameras))
    with torch.no_grad():
        for view, camera in zip(views, cameras, strict=True):
            whole = generator.synthesise(ws, camera[None])
            assert np.abs(view.image.astype(int) - to_pixels(whole.image)[0].astype(int)).max() <= 1
            assert whole.mask is not None and np.allclose(view.mask, whole.mask[0, 0].clamp(0, 1).numpy(), atol=1e-5)


def test_many_views_at_once_are_those_one_by_one(generator: Generator) -> None:
    ws, cameras = head_styles(generator, seeded_latents([1], 16)), ring(11)
    together = [view.depth for view in each_view(generator, ws, cameras)]
    apart = [next(each_view(generator, ws, camera[None])).depth for camera in cameras]
    assert len(together) == 11 and np.allclose(together, apart, atol=1e-4)


def test_a_look_sets_rays_and_side(generator: Generator) -> None:
    ws = head_styles(generator, seeded_latents([1], 16))
    view = next(each_view(generator, ws, ring(1), RenderSettings(neural_resolution=16, image_resolution=32, fade=0.5)))
    assert view.raw.shape == (16, 16, 3) and view.image.shape == (32, 32, 3) and view.mask.shape == view.depth.shape == (16, 16)
    assert view.parsing is not None and view.parsing.shape == (16, 16) and view.parsing.max() < 20


def test_looking_changes_neither_mode_nor_running_mean_nor_random_numbers() -> None:
    generator = made().train()
    before, state = {name: value.clone() for name, value in generator.state_dict().items()}, torch.random.get_rng_state()
    list(each_view(generator, head_styles(generator, seeded_latents([1], 16)), ring(2)))
    assert generator.training and torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


def test_a_condition_that_is_no_camera_must_be_given() -> None:
    with pytest.raises(ViewError, match="condition of 7 numbers"):
        usual_condition(made("tiny-64", "generator.condition_dim=7"), 2)
    assert usual_condition(made("tiny-64", "generator.condition_dim=0"), 2) is None


def test_pictures_are_rounded_clipped_and_never_undefined() -> None:
    values = torch.tensor([-2.0, -1.0, 0.0, 1.0 / 255, 1.0, 7.0, math.nan, math.inf]).view(1, 1, 1, 8).expand(1, 3, 1, 8)
    assert to_pixels(values)[0, 0, :, 0].tolist() == [0, 0, 128, 128, 255, 255, 128, 255]
