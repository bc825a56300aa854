"""Differences of manifests: each kind of change is found, named by id and column, and nothing else is."""

from __future__ import annotations

import dataclasses
import itertools
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spherehead.manifests import diff as diff_module
from spherehead.manifests.diff import ABSENT, Change, diff, diff_folders
from spherehead.manifests.store import MANIFEST, Manifest, read, write_table


@pytest.fixture(scope="module")
def manifest(finished_set: Path) -> Manifest:
    return read(finished_set)


def changed(manifest: Manifest, row: int, **values: object) -> Manifest:
    """Return a manifest with values of one row replaced."""
    rows = manifest.table.to_pylist()
    rows[row].update(values)
    return dataclasses.replace(manifest, table=pa.Table.from_pylist(rows, schema=manifest.table.schema))


def with_header(manifest: Manifest, **values: object) -> Manifest:
    return dataclasses.replace(manifest, header=dataclasses.replace(manifest.header, **values))


def test_a_set_equals_itself_and_a_shuffled_copy(manifest: Manifest) -> None:
    shuffled = dataclasses.replace(manifest, table=manifest.table.take(list(range(manifest.table.num_rows))[::-1]))
    for other in (manifest, shuffled):
        found = diff(manifest, other)
        assert found.equal and found.text().startswith("equal")


def test_added_and_removed_rows_are_named_and_swap_with_the_sides(manifest: Manifest) -> None:
    fewer = dataclasses.replace(manifest, table=manifest.table.slice(2))
    lost = tuple(manifest.table["id"].to_pylist()[:2])
    found = diff(manifest, fewer)
    assert (found.removed, found.added, found.changed, found.equal) == (lost, (), (), False)
    assert diff(fewer, manifest).added == lost
    assert f"removed {lost[1]}" in found.text()


def test_changed_values_are_named_by_id_and_column(manifest: Manifest) -> None:
    camera = [0.5] * 25
    other = changed(manifest, 3, split="test", camera=camera, score_head_px=None)
    found = diff(manifest, other)
    key = manifest.table["id"][3].as_py()
    assert [name for name, _ in found.changed] == [key]
    before = manifest.table.to_pylist()[3]
    assert {change.name: (change.before, change.after) for change in found.changed[0][1]} == {
        "split": (before["split"], "test"),
        "camera": (before["camera"], camera),
        "score_head_px": (before["score_head_px"], None),
    }
    assert found.columns == {"camera": 1, "score_head_px": 1, "split": 1}
    assert f"{key} split: {before['split']} -> test" in found.text()


def test_nan_equals_nan(manifest: Manifest) -> None:
    undefined = changed(manifest, 1, value=math.nan)
    assert diff(undefined, undefined).equal
    assert not diff(undefined, changed(undefined, 1, value=0.0)).equal


def test_columns_of_one_side_count_as_changes(manifest: Manifest) -> None:
    other = dataclasses.replace(manifest, table=manifest.table.drop_columns(["score_blur_px"]))
    found = diff(manifest, other)
    assert found.columns == {"score_blur_px": manifest.table.num_rows}
    assert all(changes[0].after == ABSENT for _, changes in found.changed)


def test_settings_back_ends_and_weights_are_named_by_stage(manifest: Manifest) -> None:
    step = {"stage": "matte", "backend": "mediapipe", "weights": {"a.tflite": "00"}}
    chains = [{"k0": [step]}, {"k1": [{**step, "backend": "rembg", "weights": {"b.onnx": "11"}}]}]
    recipes = [{"seed": 0, "stages": [{"stage": "align", "size": size}]} for size in (512, 256)]
    first, second = (with_header(manifest, chains=chains[k], recipe=recipes[k]) for k in (0, 1))
    assert diff(first, second).header == (
        Change("chain.matte.backend", "mediapipe", "rembg"),
        Change("chain.matte.weights.a.tflite", "00", ABSENT),
        Change("chain.matte.weights.b.onnx", ABSENT, "11"),
        Change("recipe.stages.align.size", 512, 256),
    )


def test_versions_and_shards_are_compared(manifest: Manifest) -> None:
    shard = dataclasses.replace(manifest.header.shards[0], sha256="f" * 64)
    other = with_header(manifest, tool_version="9", shards=(shard, *manifest.header.shards[1:]), manifest_sha256="0" * 64)
    assert [change.name for change in diff(manifest, other).header] == [f"shards.{shard.name}.sha256", "tool_version"]


def test_long_differences_are_cut_with_a_count(manifest: Manifest) -> None:
    empty = dataclasses.replace(manifest, table=manifest.table.slice(0, 0))
    text = diff(manifest, empty).text(limit=3)
    assert text.count("  removed ") == 3 and f"and {manifest.table.num_rows - 3} more" in text


def written(manifest: Manifest, folder: Path, table: pa.Table) -> Path:
    """Return a copy of a set with another table."""
    shutil.copytree(manifest.folder, folder)
    write_table(folder / MANIFEST, [table], table.schema)
    return folder


@pytest.mark.parametrize("reverse", [False, True])
def test_folders_differ_as_their_tables_do(manifest: Manifest, tmp_path: Path, reverse: bool) -> None:
    order = list(range(1, manifest.table.num_rows))
    other = changed(dataclasses.replace(manifest, table=manifest.table.take(order)), 3, split="test", score_head_px=None)
    rows = other.table.take(list(range(len(order)))[::-1]) if reverse else other.table
    folder = written(manifest, tmp_path / "other", rows)
    assert diff_folders(manifest.folder, folder, 10) == diff(manifest, other)
    assert diff_folders(folder, manifest.folder, 10) == diff(other, manifest)
    assert diff_folders(folder, folder, 10).equal


def test_rows_beyond_the_limit_are_counted_and_not_held(manifest: Manifest, tmp_path: Path) -> None:
    other = dataclasses.replace(manifest, table=manifest.table.drop_columns(["score_blur_px"]))
    found = diff_folders(manifest.folder, written(manifest, tmp_path / "other", other.table), 2)
    assert len(found.changed) == 2 and found.counts == (0, 0, manifest.table.num_rows)
    assert found.text(2) == diff(manifest, other).text(2) and "and 17 more" in found.text(2)


IDS = st.lists(st.integers(0, 40).map("{:02d}".format), unique=True).map(sorted)
CUTS = st.lists(st.integers(0, 40), max_size=4).map(sorted)


@given(IDS, CUTS, IDS, CUTS)
def test_pages_of_any_lengths_are_cut_at_the_same_ids(
    one: list[str], cuts: list[int], two: list[str], other: list[int]
) -> None:
    def paged(ids: list[str], places: list[int]) -> Iterator[pa.Table]:
        table = pa.table({"id": pa.array(ids, pa.string())})
        for start, end in zip([0, *places], [*places, len(ids)], strict=True):
            yield table.slice(start, max(0, end - start))

    pairs = [
        tuple(table["id"].to_pylist() for table in pair) for pair in diff_module._aligned(paged(one, cuts), paged(two, other))
    ]
    assert [id for before, _ in pairs for id in before] == one and [id for _, after in pairs for id in after] == two
    for (before, after), (later, latest) in itertools.pairwise(pairs):
        assert max(before + after) < min(later + latest)
