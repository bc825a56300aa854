"""A recipe: everything that decides the bytes of a data set, as one frozen object; where pictures lie is no part of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..datasets.balance import BalanceSettings
from ..datasets.codec import Encoding
from ..datasets.decode import DecodePolicy
from ..datasets.duplicates import DuplicateSettings
from ..datasets.splits import SplitSettings
from ..manifests.config import ConfigError, fingerprint, from_plain, parse_assignment, replace_at, to_plain, unknown
from .packing import FORMAT
from .stage import Stage


@dataclass(frozen=True)
class Recipe:
    """Stages in order, and what happens before and after them."""

    name: str
    """Word for reports."""
    stages: tuple[Stage, ...]
    """What is done to each photograph, in order."""
    decode: DecodePolicy = DecodePolicy()
    """What is accepted as a photograph."""
    encoding: Encoding = Encoding()
    """How pictures are stored in shards."""
    duplicates: DuplicateSettings = DuplicateSettings()
    """Which near duplicates give way."""
    splits: SplitSettings = SplitSettings()
    """Shares of the splits."""
    balance: BalanceSettings = BalanceSettings()
    """View bins and weights."""
    shard_size: int = 1000
    """Samples a shard; the last of a split is shorter."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"recipe {self.name}: stage '{twice[0]}' stands in it twice")
        if self.shard_size < 1:
            raise ConfigError(f"recipe {self.name}: expected a shard_size of 1 or more, got {self.shard_size}")
        given = {"photo", "id"}
        for stage in self.stages:
            missing = [need for need in stage.needs if need not in given]
            if missing:
                raise ConfigError(
                    f"recipe {self.name}: stage '{stage.name}' needs '{missing[0]}', which no earlier stage gives"
                )
            given.update(stage.gives)

    @property
    def free_k(self) -> bool:
        """Whether labels may have other than the canonical intrinsics: where a stage's policy is free-k."""
        return any(getattr(stage, "policy", "") == "free-k" for stage in self.stages)

    def resolved(self) -> Recipe:
        """Return the recipe with every `auto` replaced by what it stands for on this machine."""
        return dataclasses.replace(self, stages=tuple(stage.resolved() for stage in self.stages))

    def keys(self) -> tuple[str, ...]:
        """Return the cache keys of a resolved recipe: decoding, each stage, encoding; each depends on all before it."""
        key = fingerprint(["decode", FORMAT, to_plain(self.decode), self.seed])
        keys = [key]
        for stage in self.stages:
            key = stage.key(key)
            keys.append(key)
        keys.append(fingerprint(["encode", to_plain(self.encoding), key]))
        return tuple(keys)

    def chain(self) -> list[dict[str, Any]]:
        """Return what each step of a resolved recipe is and runs on: the provenance that rows point to."""
        return [
            {
                "stage": stage.name,
                "version": stage.version,
                "settings": stage.settings(),
                "backend": stage.backend().name,
                "backend_version": stage.backend().version,
                "weights": dict(stage.backend().weights),
            }
            for stage in self.stages
        ]

    def override(self, assignments: Sequence[str]) -> Recipe:
        """Apply `--set` texts such as `detect.faces=all`, `shard_size=500` or `splits.fractions.val=0.1`.

        Raises:
            ConfigError: no such stage or setting (with a suggestion), or a value that does not fit.
        """
        recipe = self
        for text in assignments:
            path, value = parse_assignment(text)
            recipe = recipe._set(path, value)
        return recipe

    def _set(self, path: list[str], value: Any) -> Recipe:
        names = [stage.name for stage in self.stages]
        if path[0] in names:
            index = names.index(path[0])
            if len(path) < 2:
                raise ConfigError(
                    f"'{path[0]}' is a stage; name one of its settings, such as {path[0]}.{_first_field(self, index)}"
                )
            stage = replace_at(self.stages[index], path[1:], value, f"stage {path[0]}")
            return dataclasses.replace(self, stages=(*self.stages[:index], stage, *self.stages[index + 1 :]))
        fields = [field.name for field in dataclasses.fields(self) if field.name != "stages"]
        if path[0] not in fields:
            raise ConfigError(unknown(path[0], [*fields, *names], f"recipe {self.name}"))
        return replace_at(self, path, value, f"recipe {self.name}")

    def to_plain(self) -> dict[str, Any]:
        """Return the recipe as plain data; `from_plain` reads it back."""
        plain = {
            field.name: to_plain(getattr(self, field.name)) for field in dataclasses.fields(self) if field.name != "stages"
        }
        return {**plain, "stages": [{"stage": stage.name, **stage.settings()} for stage in self.stages]}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any], known: Mapping[str, type[Stage]]) -> Recipe:
        """Build a recipe from plain data.

        Args:
            data: what `to_plain` returned, or hand-written YAML.
            known: stage classes by name.

        Raises:
            ConfigError: unknown stage or setting, or a value that does not fit.
        """
        if not isinstance(data, Mapping) or not isinstance(data.get("stages"), list):
            raise ConfigError("recipe: expected a mapping with a list 'stages'")
        stages = []
        for item in data["stages"]:
            name = item.get("stage") if isinstance(item, Mapping) else None
            if name not in known:
                raise ConfigError(unknown(str(name), known, "recipe stages"))
            settings = {key: value for key, value in item.items() if key != "stage"}
            stages.append(from_plain(known[name], settings, f"stage {name}"))
        fields = {field.name: field for field in dataclasses.fields(cls)}
        rest = {key: value for key, value in data.items() if key != "stages"}
        for key in rest:
            if key not in fields:
                raise ConfigError(unknown(key, fields, "recipe"))
        recipe = cls(name=str(rest.pop("name", "custom")), stages=tuple(stages))
        for key, value in rest.items():
            recipe = replace_at(recipe, [key], value, f"recipe {recipe.name}")
        return recipe


def _first_field(recipe: Recipe, index: int) -> str:
    return next((field.name for field in dataclasses.fields(recipe.stages[index])), "...")  # type: ignore[arg-type]
