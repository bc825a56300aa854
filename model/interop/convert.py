"""Published EG3D, PanoHead, SphereHead and HyPlaneHead checkpoints to model folders, with a record of what came from where.

Reading without running is `torch_files`' part, settings are `settings`', names are `names`'; the folder is `store`'s.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ...manifests.config import ConfigError, override
from ...manifests.store import write_json
from ..discriminator import DiscriminatorSettings
from ..generator import GeneratorSettings
from ..store import (
    DISCRIMINATOR,
    FORMAT,
    GENERATOR,
    LIVE_GENERATOR,
    PROVENANCE,
    ModelConfig,
    mismatch,
    outline,
    whole_folder,
    write_config,
    write_part,
)
from .limits import Budget, CheckpointError, Limits, shown
from .names import PublishedNameError, discriminator_name, generator_name
from .rebuild import NumpyArray, Record, StoredTensor
from .settings import discriminator_settings, generator_settings
from .torch_files import Checkpoint, read_checkpoint

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
_SMOOTHING = (1.0, 3.0, 3.0, 1.0)


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


@dataclass(frozen=True)
class Conversion:
    """What a conversion wrote."""

    folder: Path
    config: ModelConfig
    ignored: tuple[str, ...] = field(default=())
    """Objects of the checkpoint that were not asked for."""


def convert(
    path: Path,
    out: Path,
    *,
    discriminator: bool = True,
    live: bool = False,
    changes: Sequence[str] = (),
    limits: Limits | None = None,
) -> Conversion:
    """Turn a published checkpoint into a model folder without running anything in it.

    Args:
        path: the .pkl that the published training wrote, or one network of it.
        out: folder to write; must be absent or empty.
        discriminator: also convert the discriminator; an error where the checkpoint has none.
        live: also convert the generator as trained, before averaging.
        changes: settings to change, such as generator.volume.axes=xy_xz_yz.
        limits: what the checkpoint may ask for; None for the usual ones.

    Raises:
        CheckpointError: damaged, refused, beyond a limit, or a tensor has no place, is missing or does not fit.
        PublishedSettingsError: a setting is missing or has no counterpart here.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(f"expected a new or empty folder to write, got {out}")
    checkpoint = read_checkpoint(path, limits)
    parts = [GENERATOR, *[LIVE_GENERATOR] * live, *[DISCRIMINATOR] * discriminator]
    networks = find_networks(checkpoint, parts)
    config = settings_of(networks, changes)
    plans = {part: _plan(network, config, part) for part, network in networks.items()}
    ignored = _ignored(checkpoint.value, [network.object for network in networks.values()])
    provenance = _provenance(checkpoint, networks, plans, ignored)
    for part, network in networks.items():
        _check_values(network, plans[part])
    with whole_folder(out) as folder:
        entries = {part: write_part(folder, part, _values(network, plans[part])) for part, network in networks.items()}
        write_json(folder / PROVENANCE, provenance)
        config = replace(config, parts=entries)
        write_config(folder, config)
    return Conversion(out, config, ignored)


def find_networks(checkpoint: Checkpoint, parts: Sequence[str]) -> dict[str, Network]:
    """Find the objects that parts come from.

    Raises:
        CheckpointError: one is missing, or the file is no published checkpoint.
    """
    value = checkpoint.value
    if isinstance(value, Record):  # one network alone
        value = {"D" if "_init_kwargs" in value.state and "backbone" not in _modules(value) else "G_ema": value}
    if type(value) is not dict or not any(isinstance(item, Record) for item in value.values()):
        got = f"a mapping of {_listed(value)}" if type(value) is dict else f"a {type(value).__name__}"
        raise CheckpointError(f"expected a published checkpoint, a mapping with networks as G_ema, G and D; got {got}")
    found = {}
    for part in parts:
        name = next((name for name in SOURCES[part] if isinstance(value.get(name), Record)), None)
        if name is None:
            there = _listed([key for key, item in value.items() if isinstance(item, Record)])
            hint = "; convert with --no-discriminator to leave it out" if part == DISCRIMINATOR else ""
            raise CheckpointError(f"expected the {part} as {' or '.join(SOURCES[part])}, the checkpoint has {there}{hint}")
        found[part] = Network(name, value[name], collect(value[name], checkpoint.num_bytes))
    return found


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
    found: dict[str, StoredTensor] = {}
    waiting: list[tuple[str, Record, int]] = [("", network, 0)]
    count = num_bytes = num_tensors = 0
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
        for name, inner in _members(record, "_modules"):
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


def settings_of(networks: Mapping[str, Network], changes: Sequence[str]) -> ModelConfig:
    """Return the settings of all networks of a checkpoint, changed as asked."""
    made = networks[GENERATOR]
    state = made.record.state
    rendering = state.get("rendering_kwargs") or _init_kwargs(made.record).get("rendering_kwargs")
    neural = plain(state.get("neural_rendering_resolution", 64))
    if type(neural) is not int or not 1 <= neural <= 4096:
        raise CheckpointError(f"expected a neural_rendering_resolution of 1 to 4096, got {shown(neural)}")
    judge = networks.get(DISCRIMINATOR)
    try:
        generator = generator_settings(made.shapes, plain(_init_kwargs(made.record)), plain(rendering), neural)
        discriminator = discriminator_settings(judge.shapes, plain(_init_kwargs(judge.record))) if judge else None
    except ValueError as error:
        if isinstance(error, ConfigError | CheckpointError):
            raise
        raise CheckpointError(f"the checkpoint's settings make no network here: {error}") from error
    return override(ModelConfig(FORMAT, generator, discriminator), changes)


def _init_kwargs(record: Record) -> dict[Any, Any]:
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
        return value.array.tolist() if value.array.size <= 64 else f"numpy array {value.array.shape}"
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


@dataclass(frozen=True)
class Plan:
    """Where each published tensor of one network goes."""

    places: dict[str, str]
    """Published name to the name here."""
    constants: tuple[str, ...]
    """Published tensors that are constants of the code here, proved equal, or that nothing reads."""


def _plan(network: Network, config: ModelConfig, part: str) -> Plan:
    """Give every tensor a place.

    Raises:
        CheckpointError: tensors without a place, places without a tensor, other shapes; all are listed.
    """
    settings: GeneratorSettings | DiscriminatorSettings = config.generator
    rename: Callable[[str], str | None] = generator_name
    if part == DISCRIMINATOR and config.discriminator is not None:
        settings, rename = (
            config.discriminator,
            functools.partial(discriminator_name, resolution=config.discriminator.resolution),
        )
    places: dict[str, str] = {}
    back: dict[str, str] = {}
    lines: list[str] = []
    for name in sorted(network.tensors):
        try:
            here = rename(name)
        except PublishedNameError:
            lines.append(f"{name!r} is not known")
            continue
        if here in back:
            lines.append(f"{name!r} has the place of {back[here]!r}")
        elif here is not None:
            places[name], back[here] = here, name
    shapes = {here: network.tensors[name].shape for here, name in back.items()}
    wrong = mismatch(outline(settings), shapes)
    lines += [f"{back[here]!r} {text}" if here in back else f"{here!r} (name here) {text}" for here, text in wrong.items()]
    if lines:
        more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        raise CheckpointError(f"{len(lines)} tensors of {network.object} do not fit: {'; '.join(lines[:SHOWN])}{more}")
    constants = tuple(sorted(network.tensors.keys() - places.keys()))
    for name in constants:
        _check_constant(name, network.tensors[name])
    return Plan(places, constants)


def _check_constant(name: str, stored: StoredTensor) -> None:
    """Prove that a filter is the one that the code here has."""
    if not name.endswith("resample_filter"):
        return
    taps = torch.tensor(_SMOOTHING) / sum(_SMOOTHING)
    if stored.shape != (4, 4) or not torch.allclose(stored.tensor().float(), torch.outer(taps, taps), atol=1e-6):
        raise CheckpointError(f"expected the filter 1, 3, 3, 1 as {name!r}, got another of shape {stored.shape}")


def _check_values(network: Network, plan: Plan) -> None:
    """Look at every number before anything is written.

    Raises:
        CheckpointError: one is not finite.
    """
    for name in plan.places:
        if not network.tensors[name].tensor().float().isfinite().all():
            raise CheckpointError(f"expected finite numbers in {network.object}.{name}, got NaN or infinity")


def _values(network: Network, plan: Plan) -> dict[str, torch.Tensor]:
    """Copy a network's tensors out of the file, in fp32."""
    return {here: network.tensors[name].tensor().float() for name, here in plan.places.items()}


def _ignored(value: Any, used: Sequence[str]) -> tuple[str, ...]:
    if type(value) is not dict:
        return ()
    names = (repr(str(key)[:200])[1:-1] for key, item in value.items() if key not in used and item is not None)
    return tuple(sorted(itertools.islice(names, SHOWN)))


def _provenance(
    checkpoint: Checkpoint, networks: Mapping[str, Network], plans: Mapping[str, Plan], ignored: Sequence[str]
) -> dict[str, Any]:
    """Say what each part came from."""
    return {
        "source": {"name": checkpoint.name, "num_bytes": checkpoint.num_bytes, "sha256": checkpoint.sha256},
        "ignored_objects": list(ignored),
        "parts": {
            part: {
                "object": network.object,
                "class": network.record.name,
                "class_source_sha256": network.record.source_sha256,
                "arguments": plain(_init_kwargs(network.record)),
                "names": plans[part].places,
                "constants": list(plans[part].constants),
            }
            for part, network in networks.items()
        },
    }
