"""A generator of a few thousand numbers with a Gaussian of styles, and one of its own heads as a photograph."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from spherehead.datasets.camera import Camera
from spherehead.datasets.shards.codec import Decoded
from spherehead.manifests.config import override
from spherehead.model.generator import Generator, GeneratorSettings
from spherehead.model.nets.backbone import SynthesisSettings
from spherehead.model.nets.persons import GaussianStyles
from spherehead.model.presets import preset
from spherehead.model.store import GENERATOR, ModelConfig, write_config, write_part
from spherehead.model.visualization.views import each_view, head_styles, seeded_latents


def settings() -> GeneratorSettings:
    found = override(
        preset("tiny-64"),
        [
            "generator.z_dim=20",
            "generator.w_dim=16",
            "generator.styles=gaussian",
            "generator.background.own_style=true",
            "generator.renderer.coarse_samples=6",
            "generator.renderer.fine_samples=6",
            "generator.neural_resolution=16",
        ],
    ).generator
    return dataclasses.replace(found, backbone=SynthesisSettings(channel_base=256, channel_max=8))


def generator(seed: int = 0) -> Generator:
    """A generator whose heads differ by four coordinates."""
    torch.manual_seed(seed)
    made = Generator(settings()).eval()
    assert isinstance(made.mapping, GaussianStyles)
    made.mapping.fit(torch.randn(50, 16))
    assert made.to_raw is not None
    with torch.no_grad():  # dense enough to be seen, and few colours beyond the range of 8 bits
        made.decoder.out.bias[0] += 3.0
        for part in (made.to_raw, *(block.to_map for block in made.upsampler.blocks)):
            part.weight *= 0.5
    return made.requires_grad_(False)


def save(folder: Path, made: Generator) -> Path:
    """Write a generator as a model folder."""
    entry = write_part(folder, GENERATOR, made.state_dict())
    write_config(folder, ModelConfig(1, made.settings, None, {GENERATOR: entry}))
    return folder


def photograph(made: Generator, seed: int, yaw: float = 0.3, pitch: float = 0.1) -> Decoded:
    """One of a generator's own heads as a labelled photograph."""
    camera = Camera.look_at(yaw, pitch)
    ws = head_styles(made, seeded_latents([seed], made.settings.z_dim))
    view = next(iter(each_view(made, ws, torch.from_numpy(camera.label())[None])))
    mask = np.kron(np.round(255 * view.mask).astype(np.uint8), np.ones((4, 4), dtype=np.uint8))
    parsing = None if view.parsing is None else np.kron(np.minimum(view.parsing, 18), np.ones((4, 4), dtype=np.uint8))
    return Decoded(f"{seed:016x}", view.image, mask, parsing, camera, {"synthetic": False, "landmarks": [0.0] * 136})
