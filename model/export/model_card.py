"""A model card in a hub's layout: YAML front matter and what the model's folder, its run and its evaluation know.

Nothing is said that these do not say; who may use a model for what is for its owner to add.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import yaml

from ...manifests.store import write_bytes
from ..store import ModelConfig, part_rows, read_config

CARD = "README.md"
RUN_FILE, SCORES_FILE = "run.json", "evaluation/evaluate.json"
"""What a training run and `evaluate` leave in its folder."""
ADDED = "To be added by the owner"
"""Sections that a hub asks for and no file knows."""


def write_card(folder: Path, run: Path, title: str = "", licence: str = "") -> Path:
    """Write README.md beside a model's files.

    Args:
        folder: the model's folder.
        run: folder of the run that it came from; another model's folder tells nothing of training.
        title: of the model; the folder's name where empty.
        licence: identifier as hubs know it, such as "apache-2.0"; "unknown" where empty.

    Returns:
        The file.
    """
    path = folder / CARD
    text = card(read_config(folder), title or folder.resolve().name, licence, _plain(run / RUN_FILE), _plain(run / SCORES_FILE))
    write_bytes(path, text.encode())
    return path


def card(config: ModelConfig, title: str, licence: str, run: dict[str, Any], scores: dict[str, Any]) -> str:
    """Return a card's text.

    Args:
        config: of the model's folder.
        title: of the model.
        licence: identifier, or nothing.
        run: what run.json holds, or nothing.
        scores: what evaluate.json holds, or nothing.
    """
    shape = config.generator
    resolution, rays = shape.upsampler.resolution, shape.neural_resolution
    parts = sorted(config.parts.items())
    files = [f"| {name} | `{part.file}` | {part.num_numbers:,} | `{part.sha256}` |" for name, part in parts]
    front = {
        "license": licence or "unknown",
        "library_name": "spherehead-toolkit",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["heads", "3d", "gan", "spherehead-toolkit"],
        "model_name": title,
    }
    text = ["---", yaml.safe_dump(front, sort_keys=False, allow_unicode=True).rstrip(), "---", "", f"# {title}", ""]
    text += [
        f"A generator of heads from any side, {resolution} x {resolution} pixels, {rays} rays a side, volume "
        f"`{shape.volume.kind}`; conditioned on {_condition(config)}.", "",
        "```bash", "pip install spherehead-toolkit", "spherehead generate --run DIR --seeds 0-7", "```", "",
        "## Files", "", "| part | file | numbers | sha256 |", "| --- | --- | --- | --- |",
        *files,
        "", "## Networks", "", "| part | network | parameters |", "| --- | --- | --- |",
        *(f"| {row.part} | {row.child or 'all'} | {row.num_parameters:,} |" for row in part_rows(config)), "",
    ]  # fmt: skip
    text += _training(run) + _scores(scores)
    text += [
        "## Intended use, limits, rights",
        "",
        f"{ADDED}: who may use it for what, and whose pictures it learned from.",
        "",
    ]
    return "\n".join(text)


def _condition(config: ModelConfig) -> str:
    shape = config.generator
    if shape.styles == "gaussian" or shape.condition_dim == 0 or shape.condition_scale == 0.0:
        return "nothing"
    return f"{config.generator.condition_dim} numbers, scaled by {config.generator.condition_scale:g}"


def _training(run: dict[str, Any]) -> list[str]:
    """Return the section on training; its places are left out, since folders of a machine tell others nothing."""
    if not run:
        return ["## Training", "", f"{ADDED}: no record of a run lies beside these weights.", ""]
    config, environment = run.get("config", {}), run.get("environment", {})
    names = ("images", "batch", "seed", "condition", "init")
    rows = [f"| {name} | {config[name]} |" for name in names if config.get(name) not in (None, "")]
    terms = ", ".join(sorted(name for name, value in (config.get("terms") or {}).items() if value))
    versions = ", ".join(f"{name} {environment[name]}" for name in ("spherehead", "torch", "python") if name in environment)
    return [
        "## Training", "", "| what | value |", "| --- | --- |", *rows, f"| loss terms | {terms or 'none'} |",
        f"| pictures in the data | {int(run.get('num_samples', 0)):,} |",
        *(f"| manifest of the data | sha256 `{digest}` |" for digest in run.get("manifests", ())),
        f"| config | fingerprint `{run.get('fingerprint', '')}` |", f"| versions | {versions} |", "",
    ]  # fmt: skip


def _scores(scores: dict[str, Any]) -> list[str]:
    """Return the section on measurements, a row for each run of evaluate.json."""
    rows = [row for row in scores.get("rows", ()) if row.get("distances")]
    if not rows:
        return ["## Evaluation", "", f"{ADDED}: `spherehead evaluate` has not been run on it.", ""]
    parts = list(rows[0]["distances"])
    lines = []
    for row in rows:
        cells = [_number((row["distances"].get(part) or {}).get("frechet")) for part in parts]
        lines.append(f"| {row.get('name', '')} | {' | '.join(cells)} |")
    return [
        "## Evaluation", "", f"Frechet distances by `{scores.get('features', '')}`, to be compared with no other's.", "",
        f"| run | {' | '.join(parts)} |", f"| --- |{' --- |' * len(parts)}", *lines, "",
    ]  # fmt: skip


def _number(value: Any) -> str:
    return f"{value:.1f}" if isinstance(value, int | float) and math.isfinite(value) else "-"


def _plain(path: Path) -> dict[str, Any]:
    """Return a JSON object; nothing where there is no such file or it is another thing."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
