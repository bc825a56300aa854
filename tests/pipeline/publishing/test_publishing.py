"""Data sets in an object store: whole or absent there, the bytes of a local build, and nobody else's objects touched."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import fsspec
import numpy as np
import pytest
from faulty_servers import Faults, s3_keys, s3_put, s3_server
from spherehead.cli import main
from spherehead.datasets.stores import retries

OPTIONS = ("--preset", "frames", "--set", "frame.size=64", "--set", "frame.max_upscale=4", "--set", "shard_size=3")
RUN_FILES = re.compile(r"build\.json|run\.json|report/.*")
"""What tells of where and how long a build ran."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven pictures, one too small, one that is none."""
    folder = tmp_path_factory.mktemp("source") / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for index in range(7):
        small = rng.integers(0, 255, (6, 6, 3), np.uint8)
        side = 40 if index == 6 else 80
        cv2.imwrite(str(folder / f"{index}.png"), cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC))
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def local(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set as a folder."""
    out = tmp_path_factory.mktemp("local") / "heads"
    assert main(["build-dataset", str(pictures), "--out", str(out), "--engine", "inline", "--no-report", *OPTIONS]) == 0
    return out


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Faults]:
    monkeypatch.setattr(retries, "PAUSES", (0.01,) * 6)
    monkeypatch.setenv("SPHEREHEAD_STORE_TIMEOUT", "30")
    monkeypatch.setenv("SPHEREHEAD_STORE_PATIENCE", "90")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with s3_server(monkeypatch) as faults:
        yield faults


def build(source: str, out: str, *more: str) -> int:
    return main(["build-dataset", source, "--out", out, "--engine", "inline", "--no-report", *OPTIONS, *more])


def md5s(folder: Path) -> dict[str, str]:
    """Key -> ETag that a store gives the files of a data set."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and ".state" not in path.parts]
    found = {path.relative_to(folder).as_posix(): hashlib.md5(path.read_bytes()).hexdigest() for path in files}
    return {key: f'"{digest}"' for key, digest in found.items() if not RUN_FILES.fullmatch(key) and key != "log.jsonl"}


def stored(faults: Faults, prefix: str = "heads") -> dict[str, str]:
    keys = {key.removeprefix(f"{prefix}/"): tag for key, tag in s3_keys(faults.bucket).items() if key.startswith(f"{prefix}/")}
    return {key: tag for key, tag in keys.items() if not RUN_FILES.fullmatch(key)}


def test_from_bucket_to_bucket_with_failing_requests_nothing_is_lost_and_bytes_are_those_of_a_local_build(
    faults: Faults, pictures: Path, local: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in pictures.iterdir():
        s3_put(f"pictures/{path.name}", path.read_bytes(), faults.bucket)
    s3_put("heads-of-others/x.tar", b"foreign", faults.bucket)
    out = f"s3://{faults.bucket}/heads"
    faults.share, faults.seconds = 0.1, 0.2
    assert build(f"s3://{faults.bucket}/pictures", out) == 0
    assert faults.failed >= 2 and stored(faults) == md5s(local)
    written = faults.requests["PUT"]
    assert build(f"s3://{faults.bucket}/pictures", out) == 0  # the same command again
    assert faults.requests["PUT"] - written <= 2  # run.json, perhaps twice
    assert stored(faults) == md5s(local)
    capsys.readouterr()
    for words in (
        ["shards", "ls", out, "--check"], ["shards", "verify", out, "--deep"], ["manifest", "verify", out],
        ["manifest", "diff", out, str(local)], ["manifest", "summary", out], ["manifest", "show", out],
        ["shards", "sheet", out, "--out", str(local.parent / "sheet.png"), "--count", "2"],
    ):  # fmt: skip
        assert main(words) == 0, (words, capsys.readouterr())


@pytest.mark.slow
def test_another_machine_takes_over_what_the_store_knows_and_uploads_no_equal_shard(
    faults: Faults, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = f"s3://{faults.bucket}/heads"
    first, second = (["--state", str(tmp_path / name)] for name in ("first", "second"))
    assert build(str(pictures), out, *first) == 0
    victim = stored(faults)
    id = next(iter(re.findall(r"[0-9a-f]{16}", capsys.readouterr().out)), "") or _an_id(tmp_path / "first")
    assert main(["forget", id, "--out", out, *first]) == 0
    told = stored(faults)
    assert told != victim and "tombstones.json" in told
    assert build(str(pictures), out, *second) == 0
    assert "taken over" in capsys.readouterr().err and stored(faults) == told  # what was taken down stays down
    (tmp_path / "second" / ".state").rename(tmp_path / "gone")
    assert build(str(pictures), out, "--set", "shard_size=2", *second) == 2  # other settings than the store's
    assert "--update" in capsys.readouterr().err
    shutil.move(tmp_path / "gone", tmp_path / "second" / ".state")
    assert build(str(pictures), out, "--set", "shard_size=2", "--update", *second) == 0
    changed = stored(faults)
    assert build(str(pictures), out, *first) == 2 and "another machine" in capsys.readouterr().err
    assert stored(faults) == changed


def _an_id(folder: Path) -> str:
    from spherehead.manifests.store import read

    return str(read(folder).kept["id"][0])


@pytest.mark.slow
def test_objects_of_others_are_neither_replaced_nor_removed(
    faults: Faults, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = f"s3://{faults.bucket}/heads"
    s3_put("heads/readme.txt", b"mine", faults.bucket)
    assert build(str(pictures), out) == 2 and "readme.txt" in capsys.readouterr().err
    s3_put("heads/train-000000.tar", b"mine too", faults.bucket)
    assert build(str(pictures), out, "--update") == 2 and "train-000000.tar" in capsys.readouterr().err
    assert set(stored(faults)) == {"readme.txt", "train-000000.tar"}
    fsspec.filesystem("s3", use_listings_cache=False).rm_file(f"{faults.bucket}/heads/train-000000.tar")
    assert build(str(pictures), out, "--update") == 0
    s3_put("heads/report/mine.png", b"mine", faults.bucket)
    assert build(str(pictures), out, "--update", "--set", "shard_size=2") == 0
    assert {"heads/readme.txt", "heads/report/mine.png"} < set(s3_keys(faults.bucket))
    s3_put("other/manifest.parquet", b"mine", faults.bucket)
    assert build(str(pictures), f"s3://{faults.bucket}/other", "--update") == 2


@pytest.mark.slow
def test_a_set_is_whole_or_absent_whichever_upload_fails(
    faults: Faults, pictures: Path, local: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from spherehead.datasets.stores.objects import ObjectStore

    out, plain, count = f"s3://{faults.bucket}/heads", ObjectStore.put_file, [0]
    assert build(str(pictures), out) == 0
    whole = stored(faults)

    def failing(store: ObjectStore, key: str, file: Path) -> object:
        count[0] -= 1
        if count[0] < 0:
            raise retries.StoreUnavailable(f"{key}: gone")
        return plain(store, key, file)

    monkeypatch.setattr(ObjectStore, "put_file", failing)
    for number in range(5):
        count[0] = number
        size = "2" if number % 2 == 0 else "3"
        assert build(str(pictures), out, "--set", f"shard_size={size}", "--update") == 2
        assert "manifest.json" not in stored(faults) or stored(faults) == whole
    count[0] = 99
    assert build(str(pictures), out, "--update") == 0 and stored(faults) == whole == md5s(local)


@pytest.mark.slow
def test_a_store_that_dies_during_a_build_ends_it_in_time_and_the_same_command_resumes(
    faults: Faults, pictures: Path, local: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in pictures.iterdir():
        s3_put(f"pictures/{path.name}", path.read_bytes(), faults.bucket)
    monkeypatch.setenv("SPHEREHEAD_STORE_PATIENCE", "0.5")
    out = f"s3://{faults.bucket}/heads"
    faults.only, faults.dead = ".png", True
    assert build(f"s3://{faults.bucket}/pictures", out, "--workers", "1") == 4
    assert "rerun the same command" in capsys.readouterr().err and not stored(faults)
    faults.dead = False
    faults.planned["expired"] = 9
    assert build(f"s3://{faults.bucket}/pictures", out, "--workers", "1") == 4
    assert "credentials" in capsys.readouterr().err
    faults.planned.clear()
    assert build(f"s3://{faults.bucket}/pictures", out, "--workers", "1") == 0 and stored(faults) == md5s(local)


def test_a_place_that_cannot_be_written_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for out in ("https://x.org/heads", "s3://", "s3:///heads", "ftp://x/y"):
        assert build(str(tmp_path), out) == 2 and "--out" in capsys.readouterr().err
    assert build(str(tmp_path), str(tmp_path / "x"), "--state", str(tmp_path)) == 2
    assert not list(tmp_path.iterdir())
