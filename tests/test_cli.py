"""The commands do what they say, and leave with the exit codes that the README lists."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from spherehead import __version__, cli
from spherehead.manifests.lock import writer_lock
from spherehead.pipeline.building.request import BuildInterrupted
from spherehead.pipeline.console.describe import describe
from spherehead.pipeline.presets import preset

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = ("frame.size=64", "frame.max_upscale=4", "shard_size=3")
SMALL = ("--preset", "frames", "--engine", "inline", *(word for setting in SETTINGS for word in ("--set", setting)))


def program(words: Sequence[object], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=600, **options)  # type: ignore[call-overload]


def write_pictures(folder: Path, astronaut: np.ndarray, count: int) -> Path:
    folder.mkdir()
    for index in range(count):
        y, x = divmod(index * 37, 400)
        cv2.imwrite(str(folder / f"{index:04d}.jpg"), astronaut[y % 400 : y % 400 + 90, x : x + 100, ::-1])
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    folder = write_pictures(tmp_path_factory.mktemp("cli") / "pictures", astronaut, 8)
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A data set of eight frames, built by the command line."""
    out = tmp_path_factory.mktemp("cli") / "set"
    assert cli.main(["build-dataset", str(pictures), "--out", str(out), *SMALL, "--no-report"]) == 0
    return out


def state_of(folder: Path) -> list[tuple[Path, int]]:
    """Every file with its time of change; readers of the database leave empty -shm and -wal files behind."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.endswith(("-shm", "-wal"))]
    return [(path, path.stat().st_mtime_ns) for path in files]


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "set"))


def commands() -> list[tuple[str, typer.models.CommandInfo]]:
    groups = [("", cli.app), *((f"{group.name} ", group.typer_instance) for group in cli.app.registered_groups)]
    return [(f"{prefix}{command.name}", command) for prefix, group in groups for command in group.registered_commands if group]


def test_help_names_every_command() -> None:
    expected = {
        "build-dataset", "plan", "estimate", "merge", "retry", "forget", "report", "doctor", "presets show", "shards ls",
        "shards show", "shards sheet", "shards verify", "manifest show", "manifest summary", "manifest diff", "manifest verify",
        "models list", "models fetch", "models verify", "convert", "generate", "evaluate", "model show", "model presets",
        "model pack", "train", "render-photographs", "invert", "train-encoder", "view", "mesh", "export",
        "assets list", "assets fetch", "assets verify", "annotators views", "annotators train", "annotators evaluate",
        "annotators export", "annotators add-beards", "annotators adapt", "annotators retrain",
    }  # fmt: skip
    assert {name for name, _ in commands()} == expected


@pytest.mark.parametrize(("name", "command"), commands(), ids=[name for name, _ in commands()])
def test_help_of_each_command_is_a_sentence_and_an_example(name: str, command: typer.models.CommandInfo) -> None:
    text = command.callback.__doc__ or ""
    assert text.split("\n\n")[0].strip().endswith(".")
    assert f"Example: spherehead {name}" in text


def test_help_answers_without_loading_anything_heavy() -> None:
    code = "import sys; from spherehead.cli import main; main(['--help']); print(sorted(sys.modules))"
    loaded = program([sys.executable, "-c", code]).stdout
    assert "Exit codes" in loaded
    for package in ("numpy", "cv2", "torch", "mediapipe", "pandas", "pyarrow", "onnxruntime", "scipy", "yaml"):
        assert f"'{package}'" not in loaded


def test_builds_and_streams_start_without_what_only_some_need() -> None:
    modules = (
        "spherehead.pipeline.building.build",
        "spherehead.pipeline.engines.serving",
        "spherehead.datasets.streaming.loader",
    )
    loaded = program([sys.executable, "-c", f"import sys, {', '.join(modules)}; print(sorted(sys.modules))"]).stdout
    assert all(f"'{name}'" in loaded for name in modules)
    for package in ("torch", "mediapipe", "pandas", "onnxruntime", "scipy.spatial", "scipy.sparse", "matplotlib", "numba"):
        assert f"'{package}'" not in loaded


def test_all_four_ways_to_start_are_the_same_program(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("spherehead")
    for words in (
        [script],
        [sys.executable, "-m", "spherehead"],
        [sys.executable, ROOT / "cli.py"],
        [sys.executable, "cli.py"],
    ):
        done = program([*words, "--version"], cwd=ROOT if words[-1] == "cli.py" else tmp_path)
        assert (done.returncode, done.stdout) == (0, f"spherehead {__version__}\n"), done.stderr


def test_run_as_a_file_it_hides_nobodys_datasets_package(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("")
    watch = "import atexit, importlib.util as u\natexit.register(lambda: print('found', u.find_spec('datasets').origin))\n"
    (tmp_path / "sitecustomize.py").write_text(watch)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = program([sys.executable, "cli.py", "--version"], cwd=ROOT, env=environment)
    assert f"found {tmp_path / 'datasets' / '__init__.py'}" in done.stdout
    plain = program([sys.executable, "-c", "pass"], cwd=ROOT, env=environment)
    assert str(ROOT / "datasets") in plain.stdout, "without the guard the checkout would have hidden it"


def test_file_run_works_with_spawned_workers(pictures: Path, tmp_path: Path) -> None:
    words = [*SMALL, "--engine", "local", "--workers", 1, "--no-report"]
    done = program(
        [sys.executable, ROOT / "cli.py", "build-dataset", pictures, "--out", tmp_path / "set", *words], cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("8 samples in ")


def test_build_says_what_it_made_and_the_same_line_changes_nothing(run, pictures: Path, copied: Path) -> None:
    before = {path.name: path.read_bytes() for path in sorted(copied.glob("*.tar"))}
    again = run("build-dataset", pictures, "--out", copied, *SMALL, "--no-report")
    assert (again.code, again.out[:13]) == (0, "8 samples in ")
    assert "9 inputs in" in again.err and "kept 8" in again.err
    assert {path.name: path.read_bytes() for path in sorted(copied.glob("*.tar"))} == before
    events = [json.loads(line)["event"] for line in (copied / "log.jsonl").read_text().splitlines()]
    assert events.count("finished") == 2


def test_report_is_written_by_the_build_and_on_demand(run, pictures: Path, tmp_path: Path, copied: Path) -> None:
    built = run("build-dataset", pictures, "--out", tmp_path / "new", *SMALL)
    page = Path(built.out.strip().split("report: ")[1])
    assert built.code == 0 and page.is_file() and page.suffix == ".html"
    asked = run("report", copied, "--out", tmp_path / "elsewhere")
    assert asked.code == 0
    assert Path(asked.out.strip().removeprefix("report: ")).is_relative_to(tmp_path / "elsewhere")


def test_plan_says_what_would_run_and_writes_nothing(run, pictures: Path, copied: Path, tmp_path: Path) -> None:
    fresh = run("plan", pictures, "--out", tmp_path / "none", *SMALL)
    assert fresh.code == 0 and not (tmp_path / "none").exists()
    assert fresh.out.startswith("9 inputs: 0 unchanged")
    before = state_of(copied)
    changed = run("plan", pictures, "--out", copied, *SMALL, "--set", "frame.size=32")
    assert changed.code == 0
    assert "64 -> 32" in changed.out
    assert state_of(copied) == before


def test_shards_are_listed_shown_and_drawn(run, finished: Path, tmp_path: Path) -> None:
    listed = run("shards", "ls", finished, "--check")
    assert listed.code == 0
    assert [line.split()[0] for line in listed.out.splitlines()[1:]] == sorted(path.name for path in finished.glob("*.tar"))
    from spherehead.datasets.shards.inspect import find

    sample = find(finished, "")[0]
    shown = run("shards", "show", finished, sample)
    assert shown.code == 0 and f'"id": "{sample}"' in shown.out and f"{sample}.jpg" not in shown.err
    sheet = run("shards", "sheet", finished, "--out", tmp_path / "sheet.png", "--count", 4)
    assert (sheet.code, sheet.out) == (0, f"4 pictures in {tmp_path / 'sheet.png'}\n")
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None


def test_verification_finds_one_changed_byte(run, copied: Path) -> None:
    assert run("shards", "verify", copied, "--deep").code == 0
    assert run("manifest", "verify", copied).code == 0
    shard = min(copied.glob("*.tar"))
    data = bytearray(shard.read_bytes())
    data[700] ^= 1
    shard.write_bytes(bytes(data))
    found = run("shards", "verify", copied)
    assert found.code == 3 and found.err.startswith("error: ") and shard.name in found.err
    assert run("shards", "ls", copied, "--check").code == 3
    assert run("shards", "ls", copied).code == 0
    shard.unlink()
    assert run("shards", "ls", copied).code == 3
    assert run("manifest", "verify", copied).code == 3


def test_manifest_is_shown_summed_up_and_compared(run, pictures: Path, finished: Path, tmp_path: Path) -> None:
    header = json.loads(run("manifest", "show", finished).out)
    assert header["counts"]["inputs"] == 9 and header["recipe"]["shard_size"] == 3
    summed = run("manifest", "summary", finished)
    assert summed.code == 0 and "not_an_image" in summed.out
    assert run("manifest", "diff", finished, finished).code == 0
    assert run("build-dataset", pictures, "--out", tmp_path / "other", *SMALL, "--limit", 4, "--no-report").code == 0
    differing = run("manifest", "diff", finished, tmp_path / "other")
    assert differing.code == 3 and "removed" in differing.out


def test_forget_takes_a_picture_down_for_good(run, pictures: Path, copied: Path) -> None:
    done = run("forget", "0003.jpg", "--out", copied)
    assert done.code == 0 and done.out.startswith("took down 1 rows")
    assert run("shards", "verify", copied, "--deep").code == 0
    again = run("build-dataset", pictures, "--out", copied, *SMALL, "--no-report")
    assert again.out.startswith("7 samples in ")
    assert run("forget", "no such thing", "--out", copied).code == 2


def test_forget_leaves_no_report_that_shows_the_picture(run, copied: Path) -> None:
    page = Path(run("report", copied).out.strip().removeprefix("report: "))
    before = page.read_bytes()
    assert run("forget", "0003.jpg", "--out", copied).code == 0
    assert page.read_bytes() != before


def test_retry_works_again_on_a_reason(run, copied: Path) -> None:
    done = run("retry", "--out", copied, "--reason", "truncated", "--no-report")
    assert done.code == 0
    assert done.out.startswith("0 files with reason truncated")


def test_usage_errors_are_one_line_and_code_2(run, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cases = [
        (("no-such-command",), "No such command"),
        (("build-dataset", pictures), "--out"),
        (("build-dataset", pictures, "--out", out, "--set", "shard_sise=3"), "did you mean 'shard_size'"),
        (("build-dataset", pictures, "--out", out, "--set", "frame.size=big", "--preset", "frames"), "expected int"),
        (("build-dataset", pictures, "--out", out, "--preset", "head"), "did you mean 'heads'"),
        (("build-dataset", tmp_path / "absent", "--out", out, *SMALL), "absent"),
        (("build-dataset", pictures, "--out", out, "--max-memory", "lots"), "4GiB"),
        (("build-dataset", pictures, "--out", out, *SMALL, "--engine", "steam"), "expected an engine"),
        (("build-dataset", pictures, "--out", out, *SMALL, "--device", "gpu"), "expected a device of cpu, cuda or cuda:N"),
        (
            ("build-dataset", pictures, "--out", out, *SMALL, "--engine", "ray", "--device", "cuda:1"),
            "expected a device of cpu or cuda (Ray gives each worker its GPU)",
        ),
        (("build-dataset", pictures, "--out", pictures / "notes.txt", *SMALL), "notes.txt is a file"),
        (("shards", "ls", tmp_path), "no manifest.json"),
        (("shards", "sheet", tmp_path, "--kind", "best"), "expected one of random"),
        (("models", "fetch", "u2nett"), "did you mean 'u2net'"),
        (("retry", "--out", tmp_path, "--reason", "timeout"), "build-dataset"),
    ]
    for words, part in cases:
        result = run(*words)
        assert result.code == 2, (words, result.err)
        told = [line for line in result.err.splitlines() if line.startswith("error: ")]
        assert len(told) == 1 and part in told[0], result.err
    assert not (out / "manifest.json").exists()


def test_folder_of_other_settings_is_refused_with_the_difference(run, pictures: Path, copied: Path) -> None:
    refused = run("build-dataset", pictures, "--out", copied, *SMALL, "--set", "shard_size=5")
    assert refused.code == 2 and '"shard_size": 3' in refused.err and "--update" in refused.err
    assert run("build-dataset", pictures, "--out", copied, *SMALL, "--set", "shard_size=5", "--update", "--no-report").code == 0


def test_locked_folder_is_code_5(run, pictures: Path, copied: Path) -> None:
    with writer_lock(copied / ".state" / "lock"):
        assert run("build-dataset", pictures, "--out", copied, *SMALL).code == 5


def test_nothing_kept_is_code_6(run, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("no picture")
    done = run("build-dataset", tmp_path / "texts", "--out", tmp_path / "out", *SMALL)
    assert done.code == 6 and done.out.startswith("0 samples")


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_stops_a_build_cleanly_and_the_same_line_finishes_it(
    run, signum: signal.Signals, code: int, tmp_path: Path, astronaut: np.ndarray
) -> None:
    folder, out = write_pictures(tmp_path / "many", astronaut, 200), tmp_path / "out"
    words = ["build-dataset", str(folder), "--out", str(out), *SMALL, "--no-report"]
    command = [sys.executable, "-m", "spherehead", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    log = out / "log.jsonl"
    patience = time.monotonic() + 200
    while not (log.is_file() and '"phase": "building"' in log.read_text()):
        assert process.poll() is None and time.monotonic() < patience
        time.sleep(0.005)
    process.send_signal(signum)
    _, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    assert f"error: stopped by {signum.name}; rerun the same command" in err
    assert not (out / "manifest.json").exists()
    assert run(*words).code == 0
    assert run("shards", "verify", out).code == 0


def test_error_codes_belong_to_real_errors() -> None:
    for name, code in cli.ERRORS.items():
        module, _, cls = name.partition(":")
        error = getattr(importlib.import_module(f"spherehead.{module}"), cls)
        assert issubclass(error, Exception)
        assert cli.explain(error("what went wrong")) == (code, "what went wrong")


def test_unexpected_errors_are_code_1_and_debug_shows_the_traceback(
    run, monkeypatch: pytest.MonkeyPatch, finished: Path
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("spherehead.manifests.store.read_header", broken)
    result = run("manifest", "show", finished)
    assert (result.code, result.err) == (
        1,
        "error: internal: ZeroDivisionError: oh; the same command with --debug shows where\n",
    )
    with pytest.raises(ZeroDivisionError):
        run("manifest", "show", finished, "--debug")


def test_interrupted_builds_have_the_codes_of_their_signals() -> None:
    assert cli.explain(BuildInterrupted(signal.SIGINT))[0] == 130
    assert cli.explain(BuildInterrupted(signal.SIGTERM))[0] == 143


def test_preset_can_be_a_file(run, pictures: Path, finished: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(describe(preset("frames").override(SETTINGS)))
    done = run("build-dataset", pictures, "--out", tmp_path / "set", "--preset", file, "--engine", "inline", "--no-report")
    assert done.code == 0
    shards = [{path.name: path.read_bytes() for path in out.glob("*.tar")} for out in (finished, tmp_path / "set")]
    assert shards[0] == shards[1]


def test_head_wear_is_not_made_more_frequent_where_nobody_wears_any(run, tmp_path: Path) -> None:
    told = run("annotators", "views", "--count", 1, "--covered", 2.5, "--out", tmp_path / "views")
    assert told.code == 2 and "--wear" in told.err and not (tmp_path / "views").exists()
