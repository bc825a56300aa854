from __future__ import annotations

import io
import json
from pathlib import Path

from spherehead.pipeline.console import progress


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_pipe_gets_one_line_every_thirty_seconds() -> None:
    clock, stream = Clock(), io.StringIO()
    lines = progress.LineProgress(stream, now=clock)
    lines.started(1000, 1000)
    for _ in range(91):
        clock.seconds += 1.0
        lines.done("dropped", "no_head")
    assert len(stream.getvalue().splitlines()) == 3
    assert stream.getvalue().splitlines()[0].startswith("building 30/1,000 | 1.0/s (mean 1.0/s) | ETA ")
    clock.seconds += 30.0
    lines.tick()
    assert len(stream.getvalue().splitlines()) == 4
    lines.finished({"inputs": 91, "kept": 0, "dropped": 91, "heads_dropped": 91}, 121.0)
    assert stream.getvalue().splitlines()[-1] == "91 inputs in 02:01: kept 0, dropped 91"


def test_json_log_parses_line_by_line_even_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "out" / "log.jsonl"
    path.parent.mkdir()
    path.write_bytes(b'{"event": "started", "total": 3}\n{"event": "prog')
    clock = Clock()
    log = progress.JsonLog(path, now=clock, wall=clock)
    log.started(3, 2)
    log.phase("building")
    log.done("failed", "truncated", {"decode": 0.25})
    clock.seconds += 11
    log.tick()
    log.message("matte: auto took mediapipe")
    log.finished({"kept": 1, "failed": 1}, 12.0)
    log.close()
    lines = path.read_text().splitlines()
    assert lines[1] == '{"event": "prog'
    events = [json.loads(line) for line in lines[2:]]
    assert [event["event"] for event in events] == ["started", "phase", "progress", "message", "progress", "finished"]
    assert events[2]["reasons"] == {"truncated": 1}
    assert events[2]["stage_seconds"] == {"decode": 0.25}
    assert events[-1] == {"time": 111.0, "event": "finished", "counts": {"kept": 1, "failed": 1}, "seconds": 12.0}


def test_log_is_not_made_before_there_is_something_to_log(tmp_path: Path) -> None:
    progress.JsonLog(tmp_path / "absent" / "log.jsonl").close()
    assert not (tmp_path / "absent").exists()


def test_terminal_shows_rate_reasons_and_a_closing_table() -> None:
    clock, stream = Clock(), io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    terminal = progress.TerminalProgress(stream, now=clock)
    terminal.started(40, 20)
    for _ in range(10):
        clock.seconds += 0.5
        terminal.done("dropped", "no_head")
    terminal.message("a [bracketed] remark")
    terminal.finished({"kept": 3, "dropped": 10}, 5.0)
    terminal.close()
    text = stream.getvalue()
    assert "a [bracketed] remark" in text
    assert "no_head 10" in text
    assert "13 inputs in 5s: kept 3, dropped 10" in text


def test_console_choice_depends_on_the_stream() -> None:
    assert isinstance(progress.for_console(io.StringIO()), progress.LineProgress)


def test_every_call_reaches_every_observer(tmp_path: Path) -> None:
    streams = [io.StringIO(), io.StringIO()]
    both = progress.Several([progress.LineProgress(stream, interval=0.0, now=Clock()) for stream in streams])
    both.started(1, 1)
    both.phase("packing")
    both.done("kept")
    both.tick()
    both.message("hello")
    both.finished({"kept": 1}, 0.0)
    both.close()
    assert streams[0].getvalue() == streams[1].getvalue()
    assert "hello" in streams[0].getvalue()
