"""Every error that the package words for a person leaves the program with a code of its own."""

from __future__ import annotations

import ast
import builtins
from pathlib import Path

from spherehead import cli

ROOT = Path(__file__).resolve().parents[1]
CAUGHT = {
    "Drop", "PassingFault", "TableError", "RepeatedKeys", "ZipError", "GithubError", "NpmError", "PypiError",
    "BuildInterrupted", "TrainInterrupted", "NotFinite",
}  # fmt: skip
"""Errors that whoever calls turns into another, or that `explain` knows by their signal."""


def test_every_error_of_the_package_has_an_exit_code() -> None:
    known = {name.rpartition(":")[2] for name in cli.ERRORS} | CAUGHT
    builtin = {name for name in vars(builtins) if name.endswith(("Error", "Exception"))}
    found: dict[str, str] = {}
    for room in ("manifests", "datasets", "pipeline", "model", "commands"):
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_bytes())):
                is_public = isinstance(node, ast.ClassDef) and not node.name.startswith("_")
                if is_public and any(isinstance(base, ast.Name) and base.id in builtin for base in node.bases):
                    found[node.name] = str(path.relative_to(ROOT))
    assert len(found) > 30 and {name: where for name, where in found.items() if name not in known} == {}
