"""One command retrains all networks: every step runs on people rendered here, and a second call changes nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from spherehead.commands.retraining import Retraining, retrain


@pytest.mark.slow
def test_retraining_ends_with_networks_and_cards_and_resumes_to_the_same_files(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shared / "assets" / "makehuman"
    if not folder.is_dir():
        pytest.skip(f"no MakeHuman assets at {folder}")
    monkeypatch.setenv("SPHEREHEAD_ASSETS", str(folder))
    few = {"images": 32, "parser_images": 32, "finder_images": 16, "crops": 8, "calibration": 2}
    plan = Retraining(cards=1, grown=1, dressed=1, full=1, street=1, held_out=1, **few)
    told = json.loads(retrain(plan, tmp_path))
    assert set(told["head"]) == {"cards", "grown", "dressed"} and 0.0 < told["head"]["cards"]["mean_iou"] < 1.0
    assert (
        set(told["parser"]) == {"cards", "grown", "dressed", "full"}
        and 0.0 < told["parser"]["dressed"]["all"]["mean_iou"] < 1.0
    )

    def digests() -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "exported").iterdir()}

    first = digests()
    assert set(first) == {f"{name}.{kind}" for name in ("head", "parser", "finder") for kind in ("onnx", "json")}
    for name in ("head", "parser", "finder"):
        card = json.loads((tmp_path / "exported" / f"{name}.json").read_text())
        assert card["sha256"] == first[f"{name}.onnx"] and card["data"]["grown"] == 1 and card["seed"] == plan.seed
    for name in ("head", "parser"):
        assert json.loads((tmp_path / "exported" / f"{name}.json").read_text())["precision"] == "int8, calibrated on 2 pictures"
    retrain(plan, tmp_path)
    assert digests() == first
