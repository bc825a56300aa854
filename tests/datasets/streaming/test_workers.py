"""Streams in worker processes: the same batches whatever their number, after any kill, and an error in place of every hang."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import psutil
import pytest
import stream_helpers
from spherehead.datasets.streaming.loader import DataError, ShardStream, StreamSettings, open_loader

SETTINGS = StreamSettings(batch=4, resolution=16, lanes=4, window=2, piece=2, seed=11)

PROGRAM = """
import sys
sys.path.append(sys.argv[1])
import stream_helpers
from spherehead.datasets.streaming.loader import ShardStream, StreamSettings, open_loader

def main():
    stream = ShardStream([sys.argv[2]], StreamSettings(batch=4, resolution=16, lanes=4, window=2, piece=2, seed=11))
    for batch in open_loader(stream, range(int(sys.argv[3]), 10**9), workers=2):
        print(batch.number, stream_helpers.digest(batch), flush=True)

if __name__ == "__main__":
    main()
"""


def workers_below(process: psutil.Process) -> list[psutil.Process]:
    """Return the processes that make batches: the children of the fork server."""
    servers = [child for child in process.children() if any("forkserver" in part for part in child.cmdline())]
    return [worker for server in servers for worker in server.children()]


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_any_number_of_workers_gives_the_same_batches(stream_set: Path, streams: ModuleType) -> None:
    stream = ShardStream([stream_set], SETTINGS)
    expected = [streams.digest(stream[number]) for number in range(30)]
    for workers in (0, 1, 3):
        assert [streams.digest(batch) for batch in open_loader(stream, range(30), workers)] == expected
    numbers = [29, 3, 3, 17]
    assert [streams.digest(batch) for batch in open_loader(stream, iter(numbers), 2)] == [expected[k] for k in numbers]


def test_a_killed_and_continued_run_sees_what_an_undisturbed_one_sees(
    stream_set: Path, streams: ModuleType, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done: list[str] = []
    command = [sys.executable, str(program), str(Path(stream_helpers.__file__).parent), str(stream_set), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while len(done) < 17:  # in the middle of an epoch of 10
            number, found = process.stdout.readline().split()
            assert int(number) == len(done)
            done.append(found)
        workers = workers_below(psutil.Process(process.pid))
        process.kill()
    assert len(workers) == 2
    assert psutil.wait_procs(workers, timeout=30)[1] == []  # they end with it
    stream = ShardStream([stream_set], SETTINGS)
    done += [streams.digest(batch) for batch in open_loader(stream, range(17, 27), 1)]
    assert done == [streams.digest(stream[number]) for number in range(27)]


def test_a_killed_worker_is_an_error(stream_set: Path) -> None:
    before = set(workers_below(psutil.Process()))
    batches = open_loader(ShardStream([stream_set], SETTINGS), itertools.count(), 2)
    next(batches)
    (set(workers_below(psutil.Process())) - before).pop().send_signal(signal.SIGKILL)
    start = time.monotonic()
    with pytest.raises(DataError, match="a data worker died"):
        for _ in batches:
            pass
    assert time.monotonic() - start < 20


def test_signals_to_the_group_reach_no_worker_before_it_handles_them(stream_set: Path, streams: ModuleType) -> None:
    """The fork server begins with both blocked, which its children inherit; SIGTERM to a worker leaves it seconds to go on."""
    stream, before = ShardStream([stream_set], SETTINGS), set(workers_below(psutil.Process()))
    batches = open_loader(stream, range(12), 2)
    found = [next(batches), next(batches)]  # one of each: before its first batch a worker may have both blocked still
    (server,) = [child for child in psutil.Process().children() if any("forkserver" in part for part in child.cmdline())]
    assert blocked(server) >= {signal.SIGINT, signal.SIGTERM}
    workers = set(workers_below(psutil.Process())) - before
    assert len(workers) == 2 and not any(blocked(worker) & {signal.SIGINT, signal.SIGTERM} for worker in workers)
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    found += batches
    assert [streams.digest(batch) for batch in found] == [streams.digest(stream[number]) for number in range(12)]
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def blocked(process: psutil.Process) -> set[int]:
    """Return the signals that the main thread of a process has blocked (Linux)."""
    line = next(line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith("SigBlk"))
    bits = int(line.split()[1], 16)
    return {number for number in range(1, 65) if bits >> (number - 1) & 1}


def test_workers_begin_with_the_compiled_loop_behind_masks(stream_set: Path, streams: ModuleType) -> None:
    """To read it takes each of them seconds on a busy machine, which counted as time of the first batch."""
    with pytest.raises(DataError, match="compiled for 1 before and 1 after"):
        next(open_loader(streams.Prepared([stream_set], SETTINGS), itertools.count(), 1))


def test_a_stuck_worker_is_an_error(stream_set: Path, streams: ModuleType) -> None:
    batches, came = open_loader(streams.Stuck([stream_set], SETTINGS), itertools.count(), 1, timeout=5.0), []
    with pytest.raises(DataError, match=r"stuck in one batch for 5 s"):
        for batch in batches:
            came.append(batch.number)
    assert came == [0, 1, 2, 3, 4]


def test_errors_of_the_stream_come_out_of_workers_as_they_are(folder: Path, streams: ModuleType) -> None:
    stream, broken = ShardStream([folder], SETTINGS), streams.Broken([folder], SETTINGS)
    for path in folder.glob("*.tar"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"ends at byte 0, expected [\d,]+;") as caught:
        next(open_loader(stream, range(3), 1))
    assert "Traceback" not in str(caught.value)
    with pytest.raises(KeyError, match="a mistake"):
        next(open_loader(broken, range(3), 1))


@pytest.mark.slow
def test_workers_outlive_a_signal_to_the_whole_group(stream_set: Path, streams: ModuleType) -> None:
    stream = ShardStream([stream_set], SETTINGS)
    batches = open_loader(stream, range(40), 2)
    first = [streams.digest(next(batches)) for _ in range(2)]  # one of each worker, so that both have begun
    for worker in workers_below(psutil.Process()):
        os.kill(worker.pid, signal.SIGINT)
        os.kill(worker.pid, signal.SIGTERM)
    rest = [streams.digest(batch) for batch in batches]
    assert [*first, *rest] == [streams.digest(stream[number]) for number in range(40)]


def test_a_loader_that_is_dropped_ends_its_workers(stream_set: Path) -> None:
    before = set(workers_below(psutil.Process()))
    batches = open_loader(ShardStream([stream_set], SETTINGS), itertools.count(), 2)
    next(batches)
    workers = set(workers_below(psutil.Process())) - before
    assert len(workers) == 2
    del batches
    assert psutil.wait_procs(workers, timeout=10)[1] == []
