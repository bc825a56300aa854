"""The rules of the house: who may import whom, what is packaged, and that every reason is real."""

from __future__ import annotations

import ast
import fnmatch
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Set
from pathlib import Path

import pytest
from spherehead.datasets.reasons import REASONS

ROOT = Path(__file__).resolve().parents[1]
LAYERS = {
    "manifests": 0,
    "datasets": 1,
    "pipeline": 2,
    "model": 2,
    "commands": 3,
    "api": 3,
    "cli": 4,
    "__main__": 5,
    "__init__": 5,
}
"""A file may import from lower layers and from its own folder."""
ROOMS = {
    "datasets": ["", "images", "stores", "sources", "sources/remote", "shards", "exchange", "streaming", "report"],
    "pipeline": [
        "stage", "curation", "recipe", "backends", "annotators/faces", "annotators/mattes", "annotators/parsers",
        "annotators/heads", "annotators", "stages", "presets", "console", "execution", "synthetic/assets", "synthetic/face",
        "synthetic/hair", "synthetic/wear", "synthetic/people", "synthetic/rendering", "synthetic/shading",
        "synthetic", "synthetic/scans",
        "synthetic/wild", "engines", "building", "publishing", "estimating",
    ],
    "model": [
        "ops", "nets", "volumes", "volume_rendering", "", "losses", "visualization", "meshes", "evaluation", "annotators",
        "annotators/quality",
        "inversion", "interop", "train", "export", "viewer",
    ],
}  # fmt: skip
"""Folders of a layer, lowest first: a module imports from its own folder and from those before it. A module that lies in the
layer itself is a room of its own where it is named, else of the room ""."""
MOST_MODULES = 14
MOST_LINES, MOST_FUNCTION_LINES = 350, 50
LIGHT = {"numpy", "cv2", "scipy", "pandas", "pyarrow", "PIL", "yaml", "typer", "psutil", "packaging"}
"""Third-party packages that any module may import; all others have one module that wraps them."""
WRAPPERS = {
    "mediapipe": {"pipeline/backends/mediapipe_models.py"},
    "google": {"pipeline/backends/mediapipe_models.py"},
    "onnxruntime": {"pipeline/backends/onnx_session.py", "model/annotators/beards.py", "model/annotators/export.py"},
    "rembg": {"pipeline/backends/rembg_models.py"},
    "face_alignment": {"pipeline/annotators/faces/face_alignment_points.py"},
    "pymatting": {"pipeline/annotators/mattes/closed_form.py"},
    "albumentations": {"pipeline/backends/photometry.py"},
    "imagehash": {"pipeline/curation/perceptual_hash.py"},
    "jinja2": {"datasets/report/report.py"},
    "matplotlib": {"datasets/report/canvas.py", "datasets/report/figures.py"},
    "rich": {"pipeline/console/progress.py"},
    "pillow_heif": {"datasets/images/formats.py"},
    "webdataset": {"datasets/shards/tar.py"},
    "safetensors": {"model/store.py", "model/annotators/checkpoint.py"},
    "numba": {"datasets/compiled.py"},
    "onnx": {"model/annotators/beards.py", "model/annotators/export.py", "model/annotators/published.py"},
    "skimage": {"model/annotators/shown/grounds.py", "model/meshes/surface.py"},
    "fast_simplification": {"model/meshes/surface.py"},
    "xatlas": {"model/meshes/unwrap.py"},
    "mitsuba": {"pipeline/synthetic/rendering/render.py"},
    "mitsuba_oidn": {"pipeline/synthetic/rendering/oidn.py"},
    "viser": {"model/viewer/page.py"},
    "gsplat": {"model/volume_rendering/splats/splats.py"},
    "trimesh": {"model/viewer/server.py", "pipeline/synthetic/scans/meshes.py"},
    "torch": {
        "pipeline/annotators/faces/face_alignment_points.py",
        "pipeline/console/doctor.py",
        "datasets/streaming/batch.py",
        "datasets/streaming/loader.py",
        "datasets/streaming/slots.py",
    },
    "fsspec": {"datasets/shards/storage.py", "datasets/stores/connection.py"},
    "protego": {"datasets/stores/robots.py"},
    "filelock": {"manifests/lock.py"},
    "ray": {"pipeline/engines/ray_bridge.py"},
    "zlib_ng": {"datasets/images/grey_png.py"},
    "simplejpeg": {"datasets/images/jpeg.py"},
    "tifffile": {"datasets/images/tiff_pixels.py"},
    "imagecodecs": {"datasets/images/colour.py"},
}
"""Package -> the modules that may import it; `model` is made of torch and is free to."""
SKIPPED = {"tests", "build", "dist", "demo", "docs"}


def sources(skipped: Set[str] = SKIPPED) -> list[Path]:
    """Every module outside some folders, those too that git does not track yet."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        found = [ROOT / name for name in listed.splitlines()]
    except (OSError, subprocess.CalledProcessError):
        found = [path for path in ROOT.rglob("*.py") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)]
    inside = [path for path in found if path.is_file() and path.relative_to(ROOT).parts[0] not in skipped]
    return sorted(inside)


FILES = sources()
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(tree: ast.AST) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Yield (level, module, names) of every import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", tuple(alias.name for alias in node.names)


def targets(path: Path, level: int, module: str, names: tuple[str, ...]) -> list[str]:
    """Return the top folders inside the package that a relative import reaches."""
    package = list(path.relative_to(ROOT).parts[:-1])
    base = package[: len(package) - (level - 1)]
    full = [*base, *(part for part in module.split(".") if part)]
    return [full[0]] if full else [name for name in names if not name.startswith("__")]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_downwards_and_stay_relative(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for level, module, names in imports(TREES[path]):
        if level == 0:
            assert module.split(".")[0] != "spherehead", f"{name_of(path)} imports spherehead absolutely"
            continue
        for target in targets(path, level, module, names):
            assert target in LAYERS, f"{name_of(path)} imports {target}, which is no folder of the house"
            assert target == own or LAYERS[target] < LAYERS[own], f"{name_of(path)} imports upwards from {target}"


def room_of(parts: tuple[str, ...]) -> int:
    """Return the place of a module, given by its path's parts, among the rooms of its layer."""
    rooms = ROOMS[parts[0]]
    for length in range(len(parts) - 1, 0, -1):
        if (name := "/".join(parts[1 : 1 + length])) in rooms:
            return rooms.index(name)
    assert "" in rooms, f"{'/'.join(parts)} lies in no room of {parts[0]}"
    return rooms.index("")


def modules_reached(path: Path, level: int, module: str, names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the parts of the modules inside the package that a relative import reaches."""
    package = list(path.relative_to(ROOT).parts[:-1])
    base = [*package[: len(package) - (level - 1)], *(part for part in module.split(".") if part)]
    return [tuple(full if ROOT.joinpath(*(full := [*base, name])).with_suffix(".py").is_file() else base) for name in names]


@pytest.mark.parametrize("path", [path for path in FILES if path.relative_to(ROOT).parts[0] in ROOMS], ids=name_of)
def test_rooms_of_a_layer_import_only_from_lower_rooms(path: Path) -> None:
    own = path.relative_to(ROOT).with_suffix("").parts
    for level, module, names in imports(TREES[path]):
        for parts in modules_reached(path, level, module, names) if level else ():
            if parts[:1] == own[:1] and len(parts) > 1:
                assert room_of(parts) <= room_of(own), f"{name_of(path)} imports {'/'.join(parts)} from a higher room"


def test_no_room_is_crowded() -> None:
    counts = Counter(path.parent for path in FILES if path.name != "__init__.py")
    assert {name_of(folder): count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_the_import_rule_sees_a_wrong_import() -> None:
    tree = ast.parse("from ..pipeline.build import build\nfrom ... import model\ndef f():\n    from .codec import x")
    found = [targets(ROOT / "datasets" / "sub" / "x.py", *item) for item in imports(tree)]
    assert found == [["datasets"], ["model"], ["datasets"]]
    assert targets(ROOT / "manifests" / "x.py", 2, "pipeline.build", ("build",)) == ["pipeline"]


def third_party(tree: ast.AST) -> set[str]:
    return {module.split(".")[0] for level, module, _ in imports(tree) if level == 0} - sys.stdlib_module_names - {"__future__"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_third_party_packages_are_imported_by_the_one_module_that_wraps_them(path: Path) -> None:
    top = {name for node in TREES[path].body if isinstance(node, ast.Import | ast.ImportFrom) for name in third_party(node)}
    for package in third_party(TREES[path]) - LIGHT:
        if package == "torch" and path.relative_to(ROOT).parts[0] == "model":
            continue
        assert name_of(path) in WRAPPERS.get(package, set()), (
            f"{name_of(path)} imports {package}, wrapped by {WRAPPERS.get(package)}"
        )
        assert package not in top, f"{name_of(path)} imports {package} at its top; import it inside the function that opens it"


@pytest.mark.parametrize("package", sorted(set(WRAPPERS) - {"torch"}))
def test_every_package_is_imported_by_what_is_said_to_wrap_it(package: str) -> None:
    found = {name_of(path) for path in FILES if package in third_party(TREES[path])}
    assert found == WRAPPERS[package]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_module_opens_with_what_it_is_for(path: Path) -> None:
    text = ast.get_docstring(TREES[path])
    assert (text and text.splitlines()[0].rstrip()[-1] in ".,:;") or "\n" in (text or "")


def lines_of(function: ast.FunctionDef) -> int:
    """Return how many lines of code a function has, without its docstring."""
    first = function.body[0]
    told = (first.end_lineno or 0) - first.lineno + 1 if ast.get_docstring(function) else 0
    return (function.end_lineno or 0) - function.lineno + 1 - told


def test_files_and_functions_stay_readable() -> None:
    files = [*FILES, *sources(SKIPPED - {"tests"})]
    long_files = {name_of(path): count for path in files if (count := len(path.read_text().splitlines())) > MOST_LINES}
    long_functions = {
        f"{name_of(path)}:{node.name}": length
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and (length := lines_of(node)) > MOST_FUNCTION_LINES
    }
    assert (long_files, long_functions) == ({}, {})


def test_package_list_is_whole() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {".".join(["spherehead", *path.relative_to(ROOT).parts[:-1]]) for path in FILES if path.name == "__init__.py"}
    assert set(listed) == found
    assert len(listed) == len(set(listed))
    homeless = {name_of(path) for path in FILES if not (path.parent / "__init__.py").is_file()}
    assert homeless == set()


def test_data_files_are_packaged() -> None:
    globs = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    homes = {path.parent for path in FILES if path.name == "__init__.py"} - {ROOT}
    for path in (file for home in homes for file in home.rglob("*") if file.is_file()):
        if path.suffix in (".py", ".md") or "__pycache__" in path.parts:
            continue
        home = next(parent for parent in path.parents if parent in homes)
        package = ".".join(["spherehead", *home.relative_to(ROOT).parts])
        inside = path.relative_to(home).as_posix()
        assert any(fnmatch.fnmatch(inside, glob) for glob in globs.get(package, [])), f"{name_of(path)} is not packaged"


def refusals(tree: ast.AST) -> Iterator[str]:
    """Yield the literal reasons of Drop("...") and failure("...")."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in calls:
        called = getattr(call.func, "id", getattr(call.func, "attr", ""))
        if called in ("Drop", "failure") and call.args and isinstance(call.args[0], ast.Constant):
            yield str(call.args[0].value)


def test_every_refusal_has_a_listed_reason() -> None:
    found = {(name_of(path), reason) for path, tree in TREES.items() for reason in refusals(tree)}
    assert len(found) > 20
    assert {item for item in found if item[1] not in REASONS} == set()


def test_every_listed_reason_is_used() -> None:
    texts = {
        node.value
        for path, tree in TREES.items()
        if path.name != "reasons.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    quoted = "".join(text for text in texts if "'" in text)  # the statements of the build's database
    assert {reason for reason in REASONS if reason not in texts and f"'{reason}'" not in quoted} == set()


def test_no_path_of_a_machine_and_no_unfinished_work_is_committed() -> None:
    places = re.compile(r"(?<![\w.~}])/(?:" + "|".join(("work", "root", "home", "tmp")) + r")/\w")
    marks = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)))
    texts = [
        *FILES,
        *(ROOT / "tests").rglob("*.py"),
        *ROOT.glob("*.md"),
        *ROOT.glob("*/README.md"),
        ROOT / "Makefile",
        *ROOT.glob(".ci/*"),
    ]
    found = [
        f"{name_of(path)}:{number}"
        for path in texts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if places.search(line) or marks.search(line)
    ]
    assert found == []


WORDS = re.compile(
    "|".join(
        (
            "goes on", "going on with",
            "same line", "bit by bit", "can be prov" + "ed", "promis" + "e", "rival" + "s", "heads of our ow" + "n",
            "judges" + r"\(", "at most so man" + "y", "so man" + "y", "samples of ligh" + "t",
            r"(?<!tandard )(?<!_)\bdeviation of",
        )
    ),
    re.IGNORECASE,
)  # fmt: skip
NAMES = {"Moment", "Habits", "Told", "Endless", "Seen", "Yardstick", "Critic", "CriticSettings"}
"""Words that this project coined, in place of which stand those of the field."""


def test_words_are_those_of_the_field() -> None:
    texts = [
        *FILES,
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob("*.md"),
        *ROOT.glob("*/README.md"),
    ]
    found = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in texts
        if path.name not in ("CHANGELOG.md", "test_house.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if WORDS.search(line)
    ]
    assert found == []
    classes = {node.name for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    assert classes & NAMES == set()


def _page_of(path: Path) -> Path:
    """Return the folder whose README lists a module: the nearest one above it that has a README."""
    return next(folder for folder in path.parents if (folder / "README.md").is_file())


@pytest.mark.parametrize("folder", ["manifests", "datasets", "pipeline", "pipeline/stages", "pipeline/synthetic"])
def test_every_module_has_a_row_on_its_folders_page(folder: str) -> None:
    page = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    modules = [path for path in FILES if path.name != "__init__.py" and _page_of(path) == ROOT / folder]
    rows = set(re.findall(r"^\| `([a-z0-9_/]+)` \|", page, flags=re.MULTILINE))
    assert rows == {path.relative_to(ROOT / folder).with_suffix("").as_posix() for path in modules}
