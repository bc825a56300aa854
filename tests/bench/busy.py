"""Steps of training on a machine that others use: seconds of a step beside busy processes, by how OpenMP's threads wait.

    python tests/bench/busy.py [--model tiny-64] [--busy 0,2] [--steps 12] [--rounds 2]

Each row runs in processes of its own, in turn; printed are the median of all steps of all rounds and the least. `as set here`
is what importing the model package sets.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

WAITS = {
    "OpenMP's default": {"GOMP_SPINCOUNT": "300000"},
    "as set here": {},
    "asleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
"""Name -> environment; GCC's default spins 300,000 times where there are no more threads than processors."""


def step_seconds(model: str, steps: int) -> list[float]:
    """Return the seconds of steps of a generator: four heads forward and backward."""
    from spherehead.model.export.generate import find_model
    from spherehead.model.store import load_generator
    from spherehead.model.visualization.views import head_styles, look_from, seeded_latents

    generator = load_generator(find_model(Path(model))).requires_grad_(True)
    styles, cameras = (
        head_styles(generator, seeded_latents([0, 1, 2, 3], generator.settings.z_dim)),
        look_from([0.0, 1.0, 2.0, 3.0]),
    )
    found = []
    for _ in range(steps + 1):
        began = time.perf_counter()
        generator.synthesise(styles, cameras).image.square().mean().backward()
        found.append(time.perf_counter() - began)
    return found[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny-64")
    parser.add_argument("--busy", default="0,2", help="numbers of busy processes")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(step_seconds(asked.model, asked.steps)))
        return
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    words = [sys.executable, __file__, "--child", "--model", asked.model, "--steps", str(asked.steps)]
    for count in (int(word) for word in asked.busy.split(",")):
        crowd = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
        found: dict[str, list[float]] = {name: [] for name in WAITS}
        try:
            for _ in range(asked.rounds):
                for name, changes in WAITS.items():
                    told = subprocess.run(words, env=clean | changes, stdout=subprocess.PIPE, text=True, check=True).stdout
                    found[name] += json.loads(told)
        finally:
            for process in crowd:
                process.kill()
        for name, seconds in found.items():
            print(
                f"{count} busy processes, {name:17} median {statistics.median(seconds):.3f} s, least {min(seconds):.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
