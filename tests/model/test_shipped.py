"""Weights that come with the package: present, small, as released, and ready to draw heads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from spherehead.model import shipped as module
from spherehead.model.export.generate import GenerateSettings, find_model, generate
from spherehead.model.generator import Generator
from spherehead.model.inversion.encoder import read_record
from spherehead.model.presets import preset
from spherehead.model.shipped import DEFAULT, ENCODERS, SHIPPED, is_shipped, pack, shipped, shipped_encoder
from spherehead.model.store import (
    FORMAT,
    GENERATOR,
    ModelConfig,
    ModelStoreError,
    load_generator,
    problems,
    read_config,
    write_config,
    write_part,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights in fp32."""
    folder = tmp_path_factory.mktemp("pack") / "whole"
    torch.manual_seed(0)
    generator = Generator(preset("tiny-64").generator)
    write_config(
        folder,
        ModelConfig(FORMAT, generator.settings, parts={GENERATOR: write_part(folder, GENERATOR, generator.state_dict())}),
    )
    return folder


def test_every_shipped_model_is_whole_small_and_the_one_that_was_released() -> None:
    assert DEFAULT in SHIPPED
    for name in SHIPPED:
        folder = shipped(name)
        config = read_config(folder)
        assert not problems(folder, config) and set(config.parts) == {GENERATOR}
        assert sum(path.stat().st_size for path in folder.iterdir()) <= 6_000_000
        card = (folder / "README.md").read_text(encoding="utf-8")
        assert all(word in card for word in ("Apache-2.0", "seed", "makehuman", "Frechet", config.parts[GENERATOR].sha256))


def test_a_shipped_model_draws_heads_without_any_folder_of_the_users(tmp_path: Path) -> None:
    assert is_shipped(Path(DEFAULT)) and find_model(Path(DEFAULT)) == shipped(DEFAULT)
    record = generate(Path(DEFAULT), tmp_path, GenerateSettings(seeds=(0, 1), views=2))
    assert (tmp_path / "sheet.png").is_file() and len(record.files) == 5


def test_every_shipped_encoder_belongs_to_its_model_and_is_the_one_that_was_released(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, wanted in ENCODERS.items():
        sha256 = read_config(shipped(name)).parts[GENERATOR].sha256
        folder = shipped_encoder(sha256)
        assert folder is not None and shipped_encoder("0" * 64) is None
        record = read_record(folder)
        assert (record.sha256, record.part.sha256) == (sha256, wanted)
        assert (folder / record.part.file).stat().st_size <= 8_000_000
        card = (folder / "README.md").read_text(encoding="utf-8")
        assert all(word in card for word in ("Apache-2.0", "seed", "makehuman", "train-encoder", wanted))
        monkeypatch.setitem(module.ENCODERS, name, "0" * 64)
        with pytest.raises(ModelStoreError, match="not the released encoder"):
            shipped_encoder(sha256)


def test_other_weights_under_a_shipped_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.SHIPPED, DEFAULT, "0" * 64)
    with pytest.raises(ModelStoreError, match="not the released"):
        shipped(DEFAULT)
    with pytest.raises(ModelStoreError, match=r"known: .*tiny-64"):
        shipped("huge-4096")


def test_packing_halves_a_model_and_keeps_its_pictures(whole: Path, tmp_path: Path) -> None:
    pack(whole, tmp_path / "half")
    size = [(folder / "generator.safetensors").stat().st_size for folder in (whole, tmp_path / "half")]
    assert size[1] < 0.55 * size[0]
    first, second = (load_generator(folder) for folder in (whole, tmp_path / "half"))
    z, camera = torch.randn(1, 128, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 25)
    ws = first.styles(z, camera)
    torch.testing.assert_close(second.styles(z, camera), ws, rtol=5e-3, atol=5e-3)
    with pytest.raises(ModelStoreError, match="holds a model already"):
        pack(whole, tmp_path / "half")


def test_numbers_beyond_half_precision_are_refused(whole: Path, tmp_path: Path) -> None:
    config = read_config(whole)
    tensors = {**load_generator(whole).state_dict()}
    name = next(iter(sorted(tensors)))
    tensors[name] = torch.full_like(tensors[name], 1e6)
    entry = write_part(tmp_path / "large", GENERATOR, tensors)
    write_config(tmp_path / "large", ModelConfig(FORMAT, config.generator, parts={GENERATOR: entry}))
    with pytest.raises(ModelStoreError, match="bf16"):
        pack(tmp_path / "large", tmp_path / "half")
    pack(tmp_path / "large", tmp_path / "bf16", torch.bfloat16)
