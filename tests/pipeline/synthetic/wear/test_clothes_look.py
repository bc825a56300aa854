"""The assets' clothes: painted in a look's colours, seldom loud, with folds that stand out of the cloth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from spherehead.pipeline.synthetic.hair.scalp import CENTIMETRE
from spherehead.pipeline.synthetic.wear.clothes import STILL, ClothesLook, coloured, draw_clothes, folded


def test_the_common_hue_takes_the_first_colour_and_others_the_second() -> None:
    """A blue cloth with a tenth of orange trimmings and a seam of half the brightness, which stays darker."""
    picture = np.full((128, 128, 4), (40, 90, 170, 255), dtype=np.uint8)
    picture[:, :13] = (240, 140, 30, 255)
    picture[60:68, 40:] = (20, 45, 85, 255)
    look = ClothesLook((0.50, 0.20, 0.22), (0.80, 0.82, 0.70), seed=3)
    assets: Any = type("Textures", (), {"picture": lambda self, path: picture})()
    painted = coloured(assets, "blue.png", look)
    assert painted.shape == (256, 256, 4) and (painted[..., 3] == 255).all()
    assert painted[140:, 60:, :3].mean(axis=(0, 1)) / 255.0 == pytest.approx(look.colour, rel=0.04)
    assert painted[:, 2:20, :3].mean(axis=(0, 1)) / 255.0 == pytest.approx(look.second, rel=0.06)
    seam = painted[124:132, 100:, :3].mean() / painted[140:, 100:, :3].mean()
    assert seam == pytest.approx(0.5**0.8, abs=0.04)
    assert np.array_equal(painted, coloured(assets, "blue.png", look))


def test_clothes_are_seldom_loud() -> None:
    """Greatest less least channel: below 0.25 in four of five, above 0.45 in one of twenty, hardly ever the same."""
    looks = [draw_clothes(np.random.default_rng(seed)) for seed in range(400)]
    chroma = np.array([np.ptp(look.colour) for look in looks])
    assert (chroma < 0.25).mean() > 0.8 and (chroma > 0.45).mean() < 0.05
    assert len({look.colour for look in looks}) > 390


def test_folds_stand_out_of_the_cloth_and_leave_the_neckline_still() -> None:
    """A tube of cloth with its upper rim at a neck: nothing sinks or moves near the rim, and farther down it stands out."""
    angle, height = np.meshgrid(np.linspace(0.0, 2.0 * np.pi, 90, endpoint=False), np.linspace(-0.5, -1.1, 60))
    out = np.stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)], axis=-1)
    points = (0.2 * out + height[..., None] * np.eye(3)[1]).reshape(-1, 3)
    at = np.arange(60 * 90).reshape(60, 90)
    a, b, c, d = (part.ravel() for part in (at[:-1], at[1:], np.roll(at[1:], -1, axis=1), np.roll(at[:-1], -1, axis=1)))
    faces = np.vstack([np.column_stack([a, b, c]), np.column_stack([a, c, d])])
    normals = out.reshape(-1, 3)
    look = ClothesLook(folds=1.0, seed=5)
    moved = folded(points, normals, faces, look)
    lifted = ((moved - points) * normals).sum(axis=1)
    assert np.allclose(moved - points, lifted[:, None] * normals, atol=1e-12) and lifted.min() >= 0.0
    near, far = points[:, 1] > -0.5 - STILL, points[:, 1] < -0.75
    assert np.abs(lifted[near]).max() < 1e-12
    assert 0.08 * CENTIMETRE < lifted[far].std() < 0.8 * CENTIMETRE and lifted.max() < 2.4 * CENTIMETRE
    assert np.array_equal(moved, folded(points, normals, faces, look))
