"""Verification of header, manifest and origins: each lie is found and named, and nothing else is said."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from changed_sets import edit_header, edit_rows, kept, kinds, row_number
from spherehead.datasets.shards.verify import verify, verify_manifest
from spherehead.manifests.store import HEADER, MANIFEST, ORIGINS, file_sha256, read, write_table


@pytest.fixture
def folder(finished_set: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(finished_set, tmp_path / "set"))


def test_missing_shard_is_found(folder: Path) -> None:
    (folder / "val-000000.tar").unlink()
    problems = verify(folder)
    assert [(p.kind, p.file, p.found) for p in problems] == [("shard", "val-000000.tar", "no file")]


def test_shard_that_the_header_does_not_list_is_found(folder: Path) -> None:
    shutil.copy(folder / "val-000000.tar", folder / "val-000009.tar")
    assert kinds(folder) == [("stray", "val-000009.tar", "")]


def test_edited_manifest_is_found_by_its_hash(folder: Path) -> None:
    before = read(folder).header.manifest_sha256
    edit_rows(folder, lambda rows: rows[0].update(width=1))
    edit_header(folder, lambda header: header.update(manifest_sha256=before))
    (problem,) = (p for p in verify(folder) if p.kind == "manifest")
    assert problem.file == MANIFEST and before in problem.expected and file_sha256(folder / MANIFEST) == problem.found


def test_wrong_count_in_the_header_is_found(folder: Path) -> None:
    edit_header(folder, lambda header: header["counts"].update(samples_train=13))
    (problem,) = verify(folder)
    assert (problem.kind, problem.file, problem.expected, problem.found) == (
        "counts", HEADER, "samples_train 12 as in the tables", "13")  # fmt: skip


def test_inputs_that_do_not_add_up_are_found(folder: Path) -> None:
    edit_header(folder, lambda header: header["counts"].update(inputs=21))
    assert [(p.kind, p.found) for p in verify(folder)] == [("counts", "21"), ("counts", "21 != 20")]


def test_lost_input_is_found(folder: Path) -> None:
    edit_rows(folder, lambda rows: rows.remove(next(row for row in rows if row["reason"] == "no_head")), ORIGINS)
    assert [(p.kind, p.expected) for p in verify(folder)] == [
        ("counts", "dropped 3 as in the tables"), ("counts", "inputs 19 as in the tables")]  # fmt: skip


def test_kept_row_without_its_input_is_found(folder: Path) -> None:
    row = kept(folder)[0]
    edit_rows(folder, lambda rows: next(r for r in rows if r["sha256"] == row["sha256"]).update(sha256="0" * 64), ORIGINS)
    found = verify(folder)
    assert row["id"] in {p.id for p in found} and {p.kind for p in found} == {"origin"}


def test_wrong_reasons_are_found(folder: Path) -> None:
    edit_header(folder, lambda header: header["reasons"].update(blurred=2))
    assert kinds(folder) == [("reasons", HEADER, "")]
    edit_header(folder, lambda header: header["reasons"].update(blurred=1))
    at = next(k for k, row in enumerate(pq.read_table(folder / MANIFEST).to_pylist()) if row["reason"] == "blurred")
    edit_rows(folder, lambda rows: rows[at].update(reason=""))
    assert {kind for kind, _, _ in kinds(folder)} == {"reasons", "status"}


def test_id_that_is_not_its_contents_is_found(folder: Path) -> None:
    row = kept(folder)[0]
    at = row_number(folder, row["id"])
    edit_rows(folder, lambda rows: rows[at].update(head_index=1))
    problems = verify_manifest(folder)
    assert [(p.kind, p.id) for p in problems] == [("id", row["id"])]


def test_id_of_a_derived_row_is_checked_by_its_parent(folder: Path) -> None:
    rows = pq.read_table(folder / MANIFEST).to_pylist()
    at = next(k for k, row in enumerate(rows) if row["parent"])
    edit_rows(folder, lambda rows: rows[at].update(derivation='{"copy":1,"mirror":true,"step":"augment"}'))
    assert [(p.kind, p.id) for p in verify_manifest(folder)] == [("id", rows[at]["id"])]


def test_id_that_stands_twice_is_found(folder: Path) -> None:
    rows = pq.read_table(folder / MANIFEST).to_pylist()
    at = next(k for k, row in enumerate(rows) if row["reason"] == "no_head")

    edit_rows(folder, lambda rows: rows.insert(at, dict(rows[at])))
    assert ("id", MANIFEST, rows[at]["id"]) in [(p.kind, p.file, p.id) for p in verify_manifest(folder)]


def test_sample_that_was_taken_down_is_found(folder: Path) -> None:
    key = kept(folder)[0]["id"]
    edit_header(folder, lambda header: header.update(tombstones=[key]))
    assert kinds(folder) == [("forgotten", MANIFEST, key)]


@pytest.mark.parametrize("column", ["component", "identity", "group", "sha256"])
def test_leakage_between_splits_is_found(folder: Path, column: str) -> None:
    pair = [row_number(folder, kept(folder, shard)[0]["id"]) for shard in ("train-000000.tar", "val-000000.tar")]

    def link(rows: list[dict[str, Any]]) -> None:
        for at in pair:
            rows[at][column] = "e" * 64

    edit_rows(folder, link)
    (problem,) = (p for p in verify_manifest(folder) if p.kind == "leakage")
    assert problem.expected.startswith(f"one split for {column}") and problem.found == "train, val"


def test_child_in_another_split_than_its_parent_is_found(folder: Path) -> None:
    parent = kept(folder, "val-000000.tar")[0]["id"]
    rows = pq.read_table(folder / MANIFEST).to_pylist()
    at = next(k for k, row in enumerate(rows) if row["parent"])
    edit_rows(folder, lambda rows: rows[at].update(parent=parent))
    assert "leakage" in {p.kind for p in verify_manifest(folder)}


@pytest.mark.parametrize("weight", [2.0, 0.0, -1.0])
def test_weights_that_do_not_average_one_are_found(folder: Path, weight: float) -> None:
    at = row_number(folder, kept(folder)[0]["id"])
    edit_rows(folder, lambda rows: rows[at].update(weight=weight))
    assert [(p.kind, p.file) for p in verify_manifest(folder)] == [("weight", MANIFEST)]


def test_missing_column_is_found(folder: Path) -> None:
    table = pq.read_table(folder / MANIFEST).drop_columns(["weight"])
    digest = write_table(folder / MANIFEST, [table], table.schema)
    edit_header(folder, lambda header: header.update(manifest_sha256=digest))
    (problem,) = verify(folder)
    assert (problem.kind, problem.found) == ("columns", "no weight")


def test_unreadable_tables_are_found(folder: Path) -> None:
    (folder / ORIGINS).write_bytes(b"PAR1")
    assert kinds(folder) == [("origin", ORIGINS, "")]
    (folder / MANIFEST).unlink()
    assert kinds(folder) == [("manifest", MANIFEST, "")] * 2


def test_outcome_that_does_not_exist_is_found(folder: Path) -> None:
    edit_rows(folder, lambda rows: next(row for row in rows if row["outcome"] == "failed").update(outcome="lost"), ORIGINS)
    problems = verify(folder)
    assert [(p.file, p.found) for p in problems] == [(HEADER, "1"), (ORIGINS, "'lost'")]


def test_rows_in_another_order_are_found(folder: Path) -> None:
    edit_rows(folder, lambda rows: rows.reverse())
    assert kinds(folder) == [("id", MANIFEST, "")]


def test_reason_that_does_not_exist_is_found(folder: Path) -> None:
    rows = pq.read_table(folder / MANIFEST).to_pylist()
    at = next(k for k, row in enumerate(rows) if row["reason"] == "blurred")
    edit_rows(folder, lambda rows: rows[at].update(reason="ugly"))
    edit_header(folder, lambda header: header["reasons"].update(blurred=0, ugly=1))
    assert [(p.kind, p.id, p.found) for p in verify(folder)] == [("status", rows[at]["id"], "'ugly'")]


def test_kept_input_without_a_row_is_found(folder: Path) -> None:
    def keep(rows: list[dict[str, Any]]) -> None:
        rows[0]["outcome"], dropped = "kept", rows[0]["outcome"]
        next(row for row in rows[1:] if row["outcome"] == "kept")["outcome"] = dropped

    edit_rows(folder, lambda rows: rows.sort(key=lambda row: row["outcome"] != "dropped"), ORIGINS)
    edit_rows(folder, keep, ORIGINS)
    assert sorted((p.kind, p.file) for p in verify(folder)) == [("origin", MANIFEST), ("origin", ORIGINS)]


def test_row_in_an_unknown_shard_is_found(folder: Path) -> None:
    row = kept(folder)[4]
    at = row_number(folder, row["id"])
    edit_rows(folder, lambda rows: rows[at].update(shard="train-000007.tar"))
    assert kinds(folder) == [
        ("placement", MANIFEST, row["id"]), ("member", "train-000000.tar", row["id"]), ("placement", "train-000000.tar", ""),
    ]  # fmt: skip


def test_row_of_another_split_than_its_shard_is_found(folder: Path) -> None:
    row = next(row for row in kept(folder) if not row["parent"])
    at = row_number(folder, row["id"])
    before = read(folder).header.counts
    edit_rows(folder, lambda rows: rows[at].update(split="val"))
    counts = {"samples_train": before["samples_train"] - 1, "samples_val": before["samples_val"] + 1}
    edit_header(folder, lambda header: header["counts"].update(counts))
    (problem,) = (p for p in verify(folder) if p.kind == "placement")
    assert (problem.file, problem.expected, problem.found) == ("train-000000.tar", "rows of split train", "train, val")


def test_positions_that_do_not_follow_the_ids_are_found(folder: Path) -> None:
    pair = [row_number(folder, row["id"]) for row in kept(folder)[:2]]

    def swap(rows: list[dict[str, Any]]) -> None:
        first, second = (rows[at] for at in pair)
        first["index_in_shard"], second["index_in_shard"] = second["index_in_shard"], first["index_in_shard"]

    edit_rows(folder, swap)
    assert {(p.kind, p.expected[:9]) for p in verify_manifest(folder)} == {
        ("placement", "positions"),
        ("placement", "offsets t"),
    }


FORGERIES: dict[str, Callable[[dict[str, Any]], None]] = {
    "another seed": lambda header: header["recipe"].update(seed=1),
    "other packages": lambda header: header["environment"].update(numpy="1.0"),
    "no chains": lambda header: header.update(chains={}),
    "a tombstone more": lambda header: header["tombstones"].append("0" * 16),
    "a shard twice": lambda header: header["shards"].append(header["shards"][0]),
    "another tool": lambda header: header.update(tool_version="9"),
    "no digest": lambda header: header.update(digest=""),
}


@pytest.mark.parametrize("name", list(FORGERIES))
def test_a_header_that_was_changed_is_found_by_its_digest(folder: Path, name: str) -> None:
    edit_header(folder, FORGERIES[name], sealed=False)
    assert "digest" in {problem.kind for problem in verify_manifest(folder)}


@pytest.mark.parametrize(("name", "kind"), [("no chains", "chain"), ("a shard twice", "shard")])
def test_a_header_that_agrees_with_itself_must_agree_with_its_rows(folder: Path, name: str, kind: str) -> None:
    edit_header(folder, FORGERIES[name])
    assert kind in {problem.kind for problem in verify_manifest(folder)}


def test_a_header_of_version_1_is_read_without_a_digest(folder: Path) -> None:
    def older(header: dict[str, Any]) -> None:
        header["schema_version"] = 1
        del header["digest"]

    edit_header(folder, older, sealed=False)
    assert verify(folder, deep=True) == []


@pytest.mark.parametrize("depth", [200, 900, 100_000])
def test_a_deeply_nested_header_is_a_named_problem(folder: Path, depth: int) -> None:
    text = (folder / HEADER).read_text().replace('"recipe": {', '"recipe": {"deep": ' + "[" * depth + "]" * depth + ",", 1)
    (folder / HEADER).write_text(text)
    assert {problem.file for problem in verify_manifest(folder)} == {HEADER}
