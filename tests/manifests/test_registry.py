"""Registries and plugins: what a user's own module registers is found by name, in every process."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import ClassVar, Literal

import cv2
import numpy as np
import pytest
from spherehead.datasets.shards.codec import decode_image
from spherehead.manifests.config import ConfigError, from_plain, to_plain
from spherehead.manifests.registry import Registry, RegistryError, load_plugins

STAGE = """
from dataclasses import dataclass

import numpy as np
from spherehead.pipeline.stage import OpenStage, Stage, register_stage


@register_stage
@dataclass(frozen=True)
class Grey(Stage):
    name = "grey"
    version = 1
    needs = ("image",)
    gives = ("image",)
    level: int = 99

    def open(self, device="cpu"):
        return OpenGrey(self.level)


class OpenGrey(OpenStage):
    def __init__(self, level):
        self.level = level

    def one(self, sample, rng):
        image = sample.image.copy()
        image[:, :16] = self.level
        yield sample.with_(image=image)
"""


class Shape:
    """A kind of thing that a user may add to."""

    kinds: ClassVar[Registry[type]] = Registry("shape")


@dataclass(frozen=True)
class Ball(Shape):
    """One of them."""

    kind: Literal["ball"] = "ball"
    radius: float = 1.0


Shape.kinds.add("ball", Ball)


def test_a_name_is_taken_once_and_the_same_thing_may_come_again() -> None:
    kinds: Registry[type] = Registry("colour")
    assert kinds.add("red", int) is int and kinds.add("red", int) is int
    with pytest.raises(RegistryError, match=r"the colour 'red' is registered twice: by builtins.int and builtins.str"):
        kinds.add("red", str)
    assert dict(kinds) == {"red": int}


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    kinds: Registry[type] = Registry("colour")
    kinds.add("scarlet", int)
    assert kinds.unknown("scarled").startswith("unknown colour 'scarled'; did you mean 'scarlet'?")


def test_a_field_of_an_open_kind_takes_what_is_registered() -> None:
    holder = make_dataclass("Holder", [("shape", Shape)], frozen=True)
    assert from_plain(holder, {"shape": {"kind": "ball", "radius": 2}}) == holder(Ball(radius=2.0))
    assert to_plain(holder(Ball())) == {"shape": {"kind": "ball", "radius": 1.0}}
    with pytest.raises(ConfigError, match="unknown shape 'bal'; did you mean 'ball'"):
        from_plain(holder, {"shape": {"kind": "bal"}})
    with pytest.raises(ConfigError, match="expected a mapping with a `kind`, one of ball"):
        from_plain(holder, {"shape": {}})


@pytest.mark.parametrize(
    ("text", "message"),
    [("nothing_of_that_name", "ModuleNotFoundError"), ("missing.py", "nothing is there"), ("broken.py", "ValueError: 7")],
)
def test_a_plugin_that_cannot_be_loaded_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "broken.py").write_text("raise ValueError(7)")
    with pytest.raises(RegistryError, match=message):
        load_plugins([str(tmp_path / text) if text.endswith(".py") else text])


def test_a_stage_of_a_users_own_file_runs_in_worker_processes(tmp_path: Path) -> None:
    (tmp_path / "my_grey_stage.py").write_text(STAGE)
    (tmp_path / "photos").mkdir()
    for number in range(4):
        blocks = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), np.kron(blocks, np.ones((16, 16, 1), np.uint8)))
    recipe = {"name": "mine", "stages": [{"stage": "frame", "size": 32}, {"stage": "grey", "level": 77}]}
    (tmp_path / "mine.json").write_text(json.dumps(recipe))
    line = ["build-dataset", "photos", "--out", "set", "--preset", "mine.json", "--workers", "2", "--no-report"]
    command = [sys.executable, "-m", "spherehead", *line, "--plugin", "my_grey_stage.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    with tarfile.open(next((tmp_path / "set").glob("*.tar"))) as shard:
        names = [name for name in shard.getnames() if name.endswith(".jpg")]
        pictures = [decode_image(shard.extractfile(name).read()) for name in names]  # type: ignore[union-attr]
    assert len(pictures) == 4 and all(np.abs(picture[:, :8].astype(int) - 77).max() <= 4 for picture in pictures)
    assert "grey" in (tmp_path / "set" / "manifest.json").read_text()
