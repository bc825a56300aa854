"""Cards and Croissant: they say what the manifest says, file by file, and nothing about rights that nobody told."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from spherehead.cli import main
from spherehead.datasets.exchange.hub import licence_of, write_hub
from spherehead.manifests.store import file_sha256, read_header
from spherehead.manifests.summary import summarise


@pytest.fixture
def written(finished_set: Path, tmp_path: Path) -> Path:
    assert write_hub(finished_set, tmp_path / "hub", "ball heads") == ("README.md", "croissant.json")
    return tmp_path / "hub"


def test_the_front_matter_lists_every_shard_by_split(finished_set: Path, written: Path) -> None:
    _, front, body = (written / "README.md").read_text().split("---\n", 2)
    told = yaml.safe_load(front)
    shards = read_header(finished_set).shards
    listed = {name: item["split"] for item in told["configs"][0]["data_files"] for name in item["path"]}
    assert listed == {entry.name: entry.split for entry in shards}
    assert told["size_categories"] == ["n<1K"]
    assert told["license"] == "unknown"  # one picture of the set has no licence
    assert all(f"`{entry.name}`" in body for entry in shards)
    assert "| street | not told |" in body
    assert "truncated" in body


def test_croissant_has_the_digest_of_every_file_and_a_field_for_every_column(finished_set: Path, written: Path) -> None:
    document = json.loads((written / "croissant.json").read_text())
    for entry in document["distribution"]:
        assert entry["sha256"] == file_sha256(finished_set / entry["contentUrl"])
        assert entry["contentSize"] == f"{(finished_set / entry['contentUrl']).stat().st_size} B"
    fields = {field["name"]: field for field in document["recordSet"][0]["field"]}
    assert set(fields) == set(pq.read_schema(finished_set / "manifest.parquet").names)
    assert fields["camera"]["repeated"]
    assert fields["yaw_degrees"]["dataType"] == "sc:Float"
    assert fields["id"]["source"]["extract"] == {"column": "id"}


def test_the_licence_is_named_only_where_all_pictures_have_one(finished_set: Path) -> None:
    summary = summarise(finished_set)
    assert licence_of(summary) == "unknown"
    summary.licences["license"] = "CC0-1.0"
    assert licence_of(summary) == "CC0-1.0"
    summary.licences.loc[0, "license"] = "CC-BY-4.0"
    assert licence_of(summary) == "other"


def test_the_command_writes_both_and_nothing_over_others(
    finished_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(finished_set), "--format", "hub", "--out", str(tmp_path / "hub")]
    assert main(words) == 0
    assert "README.md, croissant.json" in capsys.readouterr().out
    assert main(words) == 2
    assert "exists already" in capsys.readouterr().err


def test_croissants_own_reader_finds_no_error(finished_set: Path, written: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    assert not mlcroissant.Dataset(jsonld=str(written / "croissant.json")).metadata.issues.errors
