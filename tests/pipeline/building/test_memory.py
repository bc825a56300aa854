"""What a build remembers spares work and never changes a set: of any version, however much of it still holds."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spherehead.datasets.shards.verify import verify
from spherehead.manifests import store
from spherehead.manifests.config import canonical_json
from spherehead.pipeline.building import commit
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.memory import state, tables
from spherehead.pipeline.building.memory.tables import packed_row, row_text
from spherehead.pipeline.building.request import BuildRequest, Summary
from spherehead.pipeline.building.takedown import forget
from spherehead.pipeline.execution.work import FileResult
from spherehead.pipeline.presets import STAGES
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.frame import Frame

RECIPE = Recipe("test", (Frame(size=80, max_upscale=1.0),), shard_size=2)


@pytest.fixture
def pictures(pictures: Path, astronaut: np.ndarray) -> Path:
    """One more that is too small, one twice, a text and a hidden file."""
    cv2.imwrite(str(pictures / "small.png"), astronaut[:70, :70, ::-1])
    shutil.copy(pictures / "2.png", pictures / "again.png")
    (pictures / "notes.txt").write_text("no picture")
    (pictures / ".hidden").write_text("hidden")
    return pictures


def run(source: Path, out: Path, what: Recipe = RECIPE, **options: object) -> Summary:
    return build(BuildRequest((str(source),), out, what, **{"engine": "inline", **options}))


def digests(out: Path) -> dict[str, str]:
    names = (store.MANIFEST, store.HEADER, store.ORIGINS)
    files = [*out.glob("*.tar"), *(out / name for name in names), *(out / "quarantine").glob("*/*.jpg")]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def memory(out: Path) -> sqlite3.Connection:
    return sqlite3.connect(out / ".state" / "state.sqlite", isolation_level=None)


def filled(path: Path, count: int) -> state.State:
    """Return a memory of refused heads, as they come from files in no order, some with a digest beside the work key."""
    memory = state.State(path)
    memory.begin()
    for number in range(count):
        key, other = (hashlib.sha256(f"{name}{number}".encode()).hexdigest() for name in ("key", "file"))
        sha256, id = other if number % 3 else key, key[8:24]
        row = canonical_json({"id": id, "sha256": sha256, "head_index": 0, "reason": "no_head", "detail": f"{number}"})
        memory.store(FileResult(key, sha256, "dropped", "no_head", "", "detect", ((id, "dropped", row),)), 1)
        memory.db.execute("INSERT INTO chosen SELECT number, '' FROM contents WHERE work_key=?", (tables.key_of(key),))
    memory.commit()
    return memory


def test_heads_come_by_id_whether_sorted_aside_or_by_their_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = filled(tmp_path / "state.sqlite", 40)
    aside = list(memory.heads())
    monkeypatch.setattr(state, "_SORTED_ASIDE", 0)
    assert list(memory.heads()) == aside and [head[0] for head in aside] == sorted(head[0] for head in aside)
    assert [json.loads(head[3])["id"] for head in aside] == [head[0] for head in aside]
    digests_of = {json.loads(head[3])["detail"]: (head[1], json.loads(head[3])["sha256"]) for head in aside}
    assert len(digests_of) == 40 and all((key == sha256) == (int(n) % 3 == 0) for n, (key, sha256) in digests_of.items())
    memory.close()


def test_a_build_of_the_same_inputs_decides_nothing_anew_and_writes_no_table(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run(pictures, out)
    before = {path: path.stat().st_mtime_ns for path in [*out.glob("*.tar"), *out.glob("*.parquet"), out / store.HEADER]}
    with mock.patch.object(commit, "decide", side_effect=AssertionError("decided anew")):
        second = run(pictures, out)
    assert (second.counts, second.reasons, second.samples, second.num_shards) == (
        first.counts, first.reasons, first.samples, first.num_shards,
    )  # fmt: skip
    assert second.worked == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


def _write(name: str, picture: Callable[[Path], object]) -> Callable[[Path, Path], object]:
    return lambda pictures, _: picture(pictures / name)


def _noise(path: Path) -> None:
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (90, 100, 3), dtype=np.uint8))


CHANGES: dict[str, Callable[[Path, Path], object]] = {
    "a file more": _write("7.png", _noise),
    "a file before all": _write("-.png", _noise),
    "a file less": _write("3.png", Path.unlink),
    "the last file less": _write("small.png", Path.unlink),
    "the first of two equal files less": _write("2.png", Path.unlink),
    "another content": _write("3.png", _noise),
    "a hidden file less": _write(".hidden", Path.unlink),
    "a hidden file more": _write(".more", Path.touch),
    "a name": _write("4.png", lambda path: path.rename(path.with_name("5.png"))),
    "no table of inputs": lambda _, out: (out / store.ORIGINS).unlink(),
    "a changed table of inputs": lambda _, out: (out / store.ORIGINS).write_bytes(b"changed"),
    "no table": lambda _, out: (out / store.MANIFEST).unlink(),
    "a changed table": lambda _, out: (out / store.MANIFEST).write_bytes(b"changed"),
    "no header": lambda _, out: (out / store.HEADER).unlink(),
    "no shard": lambda _, out: next(out.glob("*.tar")).unlink(),
    "a changed shard": lambda _, out: next(out.glob("*.tar")).write_bytes(b"changed"),
    "no memory": lambda _, out: shutil.rmtree(out / ".state"),
    "times": lambda pictures, out: [os.utime(path, ns=(1, 1)) for path in (*pictures.iterdir(), *out.glob("*.*"))],
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_whatever_changes_between_two_builds_the_second_gives_the_bytes_of_a_fresh_one(
    pictures: Path, tmp_path: Path, change: str
) -> None:
    out = tmp_path / "out"
    run(pictures, out)
    run(pictures, out)
    CHANGES[change](pictures, out)
    run(pictures, out)
    run(pictures, tmp_path / "fresh")
    assert digests(out) == digests(tmp_path / "fresh")
    with mock.patch.object(commit, "decide", side_effect=AssertionError("decided anew")):
        run(pictures, out)
    assert verify(out, deep=True) == []


def test_the_state_is_of_a_few_files_whatever_the_number_of_pictures(tmp_path: Path) -> None:
    pictures, counts = tmp_path / "pictures", []
    pictures.mkdir()
    for number in range(40):
        cv2.imwrite(str(pictures / f"{number}.png"), np.full((70, 70, 3), number, np.uint8))  # enlarged, each with a picture
        if number in (0, 39):
            assert run(pictures, tmp_path / "out").counts["dropped"] == number + 1
            counts.append(len([path for path in (tmp_path / "out" / ".state").rglob("*") if path.is_file()]))
    assert counts[0] == counts[1] <= 5


def test_another_recipe_or_library_decides_anew(pictures: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out", RECIPE.override(["splits.salt=another"])
    run(pictures, out)
    run(pictures, out, other, update=True)
    run(pictures, tmp_path / "fresh", other)
    assert digests(out) == digests(tmp_path / "fresh")
    with mock.patch.object(commit, "environment", return_value={"python": "another"}):
        run(pictures, out, other)
    assert store.read_header(out).environment == {"python": "another"}
    run(pictures, out, other)
    assert digests(out) == digests(tmp_path / "fresh")


def test_a_takedown_is_seen_by_the_next_build(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(pictures, out)
    forget(out, "3.png", STAGES)
    before = digests(out)
    assert run(pictures, out).reasons == store.read_header(out).reasons
    assert digests(out) == before
    assert run(pictures, out).counts["kept"] == 4


def test_a_file_that_could_not_be_read_is_tried_again_by_every_build(pictures: Path, tmp_path: Path) -> None:
    from spherehead.datasets.sample import Drop
    from spherehead.datasets.sources.folder import FolderSource

    out, real = tmp_path / "out", FolderSource.read

    def failing(self: FolderSource, image: object) -> bytes:
        if getattr(image, "path", "") == "3.png":
            raise Drop("io_error", "EIO: Input/output error")
        return real(self, image)  # type: ignore[arg-type]

    for _ in range(2):
        with mock.patch.object(FolderSource, "read", failing):
            assert run(pictures, out).counts["failed"] == 1
    assert run(pictures, out).counts["failed"] == 0
    run(pictures, tmp_path / "fresh")
    assert digests(out) == digests(tmp_path / "fresh")


VERSION_1 = """
CREATE TABLE format (version INTEGER);
CREATE TABLE stamps (place BLOB PRIMARY KEY, stamp TEXT, work_key TEXT, sha256 TEXT) WITHOUT ROWID;
CREATE TABLE chains (id INTEGER PRIMARY KEY, keys TEXT UNIQUE);
CREATE TABLE results (
    work_key TEXT PRIMARY KEY, sha256 TEXT, chain INTEGER, outcome TEXT, reason TEXT, detail TEXT, stage TEXT
) WITHOUT ROWID;
CREATE TABLE heads (work_key TEXT, id TEXT, status TEXT, row TEXT, PRIMARY KEY (work_key, id)) WITHOUT ROWID;
CREATE INDEX heads_by_id ON heads (id);
CREATE TABLE shards (name TEXT PRIMARY KEY, fingerprint TEXT, entry TEXT, placed TEXT);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE origins (
    number INTEGER PRIMARY KEY, source INTEGER, label BLOB, path BLOB, place BLOB, num_bytes INTEGER, stamp TEXT,
    rights TEXT, sidecar TEXT, work_key TEXT, sha256 TEXT, outcome TEXT, reason TEXT, detail TEXT
);
CREATE INDEX origins_by_content ON origins (sha256);
CREATE INDEX origins_by_key ON origins (work_key);
CREATE TABLE looks (work_key TEXT, id TEXT, key TEXT, look TEXT, PRIMARY KEY (work_key, id, key)) WITHOUT ROWID;
CREATE TABLE chosen (work_key TEXT PRIMARY KEY, rights TEXT) WITHOUT ROWID;
INSERT INTO format VALUES (1);
"""
"""The tables as commit 327bd8e made them."""


def to_version_1(out: Path, source: Path) -> None:
    """Write a memory anew as version 1 had it."""
    path = out / ".state" / "state.sqlite"
    old = path.with_name("old.sqlite")
    with contextlib.closing(memory(out)) as now, contextlib.closing(sqlite3.connect(old)) as then:
        then.executescript(VERSION_1)
        keys = {number: (key.hex(), (sha or key).hex()) for number, key, sha in
                now.execute("SELECT number, work_key, sha256 FROM contents")}  # fmt: skip
        then.executemany("INSERT INTO chains VALUES (?,?)", now.execute("SELECT id, keys FROM chains"))
        then.executemany(
            "INSERT INTO results VALUES (?,?,?,?,?,?,?)",
            [(*keys[row[0]], *row[1:]) for row in now.execute(
                "SELECT number, chain, outcome, reason, detail, stage FROM contents")],
        )  # fmt: skip
        then.executemany(
            "INSERT INTO heads VALUES (?,?,?,?)",
            [(keys[number][0], id, status, row_text(row, id, keys[number][1])) for number, id, status, row in now.execute(
                "SELECT content, id, status, row FROM heads")],
        )  # fmt: skip
        places = now.execute("SELECT path, stamp, content FROM origins WHERE content IS NOT NULL").fetchall()
        then.executemany(
            "INSERT INTO stamps VALUES (?,?,?,?)",
            [(f"{source.resolve()}\0{name.decode()}\0".encode(), stamp, *keys[number]) for name, stamp, number in places],
        )
        then.executemany(
            "INSERT INTO shards VALUES (?,?,?,?)",
            [(name, print_, entry, json.dumps(json.loads(zlib.decompress(placed))["places"])) for name, print_, entry, placed
             in now.execute("SELECT name, fingerprint, entry, placed FROM shards")],
        )  # fmt: skip
        then.executemany("INSERT INTO facts VALUES (?,?)", now.execute("SELECT name, value FROM facts WHERE name = 'header'"))
        then.commit()
    old.replace(path)


def to_version_2(out: Path) -> None:
    """Change a memory back to what version 2 held."""
    with contextlib.closing(memory(out)) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        rows = db.execute(
            "SELECT h.content, h.id, h.row, coalesce(c.sha256, c.work_key) FROM heads h JOIN contents c ON c.number = h.content"
        ).fetchall()
        for number, id, row, sha in rows:
            whole = packed_row(row_text(row, id, sha.hex()))
            assert whole[:1] == b"x" != row[:1]
            db.execute("UPDATE heads SET row = ? WHERE content = ? AND id = ?", (whole, number, id))
        db.execute(
            "UPDATE origins SET reason = c.reason, detail = c.detail FROM contents c"
            " WHERE c.number = origins.content AND origins.reason IS NULL"
        )
        db.execute("DELETE FROM facts WHERE name IN ('settled', 'origins', 'conflicts')")
        db.execute("UPDATE format SET version = 2")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("change", ["", "a file less", "no shard"])
def test_a_memory_of_an_earlier_version_is_taken_over_without_any_work(
    pictures: Path, tmp_path: Path, version: int, change: str
) -> None:
    out = tmp_path / "out"
    run(pictures, out)
    to_version_1(out, pictures) if version == 1 else to_version_2(out)
    if change:
        CHANGES[change](pictures, out)
    assert run(pictures, out).worked == 0
    run(pictures, tmp_path / "fresh")
    assert digests(out) == digests(tmp_path / "fresh")
    with contextlib.closing(memory(out)) as db:
        assert db.execute("SELECT version FROM format").fetchone() == (tables.VERSION,)
    with mock.patch.object(commit, "decide", side_effect=AssertionError("decided anew")):
        assert run(pictures, out).worked == 0


TEXTS = st.text(max_size=8) | st.sampled_from(["id", "sha256", "", "0123456789abcdef", "ab" * 32, '"id":""', '"sha256":""'])
VALUES = st.recursive(TEXTS | st.integers(), lambda inner: st.dictionaries(TEXTS, inner, max_size=4), max_leaves=8)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(TEXTS, VALUES, max_size=5), st.sampled_from(["0123456789abcdef", ""]), st.sampled_from(["ab" * 32, ""]))
def test_a_packed_row_comes_back_whole_whatever_is_in_it(row: dict[str, object], id: str, sha256: str) -> None:
    for text in (canonical_json(row), canonical_json({**row, "id": id, "sha256": sha256})):
        assert row_text(packed_row(text, id, sha256), id, sha256) == text


def test_a_packed_row_of_a_refused_picture_does_without_what_the_tables_hold() -> None:
    id, sha256 = hashlib.sha256(b"0").hexdigest()[:16], hashlib.sha256(b"1").hexdigest()
    row = {"detail": "enlarged 6.40 > 1.5 times", "head_index": -1, "id": id, "sha256": sha256, "width": 80}
    assert len(packed_row(canonical_json(row), id, sha256)) < len(packed_row(canonical_json(row))) - 50
