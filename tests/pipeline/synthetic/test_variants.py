"""Mitsuba's variants: a choice is settled by probes that cannot hurt, and what was chosen is recorded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from spherehead.datasets.camera import Camera
from spherehead.manifests.config import ConfigError
from spherehead.pipeline.synthetic.rendering import render
from spherehead.pipeline.synthetic.rendering.light import draw_light
from spherehead.pipeline.synthetic.scans.mesh_head import build_head, read_sidecar, sidecar_of
from spherehead.pipeline.synthetic.scans.source import MeshSource
from spherehead.pipeline.synthetic.source import parse

pytest.importorskip("mitsuba", reason="mitsuba is not installed")
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
    load = "from spherehead.pipeline.synthetic.rendering.render import resolve, usable"
    line = f"{load}; print(usable('llvm_ad_rgb'), resolve('auto'))"
    env = {"DRJIT_LIBLLVM_PATH": "/nonexistent/libLLVM.so", "PATH": "", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0
    assert done.stdout.split() == ["False", "scalar_rgb"]


AGAIN = """
import hashlib, pathlib, sys
import numpy as np
from spherehead.datasets.camera import Camera
from spherehead.pipeline.synthetic.rendering.light import draw_light
from spherehead.pipeline.synthetic.scans.mesh_head import build_head, read_sidecar, sidecar_of
from spherehead.pipeline.synthetic.rendering.render import Studio
scan = pathlib.Path(sys.argv[1])
studio = Studio(build_head(scan, read_sidecar(sidecar_of(scan))), "llvm_ad_rgb")
light = draw_light(np.random.default_rng(1))
for _ in range(6):
    picture = studio.photograph(Camera.look_at(0.5, 0.1), light, 512, 30, 7)
    print(hashlib.sha256(picture.tobytes()).hexdigest())
np.save(scan.with_suffix(".npy"), picture)
"""


def studio(folder: Path) -> render.Studio:
    """Return the ball of two colours, ready for scalar_rgb; its scan lies in the folder."""
    scan = folder / "a.ply"
    scans.save(scans.coloured(), scan)
    return render.Studio(build_head(scan, read_sidecar(sidecar_of(scan))))


@pytest.mark.parametrize(("asked", "at_once", "passes"), [(1, 4, 1), (6, 4, 2), (8, 4, 2), (9, 16, 1), (30, 16, 2)])
def test_passes_are_whole_pictures_and_their_mean_is_what_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: int, at_once: int, passes: int
) -> None:
    """Thirty samples are two passes of sixteen, whatever the window; rendered with scalar_rgb, which runs everywhere."""
    ball, camera, light = studio(tmp_path), Camera.look_at(0.5, 0.1), draw_light(np.random.default_rng(1))
    single = [ball.photograph(camera, light, 32, at_once, 7 + number) for number in range(passes)]
    assert len({picture.tobytes() for picture in single}) == passes
    monkeypatch.setattr(ball, "_compiles", True)
    taken = ball.photograph(camera, light, 32, asked, 7, (10, 10, 20, 20))
    assert np.array_equal(taken, np.mean(single, axis=0, dtype=np.float32))


@pytest.mark.slow
def test_the_compiled_variant_gives_the_same_bytes_every_time(tmp_path: Path) -> None:
    """Thirty samples per pixel were once summed in whatever order threads came. But for noise it is scalar_rgb's picture."""
    if not render.usable("llvm_ad_rgb"):
        pytest.skip("llvm_ad_rgb does not run here: LLVM 19 is not installed, or DRJIT_LIBLLVM_PATH does not name it")
    ball = studio(tmp_path)
    line = [sys.executable, "-c", AGAIN, str(tmp_path / "a.ply")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 6
    assert len(set(done.stdout.split())) == 1
    expected = ball.photograph(Camera.look_at(0.5, 0.1), draw_light(np.random.default_rng(1)), 512, 4, 1)
    blurred = [
        cv2.resize(picture, (16, 16), interpolation=cv2.INTER_AREA) for picture in (np.load(tmp_path / "a.npy"), expected)
    ]
    assert np.abs(blurred[0] - blurred[1]).max() < 0.02 * expected.max()


def test_the_renderer_that_is_recorded_tells_how_samples_are_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "mitsuba", lambda variant: SimpleNamespace(__version__="3.9.1"))
    assert render.renderer("scalar_rgb") == "mitsuba 3.9.1 scalar_rgb"
    assert render.renderer("llvm_ad_rgb") == "mitsuba 3.9.1 llvm_ad_rgb in passes of 4 or 16"
