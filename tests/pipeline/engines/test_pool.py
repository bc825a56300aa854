"""Every file gets one result from a worker that may have it, whatever the kinds, the order, and the deaths."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from spherehead.datasets.sample import SourceImage
from spherehead.datasets.sources.base import Source
from spherehead.pipeline.engines import ray_engine, task_queue
from spherehead.pipeline.engines.base import EngineError, Limits, Parent
from spherehead.pipeline.engines.pool import WorkerPool
from spherehead.pipeline.engines.task_queue import queues_of
from spherehead.pipeline.engines.worker_handle import Ending, Transport, WorkerHandle
from spherehead.pipeline.execution.work import FileResult, Task, WorkOrder
from spherehead.pipeline.presets import preset


class NoFiles(Source):
    label = "none"

    def entries(self):
        return iter(())

    def read(self, image: SourceImage) -> bytes:
        raise NotImplementedError


ORDER = WorkOrder((NoFiles(),), preset("heads"), device="cuda")


@dataclass
class Tasks:
    """Files of both kinds, those that have a result left out, as a build's memory gives them."""

    kinds: list[bool]
    settled: set[int] = field(default_factory=set)
    read: int = 0

    def __iter__(self) -> Iterator[Task]:
        for number, takes_gpu in enumerate(self.kinds):
            if number not in self.settled:
                self.read += 1
                yield Task(number, 0, SourceImage("none", f"{number}.png", 0), takes_gpu)


@dataclass(eq=False, kw_only=True)
class Hand(WorkerHandle):
    """A worker that does what the transport says."""

    inbox: deque[Any] = field(default_factory=deque)
    is_dead: bool = False

    def send(self, message: Any) -> None:
        self.inbox.append(message)

    def dismiss(self) -> None:
        self.inbox.append(None)

    def kill(self) -> None:
        self.is_dead = True

    def ending(self) -> Ending:
        return Ending("node died", is_lost=True)


class Hands(Transport):
    """Workers that take turns at random and die now and then."""

    def __init__(self, seed: int, deaths: float = 0.0) -> None:
        self.random, self.deaths = random.Random(seed), deaths
        self.living: list[Hand] = []
        self.most: dict[bool, int] = {True: 0, False: 0}
        self.done: list[tuple[bool, Task]] = []
        self.timeouts: list[float] = []

    def start(self, has_gpu: bool) -> WorkerHandle:
        worker = Hand(0.0, has_gpu=has_gpu)
        worker.hired = float("inf")
        self.living.append(worker)
        counts = {kind: sum(hand.has_gpu == kind for hand in self.living) for kind in (True, False)}
        self.most = {kind: max(self.most[kind], counts[kind]) for kind in counts}
        return worker

    def receive(self, timeout: float) -> list[tuple[WorkerHandle, str, Any]]:
        self.timeouts.append(timeout)
        found: list[tuple[WorkerHandle, str, Any]] = []
        for worker in self.random.sample(self.living, len(self.living)):
            if worker.is_dead or (worker.since and self.random.random() < self.deaths):
                self.living.remove(worker)
                found.append((worker, "gone", None))
            elif not worker.since:
                found.append((worker, "ready", None))
            elif worker.inbox:
                task = worker.inbox.popleft()
                if task is None:
                    self.living.remove(worker)
                    found.append((worker, "gone", None))
                    continue
                self.done.append((worker.has_gpu, task))
                found.append((worker, "done", FileResult(str(task.number), "", "kept")))
        return found

    def close(self) -> None:
        self.living.clear()


def run(kinds: list[bool], hands: Hands, workers: int, gpu_workers: int, lack: str = "") -> tuple[list[int], Tasks]:
    tasks = Tasks(kinds)
    queues = queues_of(ORDER, tasks, workers, gpu_workers, lack)
    numbers = []
    for task, result in WorkerPool(hands, queues, Limits(workers), Parent()).run():
        assert result.work_key == str(task.number), result
        tasks.settled.add(task.number)
        numbers.append(task.number)
    return numbers, tasks


@pytest.mark.parametrize("seed", range(12))
def test_every_file_gets_one_result_from_a_worker_that_may_have_it(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_queue, "_LOOK", 5)
    draw = random.Random(seed)
    share = draw.choice([0.0, 0.1, 0.5, 0.9, 1.0])
    kinds = [draw.random() < share for _ in range(draw.randrange(1, 120))]
    workers = draw.randrange(1, 7)
    gpu_workers = draw.randrange(1, workers + 1)
    hands = Hands(seed, deaths=draw.choice([0.0, 0.02]))
    numbers, _ = run(kinds, hands, workers, gpu_workers)
    assert sorted(numbers) == list(range(len(kinds)))
    assert all(has_gpu or not task.takes_gpu for has_gpu, task in hands.done)
    assert hands.most[True] <= gpu_workers and sum(hands.most.values()) <= workers + gpu_workers


def test_files_of_one_kind_do_not_wait_for_thousands_of_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_queue, "_LOOK", 100)
    for first in (True, False):
        hands = Hands(1)
        numbers, tasks = run([first] * 3000 + [not first] * 40, hands, 8, 4)
        last_of_few = max(index for index, number in enumerate(numbers) if number >= 3000)
        assert last_of_few < 400 and tasks.read < 2 * 3040 + 10
        assert hands.timeouts.count(0.0) <= 70  # it does not wait while it still looks for files, and waits otherwise


def test_workers_with_a_gpu_help_with_other_files_once_theirs_are_done() -> None:
    hands = Hands(2)
    run([True] * 10 + [False] * 400, hands, 4, 2)
    helped = [task for has_gpu, task in hands.done if has_gpu and not task.takes_gpu]
    assert 100 < len(helped) < 300


def test_files_without_a_gpu_get_all_workers_where_none_takes_one() -> None:
    hands = Hands(3)
    run([False] * 200, hands, 4, 4)
    assert hands.most == {True: 0, False: 4}


def test_files_that_take_a_gpu_end_the_build_where_there_is_none_and_others_do_not() -> None:
    assert len(run([False] * 30, Hands(4), 2, 0, "no GPU here")[0]) == 30
    with pytest.raises(EngineError, match="no GPU here"):
        run([False] * 30 + [True], Hands(4), 2, 0, "no GPU here")


class LosesAllAtFirst(Hands):
    """Loses every worker that is starting, some times."""

    losses = 0

    def receive(self, timeout: float) -> list[tuple[WorkerHandle, str, Any]]:
        if not self.losses:
            return super().receive(timeout)
        self.losses -= 1
        gone = [(worker, "gone", None) for worker in self.living]
        self.living.clear()
        return gone


def test_workers_that_are_lost_while_starting_come_again_as_often_as_an_engine_connects_again() -> None:
    hands = LosesAllAtFirst(5)
    hands.losses = ray_engine._RECONNECTS
    assert sorted(run([False] * 20, hands, 2, 0)[0]) == list(range(20))
    hands.losses = 20
    with pytest.raises(EngineError, match="workers in a row died while starting"):
        run([False] * 20, hands, 2, 0)
