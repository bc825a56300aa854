"""What is installed is what was tested: requirements are pinned."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_constraints_pin_everything_that_is_required() -> None:
    from packaging.requirements import Requirement

    pins = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {Requirement(text).name.lower().replace("_", "-") for text in wanted}
    assert names - pins == set()
