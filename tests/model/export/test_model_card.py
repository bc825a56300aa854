"""Model cards: front matter that hubs read, and what folder, run and evaluation know; nothing that they do not."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import yaml
from spherehead import cli
from spherehead.manifests.store import file_sha256, write_json
from spherehead.model.export.model_card import ADDED, write_card

RUN = {
    "config": {"images": 42000, "batch": 4, "seed": 0, "init": "", "terms": {"perceptual": {"weight": 0.5}, "vico": None}},
    "num_samples": 2676, "manifests": ["a" * 64], "places": ["/secret/place"], "fingerprint": "fd" * 8,
    "environment": {"torch": "2.13.0", "machine": "x86_64"},
}  # fmt: skip
SCORES = {
    "features": "random-conv-v1",
    "rows": [
        {"name": "data", "distances": {"all": {"frechet": 7.04}, "back": {"frechet": 16.1}}},
        {"name": "run", "distances": {"all": {"frechet": 24.44}, "back": None}},
        {"name": "empty", "distances": {}},
    ],
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    heads = importlib.import_module("small_heads")
    return Path(heads.save(tmp_path / "model", heads.generator()))


def test_a_card_has_front_matter_files_training_and_scores(model: Path, tmp_path: Path) -> None:
    write_json(tmp_path / "run" / "run.json", RUN)
    write_json(tmp_path / "run" / "evaluation" / "evaluate.json", SCORES)
    text = write_card(model, tmp_path / "run", "heads: of <me>", "apache-2.0").read_text()
    _, front, body = text.split("---\n", 2)
    told = yaml.safe_load(front)
    assert told["license"] == "apache-2.0" and told["model_name"] == "heads: of <me>"
    assert told["pipeline_tag"] == "unconditional-image-generation"
    assert file_sha256(model / "generator.safetensors") in body
    assert "64 x 64 pixels, 16 rays a side, volume `dual_sphere`; conditioned on nothing" in body
    for line in (
        "| images | 42000 |",
        "| loss terms | perceptual |",
        "| pictures in the data | 2,676 |",
        f"sha256 `{'a' * 64}`",
    ):
        assert line in body
    assert "| data | 7.0 | 16.1 |" in body and "| run | 24.4 | - |" in body and "empty" not in body
    assert "/secret/place" not in text and "init" not in body


def test_what_nobody_wrote_is_left_to_the_owner(model: Path, tmp_path: Path) -> None:
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "evaluate.json").write_text("[1, 2")
    text = write_card(model, tmp_path).read_text()
    assert text.count(ADDED) == 3 and yaml.safe_load(text.split("---\n", 2)[1])["license"] == "unknown"


def test_a_packed_model_has_its_card(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "packed"
    assert cli.main(["model", "pack", "--run", str(model), "--out", str(out), "--license", "cc0-1.0"]) == 0
    digest = json.loads((out / "config.json").read_text())["parts"]["generator"]["sha256"]
    assert digest in (out / "README.md").read_text() and "cc0-1.0" in (out / "README.md").read_text()
    assert "README.md is its card" in capsys.readouterr().out
