"""Training of annotator networks: the same seed gives the same weights however often it was stopped; ONNX says the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from spherehead.cli import main
from spherehead.datasets.shards.tar import write_shard
from spherehead.manifests.config import ConfigError
from spherehead.model.annotators.checkpoint import Progress, read
from spherehead.model.annotators.export import onnx_bytes
from spherehead.model.annotators.networks import CROP, NETWORKS, PARSER_CROP, HeadNet, ParserNet
from spherehead.model.annotators.parsing import ParserTask
from spherehead.model.annotators.shown.lookalikes import with_lookalike
from spherehead.model.annotators.shown.scenes import SceneSettings, make_scene, targets
from spherehead.model.annotators.shown.views import Views
from spherehead.model.annotators.tasks import FinderTask, HeadTask
from spherehead.model.annotators.training import Batches, TrainingSettings, in_precision, train
from spherehead.model.nets.efficientnet import ConvNorm
from torch import nn


def test_views_of_an_ordinary_set_have_no_normals_and_no_points(finished_set: Path) -> None:
    found = Views([finished_set])
    view = found.view(0)
    assert view.normals is None and view.points is None and view.parsing.shape == view.image.shape[:2]


@pytest.mark.slow
def test_a_stopped_run_ends_with_the_weights_of_an_unbroken_one(views: Views, tmp_path: Path) -> None:
    settings = TrainingSettings(images=8, batch=2, warmup=2, save=1_000, settle=1)
    train(HeadTask(views), settings, tmp_path / "whole")
    train(HeadTask(views), TrainingSettings(**{**vars(settings), "max_seconds": 1e-9}), tmp_path / "broken")
    assert read(tmp_path / "broken" / "checkpoint.safetensors")[1] == 2
    train(HeadTask(views), settings, tmp_path / "broken")
    whole, broken = (read(tmp_path / name / "checkpoint.safetensors")[2] for name in ("whole", "broken"))
    assert whole.keys() == broken.keys()
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    with pytest.raises(ConfigError, match="a run of 'head', not of 'finder'"):
        train(FinderTask(views), settings, tmp_path / "whole")


def test_every_pass_shows_every_view_once(views: Views) -> None:
    task = HeadTask(views, seed=3)
    shown = [task.chosen(number) for number in range(2 * len(views))]
    assert sorted(shown[: len(views)]) == sorted(shown[len(views) :]) == list(range(len(views)))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_batches_come_in_order_whoever_draws_them(views: Views, threads: int) -> None:
    task = HeadTask(views, seed=3)
    batches = Batches(task, TrainingSettings(images=22, batch=4, threads=threads), 8)
    for first in (8, 12, 16, 20):
        pictures, truth = batches.take()
        wanted, told = task.batch(list(range(first, first + 4)))
        assert torch.equal(pictures, wanted)
        assert all(torch.equal(truth[name], told[name]) for name in told)
    batches.close()


def test_kept_norms_stay_as_they_are_while_the_weights_learn(views: Views, tmp_path: Path) -> None:
    settings = TrainingSettings(images=8, batch=4, warmup=0, tensorboard=False, norms="kept")
    task = HeadTask(views, seed=3)
    before = task.network().state_dict()
    after = train(task, settings, tmp_path).average.state_dict()
    statistics = [name for name in before if "running" in name]
    assert all(torch.equal(before[name], after[name]) for name in statistics)
    assert not torch.equal(before["numbers.weight"], after["numbers.weight"])


def test_a_run_starts_from_the_average_of_an_earlier_one(views: Views, tmp_path: Path) -> None:
    train(HeadTask(views), TrainingSettings(images=4, batch=2, tensorboard=False, settle=1), tmp_path)
    kept = read(tmp_path / "checkpoint.safetensors")[2]
    started = HeadTask(views, start=str(tmp_path)).network().state_dict()
    assert all(torch.equal(value, kept[f"average/{name}"]) for name, value in started.items())


def test_a_run_is_resumed_with_the_settings_it_began_with(views: Views, tmp_path: Path) -> None:
    settings = TrainingSettings(images=2, batch=2, tensorboard=False, settle=1)
    train(HeadTask(views), settings, tmp_path)
    before = (tmp_path / "training.json").read_bytes()
    for changed in ({"precision": "bf16"}, {"lr": 2e-3}):
        with pytest.raises(ConfigError, match=f"expected {next(iter(changed))} .* began, got"):
            train(HeadTask(views), replace(settings, images=4, **changed), tmp_path)
    with pytest.raises(ConfigError, match=r"expected seed 0, .* began, got 5"):
        train(HeadTask(views, seed=5), replace(settings, images=4), tmp_path)
    assert (tmp_path / "training.json").read_bytes() == before
    assert train(HeadTask(views), replace(settings, images=4, threads=2), tmp_path).images == 4


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"settings": 3}', b"\xff\xfe", b"null"])
def test_a_damaged_run_is_told_and_stays_as_it_is(views: Views, tmp_path: Path, damage: bytes) -> None:
    settings = TrainingSettings(images=2, batch=2, tensorboard=False, settle=1)
    train(HeadTask(views), settings, tmp_path)
    for name, what in (("training.json", "settings of a run"), ("checkpoint.safetensors", "a checkpoint of")):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(damage)
        with pytest.raises(ConfigError, match=f"expected {what} .*{name}.* bring back a copy"):
            train(HeadTask(views), replace(settings, images=4), tmp_path)
        assert (tmp_path / name).read_bytes() == damage
        (tmp_path / name).write_bytes(whole)
    (tmp_path / "training.json").unlink()
    assert train(HeadTask(views), replace(settings, images=4), tmp_path).images == 4


def test_tensorboard_shows_the_losses_and_a_sheet_at_each_save(views: Views, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(HeadTask(views), TrainingSettings(images=4, batch=2, save=2, settle=1), tmp_path)
    told = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"images": 0})
    told.Reload()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [round(event.value, 4) for event in told.Scalars("rotation")] == [round(line["rotation"], 4) for line in lines]
    assert [event.step for event in told.Images("sheet")] == [2, 4]


def test_lookalikes_change_pictures_and_are_no_heads(views: Views) -> None:
    grey = np.full((64, 64, 3), 90.0, dtype=np.float32)
    laid = [with_lookalike(np.random.default_rng(seed), views, grey) for seed in range(12)]
    again = [with_lookalike(np.random.default_rng(seed), views, grey) for seed in range(12)]
    assert all(np.array_equal(here, there) for here, there in zip(laid, again, strict=True))
    assert sum(bool((picture != grey).any()) for picture in laid) >= 6
    for seed in range(6):
        scene = make_scene(np.random.default_rng(seed), views, SceneSettings(size=64, empty=1.0, lookalikes=1.0))
        assert not scene.heat.any()


@pytest.mark.parametrize("name", ["head", "parser", "finder"])
def test_onnx_says_what_the_network_says(name: str) -> None:
    import onnxruntime

    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    if isinstance(network, ParserNet):
        torch.nn.init.normal_(network.beard.last.weight)  # which finds no beard at first
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.half().float())  # the file's precision, so that the two can agree
    session = onnxruntime.InferenceSession(onnx_bytes(name, network))
    side = PARSER_CROP if name == "parser" else CROP
    picture = np.random.default_rng(0).normal(size=(2, 3, side, side)).astype(np.float32)
    said = session.run(None, {"picture": picture})
    with torch.no_grad():
        if isinstance(network, HeadNet):
            numbers, maps = network.raw(torch.from_numpy(picture))
            wanted = [numbers, maps[:, :-1], maps[:, -1:].sigmoid()]
        elif isinstance(network, ParserNet):
            classes, *others = network(torch.from_numpy(picture))
            wanted = [classes, *(chance[:, None].sigmoid() for chance in others)]
        else:
            maps = network(torch.from_numpy(picture))
            wanted = [maps[:, :1].sigmoid(), maps[:, 1:]]
    for one, other in zip(said, wanted, strict=True):
        assert np.abs(one - other.numpy()).max() < 2e-3 * max(1.0, float(other.abs().max()))


def test_scenes_are_the_same_for_the_same_number_and_have_their_heads_in_the_maps(views: Views) -> None:
    task = FinderTask(views, scenes=SceneSettings(size=64, empty=0.0))
    first, second = task.scene(5), task.scene(5)
    assert np.array_equal(first.image, second.image) and np.array_equal(first.heat, second.heat)


def test_targets_say_centre_and_size_in_cells() -> None:
    heat, boxes = targets([(20.0, 8.0, 24.0, 32.0)], 64)
    row, column = (int(value) for value in np.argwhere(heat == 1.0)[0])
    assert (column + 0.5 + boxes[0, row, column]) * 8 == pytest.approx(32.0)
    assert (row + 0.5 + boxes[1, row, column]) * 8 == pytest.approx(24.0)
    assert 8 * np.exp(boxes[2:, row, column]) == pytest.approx([24.0, 32.0])


def test_bf16_gives_the_loss_and_gradients_of_single_precision_but_for_rounding(views: Views) -> None:
    task = ParserTask(views, small=100, small_size=64)
    network = task.network().train()
    pictures, truth = task.batch(list(range(6)))
    losses, gradients = [], []
    for precision in ("fp32", "bf16"):
        terms = torch.stack(list(task.losses(in_precision(network, precision), pictures, truth).values()))
        found = torch.autograd.grad(terms.sum(), [weight for weight in network.parameters() if weight.ndim > 1])
        assert {part.dtype for part in found} == {torch.float32}
        losses.append(terms.detach())
        gradients.append(torch.cat([part.flatten() for part in found]))
    assert not torch.equal(losses[0], losses[1])  # something was rounded
    assert torch.allclose(losses[0], losses[1], rtol=0.02)
    assert F.cosine_similarity(gradients[0], gradients[1], dim=0) > 0.5


def test_channels_by_themselves_stay_in_single_precision_under_autocast() -> None:
    torch.manual_seed(0)
    layer, picture = ConvNorm(8, 8, 3, groups=8).conv, torch.randn(2, 8, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        said = layer(picture)
    assert said.dtype == torch.float32 and torch.equal(said, layer(picture))


def test_the_rate_of_the_command_line_is_that_of_the_run(
    balls: Callable[[int], dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shard(tmp_path / "a.tar", "train", [("view", balls(0))])
    asked: list[TrainingSettings] = []

    def trained(task: object, settings: TrainingSettings, out: Path) -> Progress:
        asked.append(settings)
        return Progress(nn.Identity(), nn.Identity(), torch.optim.AdamW([torch.zeros(1)]))

    monkeypatch.setattr("spherehead.model.annotators.training.train", trained)
    for task in ("head", "parser", "finder"):
        words = ["annotators", "train", task, "--data", str(tmp_path), "--out", str(tmp_path / "run")]
        assert main(words) == 0 and main([*words, "--rate", "0.0003"]) == 0
    assert [settings.lr for settings in asked] == [1e-3, 3e-4] * 3
