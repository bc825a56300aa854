"""The documentation: its Python runs, its command lines are ones that the program takes, and the site builds strictly."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
import typer
from spherehead.cli import app, hoisted
from spherehead.datasets.camera import Camera
from spherehead.manifests.store import write_json
from spherehead.model.inversion.inverted import FORMAT, RECORD, InversionRecord, InversionSettings, write_parts
from spherehead.model.shipped import shipped
from spherehead.model.store import GENERATOR, load_generator, read_config
from spherehead.model.visualization.views import head_styles, seeded_latents

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"])
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r'title="([^"]+)"')


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Return (language, what stands behind it, text) of a page's fenced blocks, in order."""
    return [match.groups() for match in BLOCK.finditer(page.read_text(encoding="utf-8"))]  # type: ignore[misc]


def command_lines(page: Path) -> list[str]:
    fenced = [text for language, _, text in blocks(page) if language == "bash"]
    indented = re.findall(r"^    (spherehead .*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    lines = [line for text in fenced for line in text.replace("\\\n", " ").splitlines()] + indented
    lines = [re.sub(r"\$\w+", "1", line) for line in lines]  # a scheduler's variables are numbers here
    return [line.split("  #")[0].split(" > ")[0].strip() for line in lines if line.strip().startswith("spherehead ")]


@pytest.fixture
def desk(tmp_path: Path, finished_sets: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the pages assume it: `photos` with some pictures, and the finished data set `heads`."""
    (tmp_path / "photos").mkdir()
    for number in range(4):
        picture = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), np.kron(picture, np.ones((40, 40, 1), np.uint8)))
    finished_sets.build(tmp_path / "heads", size=64)
    own_head(tmp_path / "me")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own_head(out: Path) -> None:
    """Write what `invert --run tiny-64` leaves: here a head that the model drew itself, with nothing tuned."""
    folder = shipped("tiny-64")
    generator = load_generator(folder)
    camera = torch.from_numpy(Camera.look_at(0.3, 0.0).label())[None]
    ws = head_styles(generator, seeded_latents([5], generator.settings.z_dim), None, 1.0)
    parts = write_parts(out, ws.clone(), torch.zeros(generator.settings.w_dim), camera, camera.clone(), {})
    digest = read_config(folder).parts[GENERATOR].sha256
    write_json(out / RECORD, InversionRecord(FORMAT, "tiny-64", digest, "", InversionSettings(), False, "none", parts=parts))


@pytest.mark.parametrize("page", [page for page in PAGES if "```python\n" in page.read_text(encoding="utf-8")], ids=name_of)
def test_python_on_the_pages_runs(page: Path, desk: Path) -> None:
    scope: dict[str, object] = {"__name__": "page"}
    texts = [text for language, behind, text in blocks(page) if language == "python" and not TITLE.search(behind)]
    if page.name == "README.md":  # written for a large set: a few small batches show as much
        texts = [text.replace("range(1000), workers=2", "range(2), workers=0").replace("=256", "=32") for text in texts]
    for text in texts:
        exec(compile(text, name_of(page), "exec"), scope)


@pytest.mark.parametrize("page", [page for page in PAGES if command_lines(page)], ids=name_of)
def test_command_lines_on_the_pages_are_taken_by_the_program(page: Path) -> None:
    for line in command_lines(page):
        words = hoisted(shlex.split(line)[1:])
        while words and words[0] == "--plugin":
            words = words[2:]
        command = typer.main.get_command(app)
        while inner := getattr(command, "commands", None):
            assert words[0] in inner, f"{line}: no command {words[0]}"
            command = inner[words.pop(0)]
            if getattr(command, "invoke_without_command", False) and not words:
                break
        if words or not getattr(command, "commands", None):
            command.make_context("spherehead", list(words))  # raises where an option or argument is wrong


def test_a_stage_a_source_a_volume_and_a_term_are_added_by_following_the_page(desk: Path) -> None:
    page = ROOT / "docs" / "tutorials" / "extending.md"
    done = []
    for language, behind, text in blocks(page):
        title = TITLE.search(behind)
        if title:
            (desk / title[1]).write_text(text)
        elif language == "bash" and "run" in behind:
            command = [sys.executable, "-m", *shlex.split(text)]
            found = subprocess.run(command, cwd=desk, capture_output=True, text=True, timeout=200)
            assert found.returncode == 0, f"{text}\n{found.stdout}\n{found.stderr}"
            done.append(text)
    assert len(done) == 3
    import spherehead

    grey = [sample.image for sample in spherehead.samples("grey")]
    assert len(grey) == 4 and all(int(np.ptp(image.astype(int), axis=2).max()) <= 12 for image in grey)
    assert len(spherehead.read_manifest("squares")) == 5
    config = (desk / "one-plane" / "run.json").read_text()
    assert '"one_plane"' in config and '"mean_colour"' in config and (desk / "one-plane" / "metrics.jsonl").is_file()


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in link and not link.endswith("cli.md"):  # the command line's page is made with the site
                assert (page.parent / link).exists(), f"{name_of(page)} links to {link}"


def test_every_test_in_the_table_of_faults_exists() -> None:
    text = (ROOT / "tests" / "FAULTS.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert {int(re.match(r" (\d+)", row[0])[1]) for row in rows} == set(range(1, 23))  # type: ignore[index]
    for number, _, _, cell in rows:
        names, file = re.findall(r"`([^`]*)`", cell), ""
        assert names, f"no test for fault {number}"
        for name in names:
            file, _, test = name.partition("::") if name.partition("::")[0] else (file, "", name.partition("::")[2])
            code = (ROOT / "tests" / file).read_text(encoding="utf-8")
            assert re.search(rf"^def {test}\(", code, re.MULTILINE), f"fault {number}: no {test} in {file}"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed")
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    reference = tmp_path / "site" / "reference"
    assert "build-dataset" in (reference / "cli" / "index.html").read_text(encoding="utf-8")
    assert 'id="spherehead.datasets.camera.Camera.look_at"' in (reference / "python" / "index.html").read_text(encoding="utf-8")
