"""A run that learns from views first: its phases, and that it resumes bit-exact through them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from spherehead.manifests.config import ConfigError
from spherehead.model.losses import ClassAgreement, MaskAgreement, Reconstruction, StylePrior
from spherehead.model.nets.persons import GaussianStyles
from spherehead.model.presets import ModelSettings, with_renderer
from spherehead.model.store import load_generator, read_config
from spherehead.model.train import plan as planning
from spherehead.model.train.checkpoint import newest
from spherehead.model.train.config import RunSettings, TrainConfig, WarmStart
from spherehead.model.train.distributed import World
from spherehead.model.train.first_styles import first_styles
from spherehead.model.train.plan import make_plan
from spherehead.model.train.progress import read_metrics
from spherehead.model.train.recipes import conditioned, configured
from spherehead.model.train.state import TrainState, new_state
from spherehead.model.train.step import set_rates
from spherehead.model.train.trainer import open_stream, train
from spherehead.model.volume_rendering import ManifoldSettings

ALONE = World(0, 1, torch.device("cpu"))


def bits(run: Path) -> dict[str, str]:
    """Digest of every file of the newest checkpoint."""
    folder = newest(run)
    beside = json.loads((folder / "position.json").read_text())["parts"]
    return {name: entry.sha256 for name, entry in read_config(folder).parts.items()} | {
        name: entry["sha256"] for name, entry in beside.items()
    }


@pytest.fixture(scope="module")
def people(finished_sets: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Rendered views of three persons."""
    folder: Path = finished_sets.build(tmp_path_factory.mktemp("warm") / "people", size=32, people=3)
    return str(folder)


@pytest.fixture(scope="module")
def warm(config: TrainConfig) -> TrainConfig:
    """The smallest run with 16 pictures of views, 16 joint and 16 adversarial."""
    model = conditioned(config.model, "none", 32)
    background = model.generator.background
    assert background is not None
    generator = dataclasses.replace(
        model.generator, z_dim=24, styles="gaussian", camera_shift=False,
        background=dataclasses.replace(background, own_style=True),
    )  # fmt: skip
    terms = dataclasses.replace(
        config.terms, camera_shift=None, reconstruction=Reconstruction(), mask_agreement=MaskAgreement(),
        class_agreement=ClassAgreement(), style_prior=StylePrior(),
    )  # fmt: skip
    schedule = dataclasses.replace(config.schedule, growth=None)
    return dataclasses.replace(
        config, model=ModelSettings(generator, model.discriminator), condition="none", terms=terms, schedule=schedule,
        warm_start=WarmStart(views=16, joint=16), images=48,
    )  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(warm: TrainConfig, people: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("warm") / "whole"
    train([people], warm, run, RunSettings(0, 16, 9, 8, False, False, threads=1), ALONE)
    return run


def test_each_phase_has_its_terms(undisturbed: Path) -> None:
    rows = read_metrics(undisturbed)
    assert [row["images"] for row in rows] == [8, 16, 24, 32, 40, 48]
    for row in rows:
        assert ("reconstruction" in row) == (row["images"] <= 32)
        assert ("generator_adversarial" in row) == ("discriminator_adversarial" in row) == (row["images"] > 16)


@pytest.mark.parametrize("stops", [(8,), (16,), (24, 40)])
def test_a_stopped_run_resumes_bit_exact_in_every_phase(
    stops: tuple[int, ...], undisturbed: Path, warm: TrainConfig, people: str, quiet: RunSettings, tmp_path: Path
) -> None:
    for images in (*stops, warm.images):
        train([people], dataclasses.replace(warm, images=images), tmp_path / "run", quiet, ALONE)
    assert bits(tmp_path / "run") == bits(undisturbed)


def test_the_model_folder_draws_from_the_averaged_tables_gaussian(undisturbed: Path, warm: TrainConfig) -> None:
    from safetensors.torch import load_file

    generator = load_generator(newest(undisturbed))
    table = load_file(newest(undisturbed) / "persons_average.safetensors")["styles"]
    assert isinstance(generator.mapping, GaussianStyles) and len(table) == 3
    torch.testing.assert_close(generator.mapping.w_mean, table.mean(dim=0))
    factor = generator.mapping.w_factor
    torch.testing.assert_close(factor @ factor.T, torch.cov(table.T), rtol=1e-3, atol=1e-5)


def test_learning_rates_follow_a_cosine_and_then_their_share(warm: TrainConfig, people: str) -> None:
    stream = open_stream([people], warm)
    state = new_state(warm, ALONE.device, torch.from_numpy(stream.known_subjects))
    assert state.persons is not None and state.persons_optimiser is not None and len(state.persons.styles) == 3
    start = warm.warm_start
    assert start is not None
    for images, share in ((0, 1.0), (8, start.end + (1 - start.end) / 2), (16, start.joint_share), (31, start.joint_share)):
        state.images = images
        set_rates(state, warm)
        assert math.isclose(state.generator_optimiser.param_groups[0]["lr"], start.generator_lr * share)
        assert math.isclose(state.persons_optimiser.param_groups[0]["lr"], start.persons_lr * share)
    state.images = 32
    set_rates(state, warm)
    assert state.generator_optimiser.param_groups[0]["lr"] == warm.optimiser.generator_lr


def test_a_renderers_learning_rate_stays_its_share_while_it_warms_up(warm: TrainConfig, people: str) -> None:
    renderer = ManifoldSettings(surfaces=4, hidden=4, grid=4, samples=8)
    own = dataclasses.replace(
        warm, model=with_renderer(warm.model, renderer), optimiser=dataclasses.replace(warm.optimiser, renderer_lr=0.1)
    )
    state = new_state(own, ALONE.device, torch.from_numpy(open_stream([people], own).known_subjects))
    assert own.warm_start is not None
    for images, rate in ((0, own.warm_start.generator_lr), (32, own.optimiser.generator_lr)):
        state.images = images
        set_rates(state, own)
        assert [group["lr"] for group in state.generator_optimiser.param_groups] == pytest.approx([rate, 0.1 * rate])


def test_a_plan_tries_every_phase(warm: TrainConfig, people: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Micro-batches of 2 s, 8 s and 6 s in thirds of the run, two of them a step: 2 (2 + 8 + 6) / 3 s."""
    seconds, tried = {"views": 2.0, "joint": 8.0, "adversarial": 6.0}, list[str]()

    def counted(state: TrainState, config: TrainConfig, *rest: object) -> None:
        tried.append(config.phase(state.images))
        state.images += config.batch

    def timed(work: Callable[[], object], device: torch.device) -> float:
        before = len(tried)
        work()
        return seconds[tried[-1]] if len(tried) > before else 0.0

    monkeypatch.setattr(planning, "train_step", counted)
    monkeypatch.setattr(planning, "_timed", timed)
    plan = make_plan([people], warm, RunSettings(), ALONE)
    assert set(tried) == set(seconds) and plan.step_seconds == pytest.approx(2 * 16 / 3)


def test_first_vectors_come_from_the_pictures_alone(warm: TrainConfig, people: str) -> None:
    stream = open_stream([people], warm)
    subjects = torch.from_numpy(stream.known_subjects)
    found = first_styles(stream, subjects, 8)
    assert torch.equal(found, first_styles(open_stream([people], warm), subjects, 8))
    assert len(torch.unique(found, dim=0)) == 3


def test_photographs_alone_cannot_warm_a_run(warm: TrainConfig, heads: str, quiet: RunSettings, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="makehuman:count=500"):
        train([heads], warm, tmp_path / "run", quiet, ALONE)


def test_the_option_sets_what_belongs_together() -> None:
    config = configured("tiny-64", warm_start="views")
    assert config.model.generator.styles == "gaussian" and config.model.generator.own_ground
    assert config.condition == "none" and config.data.mirror == "off" and config.terms.reconstruction is not None
    assert config.model.discriminator.frozen is not None and config.optimiser.discriminator_lr == 0.002
    usual = configured("tiny-64", warm_start="views", assignments=["model.discriminator.frozen=null"])
    assert usual.model.discriminator.frozen is None
    with pytest.raises(ConfigError, match="--grow"):
        configured("tiny-64", grow=32, warm_start="views")
    with pytest.raises(ConfigError, match="styles=gaussian"):
        configured("tiny-64", assignments=["warm_start.views=8"])
