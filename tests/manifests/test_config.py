"""Settings survive the way through JSON, and mistakes in them are named."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spherehead.manifests.config import ConfigError, canonical_json, fingerprint, from_plain, override, to_plain


@dataclass(frozen=True)
class Blur:
    sigma: float = 1.0
    kind: Literal["gauss", "box"] = "gauss"


@dataclass(frozen=True)
class Settings:
    name: str = "x"
    size: int = 512
    share: float | None = None
    sides: tuple[int, ...] = (1, 2)
    pair: tuple[float, float] = (0.0, 1.0)
    shares: dict[str, float] = field(default_factory=dict)
    blur: Blur = Blur()
    on: bool = True

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"expected size >= 1, got {self.size}")


settings = st.builds(
    Settings,
    name=st.text(max_size=8),
    size=st.integers(1, 10**6),
    share=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    sides=st.lists(st.integers(), max_size=4).map(tuple),
    pair=st.tuples(st.floats(-9, 9), st.floats(-9, 9)),
    shares=st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=3),
    blur=st.builds(Blur, st.floats(0, 9), st.sampled_from(["gauss", "box"])),
    on=st.booleans(),
)


@given(settings)
def test_settings_come_back_from_json_unchanged(value: Settings) -> None:
    assert from_plain(Settings, json.loads(canonical_json(value))) == value


@given(settings)
def test_order_of_keys_does_not_change_the_fingerprint(value: Settings) -> None:
    plain = to_plain(value)
    assert fingerprint(plain) == fingerprint(dict(reversed(plain.items())))


def test_every_setting_changes_the_fingerprint() -> None:
    changed = [
        Settings(name="y"), Settings(size=1), Settings(share=0.5), Settings(sides=(1,)), Settings(pair=(0.0, 2.0)),
        Settings(shares={"a": 1.0}), Settings(blur=Blur(2.0)), Settings(on=False), Settings(),
    ]  # fmt: skip
    assert len({fingerprint(value) for value in changed}) == len(changed)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("size=256", Settings(size=256)),
        ("share=1e-3", Settings(share=0.001)),
        ("share=null", Settings()),
        ("sides=[3, 4]", Settings(sides=(3, 4))),
        ("blur.sigma=2", Settings(blur=Blur(2.0))),
        ("blur={kind: box}", Settings(blur=Blur(kind="box"))),
        ("on=false", Settings(on=False)),
        ("name=", Settings(name="")),
    ],
)
def test_set_reads_values_as_yaml(text: str, expected: Settings) -> None:
    assert override(Settings(), [text]) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sise=1", "did you mean 'size'"),
        ("blur.sigmma=1", "did you mean 'sigma'"),
        ("blur.kind=bocks", "expected one of 'gauss', 'box'"),
        ("size=big", "expected int, got 'big'"),
        ("size=true", "expected int"),
        ("size=0", "expected size >= 1, got 0"),
        ("size.x=1", "is a plain value"),
        ("pair=[1]", "expected 2 values, got 1"),
        ("share=.nan", "expected"),
        ("size", "expected NAME=VALUE"),
        ("=3", "expected NAME=VALUE"),
        ("size=[1", "cannot read the value"),
    ],
)
def test_a_bad_setting_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        override(Settings(), [text])


def test_unknown_and_missing_fields_are_named() -> None:
    @dataclass(frozen=True)
    class Needy:
        must: int

    with pytest.raises(ConfigError, match="missing field 'must'"):
        from_plain(Needy, {})
    with pytest.raises(ConfigError, match="unknown field 'shard_sise'"):
        from_plain(Settings, {"shard_sise": 3})
    with pytest.raises(ConfigError, match="finite"):
        canonical_json(dataclasses.replace(Settings(), share=float("inf")))
