"""Estimates of large builds follow from what was measured, by formulas that hold for any size."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from spherehead.cli import main
from spherehead.datasets.stores.retries import PAUSES
from spherehead.manifests.config import ConfigError
from spherehead.pipeline.engines import ray_engine
from spherehead.pipeline.engines.base import Limits, Parent
from spherehead.pipeline.engines.inline import InlineEngine
from spherehead.pipeline.estimating import simulation
from spherehead.pipeline.estimating.measured import BASE_MEMORY, ROW_MEMORY, Measured, measure
from spherehead.pipeline.estimating.simulation import Cluster, Store, simulate
from spherehead.pipeline.execution.work import FileResult, Task, WorkOrder

MEASURED = Measured(0.2, 10.0, 0.001, 0.0001, 400_000, 50_000, 100e6, 1000, 500)
HOUR = 3600.0


def test_a_calm_cluster_takes_the_time_of_its_workers_and_of_the_main_process() -> None:
    found = simulate(100_000, MEASURED, Cluster(4, 8, price=2.0), Store())
    assert found.seconds == pytest.approx(10 + 100_000 * 0.2 / 32 + 100_000 * 0.001)
    assert found.node_seconds == pytest.approx(5 * found.seconds)  # four nodes, and the one with the main process
    assert found.cost == pytest.approx(found.node_seconds / HOUR * 2)
    assert found.memory == BASE_MEMORY + 100_000 * ROW_MEMORY and found.disk == 100_000 * (1000 + 50_000)
    assert (found.losses, found.repeated, found.unread, found.reads, found.limit) == (0, 0.0, 0.0, 100_000, "workers")


@pytest.mark.parametrize(("share", "seconds"), [(0.1, 600.0), (1.0, 1200.0)])
def test_nodes_that_are_lost_slow_a_build_by_the_share_of_time_that_they_are_away(share: float, seconds: float) -> None:
    cluster = Cluster(200, 8, losses=share, return_seconds=seconds)
    calm = simulate(10**8, MEASURED, dataclasses.replace(cluster, losses=0.0), Store())
    found = simulate(10**8, MEASURED, cluster, Store(), seed=1)
    away = share / HOUR * seconds  # a node works 1 / losses and is away for return_seconds, by turns
    work, still = found.working_seconds - 10, calm.working_seconds - 10
    assert work / still == pytest.approx(1 + away, rel=0.02)
    assert found.losses == pytest.approx(200 * work / HOUR * share / (1 + away), rel=0.1)
    assert found == simulate(10**8, MEASURED, cluster, Store(), seed=1) != simulate(10**8, MEASURED, cluster, Store(), seed=2)


def test_failing_requests_are_counted_with_their_tries_and_pauses() -> None:
    store, cluster = Store(latency=0.05, failing=0.05, get_price=0.4), Cluster(1, 1)
    found = simulate(1000, MEASURED, cluster, store)
    random, tries, waited, unread = np.random.default_rng(0), 0, 0.0, 0
    for _ in range(200_000):  # the plain twin: one object after the other
        for pause in (*PAUSES, None):
            tries += 1
            if random.random() >= 0.05:
                break
            waited += pause or 0.0
            unread += pause is None
    assert found.reads / 1000 == pytest.approx(tries / 200_000, rel=0.005)
    each = 0.2 + 0.05 * tries / 200_000 + waited / 200_000
    assert found.working_seconds - 10 == pytest.approx(1000 * each, rel=0.005)
    assert found.unread == pytest.approx(1000 * 0.05**7) and unread <= 1
    assert found.cost == pytest.approx(found.reads * 0.4 / 1000)


def test_what_sets_the_speed_and_what_breaks_is_told() -> None:
    narrow = simulate(10**6, MEASURED, Cluster(10, 8), Store(bandwidth=40e6))
    assert narrow.limit == "bandwidth of the store" and any("3 of 10 nodes are enough" in line for line in narrow.breaks)
    assert narrow.working_seconds - 10 == pytest.approx(10**6 * 400_000 / 40e6)
    wide = simulate(10**9, MEASURED, Cluster(10_000, 16), Store())
    assert wide.limit == "main process" and wide.working_seconds - 10 == pytest.approx(10**9 * 0.0001)
    assert [word in " ".join(wide.breaks) for word in ("memory", "disk", "lists, decides and packs alone")] == [True] * 3
    assert simulate(1000, MEASURED, Cluster(1, 8), Store()).breaks == ()


def test_impossible_numbers_are_refused() -> None:
    for cluster, store in ((Cluster(0, 1), Store()), (Cluster(1, 1), Store(failing=1.0)), (Cluster(1, 1, losses=-1), Store())):
        with pytest.raises(ValueError, match="expected"):
            simulate(10, MEASURED, cluster, store)


@pytest.mark.parametrize("workers", [1, 4])
def test_what_a_build_takes_once_is_not_counted_for_each_photograph(tmp_path: Path, workers: int) -> None:
    count, load, each, listing, packing = 20, 7.5, 0.12, 0.004, 0.01

    def finished(photographs: int) -> float:
        """Write the records of a build with these costs and return its seconds."""
        building = load + photographs * each / workers
        at = (0.0, listing * photographs, listing * photographs + building)
        end = at[2] + packing * photographs
        stages = {"pose": {"seconds": workers * load + photographs * each, "count": photographs}}
        opening = {"count": workers, "seconds": workers * (load + each)}
        run = {"stages": stages, "opening": opening, "worked": photographs, "inputs": photographs, "workers": workers}
        (tmp_path / "run.json").write_text(json.dumps(run))
        phases = zip(("listing", "building", "deciding and packing"), at, strict=True)
        events = [{"event": "phase", "phase": phase, "time": time} for phase, time in phases]
        (tmp_path / "log.jsonl").write_text(
            "".join(f"{json.dumps(row)}\n" for row in [*events, {"event": "finished", "time": end}])
        )
        return end

    truth = finished(60)
    finished(count)
    found = measure(tmp_path)
    assert (found.worker_seconds, found.start_seconds) == (pytest.approx(each), pytest.approx(load))
    assert simulate(60, found, Cluster(1, workers), Store()).seconds == pytest.approx(truth)


def test_a_build_is_read_as_it_was_and_one_that_was_resumed_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (96, 96, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), pixels)
    words = [
        "build-dataset",
        str(tmp_path / "photos"),
        "--out",
        str(tmp_path / "set"),
        "--preset",
        "frames",
        "--engine",
        "inline",
    ]
    words += ["--workers", "1", "--no-report", "--set", "frame.size=64"]
    assert main(words) == 0
    run = json.loads((tmp_path / "set" / "run.json").read_text())
    found = measure(tmp_path / "set")
    files = [path.stat().st_size for path in (tmp_path / "photos").iterdir()]
    assert found.photographs == 3 and found.input_bytes == pytest.approx(sum(files) / 3)
    spent, opening = sum(stage["seconds"] for stage in run["stages"].values()), run["opening"]
    assert opening["count"] == 1  # the one worker's first
    assert found.worker_seconds == pytest.approx((spent - opening["seconds"]) / 2, abs=1e-5)
    assert found.output_bytes == sum(path.stat().st_size for path in (tmp_path / "set").glob("*.tar")) / 3
    again = simulate(3, found, Cluster(1, 1), Store()).seconds
    assert 0.3 * run["wall_seconds"] < again < 1.05 * run["wall_seconds"] + 0.05
    capsys.readouterr()
    assert main(["estimate", str(tmp_path / "set"), "--photographs", "1000000", "--nodes", "16", "--losses", "0.05"]) == 0
    assert "1,000,000 photographs on 16 nodes of 16 workers" in capsys.readouterr().out
    (tmp_path / "photos" / "more.png").write_bytes((tmp_path / "photos" / "0.png").read_bytes() + b"more")
    assert main(words) == 0
    with pytest.raises(ConfigError, match="worked on 1 of its 4 photographs"):
        measure(tmp_path / "set")
    with pytest.raises(ConfigError, match="no finished build"):
        measure(tmp_path)


class Seven(InlineEngine):
    """An engine that decides how many workers there are, as Ray does by the CPUs of its cluster."""

    def __init__(self, address: str) -> None:
        self.address = address

    def run(self, order: WorkOrder, tasks: Iterable[Task], limits: Limits, parent: Parent) -> Iterator[tuple[Task, FileResult]]:
        parent.note_workers(7)
        yield from super().run(order, tasks, limits, parent)


def test_a_build_whose_engine_decided_the_number_of_workers_can_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "RayEngine", Seven)
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "0.png"), np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8))
    photos, out = str(tmp_path / "photos"), str(tmp_path / "set")
    options = ["--preset", "frames", "--set", "frame.size=64", "--engine", "ray", "--no-report"]
    assert main(["build-dataset", photos, "--out", out, *options]) == 0
    assert json.loads((tmp_path / "set" / "run.json").read_text())["workers"] == 7
    assert measure(tmp_path / "set").photographs == 1


def test_nodes_that_are_lost_faster_than_they_work_are_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "_MOST_EVENTS", 100)
    with pytest.raises(ConfigError, match="they are lost faster than they work; lower --losses"):
        simulate(10**6, MEASURED, Cluster(4, 8, losses=1e9), Store())
