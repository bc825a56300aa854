"""How well the networks for heads of any side do on the validation photographs, stage by stage: finder, and pose given the box.

    python tests/bench/any_side.py FOLDER

FOLDER is `validation` of the shared material, for measuring only. The whole pipeline is scored by its own score.py.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from spherehead.pipeline.annotators.faces.head_fit import camera_of
from spherehead.pipeline.annotators.heads.boxes import overlap
from spherehead.pipeline.annotators.heads.finder import HeadFinder
from spherehead.pipeline.annotators.heads.reader import HeadReader


def turn(first: float, second: float) -> float:
    return abs((first - second + 180.0) % 360.0 - 180.0)


def judged(folder: Path, finder: HeadFinder | None, reader: HeadReader) -> pd.DataFrame:
    """Return one row a picture."""
    rows = []
    for truth in pd.read_csv(folder / "truth.csv").itertuples():
        image = cv2.cvtColor(cv2.imread(str(folder / "pictures" / truth.file)), cv2.COLOR_BGR2RGB)
        box = (truth.head_x0, truth.head_y0, truth.head_x1 - truth.head_x0, truth.head_y1 - truth.head_y0)
        started = time.perf_counter()
        reading = reader.settle(image, box)
        seconds = time.perf_counter() - started
        found = [] if finder is None else finder.find(image)
        best = max(found, key=lambda head: overlap(head.box, box), default=None)
        camera = camera_of(reading.rotation)
        rows.append(
            {
                "file": truth.file,
                "band": ("front", "side", "behind")[int(abs(truth.yaw_degrees) >= 60) + int(abs(truth.yaw_degrees) > 110)],
                "yaw": truth.yaw_degrees, "said": np.degrees(camera.yaw),
                "error": turn(np.degrees(camera.yaw), truth.yaw_degrees),
                "pitch_error": turn(np.degrees(camera.pitch), truth.pitch_degrees),
                "roll_error": turn(np.degrees(camera.roll), truth.roll_degrees),
                "confidence": reading.confidence, "milliseconds": 1e3 * seconds,
                "found": best is not None and overlap(best.box, box) > 0.4,
                "score": best.score if best is not None and overlap(best.box, box) > 0.4 else 0.0,
                "others": len(found) - 1,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--no-finder", action="store_true")
    parser.add_argument("--rows", action="store_true")
    options = parser.parse_args()
    rows = judged(options.folder, None if options.no_finder else HeadFinder(), HeadReader())
    table = {}
    for band in ("front", "side", "behind"):
        part = rows[rows.band == band]
        table[band] = {
            "pictures": len(part), "median": round(part.error.median(), 1), "<=20": f"{100 * (part.error <= 20).mean():.0f}%",
            "<=30": f"{100 * (part.error <= 30).mean():.0f}%",
            "front<>back": int(((part.said.abs() < 90) != (part.yaw.abs() < 90)).sum()) if band != "side" else 0,
            "pitch": round(part.pitch_error.median(), 1), "roll": round(part.roll_error.median(), 1),
            "confidence": round(part.confidence.median(), 2), "found": int(part.found.sum()),
            "least score": round(part.score.min(), 2), "other boxes": int(part.others.clip(lower=0).sum()),
        }  # fmt: skip
    print(pd.DataFrame(table).T.to_string())
    sure = rows[rows.confidence > 0.6]
    print(f"confidence over 0.6: {len(sure)} heads, {100 * (sure.error <= 15).mean():.0f}% within 15 degrees of yaw")
    print(f"{rows.milliseconds.median():.1f} ms a head")
    if options.rows:
        print(rows.sort_values("error", ascending=False).head(30).round(1).to_string(index=False))


if __name__ == "__main__":
    main()
