"""A run's learning curve: Frechet distances of its kept checkpoints, its losses, and its heads over time.

    python tests/bench/curve.py RUN --data SET [--count 1024]

Writes frechet.jsonl (a line a checkpoint, not measured twice), curve.png and over-time.png into RUN/curve. Train with a large
`--keep` to have checkpoints of the whole run.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from spherehead.manifests.store import write_bytes
from spherehead.model.evaluation.evaluation import Evaluation, EvaluationSettings
from spherehead.model.evaluation.features import open_features
from spherehead.model.export.curve import write_curve, write_over_time
from spherehead.model.export.generate import present_settings, seeded_condition
from spherehead.model.store import load_generator
from spherehead.model.train.checkpoint import checkpoints
from spherehead.model.train.progress import read_metrics


def measured(run: Path, data: Path, count: int, device: str) -> list[dict[str, float]]:
    """Return a row of distances for each checkpoint; those of an earlier call with the same count are kept."""
    path = run / "curve" / "frechet.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    rows = [row for row in rows if row["count"] == count]
    known = {row["images"] for row in rows}
    evaluation = None
    for folder in checkpoints(run):
        images = json.loads((folder / "position.json").read_bytes())["position"]["images"]
        if images in known:
            continue
        evaluation = evaluation or Evaluation([data], open_features(device=device), EvaluationSettings(count))
        start = time.perf_counter()
        generator = load_generator(folder).to(device)
        found = evaluation.measure(generator, present_settings(folder), lambda model, seeds: seeded_condition(model, seeds)[0])
        rows.append({"images": images, "count": count, **{f"frechet_{side}": value.infinity for side, value in found.items()},
                     **{f"kernel_{side}": value.kernel for side, value in found.items()}})  # fmt: skip
        print(f"{folder.name}: {rows[-1]} in {time.perf_counter() - start:.0f} s", flush=True)
        rows.sort(key=lambda row: row["images"])
        write_bytes(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, help="data set to measure by; without one only the losses are drawn")
    parser.add_argument("--count", type=int, default=1024)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, float]] = measured(asked.run, asked.data, asked.count, asked.device) if asked.data else []
    out = asked.run / "curve"
    told = [{**row, "seconds_picture": row["seconds_step"] / (row["images"] - before["images"])}
            for before, row in zip([{"images": 0}, *read_metrics(asked.run)], read_metrics(asked.run), strict=False)
            if row["images"] > before["images"] and "seconds_step" in row]  # fmt: skip
    write_curve(out / "curve.png", [*told, *rows])
    shown = write_over_time(out / "over-time.png", asked.run / "pictures")
    print(f"{out}: {len(told)} lines of metrics, {len(rows)} checkpoints measured, {shown} moments")


if __name__ == "__main__":
    main()
