"""Published checkpoints become model folders that give the published numbers; whatever does not fit is named."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from spherehead import cli
from spherehead.manifests.config import ConfigError
from spherehead.model.generator import Generator
from spherehead.model.interop.convert import PROVENANCE, convert
from spherehead.model.interop.limits import CheckpointError
from spherehead.model.portrait import Portrait
from spherehead.model.store import ModelStoreError, load_discriminator, load_generator, read_config
from spherehead.model.volume_rendering.ray_marching import Randomness

METHODS = ("eg3d", "hyplanehead", "panohead", "spherehead")
PICTURES = {"image": "image", "image_raw": "raw", "image_depth": "depth", "image_mask": "mask", "image_parsing": "parsing"}
"""Published outputs and the parts of a portrait."""
BOUND = 1e-4


@dataclasses.dataclass
class Converted:
    arrays: dict[str, np.ndarray]
    checkpoint: Path
    folder: Path

    def tensor(self, name: str) -> torch.Tensor:
        return torch.from_numpy(np.asarray(self.arrays[name])).float()


@pytest.fixture(scope="module", params=METHODS)
def converted(
    request: pytest.FixtureRequest, shared: Path, published: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Converted:
    folder = tmp_path_factory.mktemp(request.param)
    arrays = published.reference(shared, request.param)
    checkpoint = published.write(folder / "published.pkl", published.snapshot(arrays))
    convert(checkpoint, folder / "model")
    return Converted(arrays, checkpoint, folder / "model")


def error(got: torch.Tensor, wanted: torch.Tensor) -> float:
    assert got.shape == wanted.shape
    return float((got - wanted).norm() / wanted.norm())


@torch.no_grad()
def render(converted: Converted) -> tuple[Generator, Portrait]:
    generator = load_generator(converted.folder)
    z, camera = converted.tensor("in.z"), converted.tensor("in.c")
    ws = generator.styles(z, camera, psi=0.7)
    fine = converted.tensor("in.importance_u").view(2, 1024, -1)
    portrait = generator.synthesise(ws, generator.shifted(z, camera), randomness=Randomness(fine=fine))
    return generator, portrait


def test_converted_checkpoint_gives_the_published_numbers(converted: Converted) -> None:
    _, portrait = render(converted)
    errors = {
        name: error(getattr(portrait, ours), converted.tensor(f"out.{name}"))
        for name, ours in PICTURES.items()
        if f"out.{name}" in converted.arrays
    }
    with torch.no_grad():
        logits = load_discriminator(converted.folder)(portrait, converted.tensor("in.c"))
    errors["logits"] = error(logits, converted.tensor("out.logits"))
    assert len(errors) >= 4
    assert {name: value for name, value in errors.items() if not value < BOUND} == {}


def test_provenance_accounts_for_every_published_tensor(converted: Converted) -> None:
    record = json.loads((converted.folder / PROVENANCE).read_text())
    assert record["source"]["sha256"] == hashlib.sha256(converted.checkpoint.read_bytes()).hexdigest()
    assert record["ignored_objects"] == ["G", "training_set_kwargs"]
    for part, side in (("generator", "G."), ("discriminator", "D.")):
        entry = record["parts"][part]
        wanted = {name[2:] for name in converted.arrays if name.startswith(side)}
        constants = set(entry["constants"]) - {"dataset_label_std"}
        assert set(entry["names"]) | constants == wanted
        assert not set(entry["names"]) & constants
        assert len(set(entry["names"].values())) == len(entry["names"])
        assert len(entry["class_source_sha256"]) == 64


def test_conversion_gives_the_same_bytes_again(converted: Converted, tmp_path: Path) -> None:
    convert(converted.checkpoint, tmp_path / "again")
    for path in sorted(converted.folder.iterdir()):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_config_lists_every_file_with_its_digest(converted: Converted) -> None:
    config = read_config(converted.folder)
    assert set(config.parts) == {"generator", "discriminator"}
    for entry in config.parts.values():
        assert entry.sha256 == hashlib.sha256((converted.folder / entry.file).read_bytes()).hexdigest()
    assert {path.name for path in converted.folder.iterdir()} == {
        "config.json", PROVENANCE, *(entry.file for entry in config.parts.values())
    }  # fmt: skip


@pytest.fixture(scope="module")
def arrays(shared: Path, published: ModuleType) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = published.reference(shared, "panohead")
    return found


@pytest.fixture
def convert_changed(arrays: dict[str, np.ndarray], published: ModuleType, tmp_path: Path) -> Callable[..., str]:
    """Change a snapshot, convert it, and return the error."""

    def run(change: Callable[[dict[str, Any]], Any], **options: Any) -> str:
        snapshot = published.snapshot(arrays)
        value = change(snapshot) or snapshot
        path = published.write(tmp_path / "changed.pkl", value)
        with pytest.raises((CheckpointError, ConfigError)) as caught:
            convert(path, tmp_path / "model", **options)
        assert not (tmp_path / "model").exists()
        return str(caught.value)

    return run


def test_tensors_without_a_place_are_all_listed(convert_changed: Callable[..., str]) -> None:
    def change(snapshot: dict[str, Any]) -> None:
        for name in ("extra_one", "extra_two"):
            snapshot["G_ema"].backbone.register_parameter(name, torch.nn.Parameter(torch.ones(2)))

    message = convert_changed(change)
    assert "2 tensors of G_ema" in message and "'backbone.extra_one'" in message and "'backbone.extra_two'" in message


def test_missing_and_misshapen_tensors_are_named(convert_changed: Callable[..., str]) -> None:
    def drop(snapshot: dict[str, Any]) -> None:
        del snapshot["G_ema"].torgb._parameters["bias"]

    def widen(snapshot: dict[str, Any]) -> None:
        snapshot["D"].b4.fc.bias = torch.nn.Parameter(torch.ones(33))

    assert "'to_raw.bias' (name here) stays empty" in convert_changed(drop)
    assert "'b4.fc.bias' should have shape (32,), has (33,)" in convert_changed(widen)


def test_settings_without_a_counterpart_are_refused_by_name(convert_changed: Callable[..., str]) -> None:
    cases = {
        "ray_start": "auto", "white_back": True, "disparity_space_sampling": True, "clamp_mode": "relu", "decoder_lr_mul": 2,
        "superresolution_module": "training.superresolution.SuperresolutionHybridDeepfp32", "decoder_activation": "tanh",
        "depth_resolution": "many", "box_warp": None, "triplane_depth": 5, "ray_end": float("nan"),
        "render_mode": "SphTriPlane",
    }  # fmt: skip
    for name, value in cases.items():

        def change(snapshot: dict[str, Any], name: str = name, value: Any = value) -> None:
            snapshot["G_ema"].rendering_kwargs[name] = value

        assert name in convert_changed(change), name


def test_parsing_heads_of_too_few_classes_are_refused(convert_changed: Callable[..., str], published: ModuleType) -> None:
    def change(snapshot: dict[str, Any]) -> None:
        head = published.persistent("ToRGBLayer")
        head.register_parameter("weight", torch.nn.Parameter(torch.ones(5, 32, 1, 1)))
        snapshot["G_ema"].add_module("toparsing", head)

    assert "at least 19 parsing channels, got 5" in convert_changed(change)


def test_other_filters_and_numbers_that_are_not_finite_are_refused(convert_changed: Callable[..., str]) -> None:
    def other_filter(snapshot: dict[str, Any]) -> None:
        snapshot["G_ema"].backbone.synthesis.b8.resample_filter[0, 0] = 0.5

    def diverged(snapshot: dict[str, Any]) -> None:
        snapshot["G_ema"].decoder.net[0].weight[0, 0] = float("nan")

    assert "backbone.synthesis.b8.resample_filter" in convert_changed(other_filter)
    assert "decoder.net.0.weight, got NaN" in convert_changed(diverged)


def test_what_is_no_published_checkpoint_is_refused(convert_changed: Callable[..., str]) -> None:
    assert "got a list" in convert_changed(lambda snapshot: [1, 2])
    assert "'epoch, state_dict'" in convert_changed(lambda snapshot: {"epoch": 3, "state_dict": {"a": torch.ones(2)}})
    assert "--no-discriminator" in convert_changed(lambda snapshot: {"G_ema": snapshot["G_ema"]})
    assert "which is no tensor" in convert_changed(lambda snapshot: {**snapshot, "hook": print})


def test_settings_that_laugh_a_billion_times_are_refused(convert_changed: Callable[..., str]) -> None:
    def change(snapshot: dict[str, Any]) -> None:
        level: Any = "ha"
        for _ in range(10):
            level = [level] * 10
        snapshot["G_ema"]._init_kwargs["joke"] = level

    assert "at most 10,000 steps" in convert_changed(change)


def test_modules_that_contain_each_other_many_times_are_refused(
    convert_changed: Callable[..., str], published: ModuleType
) -> None:
    def change(snapshot: dict[str, Any]) -> None:
        level = published.persistent("Layer")
        for _ in range(25):
            above = published.persistent("Layer")
            above.add_module("one", level)
            above.add_module("two", level)
            level = above
        snapshot["G_ema"].add_module("joke", level)

    assert "at most 20,000 names of modules" in convert_changed(change)


def test_tensors_that_share_memory_to_fill_more_than_the_file_are_refused(convert_changed: Callable[..., str]) -> None:
    def change(snapshot: dict[str, Any]) -> None:
        shared = torch.nn.Parameter(torch.ones(100_000))
        for index in range(100):
            snapshot["G_ema"].register_parameter(f"joke{index}", shared)

    assert "share memory" in convert_changed(change)


def test_folder_that_holds_something_is_left_alone(
    arrays: dict[str, np.ndarray], published: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="new or empty folder"):
        convert(published.write(tmp_path / "a.pkl", {}), tmp_path / "model")


def test_single_networks_half_precision_and_live_generators_convert(
    arrays: dict[str, np.ndarray], published: ModuleType, tmp_path: Path
) -> None:
    snapshot = published.snapshot(arrays, torch.float16)
    alone = convert(published.write(tmp_path / "alone.pkl", snapshot["G_ema"]), tmp_path / "alone", discriminator=False)
    assert alone.config.discriminator is None and set(alone.config.parts) == {"generator"}
    whole = convert(published.write(tmp_path / "whole.pkl", snapshot), tmp_path / "whole", live=True)
    assert set(whole.config.parts) == {"generator", "generator_live", "discriminator"}
    averaged, live = load_generator(tmp_path / "whole"), load_generator(tmp_path / "whole", "generator_live")
    first, second = (network.state_dict() for network in (averaged, live))
    wanted = torch.from_numpy(arrays["G.decoder.net.0.weight"]).float()
    assert torch.equal(first["decoder.hidden.weight"], wanted)
    assert torch.allclose(second["decoder.hidden.weight"], wanted / 2, rtol=0, atol=1e-6)
    assert {tensor.dtype for tensor in first.values()} == {torch.float32}
    with pytest.raises(ModelStoreError, match="no part 'discriminator'"):
        load_discriminator(tmp_path / "alone")


def test_command_converts_and_shows(converted: Converted, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "model"
    words = ["convert", str(converted.checkpoint), "--out", str(out), "--set", "generator.renderer.fine_samples=20"]
    assert cli.main(words) == 0
    assert "not asked for: G, training_set_kwargs" in capsys.readouterr().out
    assert read_config(out).generator.renderer.fine_samples == 20
    assert cli.main(["model", "show", str(out)]) == 0
    shown = capsys.readouterr().out
    numbers = sum(tensor.numel() for tensor in load_generator(out).parameters())
    assert f"{numbers:,}" in shown and read_config(out).parts["discriminator"].sha256 in shown and '"fine_samples": 20' in shown
    assert cli.main(["model", "show", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []


def test_command_refuses_hostile_checkpoints_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "hostile.pkl").write_bytes(b"\x80\x02cos\nsystem\nX\x09\x00\x00\x00touch ran\x85R.")
    assert cli.main(["convert", str(tmp_path / "hostile.pkl"), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and "'os.system'" in told[0]
    assert not (tmp_path / "out").exists()
