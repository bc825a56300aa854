"""Models on manifolds: every volume renders and learns, and trained heads of a march survive the change and leave as meshes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from spherehead.datasets.camera import Camera
from spherehead.model.export.mesh import MeshSettings, write_head
from spherehead.model.generator import Generator
from spherehead.model.meshes.density import SurfaceSettings
from spherehead.model.nets.backbone import SynthesisSettings
from spherehead.model.nets.background import BackgroundSettings
from spherehead.model.presets import TINY_MANIFOLDS, preset
from spherehead.model.shipped import shipped
from spherehead.model.store import load_generator
from spherehead.model.visualization.views import head_styles, seeded_latents
from spherehead.model.volume_rendering import ManifoldSettings
from spherehead.model.volume_rendering.manifolds import Manifolds
from spherehead.model.volumes import DualSphereSettings, HyPlaneSettings, TriGridSettings, TriPlaneSettings, VolumeSettings

VOLUMES = [
    TriPlaneSettings(resolution=16, num_features=4), TriGridSettings(resolution=16, num_features=4),
    HyPlaneSettings(resolution=32, num_features=4),
    DualSphereSettings(resolution=16, num_features=4, in_channels=8, head_channels=4),
]  # fmt: skip


def labels(*yaws: float) -> torch.Tensor:
    return torch.from_numpy(np.stack([Camera.look_at(yaw, 0.1).label() for yaw in yaws]))


@pytest.mark.parametrize("volume", VOLUMES, ids=lambda volume: volume.kind)
def test_every_volume_is_seen_on_manifolds_and_learns_there(volume: VolumeSettings) -> None:
    torch.manual_seed(0)
    narrow = SynthesisSettings(channel_base=64, channel_max=8)
    renderer = ManifoldSettings(surfaces=6, hidden=6, grid=6, samples=16)
    settings = dataclasses.replace(
        preset("tiny-64").generator, volume=volume, z_dim=8, w_dim=8, neural_resolution=8, backbone=narrow, renderer=renderer,
        background=BackgroundSettings(8, narrow),
    )  # fmt: skip
    generator = Generator(settings)
    portrait = generator(torch.randn(2, 8), labels(0.0, 2.5))
    assert portrait.mask is not None and portrait.depth is not None
    assert float(portrait.mask.detach().max()) > 0.05 and 2.0 < float(portrait.depth.detach().min()) < 3.4
    (portrait.image.square().mean() + portrait.depth.mean()).backward()
    predictor = cast(Manifolds, generator.renderer).predictor
    moved = [predictor.layers[-1].weight, *generator.backbone.parameters(), *generator.decoder.parameters()]
    assert all(weight.grad is not None and bool(weight.grad.isfinite().all()) for weight in moved)
    assert bool(cast(torch.Tensor, predictor.layers[-1].weight.grad).any())


def changed() -> tuple[Generator, Generator]:
    """The shipped heads as they are, and seen on manifolds that nothing has trained yet."""
    usual = load_generator(shipped("tiny-64"))
    made = Generator(dataclasses.replace(usual.settings, renderer=TINY_MANIFOLDS)).eval()
    missing = made.load_state_dict(usual.state_dict(), strict=False).missing_keys
    assert missing and all(name.startswith("renderer.predictor.") for name in missing)
    return usual, made.requires_grad_(False)


def test_heads_of_a_march_are_recognisable_on_manifolds_before_any_training() -> None:
    """Masks and pictures agree where both see a head; without tails and the centre behind the ears the outline was lost."""
    usual, made = changed()
    ws = head_styles(usual, seeded_latents([1], usual.settings.z_dim)).repeat(2, 1, 1)
    camera = labels(0.8, 3.1)
    with torch.no_grad():
        one, other = usual.synthesise(ws, camera), made.synthesise(ws, camera)
    assert one.mask is not None and other.mask is not None and one.depth is not None and other.depth is not None
    heads, found = one.mask > 0.5, other.mask > 0.5
    assert float((heads & found).sum() / (heads | found).sum()) > 0.8
    both = (one.mask > 0.95) & (other.mask > 0.95)
    assert float((one.raw - other.raw).abs().mean(1, keepdim=True)[both].mean()) < 0.12
    assert float((one.depth - other.depth).abs()[both].median()) < 0.05


@pytest.mark.slow
def test_a_head_on_manifolds_leaves_as_a_mesh_that_its_masks_agree_with(tmp_path: Path) -> None:
    _, made = changed()
    ws = head_styles(made, seeded_latents([1], made.settings.z_dim), None, 0.7)
    measures = write_head(made, ws, tmp_path, MeshSettings(SurfaceSettings(spacing=1.0), faces=1500, texture=64, splats=0.0))
    assert measures.watertight
    assert measures.silhouette_iou > 0.8
    assert 1000 < measures.volume_cm3 < 15_000
    assert json.loads((tmp_path / "mesh.json").read_text())["measures"]["faces"] == measures.faces
