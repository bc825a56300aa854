"""Guarantees of the quality network: what it is taught is what was done, a seed gives the same file, and ONNX says the same."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from spherehead.cli import main
from spherehead.datasets import spectra
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import INDEX
from spherehead.datasets.kernels import disk, line
from spherehead.datasets.shards.codec import Encoding, camera_json, encode_grey, encode_image
from spherehead.datasets.shards.tar import write_shard
from spherehead.manifests.config import ConfigError
from spherehead.model.annotators.quality import degradations, network
from spherehead.model.annotators.quality.export import onnx_bytes, retrain
from spherehead.model.annotators.shown.views import Views

SIZE = 128


def members(number: int) -> dict[str, bytes]:
    """A ball of texture in front of nothing."""
    parsing = np.zeros((SIZE, SIZE), dtype=np.uint8)
    cv2.circle(parsing, (64, 64), 50, INDEX["skin"], -1)
    image = np.random.default_rng(number).normal(128.0, 30.0, (SIZE, SIZE, 3)).clip(0, 255).astype(np.uint8)
    return {
        "png": encode_image(image, Encoding("png")),
        "mask.png": encode_grey(np.where(parsing > 0, np.uint8(255), np.uint8(0))),
        "seg.png": encode_grey(parsing),
        "cam.json": camera_json(Camera.look_at(0.1 * number, 0.1)),
    }


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Views:
    folder = tmp_path_factory.mktemp("views")
    write_shard(folder / "a.tar", "train", [(f"view-{number}", members(number)) for number in range(4)])
    return Views([folder])


@pytest.mark.parametrize("radius", [2.0, 4.0, 6.0])
def test_a_disk_has_half_its_radius_as_deviation(radius: float) -> None:
    kernel = disk(radius)
    x = np.arange(kernel.shape[0]) - kernel.shape[0] // 2
    assert math.sqrt(float((kernel.sum(axis=0) * x**2).sum())) == pytest.approx(radius / 2.0, rel=0.08)


@pytest.mark.parametrize("angle", [0.0, 0.6, 2.0])
def test_a_motion_has_its_length_over_the_root_of_twelve_as_deviation(angle: float) -> None:
    kernel = line(15.0, angle)
    y, x = np.mgrid[: kernel.shape[0], : kernel.shape[1]] - kernel.shape[0] // 2
    along = x * math.cos(angle) + y * math.sin(angle)
    assert math.sqrt(float((kernel * along**2).sum())) == pytest.approx(15.0 / math.sqrt(12.0), rel=0.06)


@pytest.mark.parametrize(("amount", "sigma", "blur"), [(0.5, 1.0, 0.5), (2.0, 1.5, 0.7), (3.0, 2.0, 1.0)])
def test_overshoot_is_that_of_a_step_that_was_blurred_and_sharpened(amount: float, sigma: float, blur: float) -> None:
    fine = 20
    step = np.repeat((np.arange(40 * fine) >= 20 * fine).astype(np.float32)[None], 3, axis=0)
    edge = cv2.GaussianBlur(step, (0, 0), blur * fine)
    made = edge + amount * (edge - cv2.GaussianBlur(edge, (0, 0), sigma * fine))
    assert degradations.overshoot_of(amount, sigma, blur) == pytest.approx(float(made.max()) - 1.0, abs=0.01)


def test_a_spoilt_picture_repeats_and_every_cause_is_drawn() -> None:
    clean = np.random.default_rng(0).integers(60, 200, (96, 96)).astype(np.uint8)
    drawn = [degradations.spoil(clean, np.random.default_rng(seed)) for seed in range(120)]
    again = degradations.spoil(clean, np.random.default_rng(5))
    assert np.array_equal(again.picture, drawn[5].picture) and np.array_equal(again.strengths, drawn[5].strengths)
    blur, enlargement, noise, smoothing, halo = np.array([one.strengths for one in drawn]).T
    for strong in (blur > 2.0, enlargement > 2.0, noise > 5.0, smoothing > 0.3, halo > 0.3):
        assert 2 <= np.count_nonzero(strong) < 60
    assert blur.min() > 0.2 and enlargement.min() == 1.0 and smoothing.min() >= 0.0


def test_the_network_learns_what_its_numbers_say() -> None:
    draw = np.random.default_rng(0)
    numbers = draw.normal(size=(600, spectra.COUNT)).astype(np.float32)
    strengths = np.stack([np.exp(0.3 * numbers[:, i]) if i < 3 else 0.1 * numbers[:, i] for i in range(5)], axis=1)
    strengths[:, 1] = np.maximum(strengths[:, 1], 1.0)
    fitted = network.fit(numbers, strengths, np.ones_like(strengths), network.FitSettings(steps=500, batch=128))
    with torch.no_grad():
        said = fitted(torch.from_numpy(numbers)).numpy()
    wanted = network.scaled(strengths)
    assert np.all(np.mean((said - wanted) ** 2, axis=0) < 0.25 * wanted.var(axis=0))


def test_views_without_light_are_refused_with_the_remedy(tmp_path: Path) -> None:
    unlit = {**members(0), "normal.jpg": encode_image(np.zeros((SIZE, SIZE, 3), dtype=np.uint8), Encoding("jpg"))}
    write_shard(tmp_path / "a.tar", "train", [("lit", members(1)), ("unlit", unlit)])
    with pytest.raises(ConfigError, match="got 1 views without light of 2; build a data set of rendered people"):
        retrain(Views([tmp_path]), network.FitSettings(pictures=4, steps=2, batch=2), tmp_path / "out", "balls")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "value"), [("--start", "shipped"), ("--grounds", "rooms"), ("--max-seconds", "5"), ("--rate", "0.0003")]
)
def test_options_that_the_quality_network_has_no_use_for_are_refused(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["annotators", "train", "quality", "--data", str(tmp_path), "--out", str(tmp_path / "run"), option, value]
    assert main(words) == 2
    told = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert option in told and "expected none with quality" in told and "leave it out" in told
    assert not (tmp_path / "run").exists()


def test_a_seed_gives_the_same_file_and_onnx_says_what_the_network_says(views: Views, tmp_path: Path) -> None:
    settings = network.FitSettings(pictures=24, steps=20, batch=8)
    first, second = (retrain(views, settings, tmp_path / name, "balls") for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    fitted = network.fit(*network.samples(views, 24, settings.seed), settings)
    numbers = network.samples(views, 4, 9)[0]
    (said,) = onnxruntime.InferenceSession(onnx_bytes(fitted), providers=["CPUExecutionProvider"]).run(
        None, {"numbers": numbers}
    )
    with torch.no_grad():
        wanted = fitted(torch.from_numpy(numbers)).numpy()
    assert said[:, :3] == pytest.approx(np.exp(wanted[:, :3]), rel=0.02)
    assert said[:, 3:] == pytest.approx(wanted[:, 3:], abs=0.01)
