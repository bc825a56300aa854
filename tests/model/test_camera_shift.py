"""The learned camera shift of converted checkpoints sees what the published one sees: the scaled label, or zeros."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from spherehead.model.interop.convert import convert
from spherehead.model.store import load_generator, read_config

SYSTEMS = ("hyplanehead", "panohead", "spherehead")
CASES: dict[str, tuple[dict[str, Any], float]] = {
    "c_scale 1": ({"c_scale": 1.0}, 1.0),
    "c_scale 0.7": ({"c_scale": 0.7}, 0.7),
    "zero": ({"c_scale": 1.0, "c_gen_conditioning_zero": True}, 0.0),
    "zero and 0.7": ({"c_scale": 0.7, "c_gen_conditioning_zero": True}, 0.0),
    "no c_scale": ({"c_scale": None}, 0.0),
}
"""Changes of the rendering settings (None removes one), and the factor on the label that they mean (facts/model.md 3.3,
facts/hyplane.md H6.8)."""
BOUND = 1e-4


def plain_shift(arrays: Mapping[str, np.ndarray], z: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The published shift number by number in double precision: embedding, two layers, the last one linear."""
    names = ("embed.weight", "embed.bias", "fc0.weight", "fc0.bias", "fc1.weight", "fc1.bias")
    embed, embed_bias, first, first_bias, last, last_bias = (arrays[f"G.t_mapping.{name}"].astype(float) for name in names)
    found = np.empty((len(z), 3))
    for index in range(len(z)):
        seen = embed @ label[index] / np.sqrt(25) + embed_bias
        parts = [part / np.sqrt(np.mean(part**2) + 1e-8) for part in (z[index], seen)]
        joined = np.concatenate(parts)
        hidden = first @ joined / np.sqrt(len(joined)) + first_bias
        hidden = np.sqrt(2) * np.where(hidden > 0, hidden, 0.2 * hidden)
        found[index] = last @ hidden / np.sqrt(3) + last_bias
    return found


@pytest.fixture(scope="module", params=SYSTEMS)
def arrays(request: pytest.FixtureRequest, shared: Path, published: ModuleType) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = published.reference(shared, request.param)
    return found


def converted(arrays: Mapping[str, np.ndarray], published: ModuleType, folder: Path, changes: Mapping[str, Any]) -> Path:
    """Convert a snapshot with other rendering settings."""
    snapshot = published.snapshot(arrays)
    for name, value in changes.items():
        if value is None:
            del snapshot["G_ema"].rendering_kwargs[name]
        else:
            snapshot["G_ema"].rendering_kwargs[name] = value
    convert(published.write(folder / "published.pkl", snapshot), folder / "model", discriminator=False)
    return folder / "model"


def test_the_twin_gives_the_published_numbers(arrays: dict[str, np.ndarray]) -> None:
    moved = plain_shift(arrays, arrays["in.z"].astype(float), arrays["in.c"].astype(float))
    wanted = (arrays["out.c_adapted"].astype(float) - arrays["in.c"])[:, [3, 7, 11]]
    assert np.linalg.norm(moved - wanted) < BOUND * np.linalg.norm(wanted)


@pytest.mark.parametrize("case", CASES)
def test_the_shift_sees_the_label_that_the_published_one_sees(
    case: str, arrays: dict[str, np.ndarray], published: ModuleType, tmp_path: Path
) -> None:
    changes, scale = CASES[case]
    generator = load_generator(converted(arrays, published, tmp_path, changes))
    z, label = (torch.from_numpy(arrays[name]).double() for name in ("in.z", "in.c"))
    wanted = plain_shift(arrays, z.numpy(), label.numpy() * scale)
    assert np.abs(wanted).max() > 1e-3
    with torch.no_grad():
        assert generator.camera_shift is not None
        moved = generator.double().shifted(z.float(), label)[:, [3, 7, 11]] - label[:, [3, 7, 11]]
        seen = generator.float()(z.float(), label.float(), neural_resolution=8).camera.double() - label
    assert np.linalg.norm(moved.numpy() - wanted) < BOUND * np.linalg.norm(wanted)
    assert np.linalg.norm(seen[:, [3, 7, 11]].numpy() - wanted) < BOUND * np.linalg.norm(wanted)
    assert generator.settings.condition_scale == generator.settings.camera_shift_scale == scale


def test_folders_converted_before_the_scale_was_written_mean_the_published_rule(
    shared: Path, published: ModuleType, tmp_path: Path
) -> None:
    """They hold `condition_scale` only, which the published shift shares; a trained model's shift saw the label itself."""
    arrays = published.reference(shared, "panohead")
    folder = converted(arrays, published, tmp_path, {"c_scale": 0.7})
    plain = json.loads((folder / "config.json").read_text())
    del plain["generator"]["camera_shift_scale"]
    (folder / "config.json").write_text(json.dumps(plain))
    assert read_config(folder).generator.camera_shift_scale == 0.7
    (folder / "provenance.json").unlink()
    assert read_config(folder).generator.camera_shift_scale == 1.0
