"""Mitsuba's variants: a choice is settled by probes that cannot hurt, and what was chosen is recorded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from spherehead.manifests.config import ConfigError
from spherehead.pipeline.synthetic import render
from spherehead.pipeline.synthetic.mesh_source import MeshSource
from spherehead.pipeline.synthetic.source import parse

pytest.importorskip("mitsuba", reason="mitsuba is not installed")
sys.path.append(str(Path(__file__).parent))
import scans


@pytest.mark.parametrize(
    ("running", "works", "chosen"),
    [
        ("", ("llvm_ad_rgb", "cuda_ad_rgb"), "cuda_ad_rgb"),
        ("", ("llvm_ad_rgb",), "llvm_ad_rgb"),
        ("", (), "scalar_rgb"),
        ("llvm_ad_rgb", ("cuda_ad_rgb",), "llvm_ad_rgb"),
    ],
)
def test_auto_is_the_fastest_that_runs(
    monkeypatch: pytest.MonkeyPatch, running: str, works: tuple[str, ...], chosen: str
) -> None:
    monkeypatch.setattr(render, "_running", lambda: running)
    monkeypatch.setattr(render, "usable", lambda variant: variant in works)
    assert render.resolve("auto") == chosen
    for variant in render.VARIANTS:
        assert render.resolve(variant) == variant


def test_the_default_is_the_variant_that_runs_everywhere() -> None:
    assert parse("makehuman:").variant == "scalar_rgb"
    assert parse("makehuman:variant=auto").variant == "auto"
    with pytest.raises(ConfigError, match="auto, scalar_rgb"):
        parse("makehuman:variant=automatic")


def test_what_auto_means_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source says the variant that it renders with, and has the stamp of that variant, not of the word."""
    scans.save(scans.coloured(), tmp_path / "a.ply")
    monkeypatch.setattr(render, "usable", lambda variant: False)
    text = f"mesh:{tmp_path},views=1,size=64,samples=1"
    chosen, told = MeshSource(f"{text},variant=auto"), MeshSource(f"{text},variant=scalar_rgb")
    assert chosen.settings.variant == "scalar_rgb"
    assert list(chosen.entries()) == list(told.entries())


def test_a_wrong_llvm_ends_the_probe_and_not_the_program() -> None:
    """A probe with something that is no LLVM at all fails, in a process that lives on."""
    line = "from spherehead.pipeline.synthetic.render import resolve, usable; print(usable('llvm_ad_rgb'), resolve('auto'))"
    env = {"DRJIT_LIBLLVM_PATH": "/nonexistent/libLLVM.so", "PATH": "", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0
    assert done.stdout.split() == ["False", "scalar_rgb"]
