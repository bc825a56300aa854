"""A surface in the whole game: every term, growth and augmentation, discriminators of picture and mask, its own penalties."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from spherehead.model.presets import ModelSettings
from spherehead.model.train.config import RunSettings, TrainConfig
from spherehead.model.train.distributed import World
from spherehead.model.train.recipes import for_renderer
from spherehead.model.train.state import new_state
from spherehead.model.train.trainer import train
from spherehead.model.volume_rendering.surfaces.shape import ShapeSettings
from spherehead.model.volume_rendering.surfaces.surface import SurfaceRendererSettings

CPU = torch.device("cpu")


def test_a_surface_learns_from_every_term_and_two_discriminators(
    config: TrainConfig, heads: str, tmp_path: Path, quiet: RunSettings
) -> None:
    renderer = SurfaceRendererSettings(shape=ShapeSettings(cells=6, size=0.8, hidden=4))
    model = ModelSettings(
        dataclasses.replace(config.model.generator, renderer=renderer),
        dataclasses.replace(config.model.discriminator, mask=False, silhouette=True),
    )
    meant = for_renderer(dataclasses.replace(config, model=model, images=24))
    assert {name: term.weight for name, term in meant.terms.extra.items()} == {"sign": 0.01, "empty": 1.0}
    first = new_state(meant, CPU)
    state = train([heads], meant, tmp_path / "run", quiet, World(0, 1, CPU))
    assert state.images == 24
    for (name, new), old in zip(
        state.generator.renderer.named_parameters(), first.generator.renderer.parameters(), strict=True
    ):
        assert bool(new.isfinite().all()) and not torch.equal(new, old), name
    judge = state.discriminator.silhouette
    assert judge is not None and first.discriminator.silhouette is not None
    assert not torch.equal(judge.out.weight, first.discriminator.silhouette.out.weight)
    told = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(line["sign"] > 0 and line["empty"] == 0 for line in told)
