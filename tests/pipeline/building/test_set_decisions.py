"""What the whole set decides: who gives way, which split, how often; independent of the order of files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from spherehead.manifests.config import canonical_json
from spherehead.pipeline.building.folder import Tombstones
from spherehead.pipeline.building.memory.state import State
from spherehead.pipeline.building.set_decisions import Decision, Decisions, decide
from spherehead.pipeline.building.shard_plan import cut
from spherehead.pipeline.curation.splits import SplitSettings
from spherehead.pipeline.execution.work import FileResult
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.frame import Frame

RECIPE = Recipe("test", (Frame(),), splits=SplitSettings({"train": 0.5, "val": 0.5}))


def _head(
    id: str, sha256: str, yaw: float = 0.0, quality: float = 1.0, phash: str = "", pixels: str = "", parent: str = ""
) -> tuple[str, str, str]:
    row = {
        "id": id, "sha256": sha256, "head_index": 0, "status": "kept", "parent": parent, "pixel_sha256": pixels or id,
        "scores": {"quality": quality}, "notes": {"phash": phash} if phash else {}, "yaw_degrees": yaw, "pitch_degrees": 0.0,
    }  # fmt: skip
    return id, "kept", canonical_json(row)


def _state(tmp_path: Path, files: list[tuple[str, list[tuple[str, str, str]], str]]) -> State:
    """Make a build's memory of files: (sha256, heads, identity)."""
    state = State(tmp_path / "state.sqlite")
    chain = state.chain_id(RECIPE.keys())
    inputs = [
        (0, "src", f"{sha}.jpg", f"{sha}.jpg", 1, "s", json.dumps({"identity": who}) if who else "", "", "", "", "")
        for sha, _, who in files
    ]
    state.inputs.fill(inputs, chain)
    for (number, *_), (sha, heads, _) in zip(list(state.inputs.still_open()), files, strict=True):
        result = FileResult(sha, sha, "kept", heads=tuple(heads))
        state.store(result, chain)
        state.inputs.settle(number, result)
    state.choose()
    return state


def test_the_better_of_two_equal_pictures_stays_and_the_other_names_it(tmp_path: Path) -> None:
    state = _state(
        tmp_path,
        [
            ("s1", [_head("a", "s1", quality=0.4, pixels="same")], ""),
            ("s2", [_head("b", "s2", quality=0.9, pixels="same")], ""),
        ],
    )
    rows = decide(state, RECIPE).rows
    assert (rows["a"].status, rows["a"].reason, rows["a"].duplicate_of) == ("dropped", "pixel_duplicate", "b")
    assert rows["b"].status == "kept" and rows["a"].cluster == rows["b"].cluster == "a"


def test_near_pictures_give_way_and_share_a_split_with_nobody_kept_apart(tmp_path: Path) -> None:
    state = _state(
        tmp_path,
        [
            ("s1", [_head("a", "s1", phash="00000000000000ff")], ""),
            ("s2", [_head("b", "s2", quality=2, phash="00000000000000fe")], ""),
        ],
    )
    rows = decide(state, RECIPE).rows
    assert rows["a"].reason == "near_duplicate" and rows["a"].split == rows["b"].split


def test_pictures_of_one_person_share_a_component(tmp_path: Path) -> None:
    files = [(f"s{i}", [_head(f"{i:02d}", f"s{i}")], "ann" if i < 5 else "") for i in range(30)]
    rows = decide(_state(tmp_path, files), RECIPE).rows
    assert len({rows[f"{i:02d}"].split for i in range(5)}) == 1
    assert {rows[f"{i:02d}"].component for i in range(5)} == {"00"}
    assert {row.split for row in rows.values()} == {"train", "val"}


def test_weights_of_each_split_have_mean_one_and_rare_views_weigh_more(tmp_path: Path) -> None:
    files = [(f"s{i}", [_head(f"{i:02d}", f"s{i}", yaw=0.0 if i % 8 else 90.0)], "") for i in range(64)]
    rows = decide(_state(tmp_path, files), RECIPE).rows
    for split in ("train", "val"):
        weights = [row.weight for row in rows.values() if row.split == split and row.weight is not None]
        assert sum(weights) / len(weights) == pytest.approx(1.0)
    assert min(rows[f"{i:02d}"].weight or 0 for i in range(0, 64, 8)) > max(rows[f"{i:02d}"].weight or 9 for i in range(1, 8))


def test_order_of_files_changes_no_decision(tmp_path: Path) -> None:
    files = [
        (f"s{i}", [_head(f"{i:02d}", f"s{i}", yaw=10.0 * i, phash=f"{i * 977 % 7:016x}")], "ann" if i % 5 == 0 else "")
        for i in range(20)
    ]
    first = decide(_state(tmp_path / "1", files), RECIPE)
    second = decide(_state(tmp_path / "2", files[::-1]), RECIPE)
    assert first.fingerprint() == second.fingerprint() and list(first.rows) == list(second.rows)


def test_shards_are_cut_by_sorted_ids_and_a_tombstone_keeps_its_place() -> None:
    rows = {f"{i:02d}": Decision("w", 0, "kept", "", "", split="val" if i == 3 else "train") for i in range(8)}
    del rows["05"]
    decisions = Decisions(rows, frozenset(), frozenset())
    plans = cut(decisions, Tombstones(ids={"05": {"split": "train"}}), 3)
    assert [(plan.name, plan.ids) for plan in plans] == [
        ("train-000000.tar", ("00", "01", "02")),
        ("train-000001.tar", ("04", "06")),
        ("train-000002.tar", ("07",)),
        ("val-000000.tar", ("03",)),
    ]
