"""A cluster gives the bytes of one machine, whatever dies in it, and says what is missing."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from odd_stages import MAGENTA, Odd
from spherehead.datasets.sample import SourceImage
from spherehead.datasets.sources.folder import FolderSource
from spherehead.manifests import store
from spherehead.manifests.config import ConfigError
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.request import BuildRequest, Summary
from spherehead.pipeline.console.progress import Silent
from spherehead.pipeline.engines import ray_bridge, ray_engine, ray_process
from spherehead.pipeline.engines.base import EngineError, Limits, Parent
from spherehead.pipeline.engines.ray_bridge import SOCKETS
from spherehead.pipeline.engines.ray_engine import RayEngine, _check_seen
from spherehead.pipeline.engines.ray_node import Mission
from spherehead.pipeline.execution.environment import environment
from spherehead.pipeline.execution.work import FileResult, Task, WorkOrder
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.frame import Frame


def recipe(*odd: Odd) -> Recipe:
    return Recipe("test", (Frame(size=64, max_upscale=4.0), *odd), shard_size=4)


@pytest.fixture
def pictures(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """Twelve pieces of one photograph, a copy, a text, and a picture that sets odd stages off."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(12):
        y, x = divmod(index * 37, 400)
        cv2.imwrite(str(folder / f"{index}.png"), astronaut[y : y + 90, x : x + 100, ::-1])
    shutil.copy(folder / "3.png", folder / "copy.png")
    (folder / "notes.txt").write_text("no picture")
    picture = np.full((64, 64, 3), MAGENTA, np.uint8)
    picture[20:30] = 0
    cv2.imwrite(str(folder / "magenta.png"), picture[..., ::-1])
    return folder


def digests(out: Path) -> dict[str, str]:
    files = sorted([*out.glob("*.tar"), *(out / name for name in (store.MANIFEST, store.HEADER, store.ORIGINS))])
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run(folder: Path, out: Path, what: Recipe, observer: Silent | None = None, **options: object) -> Summary:
    return build(BuildRequest((str(folder),), out, what, workers=2, **options), observer)


def of_ray() -> list[psutil.Process]:
    """Processes of a cluster that this test has started."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            words = " ".join(process.cmdline())
            if "ray::" in words or "raylet" in words or "gcs_server" in words or "ray_bridge" in words or "ray_node" in words:
                found.append(process)
    return found


class Killer(Silent):
    """Kills what it is told to after some files are done, one after the other."""

    def __init__(self, *whom: str) -> None:
        self.left, self.killed = list(whom), list[str]()

    def done(self, outcome: str, reason: str, seconds: object) -> None:
        if not self.left:
            return
        for process in of_ray():
            with contextlib.suppress(psutil.Error):
                if self.left[0] in " ".join(process.cmdline())[:400]:
                    process.kill()
                    self.killed.append(self.left.pop(0))
                    if not self.left:  # the next connection to the cluster carries every message itself
                        os.environ[SOCKETS] = "0"
                    return


@pytest.mark.slow
def test_a_cluster_that_loses_actor_and_raylet_gives_the_bytes_of_the_local_engine_by_sockets_and_through_ray(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = set()
    reach_by = ray_process.ActorHandle.reach_by
    monkeypatch.setattr(ray_process.ActorHandle, "reach_by", lambda self, route: (routes.add(route), reach_by(self, route)))
    monkeypatch.setenv(SOCKETS, "1")
    killer = Killer("ray::SphereheadWorker", "raylet/raylet")
    run(pictures, tmp_path / "local", recipe(Odd(deed="crash")), engine="local")
    summary = run(pictures, tmp_path / "ray", recipe(Odd(deed="crash")), killer, engine="ray", ray_address="local")
    assert killer.killed == ["ray::SphereheadWorker", "raylet/raylet"] and routes == {"socket", "Ray"}
    assert (summary.counts["kept"], summary.counts["failed"]) == (12, 1)
    assert digests(tmp_path / "ray") == digests(tmp_path / "local")
    until = time.monotonic() + 20
    while of_ray() and time.monotonic() < until:
        time.sleep(0.2)
    assert of_ray() == []
    assert run(pictures, tmp_path / "ray", recipe(Odd(deed="crash")), engine="ray").worked == 0


def test_without_ray_the_message_says_what_to_install(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "ray" else find(name, *more))
    with pytest.raises(ConfigError, match=r"pip install 'spherehead-toolkit\[ray\]' or use --engine local"):
        run(pictures, tmp_path / "out", recipe(), engine="ray")
    assert not (tmp_path / "out").exists()


def test_an_address_without_a_cluster_is_told_while_it_is_waited_for_and_when_it_is_given_up(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ray_engine, "_TOLD_AFTER", 0.5)
    monkeypatch.setattr(ray_engine, "_CONNECT_SECONDS", 2.0)
    monkeypatch.setattr(ray_process, "_CLOSE_SECONDS", 0.1)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # not listening, so that nothing else can answer either
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(
            EngineError, match=rf"Ray at '{address}' did not answer within 2 s .*check that a cluster runs there"
        ):
            run(pictures, tmp_path / "out", recipe(), engine="ray", ray_address=address)
    assert [entry.message for entry in caplog.records if entry.levelname == "WARNING"] == [
        f"no answer from Ray at '{address}' yet, waiting up to 2 s"
    ]
    assert of_ray() == []


def test_a_build_that_ends_while_it_waits_for_a_cluster_leaves_no_process() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        bridge = ray_process.BridgeProcess({"address": address, "paths": [*sys.path]})
        until = time.monotonic() + 60
        while "Connecting to existing" not in bridge.last_words() and time.monotonic() < until:
            time.sleep(0.1)
        assert len(of_ray()) == 1
        bridge.pipe.close()  # as the system does it for a build that is killed; Ray itself tries for minutes
        bridge.process.wait(timeout=20)
        bridge.close()


def test_a_cluster_that_refuses_may_ask_for_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    assert "set RAY_AUTH_MODE=token" in ray_bridge._hint(ConnectionError(), "head:6379")
    assert ray_bridge._hint(ConnectionError(), "local") == ray_bridge._hint(ValueError(), "head:6379") == ""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert ray_bridge._hint(ConnectionError(), "head:6379") == ""


def test_a_build_with_nothing_to_do_starts_no_cluster() -> None:
    def nothing() -> Iterator[Task]:
        yield from ()

    order = WorkOrder((), recipe())
    assert list(RayEngine("nowhere:1").run(order, nothing(), Limits(), Parent())) == []


def test_a_node_with_other_versions_is_refused_by_name() -> None:
    mission = Mission.of(WorkOrder((), recipe()))
    assert mission.differences() == []
    other = Mission(mission.order, {**environment(), "numpy": "0.1"}, mission.keys)
    assert other.differences() == [f"numpy is {np.__version__}, the build has 0.1"]


def test_a_file_that_only_a_node_cannot_read_stops_the_build_and_one_that_nobody_can_is_a_result(pictures: Path) -> None:
    source = FolderSource("pictures", str(pictures))
    order = WorkOrder((source,), recipe())
    image = next(entry for entry in source.entries() if isinstance(entry, SourceImage))
    result = FileResult("", "", "failed", "io_error", "No such file or directory", "read")
    with pytest.raises(EngineError, match="put the sources where every node sees them"):
        _check_seen(order, Task(1, 0, image), result, "head:6379")
    (pictures / image.path).unlink()
    _check_seen(order, Task(1, 0, image), result, "head:6379")
