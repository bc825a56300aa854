"""What version 0.1.0 wrote is read under the present names."""

from __future__ import annotations

import json
from pathlib import Path

from spherehead.manifests.config import from_plain, to_plain
from spherehead.model.discriminator import Discriminator
from spherehead.model.old_names import RENAMED, present_assignment, with_present_names
from spherehead.model.presets import preset
from spherehead.model.store import CONFIG, FORMAT, ModelConfig, load_discriminator, write_config, write_part
from spherehead.model.train.config import TrainConfig
from spherehead.model.train.recipes import configured


def _as_before(plain: object) -> object:
    """Return plain data under the names of version 0.1.0."""
    before = {new: old for old, new in RENAMED.items()}
    if isinstance(plain, dict):
        return {
            before.get(key, key): before.get(value, value) if key == "kind" else _as_before(value)
            for key, value in plain.items()
        }
    return [_as_before(value) for value in plain] if isinstance(plain, list) else plain


def test_a_run_of_the_first_version_is_the_present_config() -> None:
    config = configured("tiny-64")
    old = _as_before(to_plain(config))
    assert "critic_adversarial" in json.dumps(old) and "habits" in json.dumps(old)
    assert from_plain(TrainConfig, with_present_names(old), "run.json") == config


def test_a_model_folder_of_the_first_version_loads(tmp_path: Path) -> None:
    settings = preset("tiny-64")
    network = Discriminator(settings.discriminator)
    entry = write_part(tmp_path, "critic", network.state_dict())
    write_config(tmp_path, ModelConfig(FORMAT, settings.generator, settings.discriminator, {"discriminator": entry}))
    path = tmp_path / CONFIG
    path.write_text(json.dumps(_as_before(json.loads(path.read_text()))))
    assert '"critic"' in path.read_text()
    loaded = load_discriminator(tmp_path)
    assert all((loaded.state_dict()[name] == value).all() for name, value in network.state_dict().items())


def test_settings_of_the_march_from_before_other_renderers_are_read(tmp_path: Path) -> None:
    config = configured("tiny-64", assignments=["model.generator.renderer.crop=0.3"])
    old = to_plain(config)
    march = old["model"]["generator"].pop("renderer")
    assert march.pop("kind") == "march"
    old["model"]["generator"]["march"] = march
    assert from_plain(TrainConfig, with_present_names(old), "run.json") == config


def test_a_setting_of_the_march_is_set_under_its_earlier_name() -> None:
    named = configured("tiny-64", assignments=["model.generator.march.crop=0.3"])
    assert named == configured("tiny-64", assignments=["model.generator.renderer.crop=0.3"])
    assert present_assignment("generator.march.coarse_samples=a.march.b") == "generator.renderer.coarse_samples=a.march.b"
    assert present_assignment("terms.extra.march.weight=1") == "terms.extra.march.weight=1"
