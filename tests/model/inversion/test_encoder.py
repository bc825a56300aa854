"""Encoders: what they learn from is a function of numbers, answers become guesses by trust, files belong to one generator."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import ModuleType

import pytest
import torch
from spherehead.manifests.config import ConfigError
from spherehead.model.annotators.training import TrainingSettings, train
from spherehead.model.generator import Generator
from spherehead.model.inversion.cameras import angle_between, moved, rotation, rotation_vector
from spherehead.model.inversion.encoder import Encoded, EncoderSettings, HeadEncoder, fitting, load_encoder, write_encoder
from spherehead.model.inversion.encoder_task import FRESH, EncoderTask, EncoderTaskSettings
from spherehead.model.inversion.encoding import fill, turn_units
from spherehead.model.inversion.search import Guess, SearchSettings
from spherehead.model.inversion.style_space import StyleSpace, style_space
from spherehead.model.inversion.targets import Targets, targets_of
from spherehead.model.store import ModelStoreError


@pytest.fixture(scope="module")
def generator(small_heads: ModuleType) -> Generator:
    found: Generator = small_heads.generator()
    return found


@pytest.fixture(scope="module")
def space(generator: Generator) -> StyleSpace:
    return style_space(generator)


@pytest.fixture(scope="module")
def targets(small_heads: ModuleType, generator: Generator) -> Targets:
    samples = [small_heads.photograph(generator, 5), small_heads.photograph(generator, 5, 2.0, 0.0)]
    return targets_of(samples, 64, 16, 20)


def task(generator: Generator, space: StyleSpace, **changes: object) -> EncoderTask:
    return EncoderTask(generator, space, "a" * 64, fitting(space, resolution=64), 3, **changes)  # type: ignore[arg-type]


def answer(rotations: torch.Tensor, spread: float, space: StyleSpace) -> Encoded:
    count = len(rotations)
    head = torch.arange(count, dtype=torch.float32)[:, None].expand(-1, space.size)
    return Encoded(
        head, torch.zeros(count, 0, space.size), torch.ones(count, space.ground_size), rotations,
        torch.full((count,), math.log(spread)),
    )  # fmt: skip


def test_pictures_are_what_the_generator_makes_of_the_told_styles_and_cameras(generator: Generator, space: StyleSpace) -> None:
    made = task(generator, space, settings=EncoderTaskSettings(views=2, shots=1))
    features, truth = made.batch([4, 5, 6, 7])
    pictures = torch.cat([made.drawn(4), made.drawn(7)])
    seen = generator.synthesise(space.several(truth["head"], truth["ground"]), truth["camera"])
    torch.testing.assert_close(pictures[:, :3], seen.image, atol=1e-5, rtol=0)
    pictures[:, :3].clamp_(-1, 1)
    kept = made.backbone.features(pictures)
    torch.testing.assert_close(features, kept, atol=2e-2, rtol=2e-3)  # kept in half precision
    assert torch.equal(truth["head"][0], truth["head"][1]) and not torch.equal(truth["head"][1], truth["head"][2])
    own = truth["camera"][:, :16].view(-1, 4, 4)[:, :3, :3]
    torch.testing.assert_close(truth["rotation"] @ own, torch.eye(3).expand(4, 3, 3), atol=1e-5, rtol=0)


def test_pictures_depend_on_their_numbers_alone(generator: Generator, space: StyleSpace) -> None:
    whole, part = task(generator, space).batch([0, 1, 2, 3, 4]), task(generator, space).batch([3, 4])
    assert torch.equal(whole[0][3:], part[0])
    for name in ("head", "ground", "camera", "about"):
        assert torch.equal(whole[1][name][3:], part[1][name]), name


def test_the_network_of_features_is_made_before_threads_ask_for_it(generator: Generator, space: StyleSpace) -> None:
    made, other = task(generator, space), task(generator, space)
    first = made.network().state_dict()
    assert "backbone" in vars(made)
    assert torch.equal(made.backbone.encoder.stem.conv.weight, other.backbone.encoder.stem.conv.weight)
    assert all(torch.equal(value, first[name]) for name, value in other.network().state_dict().items())


def test_what_is_told_of_cameras_is_off_by_what_is_told(generator: Generator, space: StyleSpace) -> None:
    made = task(generator, space, settings=EncoderTaskSettings(known=0.5, error_degrees=10.0))
    truth = torch.eye(3).expand(4000, 3, 3)
    about = made._about(list(range(4000)), truth)
    known = about[:, 0] > 0
    assert about[~known].abs().sum() == 0 and 0.45 < float(known.float().mean()) < 0.55
    error, turn = about[known, 1] / 10.0, rotation_vector(about[known, 2:].view(-1, 3, 3))
    assert float(error.max()) < math.radians(10.0)
    assert float((turn / error[:, None]).square().mean()) == pytest.approx(1.0, abs=0.08)


def test_terms_are_zero_for_the_truth_and_count_style_by_its_axes(generator: Generator, space: StyleSpace) -> None:
    made = task(generator, space)
    pictures, truth = made.batch([0, 1])
    said = Encoded(truth["head"], torch.zeros(2, 0, space.size), truth["ground"], truth["rotation"], torch.zeros(2))
    exact = made.losses(_says(said), pictures, truth)
    assert float(exact["style"]) == float(exact["ground"]) == 0.0
    assert float(exact["turn"]) < 1e-4
    off = truth["head"].clone()
    off[:, 0] += 2.0
    wrong = made.losses(_says(dataclasses.replace(said, head=off)), pictures, truth)
    size = space.factor.square().sum(dim=0)
    expected = 4.0 * float(0.9 * size[0] / size.mean() + 0.1) / space.size
    assert float(wrong["style"]) == pytest.approx(expected, rel=1e-5)


def test_peoples_pictures_count_by_what_the_generator_makes_of_the_answer(
    generator: Generator, space: StyleSpace, targets: Targets
) -> None:
    made = task(generator, space, people=targets, settings=EncoderTaskSettings(shots=1))
    features, truth = made.batch([0, 1, 2, 3])
    assert len(truth["ground"]) == 2 and len(truth["person"]) == 2
    rows = truth["person"].tolist()
    kept = made.backbone.features(torch.cat([targets.image, targets.mask], dim=1)[rows])
    torch.testing.assert_close(features[2:], kept, atol=2e-2, rtol=2e-3)
    assert torch.equal(truth["camera"][2:], targets.camera[rows])
    losses = made.losses(made.network().eval(), features, truth)
    assert float(losses["picture"].detach()) > 0.0
    sum(losses.values(), torch.zeros(())).backward()


def test_people_of_the_table_count_by_their_style_and_others_by_their_picture(
    generator: Generator, space: StyleSpace, targets: Targets
) -> None:
    styles = torch.stack([torch.full((space.size,), 3.0), torch.full((space.size,), math.nan)])
    made = task(generator, space, people=targets, styles=styles)
    features, truth = made.batch(list(range(8)))
    table = truth["head"][4:, 0].isfinite()
    assert 0 < int(table.sum()) < 4 and bool((truth["head"][4:][table] == 3.0).all())
    layers, ground = torch.zeros(8, 0, space.size), torch.zeros(8, space.ground_size)
    said = Encoded(truth["head"].nan_to_num(7.0), layers, ground, truth["rotation"], torch.zeros(8))
    exact = made.losses(_says(said), features, truth)
    assert float(exact["style"]) == 0.0 and float(exact["picture"]) > 0.0
    all_known = task(generator, space, people=targets, styles=styles.nan_to_num(3.0))
    assert "picture" not in all_known.losses(_says(said), *all_known.batch(list(range(8))))


def test_pooled_pictures_come_up_again_and_their_cameras_are_told_anew(generator: Generator, space: StyleSpace) -> None:
    made = task(generator, space, settings=EncoderTaskSettings(pool=4, shots=1))
    (first, one), (second, other) = made.batch([1, 2]), made.batch([5, 6])
    assert torch.equal(one["head"], other["head"]) and torch.equal(one["camera"], other["camera"])
    assert torch.equal(first, second) and not torch.equal(one["about"], other["about"])
    fresh = made.batch([FRESH + 1, FRESH + 2])[1]
    assert not torch.equal(one["head"], fresh["head"])


def test_photographs_of_a_picture_differ_in_light_alone(generator: Generator, space: StyleSpace) -> None:
    made = task(generator, space, settings=EncoderTaskSettings(shots=2, noise=0.0))
    picture = torch.rand(4, 8, 8) * 0.5
    plain, other = made._photographed(picture, 0)
    assert torch.equal(plain, picture) and torch.equal(other[3], picture[3])
    gain = (other[:3] + 1) / (picture[:3] + 1)
    torch.testing.assert_close(gain, gain[:, :1, :1].expand_as(gain), atol=1e-5, rtol=0)
    assert float((gain - 1).abs().max()) > 1e-3


class _says(torch.nn.Module):
    """A network that always gives one answer."""

    def __init__(self, said: Encoded) -> None:
        super().__init__()
        self.said = said

    def forward(self, picture: torch.Tensor, about: torch.Tensor | None = None) -> Encoded:
        return self.said


def test_a_guess_is_the_mean_style_and_the_camera_between_by_trust(space: StyleSpace, targets: Targets) -> None:
    """Equal trust gives half the turn; a spread s of a Laplace density in 3-D is a standard deviation of 2 s for each axis."""
    units = torch.zeros(2, 6)
    units[:, 1] = 1.0
    there = moved(targets.camera, units, targets.angle_error)
    rotations = there[:, :16].view(-1, 4, 4)[:, :3, :3].transpose(1, 2)
    guess = Guess(space, targets, SearchSettings())
    fill(guess, _says(answer(rotations, float(targets.angle_error[0]) / 2, space)))  # type: ignore[arg-type]
    assert torch.allclose(guess.head, torch.full((space.size,), 0.5))
    assert torch.equal(guess.ground, torch.ones_like(guess.ground))
    whole, half = (angle_between(targets.camera, labels) for labels in (there, guess.cameras().detach()))
    assert float(half[0] / whole[0]) == pytest.approx(0.5, abs=1e-3)
    assert angle_between(guess.cameras(), there)[0] == pytest.approx(float(whole[0]) / 2, rel=1e-2)


def test_turns_towards_a_sure_answer_are_halves_and_towards_an_unsure_one_none() -> None:
    vector = torch.tensor([[0.1, -0.2, 0.05]])
    own = torch.eye(3)[None]
    said = Encoded(torch.zeros(1, 1), torch.zeros(1, 0, 1), torch.zeros(1, 0), rotation(vector).transpose(1, 2), torch.zeros(1))
    for spread, share in ((1e-6, 0.5), (0.05, 0.5), (1e6, 0.0)):
        sure = dataclasses.replace(said, log_spread=torch.tensor([math.log(spread)]))
        torch.testing.assert_close(turn_units(own, sure, torch.tensor([0.1])) * 0.1, vector * share, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_a_stopped_run_ends_with_the_weights_of_an_unbroken_one(
    generator: Generator, space: StyleSpace, tmp_path: Path
) -> None:
    settings = TrainingSettings(images=8, batch=4, warmup=2, save=1_000, tensorboard=False, settle=1)
    whole = train(task(generator, space), settings, tmp_path / "whole")
    train(task(generator, space), dataclasses.replace(settings, max_seconds=1e-9), tmp_path / "broken")
    broken = train(task(generator, space), settings, tmp_path / "broken")
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, broken.average.state_dict()[name]), name
    other = EncoderTask(generator, space, "b" * 64, fitting(space, resolution=64), 3)
    with pytest.raises(ConfigError, match="a run of 'encoder of aaaa"):
        train(other, settings, tmp_path / "whole")


def test_an_encoder_belongs_to_one_generator(space: StyleSpace, targets: Targets, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = HeadEncoder(fitting(space, layers=True, resolution=64)).eval()
    write_encoder(tmp_path, network, "heads", "a" * 64, 100)
    again = load_encoder(tmp_path, "a" * 64)
    picture = torch.cat([targets.image, targets.mask], dim=1)
    torch.testing.assert_close(again(picture).head, network(picture).head, atol=2e-2, rtol=2e-2)  # half precision
    assert again(picture).layers.shape == (2, space.num_layers, space.size)
    with pytest.raises(ModelStoreError, match="belongs to heads"):
        load_encoder(tmp_path, "b" * 64)
    with pytest.raises(ModelStoreError, match="train-encoder"):
        load_encoder(tmp_path / "nowhere", "a" * 64)


def test_shapes_that_do_not_fit_are_refused(generator: Generator, space: StyleSpace) -> None:
    with pytest.raises(ConfigError, match="coordinates of heads"):
        EncoderTask(generator, space, "", EncoderSettings(64, space.size + 1, space.ground_size))
    with pytest.raises(ConfigError, match="multiple of 32"):
        EncoderSettings(100)


@pytest.mark.slow
def test_a_trained_encoder_knows_own_samples_better_than_the_mean_head(
    generator: Generator, space: StyleSpace, tmp_path: Path
) -> None:
    made = task(generator, space, settings=EncoderTaskSettings(pool=400, shots=1))
    progress = train(made, TrainingSettings(images=6400, batch=32, lr=2e-3, warmup=64, ema=0.95, tensorboard=False), tmp_path)
    pictures, truth = made.batch(list(range(FRESH, FRESH + 32)))
    with torch.no_grad():
        terms = made.losses(progress.average.eval(), pictures, truth)
    mean = float((truth["head"].square() * made.weights).mean())
    assert float(terms["style"]) < 0.8 * mean
