"""Summaries: counts against counting by hand, view cells against areas on the sphere, quantiles against their definition."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spherehead.manifests.frames import OUTCOMES, Tally, column, pages, read_frame, read_origins, recount
from spherehead.manifests.store import MANIFEST, ORIGINS, ManifestError, read, write_table
from spherehead.manifests.summary import (
    BANDS,
    SECTORS,
    band_edges,
    score_quantiles,
    summarise,
    view_balance,
    view_cells,
    view_table,
)  # fmt: skip


def test_inputs_are_counted_by_source_and_outcome(finished_set: Path, finished_sets: ModuleType) -> None:
    table = summarise(finished_set).inputs
    origins = [view for view in finished_sets.VIEWS if view.mirror_of < 0]
    assert table.loc["all", "inputs"] == len(origins) + len(finished_sets.LOST)
    for source in ("studio", "street"):
        kept = sum(view.source == source and view.status == "kept" for view in origins)
        assert table.loc[source, "kept"] == kept
    assert table.loc["all", list(OUTCOMES)].sum() == table.loc["all", "inputs"]


def test_rows_are_counted_by_status_and_split(finished_set: Path, finished_sets: ModuleType) -> None:
    table = summarise(finished_set).rows
    kept = [view for view in finished_sets.VIEWS if view.status == "kept"]
    assert table.loc["kept", "train"] == sum(view.split == "train" for view in kept)
    assert table.loc["kept", "all"] == len(kept) and table.loc["kept", "val"] == 2
    assert table.loc["failed", "all"] == 1


def test_reasons_count_files_and_heads_apart(finished_set: Path, finished_sets: ModuleType) -> None:
    table = summarise(finished_set).reasons.set_index("reason")
    expected = Counter(view.reason for view in finished_sets.VIEWS if view.reason) + Counter(
        r for r, _, _ in finished_sets.LOST
    )
    assert table["files"].to_dict() == dict(expected)
    assert table.loc["exact_duplicate", "rows"] == 0 and table.loc["blurred", "rows"] == 1
    assert table.loc["not_an_image", "outcome"] == "not_image"


def test_licences_are_counted_with_their_source(finished_set: Path) -> None:
    table = summarise(finished_set).licences
    assert table["rows"].sum() == 14
    unstated = table[table["license"] == ""]
    assert unstated["source"].tolist() == ["street"] and unstated["rows"].tolist() == [1]
    assert table[table["license"] == "CC-BY-4.0"]["attribution"].tolist() == ["A. Painter"]


def test_quantiles_of_known_scores() -> None:
    frame = pd.DataFrame({"score_a": [*map(float, range(101)), math.nan], "score_b": [math.nan] * 102})
    table = score_quantiles(frame, ["score_a", "score_b"])
    assert table.loc["a", ["count", "mean", "min", "5 %", "median", "99 %", "max"]].tolist() == [101, 50, 0, 5, 50, 99, 100]
    assert table.loc["b", "count"] == 0 and math.isnan(table.loc["b", "median"])


def test_front_profile_and_back_have_their_own_cells() -> None:
    yaw = pd.Series([0.0, 14.9, -14.9, 15.1, 90.0, 180.0, -180.0, 165.1, -165.1, np.nan])
    cells = view_cells(yaw, pd.Series(np.zeros(10)))
    assert cells["sector"].tolist() == [6, 6, 6, 7, 9, 0, 0, 0, 0]
    assert set(cells["band"]) == {BANDS // 2}


def test_cells_have_equal_area() -> None:
    heights = np.diff(np.sin(np.radians(band_edges())))
    np.testing.assert_allclose(heights, 2 / BANDS, atol=1e-12)
    generator = np.random.default_rng(0)
    points = generator.normal(size=(84_000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    yaw, pitch = np.degrees(np.arctan2(points[:, 0], points[:, 2])), np.degrees(np.arcsin(points[:, 1]))
    counts = view_table(pd.Series(yaw), pd.Series(pitch)).to_numpy()
    assert counts.sum() == 84_000 and abs(counts - 1000).max() < 5 * math.sqrt(1000)


@given(st.lists(st.tuples(st.floats(-180, 180), st.floats(-90, 90)), max_size=30))
def test_every_direction_falls_in_one_cell_and_mirrors_onto_its_partner(directions: list[tuple[float, float]]) -> None:
    yaw, pitch = pd.Series([d[0] for d in directions], dtype=float), pd.Series([d[1] for d in directions], dtype=float)
    table = view_table(yaw, pitch)
    assert table.shape == (BANDS, SECTORS) and table.to_numpy().sum() == len(directions)
    inside = yaw[(yaw + 180 + 15) % 30 != 0]  # on an edge, a direction and its mirror image fall to the same side
    mirrored = view_table(-inside, pitch[inside.index]).to_numpy()
    partner = np.roll(view_table(inside, pitch[inside.index]).to_numpy()[:, ::-1], 1, axis=1)
    np.testing.assert_array_equal(mirrored, partner)


def test_balance_of_known_counts() -> None:
    yaw = pd.Series([0.0] * 6 + [90.0] * 2 + [180.0] * 4)
    balance = view_balance(yaw, pd.Series(np.zeros(12)), pd.Series([1.0] * 11 + [13.0]))
    shares = np.array([6, 2, 4]) / 12
    assert (balance.filled, balance.largest, balance.smallest, balance.ratio) == (3, 6, 2, 3.0)
    assert balance.effective == pytest.approx(math.exp(-(shares * np.log(shares)).sum()))
    assert balance.effective_samples == pytest.approx(24**2 / (11 + 169))
    assert math.isinf(balance.azimuth_ratio)


def test_ratio_over_degrees_of_azimuth_is_that_of_the_published_count() -> None:
    yaw = np.repeat(np.arange(-180, 180) + 0.5, [4569 if k == 180 else 5 for k in range(360)])
    assert view_balance(pd.Series(yaw), pd.Series(np.zeros(len(yaw))), pd.Series(dtype=float)).azimuth_ratio == 4569 / 5


def test_recount_names_what_the_header_says(finished_set: Path) -> None:
    counts = recount(read_frame(finished_set, ["status", "split"]), read_origins(finished_set))
    assert counts == read(finished_set).header.counts
    assert counts["inputs"] == sum(counts[name] for name in OUTCOMES) == 20
    assert counts["samples_train"] + counts["samples_val"] == counts["heads_kept"] == 14


def test_tables_in_pages_and_columns_are_those_read_at_once(
    finished_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read(finished_set)
    table = whole.table.select(["id", "status", "split", "reason", "camera"])
    pq.write_table(table, tmp_path / MANIFEST, row_group_size=7)
    monkeypatch.setattr("spherehead.manifests.frames.ROW_GROUP", 5)
    parts = list(pages(tmp_path, ("id", "camera", "not_there")))
    assert [len(part) for part in parts] == [5, 2, 5, 2, 5]
    assert pa.concat_tables(parts).to_pylist() == table.select(["id", "camera"]).to_pylist()
    assert column(tmp_path, "id").to_pylist() == table["id"].to_pylist()
    assert column(tmp_path, "not_there").null_count == len(table)
    shutil.copy(finished_set / ORIGINS, tmp_path / ORIGINS)
    assert Tally.of(tmp_path).counts() == whole.header.counts


def test_a_damaged_page_is_named(finished_set: Path, tmp_path: Path) -> None:
    data = bytearray((finished_set / MANIFEST).read_bytes())
    data[100:2000] = bytes(1900)
    (tmp_path / MANIFEST).write_bytes(data)
    with pytest.raises(ManifestError, match=r"manifest\.parquet.*build-dataset"):
        list(pages(tmp_path))
    with pytest.raises(ManifestError, match=r"manifest\.parquet.*build-dataset"):
        column(tmp_path, "id")


def test_a_row_has_the_source_of_the_first_input_with_its_content(finished_set: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished_set, tmp_path / "set"))
    rows = pq.read_table(folder / ORIGINS).to_pylist()
    kept = read(folder).kept["sha256"].to_pylist()
    listed = [{**row, "source": f"source {place}"} for place, row in enumerate(rows) if row["sha256"] != kept[3]]
    write_table(folder / ORIGINS, [pa.Table.from_pylist(listed + listed[::-1])], pa.Table.from_pylist(listed).schema)
    first = {row["sha256"]: row["source"] for row in listed[::-1]}
    assert list(summarise(folder).sources) == [first.get(digest, "?") for digest in kept]


def test_empty_set_has_a_summary(finished_sets: ModuleType, tmp_path: Path) -> None:
    summary = summarise(finished_sets.build(tmp_path / "none", views=(), lost=()))
    assert summary.inputs.loc["all", "inputs"] == 0 and summary.views.to_numpy().sum() == 0
    assert math.isnan(summary.balance.ratio) and len(summary.reasons) == len(summary.licences) == 0


def test_columns_that_a_manifest_lacks_come_back_empty(finished_set: Path) -> None:
    frame = read_frame(finished_set, ["id", "score_of_a_later_version"])
    assert len(frame) == 19 and frame["score_of_a_later_version"].isna().all()


def test_damaged_table_is_named(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(b"PAR1 no more")
    with pytest.raises(ManifestError, match=r"manifest\.parquet.*build-dataset"):
        read_frame(tmp_path, ["id"])


def test_a_table_of_another_set_is_not_summed_up(finished_set: Path, finished_sets: ModuleType, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished_set, tmp_path / "set"))
    other = finished_sets.build(tmp_path / "other", views=(), lost=())
    shutil.copy(other / MANIFEST, folder / MANIFEST)
    with pytest.raises(ManifestError, match=r"not the table that manifest\.json speaks of"):
        summarise(folder)
