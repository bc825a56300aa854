"""Work spread over processes: in order, with one thread each, ended by an error or with the process that began it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from spherehead.cli import explain
from spherehead.pipeline.execution.processes import THREADS, in_processes

PROCESS = "__import__('os').getpid()"
"""What `eval`, which every process has, answers with its process."""


def sleep_in(folder: str) -> None:
    Path(folder, str(os.getpid())).touch()
    time.sleep(60)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_whoever_makes_them(workers: int) -> None:
    found = list(in_processes(eval, [f"({number} ** 2, {PROCESS})" for number in range(9)], workers))
    assert [value for value, _ in found] == [number**2 for number in range(9)]
    assert (os.getpid() in {process for _, process in found}) == (workers == 1)


def test_one_input_needs_no_process() -> None:
    assert list(in_processes(eval, [PROCESS], 4)) == [os.getpid()]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_reaches_the_caller_after_the_results_before_it(workers: int) -> None:
    given = in_processes(int, ["1", "2", "three", "4"], workers)
    assert [next(given), next(given)] == [1, 2]
    with pytest.raises(ValueError, match="three"):
        next(given)


def test_a_killed_worker_is_told_with_what_to_do() -> None:
    with pytest.raises(ChildProcessError, match="rerun the command to resume, with fewer workers") as told:
        list(in_processes(eval, ["1", "__import__('os').kill(__import__('os').getpid(), 9)"], 2))
    code, line = explain(told.value)
    assert code == 1 and line.startswith("a worker process was killed")  # not an internal error


def test_workers_compute_with_one_thread_and_the_caller_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS[0], "3")
    monkeypatch.delenv(THREADS[1], raising=False)
    assert list(in_processes(os.getenv, THREADS, 2)) == ["1"] * len(THREADS)
    assert os.environ[THREADS[0]] == "3" and THREADS[1] not in os.environ


def test_workers_end_when_their_caller_is_killed(tmp_path: Path) -> None:
    text = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_processes import in_processes, sleep_in
if __name__ == "__main__":
    list(in_processes(sleep_in, [{str(tmp_path)!r}] * 2, 2))
"""
    script = tmp_path.parent / f"{tmp_path.name}.py"
    script.write_text(text)
    caller = subprocess.Popen([sys.executable, str(script)])
    try:
        begun = time.monotonic()
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < begun + 60:
            time.sleep(0.05)
        workers = [psutil.Process(int(path.name)) for path in tmp_path.iterdir()]
        assert len(workers) == 2 and all(worker.is_running() for worker in workers)
    finally:
        caller.kill()
        caller.wait()
    _, left = psutil.wait_procs(workers, timeout=20)
    for worker in left:
        worker.kill()
    assert not left
