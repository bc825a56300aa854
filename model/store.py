"""A model on disk: a folder with safetensors, one file a part, and config.json, which says what they are.

Nothing in it executes on load, and a digest proves each file. The state of a training run is left to `train`, other systems'
files to `interop`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ..manifests.config import ConfigError, from_plain
from ..manifests.store import TEMPORARY, file_sha256, fsync_folder, write_bytes, write_json
from .discriminator import Discriminator, DiscriminatorSettings
from .generator import Generator, GeneratorSettings
from .old_names import with_present_names
from .pose_discriminator import make_discriminator

CONFIG = "config.json"
PROVENANCE = "provenance.json"
"""What a converted model's folder also holds: which published tensor each one came from."""
CONFIG_BYTES = 4 << 20
"""Size of config.json; those that are written have some kilobytes."""
MAX_PARTS = 16
"""Parts of a model."""
LISTED = 40
"""Tensors that are told of a part that does not fit."""
FORMAT = 1
"""Version of the folder's layout."""
GENERATOR, DISCRIMINATOR, LIVE_GENERATOR = "generator", "discriminator", "generator_live"
"""Names of parts: the averaged generator, the discriminator, and the generator as trained, before averaging."""


class ModelStoreError(ValueError):
    """A model folder that is missing, damaged or of another version; the message says which and what to do."""


@dataclass(frozen=True)
class PartEntry:
    """One file of a model."""

    file: str
    """Name in the folder."""
    sha256: str
    """Digest of the file."""
    num_tensors: int
    """Tensors in it."""
    num_numbers: int
    """Numbers in these."""


@dataclass(frozen=True)
class ModelConfig:
    """What config.json holds."""

    format: int
    """Version of the folder's layout."""
    generator: GeneratorSettings
    """Settings of the generator."""
    discriminator: DiscriminatorSettings | None = None
    """Settings of the discriminator; null where the folder has none."""
    parts: dict[str, PartEntry] = field(default_factory=dict)
    """Files by part."""

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise ConfigError(f"expected a model folder of format {FORMAT}, got {self.format}")
        if len(self.parts) > MAX_PARTS:
            raise ConfigError(f"expected a model of at most {MAX_PARTS} parts, got {len(self.parts):,}")


def write_part(folder: Path, name: str, tensors: Mapping[str, torch.Tensor]) -> PartEntry:
    """Write one part's tensors, contiguous and sorted by name, so that equal numbers give equal bytes.

    Args:
        folder: the model's folder; made if absent.
        name: `GENERATOR`, `DISCRIMINATOR` or another.
        tensors: a state dict.
    """
    from safetensors.torch import save

    file = f"{name}.safetensors"
    ready = {key: tensors[key].detach().cpu().contiguous() for key in sorted(tensors)}
    write_bytes(folder / file, save(ready, metadata={"format": "pt"}))
    return PartEntry(file, file_sha256(folder / file), len(ready), sum(tensor.numel() for tensor in ready.values()))


@contextlib.contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Give a folder to fill that becomes `out` when the block ends, and leaves nothing when it fails.

    Args:
        out: absent, or an empty folder.

    Raises:
        OSError: it cannot be written; folders that were made for it are removed.
    """
    out = out.resolve()
    made = [path for path in (out.parent, *out.parent.parents) if not path.exists()]
    aside = out.with_name(f"{out.name}{TEMPORARY}{os.getpid()}")
    try:
        aside.mkdir(parents=True)
        yield aside
        fsync_folder(aside)
        aside.replace(out)
        fsync_folder(out.parent)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def write_config(folder: Path, config: ModelConfig) -> None:
    """Write config.json; last, because the folder is a model from then on."""
    write_json(folder / CONFIG, config)


def read_config(folder: Path) -> ModelConfig:
    """Read config.json.

    Raises:
        ModelStoreError: there is none, it is no JSON or not of this format.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise ModelStoreError(f"no {CONFIG} in {folder}; expected a folder that `convert` or training wrote")
    if path.stat().st_size > CONFIG_BYTES:
        raise ModelStoreError(f"expected {path} of at most {CONFIG_BYTES:,} bytes, it has {path.stat().st_size:,}")
    try:
        plain = with_present_names(json.loads(path.read_bytes()))
        if (folder / PROVENANCE).is_file():
            _shift_as_published(plain)
        return from_plain(ModelConfig, plain, str(path))
    except (ConfigError, ValueError, RecursionError) as error:
        raise ModelStoreError(f"{path} is damaged or of another version: {error}") from error


def _shift_as_published(plain: Any) -> None:
    """Fill in what folders converted by version 0.1.0 do not say: a published shift sees what the mapping network sees."""
    generator = plain.get("generator") if isinstance(plain, dict) else None
    if isinstance(generator, dict) and generator.get("camera_shift", True) and "condition_scale" in generator:
        generator.setdefault("camera_shift_scale", generator["condition_scale"])


def read_part(folder: Path, config: ModelConfig, name: str) -> dict[str, torch.Tensor]:
    """Read one part's tensors and prove the file by its digest.

    Raises:
        ModelStoreError: the part is missing, changed or damaged, or holds numbers that are not finite.
    """
    entry = config.parts.get(name)
    if entry is None:
        raise ModelStoreError(f"the model in {folder} has no part '{name}'; it has {', '.join(sorted(config.parts)) or 'none'}")
    return read_tensors(_proved(folder, entry))


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file.

    Raises:
        ModelStoreError: it is missing or damaged, or holds numbers that are not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelStoreError(f"cannot read {path}: {error}") from error
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ModelStoreError(
                f"{path} holds NaN or infinity in {key[:200]!r}; take an earlier checkpoint or convert it again"
            )
    return tensors


def _proved(folder: Path, entry: PartEntry) -> Path:
    """Return a part's file after comparing its digest."""
    path = folder / entry.file
    if Path(entry.file).name != entry.file or not path.is_file():
        raise ModelStoreError(f"{folder} lacks its part {entry.file!r}; convert or copy the model again")
    found = file_sha256(path)
    if found != entry.sha256:
        raise ModelStoreError(f"{path} changed: expected sha256 {entry.sha256}, got {found}; convert or copy it again")
    return path


class _Shapes(TorchFunctionMode):
    """Makes what would be drawn or divided, and unit matrices, without values: else PyTorch imports its compiler (2 CPU s)."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if func in (torch.Tensor.div, torch.Tensor.__truediv__) and isinstance(args[1], (int, float)):
            return torch.empty(args[0].shape, dtype=args[0].dtype)
        if func in (torch.randn, torch.eye):
            given.pop("generator", None)
            func = _empty_eye if func is torch.eye else torch.empty
        return func(*args, **given)


def _empty_eye(n: int, m: int | None = None, **given: Any) -> torch.Tensor:
    """Return a tensor of the shape that `torch.eye` gives."""
    return torch.empty(n, n if m is None else m, **given)


def outline(settings: GeneratorSettings | DiscriminatorSettings) -> nn.Module:
    """Return a network without numbers: its names and shapes, whatever their size, at no cost.

    Raises:
        ModelStoreError: the settings make no network.
    """
    try:
        with torch.device("meta"), _Shapes():
            return Generator(settings) if isinstance(settings, GeneratorSettings) else make_discriminator(settings)
    except (ValueError, TypeError, RuntimeError, ArithmeticError) as error:
        raise ModelStoreError(f"these settings make no network: {error}") from error


def mismatch(module: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """Say how tensors differ from what a network needs, by name; empty where they fit."""
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = dict.fromkeys(sorted(wanted.keys() - shapes.keys()), "stays empty")
    found |= dict.fromkeys(sorted(shapes.keys() - wanted.keys()), "has no place with these settings")
    for name in sorted(wanted.keys() & shapes.keys()):
        if wanted[name] != tuple(shapes[name]):
            found[name] = f"should have shape {wanted[name]}, has {tuple(shapes[name])}"
    return found


def _misfits(folder: Path, config: ModelConfig, name: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return a part's tensors, and how they differ from what the settings need."""
    tensors = read_part(folder, config, name)
    wrong = mismatch(outline(_settings(config, name)), {key: tuple(tensor.shape) for key, tensor in tensors.items()})
    return tensors, wrong


def _settings(config: ModelConfig, part: str) -> GeneratorSettings | DiscriminatorSettings:
    """Return the settings of a part's network."""
    settings = config.discriminator if part == DISCRIMINATOR else config.generator
    if settings is None:
        raise ModelStoreError(f"{CONFIG} has no settings for the part '{part}'")
    return settings


def _load(folder: Path, name: str) -> nn.Module:
    """Make a network of its settings, once its file is known to fit."""
    config = read_config(folder)
    tensors, wrong = _misfits(folder, config, name)
    if wrong:
        first = next(iter(wrong))
        raise ModelStoreError(
            f"{config.parts[name].file} does not fit {CONFIG}: {len(wrong)} tensors, the first {first[:200]!r} {wrong[first]}"
        )
    settings = _settings(config, name)
    with torch.random.fork_rng(devices=[]):  # first values are drawn and thrown away
        module = Generator(settings) if isinstance(settings, GeneratorSettings) else make_discriminator(settings)
    module.load_state_dict(tensors)
    return module.eval()


def load_generator(folder: Path, name: str = GENERATOR) -> Generator:
    """Load the generator of a model folder, on the CPU, ready for inference.

    Args:
        folder: what `convert --out` or training wrote.
        name: `GENERATOR` or `LIVE_GENERATOR`.

    Raises:
        ModelStoreError: folder or part are missing, damaged or do not fit each other.
    """
    module = _load(folder, name)
    assert isinstance(module, Generator)
    return module


def load_discriminator(folder: Path) -> Discriminator:
    """Load the discriminator of a model folder, on the CPU.

    Raises:
        ModelStoreError: folder or part are missing, damaged or do not fit each other.
    """
    module = _load(folder, DISCRIMINATOR)
    assert isinstance(module, Discriminator)
    return module


@dataclass(frozen=True)
class PartRow:
    """One line of a model's table: a network, or one of its children."""

    part: str
    child: str
    num_parameters: int
    """Numbers that training moves."""
    num_buffers: int
    """Numbers that are kept with them: fixed noise, running means."""


def part_rows(config: ModelConfig) -> list[PartRow]:
    """Count the numbers of every part and of every child of its network, by the settings."""
    rows = []
    for part in sorted(config.parts):
        module = outline(_settings(config, part))
        kept = module.state_dict().keys()
        parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
        for child in ["", *dict(module.named_children())]:
            inside = f"{child}." if child else ""
            if not any(name.startswith(inside) for name in kept):
                continue
            rows.append(
                PartRow(
                    part,
                    child,
                    sum(tensor.numel() for name, tensor in parameters.items() if name.startswith(inside)),
                    sum(tensor.numel() for name, tensor in buffers.items() if name.startswith(inside) and name in kept),
                )
            )
    return rows


def problems(folder: Path, config: ModelConfig) -> list[str]:
    """Say what is wrong with the files of a model folder; empty where each has its digest and fits the settings."""
    found = []
    for name in sorted(config.parts):
        try:
            _, wrong = _misfits(folder, config, name)
            file, more = config.parts[name].file, len(wrong) - LISTED
            found += [f"{file}: {key[:200]!r} {text}" for key, text in itertools.islice(wrong.items(), LISTED)]
            found += [f"{file}: and {more:,} more"] if more > 0 else []
        except ModelStoreError as error:
            found.append(str(error))
    return found
