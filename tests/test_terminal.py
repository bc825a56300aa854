"""No name, key, address or message reaches a terminal in a form that it would obey, whichever command prints it."""

from __future__ import annotations

import ast
import io
import json
import logging
import shutil
import sys
import threading
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from odd_stages import MAGENTA, Odd
from spherehead import cli
from spherehead.datasets.shards.inspect import record_text
from spherehead.manifests import terminal
from spherehead.manifests.faults import os_error_line
from spherehead.manifests.store import ManifestError
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.request import BuildRequest
from spherehead.pipeline.console.progress import LineProgress, TerminalProgress
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.frame import Frame

ROOT = Path(__file__).resolve().parents[1]
NASTY = "a\x1b[31m\x1b]0;title\x07\x9b2J\x7f\u202e\nerror: none"
"""Colours, a window's title, a bell, a C1 control, DEL, an override of direction, and a line that looks like ours."""
SMALL = ("--preset", "frames", "--engine", "inline", "--set", "frame.size=64", "--set", "frame.max_upscale=9")


def obeyed(text: str) -> set[str]:
    """Return the characters that a terminal obeys, or that nobody sees; ends of lines are ours."""
    return {char for char in text if not char.isprintable() and char != "\n"}


@given(st.text())
def test_any_text_becomes_one_that_a_terminal_only_shows(text: str) -> None:
    assert obeyed(terminal.escaped(text)) == set() and "\n" not in terminal.escaped(text)
    assert obeyed(terminal.printable_text(text)) == set()
    assert terminal.printable_text(text).count("\n") == text.count("\n")
    if text.isprintable():
        assert terminal.escaped(text) == text


@given(st.dictionaries(st.text(), st.text() | st.lists(st.text()) | st.integers()))
def test_json_for_reading_means_the_same_and_shows_everything(record: dict[str, object]) -> None:
    text = record_text(record)
    assert obeyed(text) == set() and json.loads(text) == record


def test_only_one_function_of_the_commands_prints() -> None:
    files = [ROOT / "cli.py", *sorted((ROOT / "commands").glob("*.py")), *sorted((ROOT / "pipeline" / "console").glob("*.py"))]
    prints = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "typer.echo", "sys.stdout.write"):
                prints.append((file.name, ast.unparse(node)))
    assert {name for name, _ in prints} == {"cli.py", "common.py"} and len(prints) == 2
    assert all("escaped" in call or "printable_text" in call for _, call in prints)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("terminal") / NASTY
    folder.mkdir()
    for index in range(3):
        noise = np.random.default_rng(index).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        encoded = cv2.imencode(".png", cv2.resize(noise, (90 - 30 * (index > 1), 90)))[1]
        (folder / f"{index}{NASTY}.png").write_bytes(encoded.tobytes())
    return folder


@pytest.fixture(scope="module")
def finished(pictures: Path) -> Path:
    """A set whose folder, source and files have names with commands to a terminal."""
    out = pictures.parent / f"out{NASTY}"
    assert cli.main(["build-dataset", str(pictures), "--out", str(out), *SMALL, "--no-report"]) == 0
    return out


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    capsys.readouterr()
    code = cli.main([str(word) for word in words])
    found = capsys.readouterr()
    return code, found.out + found.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("build-dataset {pictures} --out {out}", 0),
        ("plan {pictures} --out {out}", 0),
        pytest.param("report {out}", 0, marks=pytest.mark.slow),
        ("shards ls {out}", 0),
        ("shards show {out} {sample}", 0),
        pytest.param("shards sheet {out} --out {out}/sheet.png", 0, marks=pytest.mark.slow),
        ("shards verify {out}", 0),
        ("manifest show {out}", 0),
        pytest.param("manifest summary {out}", 0, marks=pytest.mark.slow),
        pytest.param("manifest diff {out} {out}", 0, marks=pytest.mark.slow),
        ("manifest verify {out}", 0),
        ("forget {nasty} --out {out}", 2),
        ("retry --out {out} --reason {nasty}", 2),
        ("report {out}{nasty}", 2),
        ("shards verify {out}{nasty}", 3),
        ("build-dataset {pictures}{nasty} --out {out}", 2),
        ("build-dataset {pictures} --out {file}", 2),
        ("presets show {nasty}", 2),
        ("presets show {nasty}.yaml", 2),
        pytest.param("model show {out}{nasty}", 2, marks=pytest.mark.slow),
        pytest.param("train --data {out}{nasty} --out {out}{nasty}", 2, marks=pytest.mark.slow),
        pytest.param("models verify {nasty}", 2, marks=pytest.mark.slow),
        ("{nasty}", 2),
        ("plan --{nasty}", 2),
    ],
)
def test_no_command_prints_a_name_that_a_terminal_obeys(
    words: str, code: int, pictures: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"set{NASTY}"
    shutil.copytree(finished, out)
    (tmp_path / f"file{NASTY}").write_text("in the way")
    sample = "id"
    if "{sample}" in words:
        import pyarrow.parquet as pq

        sample = pq.read_table(out / "manifest.parquet")["id"][0].as_py()
    places = {"pictures": pictures, "out": out, "nasty": NASTY, "file": tmp_path / f"file{NASTY}", "sample": sample}
    line = [word.format(**places) for word in words.split()]
    if words.startswith(("build-dataset", "plan {")):
        line += [*SMALL, *(["--no-report"] if words[0] == "b" else [])]
    found, text = said(capsys, *line)
    assert obeyed(text) == set() and "\nerror: none" not in text, text
    assert (found, "internal" in text) == (code, False), text


def test_what_a_build_tells_of_a_name_is_only_shown() -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    plain, screen = io.StringIO(), Screen()
    LineProgress(plain).message(NASTY)
    assert obeyed(plain.getvalue()) == set()
    told = TerminalProgress(screen)
    told.message(NASTY)
    told.close()
    assert "\\x1b[31m" in screen.getvalue() and "\x1b[31m" not in screen.getvalue()
    assert "\x9b" not in screen.getvalue() and "\x07" not in screen.getvalue() and "\x1b]0" not in screen.getvalue()


def test_log_records_and_errors_of_the_system_are_only_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, logger = io.StringIO(), logging.getLogger()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(logger, "handlers", [])
    terminal.log_to_terminal()
    try:
        raise FileNotFoundError(2, "No such file", NASTY)
    except FileNotFoundError as error:
        logger.warning("stage %s failed on %s", "frame", NASTY, exc_info=True)
        assert obeyed(os_error_line(error)) == set() and "\n" not in os_error_line(error)
    text = stream.getvalue()
    assert obeyed(text) == set() and "WARNING" in text and "Traceback" in text and "\\x1b[31m" in text


def test_the_tracebacks_and_warnings_of_the_program_are_only_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`--debug` lets an error through, and Python prints it, as it prints those of threads and finalisers."""
    for place, name in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook"), (warnings, "formatwarning")):
        monkeypatch.setattr(place, name, getattr(place, name))
    monkeypatch.setattr(sys, "argv", ["spherehead", "manifest", "show", str(tmp_path / NASTY), "--debug"])
    with pytest.raises(ManifestError) as failed:
        cli.main()
    sys.excepthook(failed.type, failed.value, failed.tb)
    thread = threading.Thread(target=int, args=(NASTY,), name=NASTY)
    thread.start()
    thread.join()

    class Finaliser:
        def __del__(self) -> None:
            Path(NASTY).read_bytes()

    Finaliser()
    with warnings.catch_warnings(record=False):
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", lambda *told: sys.stderr.write(warnings.formatwarning(*told[:4])))
        warnings.warn(NASTY, stacklevel=1)
    text = capsys.readouterr().err
    assert text.count("Traceback") == 3 and text.count("\\x1b[31m") >= 4 and "UserWarning" in text
    assert obeyed(text) == set() and "\nerror: none" not in text, text


@pytest.mark.slow
def test_what_workers_log_of_a_name_is_only_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    encoded = cv2.imencode(".png", np.full((90, 90, 3), MAGENTA, np.uint8))[1]
    (tmp_path / "in" / f"{NASTY}.png").write_bytes(encoded.tobytes())
    recipe = Recipe("test", (Frame(size=64), Odd(deed="raise")))
    request = BuildRequest((str(tmp_path / "in"),), tmp_path / "out", recipe, engine="local", workers=1, abort_share=1.1)
    assert build(request).reasons == {"stage_error": 1}
    text = capfd.readouterr().err
    assert "stage odd failed on a\\x1b[31m" in text and obeyed(text) == set()


def test_numbers_of_a_retraining_are_printed_as_json_of_several_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = {"head": {"cards": {"mean_iou": 0.5}}}
    monkeypatch.setattr("spherehead.commands.retraining.retrain", lambda *_: json.dumps(told, indent=1))
    code, text = said(capsys, "annotators", "retrain", "--out", tmp_path)
    assert code == 0 and json.loads(text[: text.rindex("}") + 1]) == told
