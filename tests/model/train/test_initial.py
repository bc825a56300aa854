"""Beginning a run from a trained model: what fits is taken, what does not is named, and the record says so."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest
import torch
from spherehead.manifests.config import ConfigError
from spherehead.model.generator import Generator
from spherehead.model.nets.persons import PersonTable
from spherehead.model.presets import ModelSettings, preset
from spherehead.model.store import FORMAT, GENERATOR, ModelConfig, ModelStoreError, write_config, write_part
from spherehead.model.train.checkpoint import newest
from spherehead.model.train.config import RunSettings, TrainConfig
from spherehead.model.train.distributed import World
from spherehead.model.train.initial import begin_from, digest_of, fill, grouped, initial_folder, take_persons
from spherehead.model.train.state import new_state
from spherehead.model.train.trainer import train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the config's generator alone, with other weights."""
    folder = tmp_path_factory.mktemp("initial") / "trained"
    torch.manual_seed(77)
    generator = Generator(config.model.generator)
    entry = write_part(folder, GENERATOR, {name: value.half() for name, value in generator.state_dict().items()})
    write_config(folder, ModelConfig(FORMAT, config.model.generator, parts={GENERATOR: entry}))
    return folder


def test_a_model_that_fits_is_taken_whole(config: TrainConfig, trained: Path) -> None:
    state = new_state(config, CPU)
    taken = begin_from(state, trained)
    torch.manual_seed(77)
    wanted = Generator(config.model.generator).state_dict()
    for network in (state.generator, state.average.generator):
        for name, value in network.state_dict().items():
            assert torch.equal(value, wanted[name].half().float()), name
    assert taken.rest == () and taken.num_tensors == 2 * len(wanted)


def test_what_does_not_fit_is_named_and_begins_as_drawn(
    config: TrainConfig, trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wider = dataclasses.replace(config.model.generator, decoder=dataclasses.replace(config.model.generator.decoder, hidden=12))
    other = dataclasses.replace(config, model=ModelSettings(wider, config.model.discriminator))
    state, drawn = new_state(other, CPU), new_state(other, CPU)
    with caplog.at_level(logging.WARNING):
        taken = begin_from(state, trained)
    assert taken.rest and all("decoder" in text for text in taken.rest) and "12" in caplog.text
    for (name, value), first in zip(state.generator.state_dict().items(), drawn.generator.state_dict().values(), strict=True):
        if name.startswith("decoder") and f"generator.{name}" in " ".join(taken.rest):
            assert torch.equal(value, first)


def test_tiny_128_begins_with_all_that_tiny_64_knows() -> None:
    torch.manual_seed(3)
    small, large = Generator(preset("tiny-64").generator), Generator(preset("tiny-128").generator)
    left = fill(large, small.state_dict())[1]
    new, sized = "backbone.blocks.5.", "noise_picture"  # the planes' last block; noise that the preset does not use
    assert left and all(text.startswith(new) or sized in text for text in left)
    assert {name for name in small.state_dict() if sized not in name} <= large.state_dict().keys()


def test_a_model_of_which_nothing_fits_is_refused(config: TrainConfig, trained: Path, tmp_path: Path) -> None:
    entry = write_part(tmp_path / "odd", GENERATOR, {"strange": torch.zeros(3)})
    write_config(tmp_path / "odd", ModelConfig(FORMAT, config.model.generator, parts={GENERATOR: entry}))
    with pytest.raises(ModelStoreError, match="nothing of"):
        begin_from(new_state(config, CPU), tmp_path / "odd")
    with pytest.raises(ModelStoreError, match="shipped model"):
        initial_folder(tmp_path / "nowhere", tmp_path / "run")
    assert initial_folder(trained, tmp_path / "run") == trained


def test_names_without_a_place_are_told() -> None:
    assert fill(torch.nn.Linear(2, 1), {"weight": torch.zeros(1, 2), "more": torch.zeros(1)}) == (
        1, ["bias: not in the model that is begun from", "more: has no place here"],
    )  # fmt: skip


def test_many_tensors_of_a_part_are_told_as_one() -> None:
    rest = ["discriminator.projected.a: not there", "discriminator.projected.b.c: not there", "generator.x: has no place"]
    assert grouped(rest) == ["discriminator.projected (2 tensors): not there", "generator.x: has no place"]


def test_a_run_records_what_it_began_from_and_is_not_resumed_without_it(
    config: TrainConfig, trained: Path, heads: str, quiet: RunSettings, tmp_path: Path
) -> None:
    alone = World(0, 1, CPU)
    begun = dataclasses.replace(config, init=digest_of(trained), images=8)
    state = train([heads], begun, tmp_path / "run", quiet, alone, init=trained)
    plain = train([heads], dataclasses.replace(config, images=8), tmp_path / "plain", quiet, alone)
    assert not torch.equal(state.generator.backbone.blocks[0].second.weight, plain.generator.backbone.blocks[0].second.weight)
    with pytest.raises(ConfigError, match="init"):
        train([heads], dataclasses.replace(config, images=16), tmp_path / "run", quiet, alone)
    resumed = train([heads], dataclasses.replace(begun, images=16), tmp_path / "run", quiet, alone, init=trained)
    assert resumed.images == 16 and initial_folder(tmp_path / "run", tmp_path) == newest(tmp_path / "run")


def test_persons_whom_a_checkpoint_knows_keep_their_vectors(tmp_path: Path) -> None:
    torch.manual_seed(0)
    old, new = PersonTable(torch.tensor([3, 5, 9]), 4), PersonTable(torch.tensor([2, 5, 9, 11]), 4)
    drawn = new.styles.detach().clone()
    write_part(tmp_path, "persons", old.state_dict())
    assert take_persons(new, tmp_path / "persons.safetensors") == 2
    assert torch.equal(new.styles[1:3], old.styles[1:3])
    assert torch.equal(new.styles[[0, 3]], drawn[[0, 3]])
    assert torch.equal(new.to_ground.weight, old.to_ground.weight)
    assert take_persons(PersonTable(torch.tensor([5]), 6), tmp_path / "persons.safetensors") == 0  # other length
    assert take_persons(new, tmp_path / "nowhere.safetensors") == 0
