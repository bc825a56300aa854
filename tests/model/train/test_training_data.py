"""What training asks of its data, and what it tells before the first step."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from spherehead.datasets.shards.storage import DataError
from spherehead.manifests.config import ConfigError, override
from spherehead.model.train.config import RunSettings, TrainConfig
from spherehead.model.train.distributed import World
from spherehead.model.train.recipes import conditioned
from spherehead.model.train.trainer import numbers, train

ALONE = World(0, 1, torch.device("cpu"))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (["data.split=nowhere"], "nowhere"),
        (["model.discriminator.resolution=64", "model.generator.upsampler.input_resolution=32"], "64"),
    ],
)
def test_data_that_does_not_fit_is_told_before_the_first_step(
    change: list[str], match: str, config: TrainConfig, heads: str, quiet: RunSettings, tmp_path: Path
) -> None:
    model = config.model
    if len(change) > 1:
        discriminator = dataclasses.replace(model.discriminator, resolution=64)
        upsampler = dataclasses.replace(model.generator.upsampler, input_resolution=32)
        other = dataclasses.replace(
            config, model=type(model)(dataclasses.replace(model.generator, upsampler=upsampler), discriminator)
        )
    else:
        other = override(config, change)
    with pytest.raises(DataError, match=match):
        train([heads], other, tmp_path / "run", quiet, ALONE)
    assert not (tmp_path / "run").exists()


def test_no_data_is_told(config: TrainConfig, quiet: RunSettings, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="build-dataset"):
        train([str(tmp_path / "none")], config, tmp_path / "run", quiet, ALONE)


def test_every_micro_batch_belongs_to_one_rank(config: TrainConfig) -> None:
    many = dataclasses.replace(config, batch=16)
    streams = [numbers(many, 3, World(rank, 2, torch.device("cpu"))) for rank in range(2)]
    drawn = [[next(stream) for _ in range(4)] for stream in streams]
    assert sorted(drawn[0] + drawn[1]) == list(range(12, 20)) and drawn[0] == [12, 14, 16, 18]


def test_persons_condition_the_generator_where_asked(
    config: TrainConfig, heads: str, quiet: RunSettings, tmp_path: Path
) -> None:
    model = conditioned(config.model, "subject", 6)
    subject = dataclasses.replace(config, model=model, condition="subject", subject_dim=6, images=16)
    state = train([heads], subject, tmp_path / "run", quiet, ALONE)
    assert state.generator.mapping.label_dim == 6 and state.discriminator.settings.label_dim == 31
    with pytest.raises(ConfigError, match=r"condition_dim=6"):
        dataclasses.replace(subject, model=config.model)
