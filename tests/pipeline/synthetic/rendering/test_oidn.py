"""Open Image Denoise on exact guides: nearer to the converged picture than our own cleaner, and the same bytes every time."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from spherehead.datasets.camera import Camera
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.people.figure import build_figure
from spherehead.pipeline.synthetic.people.population import draw_person
from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing, View, look_with_guide
from spherehead.pipeline.synthetic.rendering.oidn import clean
from spherehead.pipeline.synthetic.rendering.render import Studio
from spherehead.pipeline.synthetic.source import MakeHumanSettings, decisive, shoot, with_renderer

pytest.importorskip("mitsuba", reason="mitsuba is not installed")
pytest.importorskip("mitsuba_oidn", reason="mitsuba-oidn is not installed")

_NOISE = """
import hashlib
import numpy as np
from spherehead.pipeline.synthetic.rendering.exact_pass import View
from spherehead.pipeline.synthetic.rendering.oidn import clean
random = np.random.default_rng(0)
picture = random.random((64, 64, 4), dtype=np.float32)
normals = random.normal(size=(64, 64, 3)).astype(np.float32)
view = View(np.zeros((64, 64), np.uint8), np.full((64, 64), 255, np.uint8), np.ones((64, 64), np.float32), normals,
            np.full((64, 64, 3), 0.5, np.float32))
print(hashlib.sha256(clean(picture, view, 1.0).tobytes()).hexdigest())
"""


def test_bytes_depend_on_no_process_and_no_number_of_threads() -> None:
    found = set()
    for threads in ("1", "2", "7"):
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "DRJIT_NUM_THREADS": threads}
        done = subprocess.run([sys.executable, "-c", _NOISE], capture_output=True, text=True, env=environment, check=True)
        found.add(done.stdout.strip())
    assert len(found) == 1


def test_a_flat_colour_stays_and_noise_goes() -> None:
    random = np.random.default_rng(0)
    colour = np.array([0.4, 0.2, 0.1], dtype=np.float32)
    noisy = (colour * random.exponential(1.0, (96, 96, 1))).astype(np.float32)
    normals = np.zeros((96, 96, 3), dtype=np.float32)
    normals[..., 2] = 1.0
    whole = np.full((96, 96), 255, dtype=np.uint8)
    view = View(whole * 0, whole, np.ones((96, 96), np.float32), normals, np.broadcast_to(colour, (96, 96, 3)).copy())
    cleaned = clean(np.dstack([noisy, np.ones((96, 96), np.float32)]), view, 1.0)
    assert np.abs(cleaned[..., :3].mean(axis=(0, 1)) / colour - 1.0).max() < 0.08
    assert cleaned[..., 0].std() < 0.12 * noisy[..., 0].std()
    assert (cleaned[..., 3] == 1.0).all()
    hole = dataclasses.replace(view, mask=np.where(np.arange(96) < 48, 255, 0).astype(np.uint8) * np.ones((96, 1), np.uint8))
    assert (clean(np.dstack([noisy, noisy[..., 0]]), hole, 1.0)[:, 48:] == 0).all()


@pytest.mark.parametrize("size", [64, 71])
@pytest.mark.parametrize("corner", [(0, 0), (1, 1), (0, 1)])
def test_a_head_in_any_corner_is_cleaned_whole_and_nothing_else_is_touched(size: int, corner: tuple[int, int]) -> None:
    """Sides that no block divides, and heads that touch the border: only the head's own part is cleaned."""
    mask = np.zeros((size, size), np.uint8)
    rows, columns = (slice(size - 23, size) if last else slice(0, 23) for last in corner)
    mask[rows, columns] = 255
    view = View(mask * 0, mask, np.ones(mask.shape, np.float32), np.tile(np.float32([0, 0, 1]), (size, size, 1)),
                np.full((size, size, 3), 0.5, np.float32))  # fmt: skip
    noise = np.random.default_rng(0).exponential(0.5, (size, size, 1)).repeat(4, axis=2).astype(np.float32)
    cleaned = clean(noise, view, 1.0)
    assert np.array_equal(cleaned[..., 3] == 1.0, mask == 255)
    assert (cleaned[mask == 0] == 0.0).all()
    assert cleaned[mask == 255][:, 0].mean() == pytest.approx(noise[mask == 255][:, 0].mean(), rel=0.1)
    assert cleaned[mask == 255][:, 0].std() < 0.4 * noise[mask == 255][:, 0].std()


def test_a_picture_without_a_head_stays_empty() -> None:
    nothing = np.zeros((48, 48), np.uint8)
    view = View(nothing, nothing, np.full((48, 48), np.inf, np.float32), np.zeros((48, 48, 3), np.float32),
                np.zeros((48, 48, 3), np.float32))  # fmt: skip
    assert not clean(np.ones((48, 48, 4), np.float32), view, 1.0).any()


@pytest.mark.slow
def test_few_samples_come_nearer_to_many_than_with_our_own_cleaner(makehuman: Assets) -> None:
    """4 samples against 144: mean error of the pixels that show the head, in 8-bit levels."""
    settings = MakeHumanSettings(seed=1, size=96, samples=4)
    figure = build_figure(makehuman, draw_person(makehuman, 1, 4))
    studio, drawing, camera = Studio(figure), Drawing(figure), Camera.look_at(0.5, 0.1)
    shots = {
        name: shoot(dataclasses.replace(settings, **changes), figure, studio, drawing, camera, 0).image.astype(int)
        for name, changes in {"own": {}, "oidn": {"denoiser": "oidn"}, "many": {"samples": 144}}.items()
    }
    head = look_with_guide(drawing, camera, 96)[0].mask > 200
    errors = {name: float(np.abs(shots[name] - shots["many"])[head].mean()) for name in ("own", "oidn")}
    assert errors["oidn"] < 0.95 * errors["own"]
    again = shoot(dataclasses.replace(settings, denoiser="oidn"), figure, studio, drawing, camera, 0)
    assert hashlib.sha256(again.image).digest() == hashlib.sha256(shots["oidn"].astype(np.uint8)).digest()


def test_the_denoiser_is_told_in_the_renderer_and_in_the_stamp() -> None:
    settings = MakeHumanSettings(denoiser="oidn")
    assert "mitsuba-oidn 0." in with_renderer(settings)[1]
    assert decisive(settings)["denoiser"] == "oidn"
    assert "denoiser" not in decisive(MakeHumanSettings())
