"""A model folder gives back the very numbers that were written, and says what is wrong with it otherwise."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from spherehead import cli
from spherehead.model.discriminator import Discriminator
from spherehead.model.generator import Generator
from spherehead.model.presets import preset
from spherehead.model.store import (
    DISCRIMINATOR,
    GENERATOR,
    ModelConfig,
    ModelStoreError,
    _Shapes,
    load_discriminator,
    load_generator,
    outline,
    part_rows,
    problems,
    read_config,
    write_config,
    write_part,
)


@pytest.fixture(scope="module")
def networks() -> tuple[Generator, Discriminator]:
    torch.manual_seed(0)
    settings = preset("tiny-64")
    return Generator(settings.generator), Discriminator(settings.discriminator)


@pytest.fixture
def folder(networks: tuple[Generator, Discriminator], tmp_path: Path) -> Path:
    settings = preset("tiny-64")
    parts = {
        name: write_part(tmp_path, name, net.state_dict())
        for name, net in zip((GENERATOR, DISCRIMINATOR), networks, strict=True)
    }
    write_config(tmp_path, ModelConfig(1, settings.generator, settings.discriminator, parts))
    return tmp_path


def test_networks_come_back_bit_for_bit(folder: Path, networks: tuple[Generator, Discriminator]) -> None:
    for loaded, wanted in zip((load_generator(folder), load_discriminator(folder)), networks, strict=True):
        state = loaded.state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in wanted.state_dict().items())
        assert not loaded.training
    assert read_config(folder).generator == preset("tiny-64").generator


def test_loading_draws_no_global_random_numbers(folder: Path) -> None:
    before = torch.random.get_rng_state()
    load_generator(folder)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_rows_add_up_to_the_networks(folder: Path, networks: tuple[Generator, Discriminator]) -> None:
    rows = part_rows(read_config(folder))
    for part, network in zip((GENERATOR, DISCRIMINATOR), networks, strict=True):
        mine = [row for row in rows if row.part == part]
        assert mine[0].child == "" and mine[0].num_parameters == sum(tensor.numel() for tensor in network.parameters())
        assert sum(row.num_parameters for row in mine[1:]) == mine[0].num_parameters
        assert sum(row.num_buffers for row in mine[1:]) == mine[0].num_buffers
        assert mine[0].num_parameters + mine[0].num_buffers == read_config(folder).parts[part].num_numbers


def test_changed_missing_and_truncated_files_are_named(folder: Path) -> None:
    path = folder / "generator.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ModelStoreError, match=r"generator\.safetensors changed"):
        load_generator(folder)
    assert len(problems(folder, read_config(folder))) == 1
    assert cli.main(["model", "show", str(folder)]) == 3
    path.unlink()
    with pytest.raises(ModelStoreError, match=r"lacks its part 'generator.safetensors'"):
        load_generator(folder)


def test_damaged_safetensors_with_a_fitting_digest_are_refused(folder: Path) -> None:
    config = read_config(folder)
    entry = write_part(folder, GENERATOR, {"a": torch.ones(2)})
    write_config(folder, dataclasses.replace(config, parts={**config.parts, GENERATOR: entry}))
    with pytest.raises(ModelStoreError, match=r"does not fit config\.json"):
        load_generator(folder)
    from spherehead.manifests.store import file_sha256

    path = folder / entry.file
    path.write_bytes(path.read_bytes()[:-3])
    broken = dataclasses.replace(entry, sha256=file_sha256(path))
    write_config(folder, dataclasses.replace(config, parts={GENERATOR: broken}))
    with pytest.raises(ModelStoreError, match="cannot read"):
        load_generator(folder)


def test_settings_that_do_not_fit_cost_no_memory(folder: Path) -> None:
    plain = json.loads((folder / "config.json").read_text())
    plain["generator"]["backbone"].update(channel_base=2**40, channel_max=2**24)
    (folder / "config.json").write_text(json.dumps(plain))
    with pytest.raises(ModelStoreError, match="does not fit"):
        load_generator(folder)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"format": 2}, "expected a model folder of format 1"),
        ({"generatr": {}}, "did you mean 'generator'"),
        ({"discriminator": None}, "no settings for the part 'discriminator'"),
        (
            {
                "parts": {
                    "discriminator": {"file": "../discriminator.safetensors", "sha256": "", "num_tensors": 1, "num_numbers": 1}
                }
            },
            "lacks its",
        ),
    ],
)
def test_wrong_configs_are_named(folder: Path, change: dict[str, object], part: str) -> None:
    plain = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**plain, **change}))
    with pytest.raises(ModelStoreError, match=part):
        load_discriminator(folder)


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, "\x00"])
def test_what_is_no_config_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelStoreError, match="damaged or of another version"):
        read_config(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ModelStoreError, match=r"no config\.json"):
        read_config(folder)


def test_numbers_that_are_not_finite_are_refused_by_name(folder: Path, networks: tuple[Generator, Discriminator]) -> None:
    config = read_config(folder)
    tensors = {name: tensor.clone() for name, tensor in networks[0].state_dict().items()}
    tensors["decoder.out.bias"][1] = float("nan")
    entry = write_part(folder, GENERATOR, tensors)
    write_config(folder, dataclasses.replace(config, parts={**config.parts, GENERATOR: entry}))
    with pytest.raises(ModelStoreError, match=r"NaN or infinity in 'decoder\.out\.bias'"):
        load_generator(folder)
    assert cli.main(["model", "show", str(folder)]) == 3


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("generator.mapping.layers", 10**8), ("discriminator.condition_layers", 10**8), ("discriminator.resolution", 2**400),
        ("generator.renderer.coarse_samples", 10**12), ("generator.volume.resolution", 2**40), ("generator.w_dim", 2**40),
        ("generator.upsampler.channels", [1] * 100_000), ("generator.decoder.hidden", 0), ("parts", {}),
    ],
)  # fmt: skip
def test_settings_beyond_every_use_are_refused_at_once(
    path: str, value: object, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = json.loads((folder / "config.json").read_text())
    *above, last = path.split(".")
    place = plain
    for name in above:
        place = place[name]
    place[last] = {f"p{index}": plain["parts"]["generator"] for index in range(50)} if path == "parts" else value
    (folder / "config.json").write_text(json.dumps(plain))
    start = time.process_time()
    assert cli.main(["model", "show", str(folder)]) == 2
    assert time.process_time() - start < 2
    told = capsys.readouterr().err
    assert last in told and "internal" not in told and len(told) < 2000


def test_what_a_folder_says_reaches_the_terminal_without_control_characters(
    folder: Path, networks: tuple[Generator, Discriminator], capsys: pytest.CaptureFixture[str]
) -> None:
    config = read_config(folder)
    entry = write_part(folder, GENERATOR, {**networks[0].state_dict(), "\x1b[31mred": torch.ones(2)})
    write_config(folder, dataclasses.replace(config, parts={**config.parts, GENERATOR: entry}))
    assert cli.main(["model", "show", str(folder)]) == 3
    plain = json.loads((folder / "config.json").read_text())
    for change in ({"parts": {"\x1b[2J\ud800": plain["parts"]["discriminator"]}}, {"\x1b[2J\ud800": 1}):
        (folder / "config.json").write_text(json.dumps({**plain, **change}))
        assert cli.main(["model", "show", str(folder)]) in (2, 3)
    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err and "\ud800" not in told.out + told.err and "internal" not in told.err
    assert "\\x1b[31mred" in told.err


def test_a_huge_or_strange_config_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text(" " * (5 << 20))
    with pytest.raises(ModelStoreError, match="at most 4,194,304 bytes"):
        read_config(folder)
    for text in ("[" * 100_000, "1" * 5_000, '{"format": NaN}', '[{"format": 1}]', "null"):
        (folder / "config.json").write_text(text)
        with pytest.raises(ModelStoreError, match="damaged or of another version"):
            read_config(folder)


@pytest.mark.parametrize(
    ("made", "shape"),
    [
        (lambda: torch.eye(3), (3, 3)),
        (lambda: torch.eye(3, 5), (3, 5)),
        (lambda: torch.eye(4, m=2), (4, 2)),
        (lambda: torch.randn(2, 3), (2, 3)),
        (lambda: torch.randn((2, 3), generator=None), (2, 3)),
        (lambda: torch.zeros(7), (7,)),
    ],
)
def test_outlines_have_the_shapes_of_what_would_be_drawn(made: Callable[[], torch.Tensor], shape: tuple[int, ...]) -> None:
    with torch.device("meta"), _Shapes():
        found = made()
    assert tuple(found.shape) == shape == tuple(made().shape) and found.is_meta


@pytest.mark.parametrize("name", ["tiny-64", "eg3d-512", "spherehead-512", "get3d-512"])
def test_shapes_alone_are_known_without_decompositions_in_python(name: str) -> None:
    """They import PyTorch's compiler, 2 s of CPU or more in every command that loads a model."""
    seen: set[str] = set()
    settings = preset(name)
    sys.setprofile(lambda frame, *_: seen.add(frame.f_code.co_filename))
    try:
        outline(settings.generator)
    finally:
        sys.setprofile(None)
    assert seen and not [file for file in seen if "/_refs/" in file or "/_decomp/" in file or "_dynamo" in file]
