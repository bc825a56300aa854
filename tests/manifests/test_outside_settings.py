"""Settings from outside: bombs, loops, nonsense and pipes are refused with one kind of error, at once."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.commands.builds import recipe_from
from spherehead.manifests.config import ConfigError, load_plain, parse_assignment
from spherehead.manifests.parsing import parse_yaml
from spherehead.pipeline.console.describe import describe
from spherehead.pipeline.presets import STAGES, preset
from spherehead.pipeline.recipe import Recipe

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGED = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
REFUSED = {
    "alias bomb": BOMB, "merge bomb": MERGED, "a list in itself": "&a [*a]", "a recipe in itself": "&a {name: x, stages: [*a]}",
    "nested lists": "[" * 50_000, "nested maps": "{a: " * 50_000,
    "no such bool": "!!bool maybe", "no timestamp": "!!timestamp x",
    "a date that is none": "2001-99-99", "a long integer": "a: " + "9" * 5000, "an object": "!!python/object:os.system x",
    "two documents": "a: 1\n---\nb: 2",
    "an unknown alias": "*a", "a list for a key": "? [1]\n: 2", "bad base64": "!!binary '='",
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_a_preset_that_is_a_bomb_or_nonsense_is_refused_at_once(tmp_path: Path, text: str) -> None:
    path = tmp_path / "preset.yaml"
    path.write_text(text)
    started = time.process_time()
    with pytest.raises(ConfigError) as caught:
        recipe_from(str(path))
    assert time.process_time() - started < 5.0 and len(str(caught.value)) < 1500
    with pytest.raises(ConfigError):
        preset("heads").override([f"detect.faces={text}"])


def test_nested_json_pipes_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 100_000)
    os.mkfifo(tmp_path / "b.yaml")
    (tmp_path / "c.yaml").mkdir()
    for name, words in (("a.json", "nested too deeply"), ("b.yaml", "pipe"), ("c.yaml", "folder"), ("d.yaml", "No such file")):
        with pytest.raises(ConfigError, match=words):
            load_plain(tmp_path / name)


def test_aliases_that_people_write_are_read(tmp_path: Path) -> None:
    assert parse_yaml("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}") == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 2}}
    path = tmp_path / "heads.yaml"
    path.write_text("\ufeff" + describe(preset("heads")), encoding="utf-8")
    assert recipe_from(str(path)) == preset("heads")


SHOWN = describe(preset("heads"))
EDITS = st.lists(
    st.tuples(
        st.integers(0, len(SHOWN)),
        st.sampled_from(
            ["&a ", "*a", "!!int ", "!!map ", "[", "{", "? ", ": ", "- ", "<<: ", "|", "\t", "\0", "9" * 400, ".nan"]
        )
        | st.text(max_size=6),
    ),
    min_size=1,
    max_size=5,
)


def survives(edits: list[tuple[int, str]]) -> None:
    text = SHOWN
    for at, new in edits:
        text = text[:at] + new + text[at + len(new) // 2 :]
    try:
        Recipe.from_plain(parse_yaml(text), STAGES)
    except ConfigError:
        pass
    except ValueError as error:  # parse_yaml's: load_plain words it with the file's name
        assert type(error) is ValueError
    try:
        preset("heads").override([text[:80].strip() or "x"])
        parse_assignment("detect.faces=" + edits[0][1])
    except ConfigError:
        pass


@settings(max_examples=60, deadline=None)
@given(EDITS)
def test_any_text_is_a_recipe_or_a_named_error(edits: list[tuple[int, str]]) -> None:
    survives(edits)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(EDITS.map(lambda edits: [(at % 700, new) for at, new in edits]))
def test_ten_thousand_texts_are_recipes_or_named_errors(edits: list[tuple[int, str]]) -> None:
    text = SHOWN[:700]
    for at, new in edits:
        text = text[:at] + new + text[at + len(new) // 2 :]
    try:
        Recipe.from_plain(parse_yaml(text), STAGES)
    except ValueError as error:
        assert type(error) in (ValueError, ConfigError)
