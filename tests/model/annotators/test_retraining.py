"""One command retrains all networks: every step runs on people rendered here, and a second call changes nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spherehead.cli import main
from spherehead.commands.retraining import Retraining, lit_heads, quality, retrain
from spherehead.manifests.config import to_plain
from spherehead.model.annotators.quality.network import FitSettings
from spherehead.pipeline.annotators.heads.files import card as card_of
from spherehead.pipeline.annotators.heads.files import path_of
from spherehead.pipeline.annotators.heads.parser import HeadParser
from spherehead.pipeline.annotators.heads.strengths import StrengthReader


@pytest.mark.slow
def test_retraining_ends_with_networks_and_cards_and_resumes_to_the_same_files(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shared / "assets" / "makehuman"
    if not folder.is_dir():
        pytest.skip(f"no MakeHuman assets at {folder}")
    monkeypatch.setenv("SPHEREHEAD_ASSETS", str(folder))
    few: dict[str, Any] = {
        "images": 32,
        "parser_images": 32,
        "finder_images": 16,
        "quality_images": 16,
        "crops": 8,
        "calibration": 2,
    }
    plan = Retraining(cards=1, grown=1, dressed=1, full=1, street=1, lit=1, photographs=1, held_out=1, precision="bf16", **few)
    told = json.loads(retrain(plan, tmp_path))
    assert set(told["head"]) == {"cards", "grown", "dressed"} and 0.0 < told["head"]["cards"]["mean_iou"] < 1.0
    assert (
        set(told["parser"]) == {"cards", "grown", "dressed", "full"}
        and 0.0 < told["parser"]["dressed"]["all"]["mean_iou"] < 1.0
    )

    assert set(told["finder"]) == {"cards", "grown", "dressed"} and "false_per_picture" in told["finder"]["cards"]
    assert all(0.0 <= told["parser"][kind]["all"]["hair_called_beard"] <= 1.0 for kind in told["parser"])
    said = HeadParser(networks=str(tmp_path / "exported")).read(np.full((256, 256, 3), 90, dtype=np.uint8)).beard
    assert said is not None and 0.0 < said.mean() < 0.2  # in eight bits; hardly any after 32 pictures

    def digests() -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "exported").iterdir()}

    first = digests()
    assert set(first) == {f"{name}.{kind}" for name in ("head", "parser", "finder", "quality") for kind in ("onnx", "json")}
    for name in ("head", "parser", "finder"):
        card = json.loads((tmp_path / "exported" / f"{name}.json").read_text())
        assert card["sha256"] == first[f"{name}.onnx"] and card["data"]["grown"] == 1 and card["seed"] == plan.seed
        assert card["trained_in"] == "bf16"
    card = json.loads((tmp_path / "exported" / "quality.json").read_text())
    assert card["sha256"] == first["quality.onnx"] and card["heads"] == 3 and card["fit"]["seed"] == plan.seed
    StrengthReader(str(tmp_path / "exported"))
    for name in ("head", "parser"):
        assert json.loads((tmp_path / "exported" / f"{name}.json").read_text())["precision"] == "int8, calibrated on 2 pictures"
    retrain(plan, tmp_path)
    assert digests() == first


def test_the_quality_network_of_the_package_is_what_retraining_fits(tmp_path: Path) -> None:
    plan, card = Retraining(), card_of("quality")
    assert card["data"] == lit_heads(plan) and card["heads"] == 3 * plan.lit
    assert card["fit"] == to_plain(FitSettings(pictures=plan.quality_images, seed=plan.seed))
    (tmp_path / "exported").mkdir()
    for suffix in (".onnx", ".json"):
        path = path_of("quality").with_suffix(suffix)
        (tmp_path / "exported" / path.name).write_bytes(path.read_bytes())
    quality(plan, tmp_path)  # which is done: nothing is rendered
    assert [path.name for path in tmp_path.iterdir()] == ["exported"]


def test_a_retraining_gets_each_number_by_its_name_and_its_progress_is_shown(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plans: list[Retraining] = []

    def retrained(plan: Retraining, out: Path) -> str:
        plans.append(plan)
        logging.getLogger("spherehead.model.annotators.training").info("512 pictures of %s", out.name)
        return "{}"

    monkeypatch.setattr("spherehead.commands.retraining.retrain", retrained)
    names = [field.name for field in dataclasses.fields(Retraining) if field.name not in ("crops", "calibration", "precision")]
    words = [word for number, name in enumerate(names) for word in (f"--{name.replace('_', '-')}", str(2 + number))]
    try:
        assert main(["annotators", "retrain", "--out", str(tmp_path / "run"), "--precision", "bf16", *words]) == 0
    finally:
        logging.getLogger("spherehead").setLevel(logging.NOTSET)
    assert {name: getattr(plans[0], name) for name in names} == {name: 2 + number for number, name in enumerate(names)}
    assert plans[0].precision == "bf16"
    assert "512 pictures of run" in caplog.text


@pytest.mark.parametrize("name", ["parser", "finder"])
def test_networks_of_the_package_come_from_the_command_s_own_numbers(name: str) -> None:
    card = card_of(name)
    assert card["command"] == "annotators retrain"
    assert card["data"] == to_plain(Retraining(precision="bf16", threads=2))
    assert card["pictures"] == {"parser": 48_000, "finder": 54_016}[name]
