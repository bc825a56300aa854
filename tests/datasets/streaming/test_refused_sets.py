"""Sets that cannot be trained on are refused before the first batch, with what is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from spherehead.datasets.camera import Camera
from spherehead.datasets.streaming.loader import DataError, ShardStream, StreamSettings
from spherehead.manifests.store import HEADER, MANIFEST

PLAIN = StreamSettings(batch=4, resolution=32, mirror="off", lanes=2, window=2, piece=4)


def _drop_camera(rows: list[dict[str, Any]]) -> None:
    rows[3]["camera"] = None


def _bad_camera(rows: list[dict[str, Any]]) -> None:
    rows[3]["camera"] = np.eye(4).ravel().tolist() + Camera.look_at(0, 0).label()[16:].tolist()


def _elsewhere(rows: list[dict[str, Any]]) -> None:
    rows[3]["shard"] = "train-000077.tar"


def _beyond(rows: list[dict[str, Any]]) -> None:
    rows[3]["offset"] = 10**9


BAD_ROWS: dict[str, tuple[Callable[[list[dict[str, Any]]], None], str]] = {
    "no label": (_drop_camera, "has 0 numbers in its camera label"),
    "bad label": (_bad_camera, "outside the contract: expected radius 2.7, got 0; it is the identity"),
    "unknown shard": (_elsewhere, "which its header does not list"),
    "place beyond the shard": (_beyond, "beyond the end"),
    "row too few": (lambda rows: rows.pop(3) and None, "rows in the manifest, its header says"),
    "no weights": (lambda rows: [row.update(weight=0.0) for row in rows] and None, "0 samples to show"),
}


@pytest.mark.parametrize("name", list(BAD_ROWS))
def test_manifests_that_cannot_be_trained_on_are_refused(folder: Path, streams: ModuleType, name: str) -> None:
    change, said = BAD_ROWS[name]
    streams.edit_rows(folder, change)
    with pytest.raises(DataError, match=said):
        ShardStream([folder], PLAIN)


BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no header": (lambda folder: (folder / HEADER).unlink(), "no manifest.json in"),
    "no table": (lambda folder: (folder / MANIFEST).unlink(), "no manifest.parquet in"),
    "header is no JSON": (lambda folder: (folder / HEADER).write_text("{"), "damaged"),
    "header of another version": (lambda folder: (folder / HEADER).write_text('{"schema_version": 99}'), "schema version 99"),
    "another table": (lambda folder: (folder / MANIFEST).write_bytes(b"PAR1"), "not the table that"),
    "no shard": (lambda folder: (folder / "train-000001.tar").unlink(), "shard train-000001.tar is missing"),
    "short shard": (lambda folder: (folder / "train-000002.tar").write_bytes(b"x"), "has 1 bytes, its manifest says"),
    "nothing at all": (lambda folder: shutil.rmtree(folder), "no manifest.json in"),
}


@pytest.mark.parametrize("name", list(BAD_FILES))
def test_sets_that_are_not_whole_are_refused(folder: Path, name: str) -> None:
    damage, said = BAD_FILES[name]
    damage(folder)
    with pytest.raises(DataError, match=said) as caught:
        ShardStream([folder], PLAIN)
    assert str(folder) in str(caught.value)


def test_one_set_may_be_named_without_a_list(folder: Path) -> None:
    listed = ShardStream([folder], PLAIN)
    assert ShardStream(folder, PLAIN).num_samples == ShardStream(str(folder), PLAIN).num_samples == listed.num_samples
