"""Recipes survive the way through plain data, refuse what cannot run, and their keys change with what matters."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from spherehead.manifests.config import ConfigError
from spherehead.pipeline.annotators.heads import files
from spherehead.pipeline.presets import PRESETS, STAGES, preset
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.frame import Frame


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_comes_back_from_json(name: str) -> None:
    recipe = preset(name)
    assert Recipe.from_plain(json.loads(json.dumps(recipe.to_plain())), STAGES) == recipe


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_no_auto_is_left_in_a_resolved_recipe(name: str) -> None:
    resolved = preset(name).resolved()
    assert "auto" not in [value for step in resolved.chain() for value in step["settings"].values()]
    assert all(step["backend"] for step in resolved.chain())


def test_a_late_setting_changes_late_keys_only() -> None:
    before = preset("heads").resolved().keys()
    after = preset("heads").override(["quality.max_blur_px=1.5"]).resolved().keys()
    assert before[:-2] == after[:-2] and before[-2] != after[-2] and before[-1] != after[-1]


def test_an_early_setting_changes_every_later_key() -> None:
    before, after = preset("heads").resolved().keys(), preset("heads").override(["align.size=256"]).resolved().keys()
    index = [stage.name for stage in preset("heads").stages].index("align") + 1
    assert before[:index] == after[:index] and all(a != b for a, b in zip(before[index:], after[index:], strict=True))


def test_sources_and_splits_change_no_key() -> None:
    plain = Recipe("a", (Frame(),))
    assert plain.keys() == plain.override(["splits.salt=x", "shard_size=7", "name=b"]).keys()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["detekt.faces=all"], "did you mean 'detect'"),
        (["detect.facess=all"], "did you mean 'faces'"),
        (["detect=1"], "'detect' is a stage"),
        (["shard_size=0"], "expected a shard_size of 1 or more"),
        (["splits.fractions={train: 0.5}"], "add up to 1"),
        (["seed=x"], "expected int"),
    ],
)
def test_a_bad_setting_is_named(texts: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        preset("heads").override(texts)


def test_a_recipe_that_cannot_run_is_refused() -> None:
    stages = preset("heads").stages
    with pytest.raises(ConfigError, match="needs"):
        Recipe("late", (stages[1], stages[0]))
    with pytest.raises(ConfigError, match="stands in it twice"):
        Recipe("twice", (Frame(), Frame()))
    with pytest.raises(ConfigError, match=r"unknown field 'fraem'.*did you mean 'frame'"):
        Recipe.from_plain({"stages": [{"stage": "fraem"}]}, STAGES)
    with pytest.raises(ConfigError, match="unknown field 'shard_sise'"):
        Recipe.from_plain({"stages": [{"stage": "frame"}], "shard_sise": 3}, STAGES)


def test_settings_that_need_each_other_may_come_in_any_order(tmp_path) -> None:  # type: ignore[no-untyped-def]
    weights = tmp_path / "m.onnx"
    weights.write_bytes(b"x")
    texts = ["matte.segmenter=onnx", f"matte.weights={weights}"]
    assert preset("heads").override(texts) == preset("heads").override(texts[::-1])


def test_where_weights_lie_is_kept_for_the_next_run_but_not_told() -> None:
    recipe = preset("heads").override(["matte.weights=/somewhere/m.onnx", "matte.segmenter=onnx"])
    assert Recipe.from_plain(recipe.to_plain(), STAGES) == recipe
    assert "/somewhere" not in json.dumps(recipe.provenance())


def test_a_folder_of_networks_goes_to_every_stage_that_runs_one_and_changes_their_keys_by_its_content(tmp_path: Path) -> None:
    plain = preset("heads").override([]).resolved()
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("parser", "head"):
        for suffix in (".onnx", ".json"):
            path = files.path_of(name).with_suffix(suffix)
            (folder / path.name).write_bytes(path.read_bytes())
    same = preset("heads").override([f"stages.networks={folder}"]).resolved()
    having = {stage.name for stage in same.stages if getattr(stage, "networks", "") == str(folder)}
    assert having == {"detect", "matte", "estimate_camera", "parse", "quality"}
    assert same.keys() == plain.keys()  # the same content somewhere else
    changed = (folder / "parser.onnx").read_bytes() + b"\x32\x01x"
    (folder / "parser.onnx").write_bytes(changed)
    card = json.loads((folder / "parser.json").read_text())
    (folder / "parser.json").write_text(json.dumps({**card, "sha256": hashlib.sha256(changed).hexdigest()}))
    after = preset("heads").override([f"stages.networks={folder}"]).resolved()
    names = ["decode", *(stage.name for stage in after.stages), "encode"]
    differing = {name for name, key, other in zip(names, after.keys(), plain.keys(), strict=True) if key != other}
    assert names.index("matte") == min(names.index(name) for name in differing) and {"matte", "parse"} <= differing


def test_a_folder_with_a_quality_network_alone_serves_quality_and_leaves_other_keys_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = files.path_of("quality").read_bytes() + b"\x32\x01x"
    (tmp_path / "quality.onnx").write_bytes(changed)
    digest = hashlib.sha256(changed).hexdigest()
    (tmp_path / "quality.json").write_text(json.dumps({**files.card("quality"), "sha256": digest}))
    monkeypatch.chdir(tmp_path.parent)
    plain = preset("heads").override([]).resolved()
    for place in (str(tmp_path), tmp_path.name):
        own = preset("heads").override([f"stages.networks={place}"]).resolved()
        names = ["decode", *(stage.name for stage in own.stages), "encode"]
        differing = {name for name, key, other in zip(names, own.keys(), plain.keys(), strict=True) if key != other}
        assert differing == set(names[names.index("quality") :])
        told = next(step for step in own.chain() if step["stage"] == "quality")
        assert told["weights"] == {"quality.onnx": digest} and "networks" not in told["settings"]


def test_a_setting_that_no_stage_has_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="networks"):
        preset("heads").override(["stages.network_s=here"])
