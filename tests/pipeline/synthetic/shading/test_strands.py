"""Light on strands: what neighbouring samples share of it is nearly what each would have of its own."""

from __future__ import annotations

import numpy as np
import pytest
from spherehead.datasets.camera import Camera
from spherehead.pipeline.synthetic.hair.strands import Strands, lay_end_to_end
from spherehead.pipeline.synthetic.rendering.light import draw_light
from spherehead.pipeline.synthetic.rendering.ribbons import draw_strands
from spherehead.pipeline.synthetic.shading import strands as module
from spherehead.pipeline.synthetic.shading.sky import sky_tables


def test_shared_light_is_nearly_that_of_each_sample_in_plain_python(monkeypatch: pytest.MonkeyPatch) -> None:
    random, size, step = np.random.default_rng(8), 8, 3
    along = np.linspace(0.0, 1.0, 8)[None]
    x = random.uniform(-0.2, 0.2, (120, 1)) + 0.03 * np.sin(6.0 * along + random.uniform(0, 3, (120, 1)))
    points = np.stack([x, 0.2 - 0.4 * along + 0.0 * x, 0.15 + random.uniform(-0.03, 0.03, (120, 1)) + 0.0 * x], axis=2)
    colours = np.tile(np.array([[0.3, 0.2, 0.1], [0.4, 0.3, 0.2]], np.float32), (120, 1, 1))
    laid = lay_end_to_end([Strands("hair", "hair", points.astype(np.float32), np.full((120, 8), 0.004, np.float32), colours)])
    seen = draw_strands(laid, Camera.look_at(0.2, 0.1), np.full((size * step, size * step), np.inf, np.float32))
    tables = sky_tables(draw_light(np.random.default_rng(3), True).sky)
    told = (laid, seen, tables, None, np.zeros(16, np.float32), np.zeros((3, 4)), step)
    shared, cover = module.light_strands(*told)
    monkeypatch.setattr(module, "compiled", lambda loop, *helpers: loop)
    monkeypatch.setattr(module, "alike", lambda *_: False)
    own, plain_cover = module.light_strands(*told)
    assert (cover > 0.5).sum() > 20 and np.allclose(cover, plain_cover, atol=1e-5)
    assert own.max() > 0.0 and np.abs(shared - own).max() < 0.03 * own.max()
