"""kill -9 at any moment costs time and nothing else."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import odd_stages
import pytest
from spherehead.datasets.shards.verify import verify

SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from odd_stages import Odd
from spherehead.pipeline.building.build import BuildRequest, build
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.frame import Frame
if __name__ == "__main__":
    recipe = Recipe("kill", (Frame(size=64, max_upscale=4.0), Odd(deed="nap")), shard_size=5)
    print(build(BuildRequest((sys.argv[1],), Path(sys.argv[2]), recipe, workers=2)).worked)
"""


def start(script: Path, pictures: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(script), str(pictures), str(out), str(Path(odd_stages.__file__).parent)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def digests(out: Path) -> dict[str, str]:
    files = [*out.glob("*.tar"), out / "manifest.parquet", out / "manifest.json", out / "origins.parquet"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_twenty_kills_then_a_resume_give_the_bytes_of_an_undisturbed_run(tmp_path: Path, astronaut: np.ndarray) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index in range(60):
        y, x = divmod(index * 37, 400)
        cv2.imwrite(str(pictures / f"{index}.png"), astronaut[y : y + 90, x : x + 100, ::-1])
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    calm = start(script, pictures, tmp_path / "calm")
    began = time.monotonic()
    assert calm.communicate()[0].strip() == "60" and calm.returncode == 0
    whole = time.monotonic() - began

    rng = np.random.default_rng(7)
    rounds = 0
    while rounds < 20:
        process = start(script, pictures, tmp_path / "killed")
        try:
            process.wait(timeout=float(rng.uniform(0.1, 1.0)) * whole * 0.6)
        except subprocess.TimeoutExpired:
            # even rounds take the workers down too, odd ones leave them to notice that their parent is gone
            (os.killpg if rounds % 2 == 0 else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
        rounds += 1
    last = start(script, pictures, tmp_path / "killed")
    last.communicate()
    assert last.returncode == 0
    assert digests(tmp_path / "killed") == digests(tmp_path / "calm")
    assert verify(tmp_path / "killed", deep=True) == []
    assert not list((tmp_path / "killed").glob("*.tmp-*"))
