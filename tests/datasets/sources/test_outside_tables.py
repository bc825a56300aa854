"""Lists and files of cameras from outside: one naming of columns, one bad row costs itself, and only our own errors leave."""

from __future__ import annotations

import io
import json
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.camera import Camera
from spherehead.datasets.reasons import REASONS
from spherehead.datasets.sample import Drop, SourceImage
from spherehead.datasets.sources.base import Refused, SourceError
from spherehead.datasets.sources.camera_sidecar import SidecarError, read_cameras
from spherehead.datasets.sources.open import open_source
from spherehead.datasets.sources.sidecars import load_sidecars

LABEL = [float(value) for value in Camera.look_at(0.3, 0.1).label()]
TEXT = json.dumps(LABEL)
QUOTED = '"' + TEXT + '"'
COLUMNS = ",".join(map(str, LABEL))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.jpg", unicodedata.normalize("NFD", "ä/ö.jpg"), "d/e.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def listed(path: Path) -> list[str]:
    """The path of each file, or the reason of each refusal."""
    return [entry.path if isinstance(entry, SourceImage) else entry.reason for entry in open_source(str(path)).entries()]


NAMINGS = {
    "path, label": f"path,label\na.jpg,{QUOTED}\n", "path, camera": f"path,camera\na.jpg,{QUOTED}\n",
    "file_name, numbers": f"file_name,{','.join(map(str, range(25)))}\na.jpg,{COLUMNS}\n",
    "Filename, camera_i": f"Filename,{','.join(f'camera_{i}' for i in range(25))}\na.jpg,{COLUMNS}\n",
    "byte order mark": f"\ufeffpath,label\r\na.jpg,{QUOTED}\r\n", "semicolons": f"path;label\na.jpg;{QUOTED}\n",
    "tabs": f"path\tcamera\na.jpg\t{QUOTED}\n", "blank lines": f"\n\npath,label\n\na.jpg,{QUOTED}\n\n",
}  # fmt: skip


@pytest.mark.parametrize("text", NAMINGS.values(), ids=NAMINGS.keys())
def test_a_list_and_a_file_of_cameras_have_one_naming_of_columns(folder: Path, text: str) -> None:
    (folder / "t.csv").write_bytes(text.encode())
    assert read_cameras(str(folder / "t.csv")) == {"a.jpg": tuple(LABEL)}
    source = open_source(str(folder / "t.csv"))
    (entry,) = source.entries()
    assert np.allclose(load_sidecars(source, entry, (8, 8))["camera"].label(), LABEL)


@pytest.mark.parametrize("value", [{"a.jpg": LABEL}, [["a.jpg", LABEL]], [["a.jpg", {"label": LABEL}]]])
@pytest.mark.parametrize("wrapped", [False, True])
def test_every_form_of_json_is_read_as_cameras_and_as_a_list(folder: Path, value: object, wrapped: bool) -> None:
    (folder / "t.json").write_text("\ufeff" + json.dumps({"labels": value} if wrapped else value))
    assert read_cameras(str(folder / "t.json")) == {"a.jpg": tuple(LABEL)}
    source = open_source(str(folder / "t.json"))
    (entry,) = source.entries()
    assert entry.path == "a.jpg" and np.allclose(load_sidecars(source, entry, (8, 8))["camera"].label(), LABEL)


def test_a_file_of_cameras_may_be_keyed_by_a_path_beside_a_number_of_the_users_own(folder: Path) -> None:
    (folder / "t.csv").write_text(f"id,path,label\n1,a.jpg,{QUOTED}\n0123456789abcdef,b.jpg,{QUOTED}\n")
    assert set(read_cameras(str(folder / "t.csv"))) == {"a.jpg", "0123456789abcdef"}


def test_decimal_commas_are_refused_by_row(folder: Path) -> None:
    (folder / "t.csv").write_text("path;" + ";".join(map(str, range(25))) + "\na.jpg;" + ";".join(["0,5"] * 25) + "\n")
    with pytest.raises(SidecarError, match=r"t.csv, row 1: expected 25 numbers for a label, got \['0,5'"):
        read_cameras(str(folder / "t.csv"))


def test_a_row_with_missing_or_surplus_cells_costs_itself(folder: Path) -> None:
    (folder / "t.csv").write_bytes(b'path,license\na.jpg,CC0\na.jpg\nb.jpg,CC0,x\nb.jpg,\xff\n"b.jpg",CC0\n')
    assert listed(folder / "t.csv") == ["a.jpg", "io_error", "io_error", "io_error", "b.jpg"]
    entries = list(open_source(str(folder / "t.csv")).entries())
    assert [entry.detail.split(":")[0] for entry in entries if isinstance(entry, Refused)] == ["row 2", "row 3", "row 4"]


def test_a_cell_of_any_length_costs_itself(folder: Path) -> None:
    (folder / "t.csv").write_text("path,license\na.jpg," + "x" * 300_000 + "\n" + "y" * 300_000 + ",CC0\nb.jpg,CC0\n")
    assert listed(folder / "t.csv") == ["a.jpg", "io_error", "b.jpg"]


def test_two_columns_of_one_meaning_are_refused_and_an_alias_gives_way(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for head in ("path,path", "file,filename", "license,path,licence,license"):
        (folder / "t.csv").write_text(head + "\n")
        with pytest.raises(SourceError, match="two columns for"):
            open_source(str(folder / "t.csv"))
    (folder / "t.csv").write_text("file_name,path,id\nnone.jpg,a.jpg,7\n")
    assert listed(folder / "t.csv") == ["a.jpg"] and "'file_name' is ignored" in caplog.text
    (entry,) = open_source(str(folder / "t.csv")).entries()
    assert "id" not in entry.sidecar  # a number of the user's own does not make a photograph a finished head
    columns = [pa.array(["a.jpg"]), pa.array(["b.jpg"])]
    pq.write_table(pa.Table.from_arrays(columns, names=["path", "path"]), folder / "t.parquet")
    with pytest.raises(SourceError, match="two columns for path"):
        open_source(str(folder / "t.parquet"))


def test_a_column_named_label_that_holds_no_cameras_is_told_and_ignored(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "t.csv").write_text("path,label\na.jpg,3\nb.jpg,cat\n")
    assert not any("camera" in entry.sidecar for entry in open_source(str(folder / "t.csv")).entries())
    assert "holds no cameras in 2 rows" in caplog.text


def test_parquet_cells_of_any_type_cost_at_most_their_row(folder: Path) -> None:
    table = pa.table({
        "path": pa.array([b"a.jpg", b"b.jpg", b"\xff.jpg", None], pa.binary()),
        "retrieved_at": pa.array([0, 10**14, 0, 0], pa.timestamp("s")),
        "license": pa.array(["CC0", "CC0", "CC0", "CC0"]).dictionary_encode(),
        "camera": pa.array([LABEL, None, None, None], pa.list_(pa.float64())),
    })  # fmt: skip
    pq.write_table(table, folder / "t.parquet")
    entries = list(open_source(str(folder / "t.parquet")).entries())
    assert (
        isinstance(entries[0], SourceImage) and entries[0].rights.license == "CC0" and json.loads(entries[0].sidecar["camera"])
    )
    assert [entry.reason for entry in entries[1:]] == ["io_error"] * 3
    assert "column retrieved_at" in entries[1].detail and entries[2].path == "\udcff.jpg"


def test_names_in_another_unicode_form_or_with_windows_slashes_are_found(folder: Path) -> None:
    (folder / "t.csv").write_text(unicodedata.normalize("NFC", "path\nä/ö.jpg\n") + "d\\e.jpg\nD/E.jpg\n")
    source = open_source(str(folder / "t.csv"))
    first, second, third = source.entries()
    assert source.read(first).decode() == unicodedata.normalize("NFD", "ä/ö.jpg") and source.read(second) == b"d/e.jpg"
    assert isinstance(third, Refused) and third.detail.startswith("row 3: ENOENT")
    (folder / unicodedata.normalize("NFC", "ä")).mkdir()
    (folder / unicodedata.normalize("NFC", "ä") / unicodedata.normalize("NFD", "ö.jpg")).write_bytes(b"")
    first = next(iter(open_source(str(folder / "t.csv")).entries()))
    assert isinstance(first, Refused) and "several files" in first.detail


def test_a_list_of_decomposed_names_finds_composed_ones_on_the_disk(folder: Path) -> None:
    name = unicodedata.normalize("NFC", "ü.jpg")
    (folder / name).write_bytes(b"u")
    (folder / "t.csv").write_text(unicodedata.normalize("NFD", f"path\n{name}\n"))
    (entry,) = open_source(str(folder / "t.csv")).entries()
    assert isinstance(entry, SourceImage) and entry.path == name


HARD_CAMERAS = [
    "[" * 100_000,
    "[" + ",".join(["9" * 400] * 25) + "]",
    '["a"]',
    "[1e999]",
    '{"label": {}}',
    "\ud800",
    "[[1,[2]]]",
    "nul",
]


@pytest.mark.parametrize("value", HARD_CAMERAS, ids=range(len(HARD_CAMERAS)))
def test_a_bad_camera_in_a_cell_refuses_its_own_photograph(folder: Path, value: str) -> None:
    with (folder / "t.csv").open("w", encoding="utf-8", errors="surrogateescape") as file:
        file.write("path;camera\na.jpg;" + value.replace("\ud800", "\udcff") + "\nb.jpg;\n")
    source = open_source(str(folder / "t.csv"))
    first, second = source.entries()
    assert load_sidecars(source, second, (8, 8)) == {}
    if isinstance(first, SourceImage):
        with pytest.raises(Drop, match=r"camera_invalid|sidecar_mismatch"):
            load_sidecars(source, first, (8, 8))


def parquet_seed() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"path": ["a.jpg", "b.jpg"], "camera": [LABEL, None], "license": ["x", "y"]}), file)
    return file.getvalue()


SEEDS = {
    "csv": f"path,label,license\na.jpg,{QUOTED},CC0\nb.jpg,,\n".encode(), "parquet": parquet_seed(),
    "json": json.dumps({"labels": [["a.jpg", LABEL[:3]], ["b.jpg", LABEL]]}).encode(),
    "tsv": f"key\tcamera\na\t{TEXT}\n".encode(),
}  # fmt: skip
PIECES = st.sampled_from(
    [b"[", b"{", b'"', b",", b"\n", b"\xff", b"9" * 400, b"\0", b"labels", b"\\ud800", b"null", b"-", b"NaN"]
)
EDITS = st.lists(st.tuples(st.integers(0, 4000), PIECES | st.binary(min_size=1, max_size=6), st.booleans()), max_size=6)


def survives(folder: Path, kind: str, edits: list[tuple[int, bytes, bool]]) -> None:
    made = bytearray(SEEDS[kind])
    for at, new, over in edits:
        at %= len(made)
        made[at : at + len(new) * over] = new
    path = folder / f"t.{kind}"
    path.write_bytes(made)
    try:
        labels = read_cameras(str(path))
        assert all(len(label) == 25 for label in labels.values())
    except SidecarError as error:
        assert len(str(error)) < 2000 and "object at" not in str(error)
    try:
        source = open_source(str(path))
        for entry in source.entries():
            if isinstance(entry, Refused):
                assert entry.reason in REASONS
                continue
            try:
                load_sidecars(source, entry, (8, 8))
            except Drop as drop:
                assert drop.reason in ("camera_invalid", "sidecar_mismatch")
    except SourceError as error:
        assert "object at" not in str(error)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(SEEDS)), EDITS)
def test_any_table_gives_rows_or_named_errors(tmp_path_factory: pytest.TempPathFactory, kind: str, edits: list) -> None:
    survives(tmp_path_factory.getbasetemp(), kind, edits)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(st.sampled_from(sorted(SEEDS)), EDITS)
def test_ten_thousand_tables_give_rows_or_named_errors(
    tmp_path_factory: pytest.TempPathFactory, kind: str, edits: list
) -> None:
    survives(tmp_path_factory.getbasetemp(), kind, edits)
