"""A recipe: everything that decides the bytes of a data set, as one frozen object; where pictures lie is no part of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..datasets.images import decode as decoding
from ..datasets.images.decode import DecodePolicy
from ..datasets.shards.codec import Encoding
from ..manifests.config import (
    ConfigError,
    fingerprint,
    from_plain,
    parse_assignment,
    replace_at,
    replace_many,
    to_plain,
    unknown,
)
from .curation.balance import BalanceSettings
from .curation.duplicates import DuplicateSettings
from .curation.splits import SplitSettings
from .stage import CACHE_FORMAT, Stage

ALL_STAGES = "stages"
"""First part of a setting that goes to every stage that has it."""


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
        return any(stage.free_k for stage in self.stages)

    @property
    def picture_size(self) -> int:
        """Side in pixels of the crops that the recipe cuts; 0 where no stage says."""
        return next((stage.crop_size for stage in self.stages if stage.crop_size), 0)

    def resolved(self) -> Recipe:
        """Return the recipe with every `auto` replaced by what it stands for on this machine."""
        return dataclasses.replace(self, stages=tuple(stage.resolved() for stage in self.stages))

    def keys(self) -> tuple[str, ...]:
        """Return the cache keys of a resolved recipe: decoding, each stage, encoding; each depends on all before it."""
        key = fingerprint(["decode", decoding.VERSION, CACHE_FORMAT, to_plain(self.decode), self.seed])
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
        """Apply `--set` texts such as `detect.faces=all`, `shard_size=500` or `splits.fractions={train: 0.9, val: 0.1}`.

        `stages.networks=DIR` changes the setting of every stage that has it.

        Raises:
            ConfigError: no such stage or setting (with a suggestion), or a value that does not fit.
        """
        recipe, stages = self, {stage.name: dict[str, Any]() for stage in self.stages}
        for text in assignments:
            path, value = parse_assignment(text)
            if path[0] == ALL_STAGES and len(path) > 1:
                for name in self._having(path[1]):
                    stages[name][".".join(path[1:])] = value
            elif path[0] not in stages:
                recipe = recipe._set(path, value)
            elif len(path) < 2:
                raise ConfigError(
                    f"'{path[0]}' is a stage; name one of its settings, such as {path[0]}.{self._a_field(path[0])}"
                )
            else:
                stages[path[0]][".".join(path[1:])] = value
        changed = [replace_many(stage, stages[stage.name], f"stage {stage.name}") for stage in self.stages]
        return dataclasses.replace(recipe, stages=tuple(changed))

    def _having(self, setting: str) -> list[str]:
        """Return the names of the stages that have a setting."""
        fields = {stage.name: list(to_plain(stage)) for stage in self.stages}
        having = [name for name, known in fields.items() if setting in known]
        if not having:
            raise ConfigError(unknown(setting, sorted({name for known in fields.values() for name in known}), ALL_STAGES))
        return having

    def _set(self, path: list[str], value: Any) -> Recipe:
        fields = [field.name for field in dataclasses.fields(self) if field.name != "stages"]
        if path[0] not in fields:
            known = [*fields, *(stage.name for stage in self.stages)]
            raise ConfigError(unknown(path[0], known, f"recipe {self.name}"))
        return replace_at(self, path, value, f"recipe {self.name}")

    def _a_field(self, name: str) -> str:
        stage = next(stage for stage in self.stages if stage.name == name)
        return next((field.name for field in dataclasses.fields(stage)), "...")  # type: ignore[arg-type]

    def to_plain(self) -> dict[str, Any]:
        """Return the recipe as plain data; `from_plain` reads it back."""
        return self._plain([{"stage": stage.name, **to_plain(stage)} for stage in self.stages])

    def provenance(self) -> dict[str, Any]:
        """Return what of the recipe decides the bytes: as `to_plain`, without where files of this machine lie."""
        return self._plain([{"stage": stage.name, **stage.settings()} for stage in self.stages])

    def _plain(self, stages: list[dict[str, Any]]) -> dict[str, Any]:
        names = [field.name for field in dataclasses.fields(self) if field.name != "stages"]
        return {**{name: to_plain(getattr(self, name)) for name in names}, "stages": stages}

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
            name = str(item.get("stage")) if isinstance(item, Mapping) else str(item)
            if name not in known:
                raise ConfigError(unknown(name, known, "recipe stages"))
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
