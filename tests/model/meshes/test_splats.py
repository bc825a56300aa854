"""Splats: what a plain splatter draws of the file looks like the volume it was made of."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import pytest
import torch
from spherehead.datasets.camera import Camera
from spherehead.model.generator import Generator
from spherehead.model.meshes.splats import HARMONIC, Splats, brightest, splat_ply, volume_splats
from spherehead.model.presets import TINY_SPLATS
from spherehead.model.shipped import shipped
from spherehead.model.store import load_generator
from spherehead.model.visualization.views import each_view, head_styles, seeded_latents
from spherehead.model.volume_rendering.splats.gaussians import rotations


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.set_num_threads(1)
    return load_generator(shipped("tiny-64"), "generator").eval()


def read(data: bytes) -> dict[str, np.ndarray]:
    head, _, body = data.partition(b"end_header\n")
    lines = head.decode().splitlines()
    names = [line.split()[2] for line in lines if line.startswith("property float ")]
    count = int(next(line for line in lines if line.startswith("element vertex")).split()[2])
    rows = np.frombuffer(body, "<f4").reshape(count, len(names))
    return {name: rows[:, index].astype(np.float64) for index, name in enumerate(names)}


def splatted(file: dict[str, np.ndarray], camera: Camera, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a splat file front to back, one splat after the other: colour times coverage, and coverage."""
    points = np.stack([file["x"], -file["y"], -file["z"]], 1)
    colours = 0.5 + HARMONIC * np.stack([file[f"f_dc_{k}"] for k in range(3)], 1)
    alphas, deviations = 1 / (1 + np.exp(-file["opacity"])), np.exp(file["scale_0"])
    places, depths = camera.project(points)
    colour, clear = np.zeros((size, size, 3)), np.ones((size, size))
    axis = np.arange(size) + 0.5
    for index in np.argsort(depths, kind="stable"):
        wide = deviations[index] / depths[index] * camera.intrinsics[0, 0] * size
        x, y = places[index] * size
        columns = slice(max(0, math.floor(x - 3 * wide)), max(0, math.ceil(x + 3 * wide)))
        rows = slice(max(0, math.floor(y - 3 * wide)), max(0, math.ceil(y + 3 * wide)))
        across, down = np.exp(-((axis[columns] - x) ** 2) / (2 * wide**2)), np.exp(-((axis[rows] - y) ** 2) / (2 * wide**2))
        share = alphas[index] * down[:, None] * across[None]
        colour[rows, columns] += (clear[rows, columns] * share)[..., None] * colours[index]
        clear[rows, columns] *= 1 - share
    return colour, 1 - clear


@pytest.mark.parametrize("yaw", [0.0, 2.2])
def test_splats_look_like_the_volume(generator: Generator, yaw: float) -> None:
    ws = head_styles(generator, seeded_latents([1], generator.settings.z_dim), None, 0.7)
    file = read(splat_ply(volume_splats(generator, ws, 1.0), 1.0))
    camera = Camera.look_at(yaw, 0.1)
    view = next(each_view(generator, ws, torch.from_numpy(camera.label()[None])))
    colour, cover = splatted(file, camera, 32)
    assert np.abs(cover - view.mask).mean() < 0.04
    inside = cv2.erode((view.mask > 0.97).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert inside.sum() > 150
    error = colour[inside] * 255 - view.raw[inside]
    assert 10 * math.log10(255**2 / (error**2).mean()) > 28


def test_heads_that_are_drawn_as_gaussians_leave_as_those(generator: Generator) -> None:
    made = Generator(dataclasses.replace(generator.settings, renderer=TINY_SPLATS)).eval()
    made.load_state_dict(generator.state_dict(), strict=False)
    ws = head_styles(made, seeded_latents([1], made.settings.z_dim), None, 0.7)
    file = read(splat_ply(volume_splats(made, ws), 1.0))
    camera = Camera.look_at(0.6, 0.1)
    view = next(each_view(made, ws, torch.from_numpy(camera.label()[None])))
    colour, cover = splatted(file, camera, 32)
    assert np.abs(cover - view.mask).mean() < 0.04
    inside = cv2.erode((view.mask > 0.97).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    error = colour[inside] * 255 - view.raw[inside]
    assert 10 * math.log10(255**2 / (error**2).mean()) > 28


def test_long_splats_keep_their_directions_in_the_file() -> None:
    """Points are turned half way about x in the file; so is the covariance."""
    turn, lengths = np.array([0.8, 0.2, -0.4, np.sqrt(0.16)]), np.array([0.3, 0.1, 0.05])
    file = read(splat_ply(Splats(np.zeros((1, 3)), np.ones((1, 3)), np.array([0.5]), lengths[None], turn[None]), 1.0))
    written = torch.tensor([[file[f"rot_{k}"][0] for k in range(4)]])
    half = np.diag([1.0, -1.0, -1.0])
    axes, found = (rotations(value)[0].numpy() * lengths for value in (torch.from_numpy(turn)[None], written))
    assert np.allclose(found @ found.T, half @ axes @ axes.T @ half, atol=1e-7)


def test_the_file_has_the_properties_of_gaussian_splatting(generator: Generator) -> None:
    ws = head_styles(generator, seeded_latents([1], generator.settings.z_dim), None, 0.7)
    splats = volume_splats(generator, ws, 2.0)
    file = read(splat_ply(splats, 2.25))
    assert list(file)[:6] == ["x", "y", "z", "nx", "ny", "nz"]
    assert np.allclose(file["y"] * -2.25, splats.centres[:, 1], atol=1e-6)
    assert np.allclose(np.exp(file["scale_2"]) * 2.25, splats.lengths[:, 2])
    assert np.allclose(1 / (1 + np.exp(-file["opacity"])), splats.opacities, atol=1e-5)
    assert (file["rot_0"] == 1).all()


def test_light_reaches_a_wall_and_not_what_it_encloses() -> None:
    box = np.zeros((9, 9, 9))
    box[1:8, 1:8, 1:8] = 10.0
    light = brightest(box)
    assert light[0, 4, 4] == 1
    assert light[1, 4, 4] == 1
    assert light[2, 4, 4] == pytest.approx(math.exp(-10))
    assert light[4, 4, 4] < 1e-12
    assert light[1, 1, 4] == 1
    box[:2, 4, 4] = 0.0  # a hole in the wall
    assert brightest(box)[2, 4, 4] == 1
