"""Presets, models, sizes and the doctor as the command line shows them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import typer
import yaml
from spherehead.commands.common import parse_size
from spherehead.pipeline.console.describe import meanings
from spherehead.pipeline.presets import PRESETS, STAGES, preset
from spherehead.pipeline.recipe import Recipe


@pytest.mark.parametrize("name", PRESETS)
def test_shown_preset_reads_back_as_itself_and_explains_every_setting(name: str, run) -> None:
    shown = run("presets", "show", name)
    recipe = preset(name)
    assert shown.code == 0
    assert Recipe.from_plain(yaml.safe_load(shown.out), STAGES) == recipe
    for stage in recipe.stages:
        fields = {field.name for field in dataclasses.fields(stage)}
        assert fields == set(meanings(type(stage))), f"{stage.name} has a setting without a docstring"


def test_shown_preset_keeps_where_weights_lie(run) -> None:
    shown = run("presets", "show", "heads", "--set", "matte.weights=my.onnx", "--set", "matte.segmenter=onnx")
    assert Recipe.from_plain(yaml.safe_load(shown.out), STAGES).stages[2].weights == "my.onnx"


def test_presets_and_models_are_listed(run) -> None:
    listed = run("presets")
    assert listed.code == 0 and set(PRESETS) <= set(listed.out.split())
    models = run("models", "list")
    assert models.code == 0 and "selfie_segmentation" in models.out
    assert json.loads(run("models", "list", "--json").out)["bria-rmbg"]["licence"] == "CC-BY-NC-4.0"


def test_model_file_is_fetched_from_disk_and_verified(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPHEREHEAD_WEIGHTS", str(tmp_path / "weights"))
    (tmp_path / "file.onnx").write_bytes(b"some network")
    assert run("models", "verify", "segformer-face-parsing").code == 3
    assert run("models", "fetch", "segformer-face-parsing", "--from", tmp_path / "file.onnx").code == 2
    done = run("models", "fetch", "segformer-face-parsing", "--from", tmp_path / "file.onnx", "--trust")
    assert done.code == 0 and "sha256 of first use" in done.out
    assert run("models", "verify", "segformer-face-parsing").code == 0
    wrong = run("models", "fetch", "u2netp", "--from", tmp_path / "file.onnx")
    assert wrong.code == 2 and "nothing was kept" in wrong.err


def test_doctor_speaks_json(run) -> None:
    done = run("doctor", "--json")
    assert json.loads(done.out)["healthy"] is (done.code == 0)


@pytest.mark.parametrize(
    ("text", "count"),
    [("1", 1), ("4GiB", 4 << 30), ("500 MB", 500_000_000), ("1.5k", 1500), ("2e6", 2_000_000), ("3 mib", 3 << 20)],
)
def test_sizes_are_read(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "GiB", "-1", "4XB", "nan", "inf", "0"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_size(text)
