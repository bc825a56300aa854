"""Networks of the published size: settings are the preset's, and a bare state dict converts like it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from spherehead import cli
from spherehead.model.interop.settings import discriminator_settings, generator_settings
from spherehead.model.presets import preset
from spherehead.model.store import load_generator

PUBLISHED_512: dict[str, dict[str, Any]] = {
    "eg3d-512": {},
    "panohead-512": {"triplane_depth": 3, "decoder_activation": "none"},
    "spherehead-512": {"triplane_depth": 3, "decoder_activation": "none"},
    "hyplanehead-512": {
        "triplane_depth": 1, "decoder_activation": "none", "render_mode": "TriPlane_SingSph_flatten",
        "sph2cir_flag": True, "cir2squ_flag": True,
    },
}  # fmt: skip
"""What each system writes among its rendering settings beside the common ones, at the published size."""


@pytest.mark.parametrize("name", PUBLISHED_512)
def test_settings_of_the_published_size_are_the_preset(name: str) -> None:
    """Shapes come from the preset's own network under published names; so widths must come back, and nothing may be guessed."""
    from spherehead.model.store import outline

    wanted = preset(name)
    rendering = {
        "depth_resolution": 48, "depth_resolution_importance": 48, "ray_start": 2.25, "ray_end": 3.3, "box_warp": 1,
        "c_scale": 1, "superresolution_module": "training.superresolution.SuperresolutionHybrid8XDC", **PUBLISHED_512[name],
    }  # fmt: skip
    generator = generator_settings(published_shapes(outline(wanted.generator)), {}, rendering, 64)
    assert generator == wanted.generator
    assert discriminator_settings(published_shapes(outline(wanted.discriminator), 512), {}) == wanted.discriminator


def published_shapes(module: torch.nn.Module, resolution: int | None = None) -> dict[str, tuple[int, ...]]:
    """Name a network's tensors as published: the inverse of the maps, by asking them about every published spelling."""
    from spherehead.model.interop.names import PublishedNameError, discriminator_name, generator_name

    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {}
    for name in spellings():
        try:
            here = generator_name(name) if resolution is None else discriminator_name(name, resolution)
        except PublishedNameError:
            continue
        if here in shapes:
            found[name] = shapes[here]
    assert len(found) == len(shapes)
    return found


def spellings() -> list[str]:
    """Every published name there is, and some that are none."""
    blocks = [f"b{4 * 2**power}" for power in range(8)]
    styled = ["weight", "bias", "noise_strength", "noise_const", "affine.weight", "affine.bias"]
    mapping = [f"{layer}.{kind}" for layer in ("embed", *(f"fc{index}" for index in range(8))) for kind in ("weight", "bias")]
    inside = ["const", *(f"{layer}.{rest}" for layer in ("conv0", "conv1", "torgb", "skip", "fromrgb") for rest in styled)]
    inside += [f"{layer}.{kind}" for layer in ("conv", "fc", "out") for kind in ("weight", "bias")]
    names = [
        f"{net}{block}.{rest}" for net in ("backbone.synthesis.", "bcg_synthesis.", "") for block in blocks for rest in inside
    ]
    names += [f"{net}{rest}" for net in ("backbone.mapping.", "t_mapping.", "mapping.") for rest in (*mapping, "w_avg")]
    names += [f"superresolution.block{index}.{rest}" for index in (0, 1) for rest in inside]
    names += [f"{layer}.{rest}" for layer in ("torgb", "toparsing") for rest in styled]
    names += [f"decoder.net.{index}.{kind}" for index in (0, 2) for kind in ("weight", "bias")]
    return names + [f"Conv{sphere}.{index}.weight" for sphere in "AB" for index in (0, 1)]


@pytest.mark.parametrize("kind", ["alone", "module.", "behind names", "named", "prefixed"])
def test_a_bare_state_dict_converts_like_a_preset(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from spherehead.model.interop.names import generator_name
    from spherehead.model.store import outline

    shapes = published_shapes(outline(preset("tiny-64").generator))
    tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
    value: Any = {
        "alone": tensors, "module.": {f"module.{name}": tensor for name, tensor in tensors.items()},
        "behind names": {"epoch": 3, "state_dict": tensors}, "named": {"G_ema": tensors, "step": 1},
        "prefixed": {f"G_ema.{name}": tensor for name, tensor in tensors.items()},
    }[kind]  # fmt: skip
    torch.save(value, tmp_path / "bare.pt")
    words = ["convert", str(tmp_path / "bare.pt"), "--out", str(tmp_path / "model"), "--no-discriminator"]
    assert cli.main(words) == 2
    told = capsys.readouterr().err
    assert "state dict" in told and "--like" in told and not (tmp_path / "model").exists()
    assert cli.main([*words, "--like", "tiny-64"]) == 0
    found = load_generator(tmp_path / "model").state_dict()
    assert len(found) == len(tensors)
    assert all(torch.equal(found[str(generator_name(name))], tensor) for name, tensor in tensors.items())
    assert cli.main(["model", "show", str(tmp_path / "model")]) == 0
    assert cli.main([*words[:3], str(tmp_path / "other"), "--no-discriminator", "--like", "small-128"]) == 2
    assert "do not fit" in capsys.readouterr().err and not (tmp_path / "other").exists()


def test_model_presets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    from spherehead.model.presets import PRESETS

    assert cli.main(["model", "presets"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown[1:]] == list(PRESETS)
    assert "54,730,944" in shown[1] and "31,361,088" in shown[1] and "25,000,000" in shown[1]
    assert cli.main(["model", "presets", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["presets"]}
    assert rows["small-128"]["images"] == 3_000_000 and rows["tiny-64"]["images"] == 40_000
