"""`mesh` of a model whose renderer draws meshes: the file holds that mesh, whatever number of faces is asked for."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from spherehead.model.export.mesh import MeshSettings, write_head
from spherehead.model.generator import Generator
from spherehead.model.nets.backbone import SynthesisSettings
from spherehead.model.presets import preset
from spherehead.model.visualization.views import head_styles, seeded_latents
from spherehead.model.volume_rendering.surfaces.shape import ShapeSettings


@pytest.mark.slow
def test_the_drawn_mesh_is_the_exported_one(tmp_path: Path) -> None:
    made = preset("tiny-64-surface").generator
    renderer = dataclasses.replace(made.renderer, shape=ShapeSettings(cells=8, size=0.8))  # type: ignore[call-arg]
    narrow = SynthesisSettings(channel_base=256, channel_max=8)
    torch.manual_seed(0)
    generator = Generator(
        dataclasses.replace(made, renderer=renderer, backbone=narrow, neural_resolution=64, condition_dim=0)
    ).eval()
    ws = head_styles(generator, seeded_latents([3], made.z_dim), None, 0.7)
    measures = write_head(generator, ws, tmp_path, MeshSettings(faces=100, texture=64, splats=0.0, unit="head"))
    with torch.no_grad():
        drawn = generator.mesh(generator.planes(ws))
    assert drawn is not None
    assert (measures.vertices, measures.faces) == (len(drawn.vertices), len(drawn.faces))
    assert measures.faces > 500
    assert measures.watertight
    assert measures.silhouette_iou > 0.9
    assert measures.depth_gap_cm < 0.1
    text = (tmp_path / "head.obj").read_text().splitlines()
    written = np.array([line.split()[1:4] for line in text if line.startswith("v ")], dtype=np.float64)
    np.testing.assert_allclose(written, drawn.vertices.numpy(), atol=1e-4)
    assert json.loads((tmp_path / "mesh.json").read_text())["measures"]["faces"] == measures.faces
