"""A CSV and a parquet list give the same files, rights and sidecars, and every row is accounted for."""

from __future__ import annotations

import csv
import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from spherehead.datasets.camera import Camera
from spherehead.datasets.sample import Drop, SourceImage
from spherehead.datasets.shards.codec import encode_grey
from spherehead.datasets.sources.base import SourceError
from spherehead.datasets.sources.open import open_source
from spherehead.datasets.sources.sidecars import load_sidecars

LABEL = [float(value) for value in Camera.look_at(0.4, 0.1).label()]


def rows():
    return [
        {"path": "a/ünï, \"quoted\".jpg", "license": "CC BY 4.0", "identity": "p1", "source_url": "https://x.org/1",
         "camera": json.dumps(LABEL), "mask": "m.png"},
        {"path": "b.jpg", "license": "", "identity": "p1", "source_url": "", "camera": "", "mask": ""},
        {"path": "missing.jpg", "license": "", "identity": "", "source_url": "", "camera": "", "mask": ""},
        {"path": "", "license": "", "identity": "", "source_url": "", "camera": "", "mask": ""},
        {"path": "a", "license": "", "identity": "", "source_url": "", "camera": "", "mask": ""},
        {"path": "ftp://x.org/2.jpg", "license": "", "identity": "", "source_url": "", "camera": "", "mask": ""},
        {"path": "b.jpg", "license": "second time", "identity": "", "source_url": "", "camera": "", "mask": "gone.png"},
    ]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / 'ünï, "quoted".jpg').write_bytes(b"first")
    (tmp_path / "b.jpg").write_bytes(b"second")
    (tmp_path / "m.png").write_bytes(encode_grey(np.full((2, 3), 255, np.uint8)))
    with (tmp_path / "list.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows()[0]))
        writer.writeheader()
        writer.writerows(rows())
    pq.write_table(pa.Table.from_pylist(rows()), tmp_path / "list.parquet")
    return tmp_path


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_every_row_is_a_file_or_a_named_refusal_in_the_lists_order(folder, name):
    source = pickle.loads(pickle.dumps(open_source(str(folder / name))))
    entries = list(source.entries())
    kinds = [entry.reason if not isinstance(entry, SourceImage) else source.read(entry) for entry in entries]
    assert kinds == [b"first", b"second", "io_error", "io_error", "special_file", "io_error", b"second"]
    assert entries[2].detail.startswith("row 3: ENOENT") and entries[3].path == "row 4"
    assert (entries[0].rights.license, entries[0].rights.identity, entries[0].rights.source_url) == (
        "CC BY 4.0", "p1", "https://x.org/1",
    )  # fmt: skip
    found = load_sidecars(source, entries[0], (3, 2))
    assert np.allclose(found["camera"].label(), LABEL) and (found["mask"] == 255).all()
    assert load_sidecars(source, entries[1], (3, 2)) == {}
    with pytest.raises(Drop, match=r"sidecar_mismatch: mask 'gone.png' cannot be read"):
        load_sidecars(source, entries[6], (3, 2))


def test_a_camera_may_stand_in_25_columns(folder):
    table = {"file": ["b.jpg", "b.jpg"], "Licence": ["x", "y"]}
    table |= {f"camera_{index}": [value, None] for index, value in enumerate(LABEL)}
    pq.write_table(pa.table(table), folder / "cameras.parquet")
    source = open_source(str(folder / "cameras.parquet"))
    first, second = source.entries()
    assert np.allclose(load_sidecars(source, first, (3, 2))["camera"].label(), LABEL)
    assert "camera" not in second.sidecar and second.rights.license == "y"
    del table["camera_7"]
    pq.write_table(pa.table(table), folder / "cameras.parquet")
    with pytest.raises(SourceError, match="all 25 columns"):
        open_source(str(folder / "cameras.parquet"))


def test_a_misspelt_column_is_pointed_out(folder, caplog):
    (folder / "typo.csv").write_text("path,lisense\nb.jpg,x\n")
    (entry,) = open_source(str(folder / "typo.csv")).entries()
    assert entry.rights.license == "" and "did you mean 'license'" in caplog.text


def test_long_lists_are_streamed_in_order(folder):
    lines = "".join(f"b.jpg,{index}\n" for index in range(60_000))
    (folder / "long.csv").write_text("path,identity\n" + lines)
    entries = open_source(str(folder / "long.csv")).entries()
    assert all(entry.rights.identity == str(index) for index, entry in enumerate(entries))
    assert next(entries, None) is None


def test_a_list_that_is_no_table_says_so(folder):
    (folder / "bad.csv").write_bytes("path\nb.jpg\n".encode("utf-16"))
    with pytest.raises(SourceError, match="UTF-16"):
        open_source(str(folder / "bad.csv"))
    (folder / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(SourceError, match="cannot read the list"):
        open_source(str(folder / "bad.parquet"))
