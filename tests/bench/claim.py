"""The mission's claim in one table: `spherehead evaluate` of several seeds of several things, and their means.

    python tests/bench/claim.py --data SET dual=runs/dual-0 dual=runs/dual-1 planes=runs/planes-0 --out claim

Runs of one name are seeds of one thing; their mean, with the standard error over seeds, is a row of its own. Every run is
measured with the same latents, cameras and pictures.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from spherehead.commands.heads import _face_score
from spherehead.manifests.store import write_bytes
from spherehead.model.evaluation.evaluation import SIDES
from spherehead.model.evaluation.features import open_features
from spherehead.model.export.evaluate import JudgeSettings, RunScores, evaluate
from spherehead.model.export.evaluate_page import HEAD, table_rows

MEASURES: dict[str, Callable[[RunScores], float]] = {
    **{f"Frechet {side}": (lambda row, side=side: row.distances[side].infinity) for side in SIDES},
    "precision": lambda row: row.coverage["all"].precision,
    "recall": lambda row: row.coverage["all"].recall,
    "mirror: luminance": lambda row: row.mirror.mean.luminance,
    "mirror: detail": lambda row: row.mirror.mean.detail,
    "face parts behind": lambda row: row.mirror.mean.face_parts,
    "faces in front": lambda row: row.faces.front.rate,
    "faces behind": lambda row: row.faces.back.rate,
}
"""Measures whose means over seeds are told."""


def mean_and_error(rows: Sequence[RunScores], measure: Callable[[RunScores], float]) -> str:
    """Return the mean over seeds and its standard error as text."""
    values = [measure(row) for row in rows]
    error = f" ± {statistics.stdev(values) / math.sqrt(len(values)):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{error}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay rows out as a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="NAME=DIR")
    parser.add_argument("--data", type=Path, required=True, help="finished data set that the runs were trained on")
    parser.add_argument("--out", type=Path, required=True, help="folder for claim.md, evaluate.json, evaluate.html and grids")
    parser.add_argument("--heads", type=int, default=128, help="heads that are looked at all round")
    parser.add_argument("--count", type=int, default=1024, help="pictures for the distances")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(1 if asked.device == "cpu" else torch.get_num_threads())
    named = [(text.rpartition("=")[0] or Path(text).name, Path(text.rpartition("=")[2])) for text in asked.runs]
    scores = evaluate(
        [place for _, place in named], [asked.data], asked.out, open_features(device=asked.device), _face_score(),
        JudgeSettings(asked.count, asked.heads), asked.device,
    )  # fmt: skip
    groups: dict[str, list[RunScores]] = {}
    for (name, _), row in zip(named, scores.rows[1:], strict=True):
        groups.setdefault(name, []).append(row)
    means = [(name, str(len(rows)), *(mean_and_error(rows, measure) for measure in MEASURES.values()))
             for name, rows in groups.items()]  # fmt: skip
    text = markdown(HEAD, table_rows(scores)) + "\n" + markdown(("mean of", "seeds", *MEASURES), means)
    write_bytes(asked.out / "claim.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()
