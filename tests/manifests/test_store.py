"""Files are whole or absent, and equal rows give equal bytes."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from spherehead.manifests import store
from spherehead.manifests.schema import COLUMNS, SCHEMA_VERSION, flatten, schema_for, to_table

ROWS = [
    {"id": "a", "status": "kept", "camera": [1.0] * 25, "scores": {"blur": 0.5}, "notes": {"pose_source": "mesh"}},
    {"id": "b", "status": "dropped", "reason": "no_head", "value": 0.25},
]


def test_an_exception_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    store.write_bytes(tmp_path / "f", b"old")
    with pytest.raises(RuntimeError), store.writing(tmp_path / "f") as file:
        file.write(b"new, unfinished")
        raise RuntimeError
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("f", b"old")]


def test_what_killed_processes_left_of_a_file_goes_with_the_next_attempt_and_nothing_else(tmp_path: Path) -> None:
    words = "import os, signal, sys; from pathlib import Path; from spherehead.manifests import store\n"
    words += "with store.writing(Path(sys.argv[1])) as file: file.write(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    process = subprocess.run([sys.executable, "-c", words, tmp_path / "page.html"], check=False)
    assert process.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(f"page.html{store.TEMPORARY}")
    theirs = [
        f"page.html{store.TEMPORARY}{os.getpid()}0000000", f"page.html{store.TEMPORARY}x", f"page.html{store.TEMPORARY}\u00b2",
        f"other.html{store.TEMPORARY}7", f"page.html{store.TEMPORARY}", f"{store.TEMPORARY}7", f"page.html{store.TEMPORARY}1",
        f"page.html{store.TEMPORARY}6000000000",
    ]  # fmt: skip
    for name in theirs:
        (tmp_path / name).write_text("somebody's")
    (tmp_path / f"page.html{store.TEMPORARY}4000001").mkdir()
    (tmp_path / f"page.html{store.TEMPORARY}4000002").symlink_to(tmp_path / theirs[3])
    os.mkfifo(tmp_path / f"page.html{store.TEMPORARY}4000003")
    held = tmp_path / f"page.html{store.TEMPORARY}4000004"  # a process of another machine that still writes
    with held.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = set(tmp_path.iterdir())
        store.write_bytes(tmp_path / "page.html", b"whole")
    assert set(tmp_path.iterdir()) == (before - {left}) | {tmp_path / "page.html"}
    assert all((tmp_path / name).read_text() == "somebody's" for name in theirs)
    store.write_bytes(tmp_path / "page.html", b"again")
    assert not held.exists()


def test_equal_rows_give_equal_parquet(tmp_path: Path) -> None:
    schema = schema_for(["blur"], ["pose_source"])
    rows = [flatten(row) for row in ROWS]
    first = store.write_table(tmp_path / "1.parquet", [to_table(rows, schema)], schema)
    second = store.write_table(tmp_path / "2.parquet", [to_table(rows, schema)], schema)
    assert first == second == store.file_sha256(tmp_path / "1.parquet")
    read = pq.read_table(tmp_path / "1.parquet").to_pylist()
    assert read[0]["camera"] == [1.0] * 25 and read[0]["score_blur"] == 0.5 and read[0]["note_pose_source"] == "mesh"
    assert read[1]["reason"] == "no_head" and read[1]["camera"] is None
    assert set(read[0]) == {*COLUMNS, "score_blur", "note_pose_source"}


def test_a_field_that_is_no_column_is_refused() -> None:
    with pytest.raises(KeyError, match="colour"):
        flatten({"id": "a", "colour": "red"})


def _header(**changes: object) -> dict[str, object]:
    header = store.Header(SCHEMA_VERSION, "0", {}, {}, {}, {}, {}, (), "0" * 64)
    return {**header.__dict__, **changes}


def test_header_comes_back(tmp_path: Path) -> None:
    entry = store.ShardEntry("train-000000.tar", "train", 3, 10240, "f" * 64)
    header = store.Header(SCHEMA_VERSION, "0.1", {"a": 1}, {}, {"numpy": "2"}, {"kept": 3}, {}, (entry,), "0" * 64)
    store.write_json(tmp_path / store.HEADER, header)
    assert store.read_header(tmp_path) == header


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no manifest.json"),
        ("{", "no JSON"),
        (json.dumps(_header(schema_version=99)), "schema version 99"),
        (json.dumps(_header(surprise=1)), "unknown field 'surprise'"),
    ],
)
def test_a_bad_header_is_named(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / store.HEADER).write_text(text)
    with pytest.raises(store.ManifestError, match=message):
        store.read_header(tmp_path)
