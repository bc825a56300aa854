"""Published EG3D, PanoHead, SphereHead and HyPlaneHead checkpoints to model folders, with a record of what came from where.

Reading without running is `torch_files`' part, settings are `settings`', names are `names`'; the folder is `store`'s.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ...manifests.config import ConfigError, override
from ...manifests.store import write_json
from ..discriminator import DiscriminatorSettings
from ..generator import GeneratorSettings
from ..old_names import present_assignment
from ..presets import preset
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
from .limits import CheckpointError, Limits, shown
from .names import PublishedNameError, discriminator_name, generator_name
from .networks import SHOWN, Network, StateDict, find_networks, init_kwargs, plain
from .rebuild import StoredTensor
from .settings import discriminator_settings, generator_settings
from .torch_files import Checkpoint, read_checkpoint

_SMOOTHING = (1.0, 3.0, 3.0, 1.0)


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
    like: str | None = None,
    changes: Sequence[str] = (),
    limits: Limits | None = None,
) -> Conversion:
    """Turn a published checkpoint into a model folder without running anything in it.

    Args:
        path: the .pkl that the published training wrote, or one network of it.
        out: folder to write; must be absent or empty.
        discriminator: also convert the discriminator; an error where the checkpoint has none.
        live: also convert the generator as trained, before averaging.
        like: preset whose settings a bare state dict has, which says nothing of them; `c_scale` is then taken for 1.
        changes: settings to change, such as generator.volume.axes=xy_xz_yz.
        limits: what the checkpoint may ask for; None for the usual ones.

    Raises:
        CheckpointError: damaged, refused, beyond a limit, a tensor has no place, is missing or does not fit, or the folder
            cannot be written.
        PublishedSettingsError: a setting is missing or has no counterpart here.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(f"expected a new or empty folder to write, got {out}")
    checkpoint = read_checkpoint(path, limits)
    parts = [GENERATOR, *[LIVE_GENERATOR] * live, *[DISCRIMINATOR] * discriminator]
    networks = find_networks(checkpoint, parts, bare=like is not None)
    if like is not None and not all(isinstance(network.record, StateDict) for network in networks.values()):
        raise CheckpointError("expected a bare state dict with --like; this checkpoint has its own settings, leave --like out")
    config = settings_of(networks, changes) if like is None else settings_like(like, discriminator, changes)
    plans = {part: _plan(network, config, part) for part, network in networks.items()}
    ignored = _ignored(checkpoint.value, [network.object for network in networks.values()])
    provenance = _provenance(checkpoint, networks, plans, ignored)
    for part, network in networks.items():
        _check_values(network, plans[part])
    try:
        with whole_folder(out) as folder:
            entries = {part: write_part(folder, part, _values(network, plans[part])) for part, network in networks.items()}
            write_json(folder / PROVENANCE, provenance)
            config = replace(config, parts=entries)
            write_config(folder, config)
    except OSError as error:
        raise CheckpointError(f"cannot write the model folder {out}: {error}; make room or choose another --out") from error
    return Conversion(out, config, ignored)


def settings_of(networks: Mapping[str, Network], changes: Sequence[str]) -> ModelConfig:
    """Return the settings of all networks of a checkpoint, changed as asked."""
    made = networks[GENERATOR]
    state = made.record.state
    rendering = state.get("rendering_kwargs") or init_kwargs(made.record).get("rendering_kwargs")
    neural = plain(state.get("neural_rendering_resolution", 64))
    if type(neural) is not int or not 1 <= neural <= 4096:
        raise CheckpointError(f"expected a neural_rendering_resolution of 1 to 4096, got {shown(neural)}")
    judge = networks.get(DISCRIMINATOR)
    try:
        generator = generator_settings(made.shapes, plain(init_kwargs(made.record)), plain(rendering), neural)
        discriminator = discriminator_settings(judge.shapes, plain(init_kwargs(judge.record))) if judge else None
    except ValueError as error:
        if isinstance(error, ConfigError | CheckpointError):
            raise
        raise CheckpointError(f"the checkpoint's settings make no network here: {error}") from error
    return override(ModelConfig(FORMAT, generator, discriminator), [present_assignment(text) for text in changes])


def settings_like(name: str, discriminator: bool, changes: Sequence[str]) -> ModelConfig:
    """Return a preset's settings, changed as asked."""
    model = preset(name)
    config = ModelConfig(FORMAT, model.generator, model.discriminator if discriminator else None)
    return override(config, [present_assignment(text) for text in changes])


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
                "arguments": plain(network.record.state.get("_init_kwargs") or {}),
                "names": plans[part].places,
                "constants": list(plans[part].constants),
            }
            for part, network in networks.items()
        },
    }
