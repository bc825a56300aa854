"""What a second attack found: sources that raise, takedowns that are stopped or meet, links into the set, no home folder."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from spherehead.cli import main
from spherehead.datasets.exchange.scene_source import open_rig, scene_opener
from spherehead.datasets.exchange.video_source import open_video
from spherehead.datasets.sample import SourceImage
from spherehead.datasets.shards.verify import verify
from spherehead.datasets.sources.base import SCHEMES, Source
from spherehead.manifests import store
from spherehead.manifests.config import ConfigError, user_cache, user_path
from spherehead.model.train.nodes.store import run_folder
from spherehead.pipeline.building import takedown
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.folder import Tombstones
from spherehead.pipeline.building.request import BuildRequest, Summary
from spherehead.pipeline.building.takedown import forget
from spherehead.pipeline.presets import STAGES
from spherehead.pipeline.publishing.place import place_of
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.frame import Frame
from spherehead.pipeline.synthetic.assets.formats import AssetError
from spherehead.pipeline.synthetic.scans.mesh_head import LANDMARKS, read_classes, read_sidecar

RECIPE = Recipe("test", (Frame(size=64, max_upscale=1.0),), shard_size=2)


def run(source: Path | str, out: Path, **options: object) -> Summary:
    return build(BuildRequest((str(source),), out, RECIPE, **{"engine": "inline", **options}))


def told(out: Path) -> dict[str, tuple[str, str, str]]:
    rows = pq.read_table(out / store.ORIGINS).to_pylist()
    return {row["path"]: (row["outcome"], row["reason"], row["detail"]) for row in rows}


class Raising(Source):
    """Pictures of a folder, one of which cannot be read for a reason that no source should have."""

    label = "raising"

    def __init__(self, text: str) -> None:
        self.folder, _, self.kind = text.removeprefix("raising:").rpartition(",")

    def entries(self) -> Iterator[SourceImage]:
        for path in sorted(Path(self.folder).iterdir()):
            sidecar = {"camera": "x"} if path.name == "2.png" and self.kind == "sidecar" else {}
            yield SourceImage(self.label, path.name, path.stat().st_size, "s", sidecar=sidecar)

    def sidecar(self, image: SourceImage, kind: str) -> bytes:
        raise KeyError("a camera")

    def read(self, image: SourceImage) -> bytes:
        if image.path == "2.png" and self.kind != "sidecar":
            raise {
                "null": ValueError("embedded null byte"),
                "system": OSError(5, "Input/output error"),
                "memory": MemoryError(),
            }[self.kind]
        return (Path(self.folder) / image.path).read_bytes()


@pytest.mark.parametrize(
    ("kind", "reason", "detail"),
    [
        ("null", "stage_error", "reading: embedded null byte"),
        ("system", "io_error", "EIO"),
        ("memory", "out_of_memory", "reading"),
        ("sidecar", "stage_error", "reading: 'a camera'"),
    ],
)
def test_whatever_a_source_raises_costs_one_file(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, reason: str, detail: str
) -> None:
    monkeypatch.setattr(SCHEMES, "_items", {**SCHEMES._items, "raising:": Raising})
    assert run(f"raising:{pictures},{kind}", tmp_path / "out").counts["kept"] == 4
    outcome, found, words = told(tmp_path / "out")["2.png"]
    assert (outcome, found) == ("failed", reason) and detail in words


def test_a_takedown_that_is_stopped_anywhere_is_finished_by_the_next_build(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(pictures, tmp_path / "calm")
    forget(tmp_path / "calm", "3.png", STAGES)
    want = sorted((path.name, path.read_bytes()) for path in (tmp_path / "calm").glob("*.tar"))
    for name in ("take_down", "commit", "pack", None):
        out = tmp_path / f"out {name}"
        run(pictures, out)
        with monkeypatch.context() as patch:
            if name == "pack":  # between the two writes of the memory
                patch.setattr(takedown.State, "empty", _stop)
            elif name:
                patch.setattr(takedown, name, _stop)
            if name:
                with pytest.raises(ZeroDivisionError):
                    forget(out, "3.png", STAGES)
        run(pictures, out) if name else forget(out, "3.png", STAGES)
        assert told(out)["3.png"][:2] == ("dropped", "forgotten")
        assert sorted((path.name, path.read_bytes()) for path in out.glob("*.tar")) == want
        assert verify(out, deep=True) == []
        assert run(pictures, out).worked == 0


def _stop(*_: object, **__: object) -> None:
    raise ZeroDivisionError


def test_takedowns_that_meet_are_both_remembered(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another takedown ends between this one's start and its turn to write."""
    run(pictures, tmp_path / "out")
    real = takedown.held

    def late(out: Path) -> object:
        with monkeypatch.context() as patch:
            patch.setattr(takedown, "held", real)
            forget(out, "1.png", STAGES)
        monkeypatch.setattr(takedown, "held", real)
        return real(out)

    monkeypatch.setattr(takedown, "held", late)
    forget(tmp_path / "out", "3.png", STAGES)
    assert len(Tombstones.read(tmp_path / "out").sha256) == 2
    assert run(pictures, tmp_path / "out").counts["kept"] == 3
    assert [name for name, row in told(tmp_path / "out").items() if row[1] == "forgotten"] == ["1.png", "3.png"]


def test_a_link_from_a_source_into_the_set_brings_no_outputs_in(pictures: Path, tmp_path: Path) -> None:
    (pictures / "heads").symlink_to(tmp_path / "out")
    first = run(pictures, tmp_path / "out", follow_links=True)
    (tmp_path / "out" / "report").mkdir()
    cv2.imwrite(str(tmp_path / "out" / "report" / "sheet.png"), np.zeros((90, 90, 3), np.uint8))
    again = run(pictures, tmp_path / "out", follow_links=True)
    assert again.counts["inputs"] == 5 and again.worked == 0 and first.counts["kept"] == again.counts["kept"] == 5


def test_a_home_that_cannot_be_told_is_a_named_error(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build-dataset", "~nobody-of-that-name/x", "--out", str(tmp_path / "out"), "--preset", "frames"]) == 2
    assert "cannot tell the home folder in '~nobody-of-that-name/x'" in capsys.readouterr().err
    for opened, text in ((open_video, "video:~nobody-of-that-name/x"), (open_rig, "rig:~nobody-of-that-name/x"),
                         (scene_opener("colmap:"), "colmap:~nobody-of-that-name/x")):  # fmt: skip
        with pytest.raises(ConfigError, match="~nobody-of-that-name/x"):
            opened(text)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", _no_user)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for ask in (
        lambda: user_path("~/.cache"),
        user_cache,
        lambda: place_of("s3://bucket/heads"),
        lambda: run_folder("s3://b/run"),
    ):
        with pytest.raises(ConfigError, match="set HOME"):
            ask()
    assert main(["build-dataset", str(pictures), "--out", str(tmp_path / "out"), "--preset", "frames", "--engine", "inline",
                 "--no-report", "--set", "frame.size=64"]) == 0  # fmt: skip


def _no_user(_: int) -> None:
    raise KeyError("no such user")


SIDECARS: dict[str, bytes] = {
    "nested": b"[" * 200_000, "digits": b'{"landmarks": ' + b"9" * 5000 + b"}", "empty": b"", "list": b"[1]",
    "half a letter": b'{"license": "\\ud800", "landmarks": {}}', "no text": b"\xff\xfe", "null": b"null",
}  # fmt: skip


@pytest.mark.parametrize("kind", [*SIDECARS, "pipe", "folder"])
def test_a_bad_sidecar_of_a_scan_is_a_refusal(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.json"
    if kind in SIDECARS:
        path.write_bytes(SIDECARS[kind])
    else:
        (os.mkfifo if kind == "pipe" else os.mkdir)(path)
    with pytest.raises(AssetError, match=r"a\.json"):
        read_sidecar(path)
    path.rmdir() if kind == "folder" else path.unlink()
    path.write_text(json.dumps({"landmarks": {name: [float(place), 1.0, 2.0] for place, name in enumerate(LANDMARKS)}}))
    assert read_sidecar(path).landmarks.shape == (4, 3)


@pytest.mark.parametrize("name", ["a\0b", "pipe", "..", "x" * 5000])
def test_a_file_of_classes_that_is_none_is_a_refusal(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AssetError, match="expected one class a line"):
        read_classes(tmp_path / name, 3)
