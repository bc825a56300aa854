"""The networks of a published checkpoint: which objects they are, their tensors by full name, and their settings as plain data.

What settings mean and where tensors go is left to `settings` and `convert`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..store import DISCRIMINATOR, GENERATOR, LIVE_GENERATOR
from .limits import Budget, CheckpointError, Limits, shown
from .rebuild import NumpyArray, Record, StoredTensor
from .torch_files import Checkpoint

SOURCES = {GENERATOR: ("G_ema", "G"), LIVE_GENERATOR: ("G",), DISCRIMINATOR: ("D",)}
"""Parts, and the published objects they may come from, the best first."""
MAX_MODULES = 20_000
"""Modules of one network; the published ones have some hundreds."""
SHOWN = 40
"""Lines of a list in an error."""
MAX_TENSORS = 20_000
"""Tensors of one network, those that are not saved included."""
SETTINGS = Limits(steps=10_000, built_bytes=1 << 20)
"""What a network's settings may hold: values, and bytes of their texts."""
SETTINGS_DEPTH = 12
"""Levels of settings."""
NAME = 300
"""Characters of a tensor's full name."""
_MODULE_DEPTH = 32


@dataclass(eq=False)
class StateDict(Record):
    """A network of which only the tensors are there."""

    tensors: dict[str, StoredTensor] = field(default_factory=dict)


@dataclass
class Network:
    """One network of a checkpoint."""

    object: str
    """Its name in the checkpoint."""
    record: Record
    """Its inert state."""
    tensors: dict[str, StoredTensor]
    """Published names and tensors."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Published names and shapes."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}


def find_networks(checkpoint: Checkpoint, parts: Sequence[str], bare: bool = False) -> dict[str, Network]:
    """Find the objects that parts come from.

    Args:
        checkpoint: what was read.
        parts: names of parts.
        bare: also take state dicts for networks, which say nothing of their settings.

    Raises:
        CheckpointError: one is missing, or the file is no published checkpoint.
    """
    value = state_dicts(checkpoint.value) if bare else checkpoint.value
    if isinstance(value, Record):  # one network alone
        value = {"D" if "_init_kwargs" in value.state and "backbone" not in _modules(value) else "G_ema": value}
    if type(value) is not dict or not any(isinstance(item, Record) for item in value.values()):
        got = f"a mapping of {_listed(value)}" if type(value) is dict else f"a {type(value).__name__}"
        raise CheckpointError(
            f"expected a published checkpoint, a mapping with networks as G_ema, G and D; got {got}{_hint(value)}"
        )
    found = {}
    for part in parts:
        name = next((name for name in SOURCES[part] if isinstance(value.get(name), Record)), None)
        if name is None:
            there = _listed([key for key, item in value.items() if isinstance(item, Record)])
            hint = "; convert with --no-discriminator to leave it out" if part == DISCRIMINATOR else ""
            raise CheckpointError(f"expected the {part} as {' or '.join(SOURCES[part])}, the checkpoint has {there}{hint}")
        found[part] = Network(name, value[name], collect(value[name], checkpoint.num_bytes))
    return found


def _hint(value: Any) -> str:
    """Say what to do with a state dict, which has the numbers of a network but not how it was made."""
    if type(value) is dict and any(bare_tensors(item) for item in (value, *_distinct(value))):
        return "; it is a state dict: name the preset that has its settings, --like panohead-512 (spherehead model presets)"
    return ""


def _distinct(mapping: dict[Any, Any]) -> Iterable[Any]:
    """Return the values of a mapping, each object once: a file may hold a large one under a hundred thousand names."""
    return {id(item): item for item in mapping.values()}.values()


def bare_tensors(value: Any) -> dict[str, StoredTensor] | None:
    """Return a state dict's tensors, or None where a value is no state dict."""
    if type(value) is not dict or not value or not all(isinstance(item, StoredTensor) for item in value.values()):
        return None
    return {key: item for key, item in value.items() if isinstance(key, str) and len(key) <= NAME}


def state_dicts(value: Any) -> Any:
    """Return the state dicts of a checkpoint as networks by their published names; what has none comes back as it is.

    A mapping of tensors is one of them, or holds those of several behind `G_ema.`, `G.` and `D.`; a mapping may also hold
    them by name.
    """
    if type(value) is not dict:
        return value
    whole = bare_tensors(value)
    found = {}
    for name in ("G_ema", "G", "D"):
        inside = bare_tensors(value.get(name)) or {
            key.removeprefix(f"{name}."): item for key, item in (whole or {}).items() if key.startswith(f"{name}.")
        }
        if inside:
            found[name] = inside
    if not found:
        alone = whole or next((tensors for item in _distinct(value) if (tensors := bare_tensors(item))), None)
        if alone is None:
            return value
        alone = {key.removeprefix("module."): item for key, item in alone.items()}
        found = {"G_ema" if any(key.startswith("backbone.") for key in alone) else "D": alone}
    return {name: StateDict("state_dict", tensors=tensors) for name, tensors in found.items()}


def _listed(keys: Iterable[Any]) -> str:
    """Word some keys of a file."""
    return f"'{', '.join(repr(str(key)[:100])[1:-1] for key in itertools.islice(keys, SHOWN))[:2_000]}'"


def _modules(record: Record) -> dict[Any, Any]:
    found = record.state.get("_modules")
    return found if type(found) is dict else {}


def collect(network: Record, most_bytes: int) -> dict[str, StoredTensor]:
    """Return a network's tensors by their full names, as torch's state dict names them.

    Args:
        network: a record of a module.
        most_bytes: what they may have together; more means that they share memory.

    Raises:
        CheckpointError: the record is no module, or is too deep or too large.
    """
    if isinstance(network, StateDict):
        num_bytes = sum(tensor.num_bytes for tensor in network.tensors.values())
        if len(network.tensors) > MAX_TENSORS or num_bytes > most_bytes:
            raise CheckpointError(f"expected at most {MAX_TENSORS:,} tensors of together {most_bytes:,} bytes in a state dict")
        return network.tensors
    found: dict[str, StoredTensor] = {}
    waiting: list[tuple[str, Record, int]] = [("", network, 0)]
    count = num_bytes = num_tensors = num_names = 0
    while waiting:
        prefix, record, depth = waiting.pop()
        count += 1
        if count > MAX_MODULES or depth > _MODULE_DEPTH:
            raise CheckpointError(f"expected at most {MAX_MODULES:,} modules, nested {_MODULE_DEPTH} deep, in a network")
        passing = record.state.get("_non_persistent_buffers_set", set())
        own = [*_members(record, "_parameters"), *_members(record, "_buffers")]
        num_tensors += len(own)
        if num_tensors > MAX_TENSORS or len(prefix) > NAME:
            raise CheckpointError(
                f"expected at most {MAX_TENSORS:,} tensors in a network, with names of {NAME} characters at most"
            )
        for name, tensor in own:
            if tensor is None or (isinstance(passing, set) and name in passing):
                continue
            if not isinstance(tensor, StoredTensor):
                raise CheckpointError(f"expected a tensor as {prefix + name!r}, got {type(tensor).__name__}")
            num_bytes += tensor.num_bytes
            found[prefix + name] = tensor
        if num_bytes > most_bytes:
            raise CheckpointError(f"expected tensors of at most {most_bytes:,} bytes, the file's size; they share memory")
        modules = _members(record, "_modules")
        num_names += len(modules)
        if num_names > MAX_MODULES:
            raise CheckpointError(f"expected at most {MAX_MODULES:,} names of modules in a network, absent ones included")
        for name, inner in modules:
            if isinstance(inner, Record):
                waiting.append((f"{prefix}{name}.", inner, depth + 1))
            elif inner is not None:
                raise CheckpointError(f"expected a module as {prefix + name!r}, got {type(inner).__name__}")
    return found


def _members(record: Record, kind: str) -> list[tuple[str, Any]]:
    """Return one of a module's three mappings as pairs of short names."""
    members = record.state.get(kind, {})
    if type(members) is dict and len(members) > MAX_TENSORS:
        raise CheckpointError(f"expected at most {MAX_TENSORS:,} entries in {kind}, got {len(members):,}")
    if type(members) is not dict or not all(isinstance(name, str) and 0 < len(name) < 100 for name in members):
        raise CheckpointError(
            f"expected the module {shown(record.name)} with a mapping {kind} of names to values, got {type(members).__name__}"
        )
    return list(members.items())


def init_kwargs(record: Record) -> dict[Any, Any]:
    """Return the arguments that a network was made with.

    Raises:
        CheckpointError: it does not keep them.
    """
    found = record.state.get("_init_kwargs")
    if type(found) is not dict:
        raise CheckpointError(f"expected {record.name!r} to keep the arguments it was made with (_init_kwargs), it has none")
    return found


def plain(value: Any) -> Any:
    """Return settings as JSON knows them; tensors and objects become a word, numbers without a value a text.

    Raises:
        CheckpointError: there are too many, or they are nested too deeply for settings.
    """
    return _plain(value, SETTINGS_DEPTH, Budget(SETTINGS))


def _plain(value: Any, depth: int, budget: Budget) -> Any:
    budget.spend(1)
    if isinstance(value, str):
        budget.take(len(value))
        return value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, NumpyArray):
        most = math.prod(max(side, 1) for side in value.array.shape)  # an array without numbers may be many empty lists
        return _plain(value.array.tolist(), depth, budget) if most <= 64 else f"numpy array {value.array.shape}"
    if not isinstance(value, dict | list | tuple | set):
        return value.name if isinstance(value, Record) else type(value).__name__
    if depth == 0:
        raise CheckpointError(f"expected settings of at most {SETTINGS_DEPTH} levels, got more")
    if isinstance(value, dict):
        return {_plain_key(key, budget): _plain(item, depth - 1, budget) for key, item in value.items()}
    return [_plain(item, depth - 1, budget) for item in value]


def _plain_key(key: Any, budget: Budget) -> str:
    text = str(key)
    budget.take(len(text))
    return text
