"""The evaluation: equal numbers for equal generators, zero for the data themselves, and every view on its side."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from spherehead.datasets.camera import Camera
from spherehead.manifests.config import ConfigError, override
from spherehead.model.evaluation.evaluation import Evaluation, EvaluationSettings, ViewFeatures, compare
from spherehead.model.evaluation.features import RandomConv, RandomConvSettings
from spherehead.model.generator import Generator
from spherehead.model.nets.backbone import SynthesisSettings
from spherehead.model.presets import preset
from spherehead.model.visualization.views import look_from

SMALL = RandomConvSettings(resolution=16, widths=(8, 16), num_features=4)


@pytest.fixture(scope="module")
def evaluation(finished_set: Path) -> Evaluation:
    """Fourteen heads, five times over."""
    return Evaluation([finished_set] * 5, RandomConv(SMALL), EvaluationSettings(count=64))


def made(seed: int) -> Generator:
    fewer = ["generator.z_dim=16", "generator.w_dim=16", "generator.neural_resolution=8"]
    samples = ["generator.renderer.coarse_samples=4", "generator.renderer.fine_samples=0"]
    settings = override(preset("tiny-64"), [*fewer, *samples]).generator
    torch.manual_seed(seed)
    return Generator(dataclasses.replace(settings, backbone=SynthesisSettings(channel_base=128, channel_max=8)))


def seen(yaws: list[float], seed: int = 0) -> ViewFeatures:
    return ViewFeatures(np.random.default_rng(seed).standard_normal((len(yaws), 4)), look_from(yaws, 0.3).numpy())


def test_views_are_cut_at_the_profile() -> None:
    some = seen([math.radians(degrees) for degrees in (0, 89, -89, 91, -91, 180)])
    assert some.chosen("front").tolist() == [True, True, True, False, False, False]
    assert (some.chosen("front") ^ some.chosen("back")).all() and some.chosen("all").all()


def test_the_data_are_at_no_distance_from_themselves(evaluation: Evaluation) -> None:
    assert len(evaluation.reference.features) == len(evaluation.ids) == 70
    found = compare(evaluation.reference, evaluation.reference)
    assert found["all"].frechet == pytest.approx(0, abs=1e-6) and found["all"].count == 70


def test_a_side_with_too_few_views_is_left_out() -> None:
    assert set(compare(seen([0.0] * 20), seen([0.0] * 20 + [math.pi] * 3, 1))) == {"all", "front"}


def test_measuring_twice_gives_equal_numbers_and_another_generator_others(evaluation: Evaluation) -> None:
    first, again, other = (evaluation.measure(made(seed)) for seed in (0, 0, 1))
    assert first == again and first["all"].frechet != other["all"].frechet
    assert first["all"].frechet > 1 and (first["all"].count, first["all"].reference) == (64, 70)


def test_pictures_are_seen_from_the_datas_cameras(evaluation: Evaluation) -> None:
    mine = {tuple(row) for row in evaluation.labels.tolist()}
    assert len(evaluation.labels) == 64 and mine <= {tuple(row) for row in evaluation.reference.labels.tolist()}
    for row in evaluation.labels[:8]:
        Camera.from_label(row.numpy()).check()


def test_too_few_pictures_are_refused(finished_set: Path) -> None:
    with pytest.raises(ConfigError, match="64 pictures"):
        Evaluation([finished_set], RandomConv(SMALL), EvaluationSettings(count=64))
    with pytest.raises(ConfigError, match="count of 64"):
        EvaluationSettings(count=10)
