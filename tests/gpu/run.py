"""What only a GPU can show, within a budget of seconds: `run.sh` calls it, and its pages say how.

Each part runs in a process of its own with a share of the time, so that one that fails or hangs costs only itself.
`summary.json` holds every number, `log.txt` what the parts printed; the run's metrics, a grid and the averaged generator in
half precision lie beside them, eight files of at most 16 MiB.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SIZES = {"tiny-64": 64, "small-128": 128, "spherehead-512": 512}
"""Presets that are timed, and the sides of their pictures."""
PIECE = 15 << 20
"""Bytes of one file of weights."""


@dataclass
class Session:
    """A run of this script."""

    out: Path
    work: Path
    device: str
    seconds: float
    begun: float = field(default_factory=time.monotonic)
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - (time.monotonic() - self.begun)

    def call(self, name: str, command: list[str], most: float) -> str | None:
        """Run one part within a limit of seconds; return what it printed, or None where it failed, which is noted."""
        limit = min(most, self.left - 2)
        if limit < 3:
            self.note(name, {"skipped": f"{self.left:.0f} s left"})
            return None
        start = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            printed, errors = process.communicate(timeout=limit)
            said, code = printed + errors, process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # what it started too
            printed, errors = process.communicate()
            said, code = f"{printed}{errors}\nended after {limit:.0f} s\n", -1
        took = time.monotonic() - start
        with (self.out / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"=== {name}: {' '.join(command)}\n{said}--- code {code}, {took:.1f} s\n")
        print(f"{name}: code {code}, {took:.1f} s, {self.left:.0f} s left", flush=True)
        if code:
            self.note(name, {"failed": (said.strip().splitlines() or ["nothing was printed"])[-1][:500], "seconds": took})
        return None if code else printed

    def note(self, name: str, what: Any) -> None:
        """Add to the summary, which is on the disk from then on."""
        self.summary.setdefault(name, {}).update(what)
        (self.out / "summary.json").write_text(json.dumps(self.summary, indent=1, sort_keys=True) + "\n")


def environment(session: Session) -> None:
    """Say what machine this is."""
    import torch

    found: dict[str, Any] = {"python": platform.python_version(), "torch": torch.__version__, "cores": os.cpu_count()}
    if session.device == "cuda":
        smi = shutil.which("nvidia-smi")
        told = subprocess.run([smi, "-L"], capture_output=True, text=True, check=False).stdout if smi else ""
        found |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda, "nvidia_smi": told.strip()[:200]}
    session.note("environment", found)


def checks(session: Session, part: str, most: float) -> None:
    """Run one of `checks.py`'s parts."""
    told = session.call(part, [str(HERE / "checks.py"), part, session.device], most)
    if told:
        session.note(part, json.loads(told.strip().splitlines()[-1]))


def data_sets(session: Session, data: str) -> dict[int, str]:
    """Return a data set for each side: the one that was given where it is as large, else ball heads made here."""
    code = "import sys, finished_set\nfrom pathlib import Path\nfinished_set.build(Path(sys.argv[1]), size=int(sys.argv[2]))\n"
    sets = {}
    for side in SIZES.values():
        if session.device == "cpu" and side > 64:
            continue
        folder = session.work / f"balls-{side}"
        if session.call(f"data {side}", ["-c", code, str(folder), str(side)], 60) is not None:
            sets[side] = str(folder)
    if data:
        sets |= dict.fromkeys((64, 128), data)
    return sets


def speeds(session: Session, sets: dict[int, str], each: float) -> None:
    """Time models and training steps of every size; of the smallest on a CPU."""
    cases = "forward,orbit,step" if session.device == "cuda" else "forward,step"
    for preset, side in SIZES.items():
        if session.device == "cpu" and side > 64:
            continue
        words = [
            "--preset",
            preset,
            "--device",
            session.device,
            "--cases",
            cases,
            "--repeats",
            "3" if session.device == "cuda" else "1",
        ]
        told = session.call(f"model {side}", [str(ROOT / "tests/bench/model.py"), *words, "--resolutions", "64"], each)
        if told:
            session.note(f"model {side}", {"rows": told.splitlines()})
        if side not in sets:
            continue
        words = ["--data", sets[side], "--preset", preset, "--out", str(session.work / "plan"), "--plan"]
        told = session.call(f"plan {side}", ["-m", "spherehead", "train", *words, "--device", session.device], each)
        if told:
            rate, memory = re.search(r"\(([\d.]+) images/s\)", told), re.search(r"([\d.]+) GiB a process", told)
            numbers = {"images_per_second": float(rate[1]) if rate else None, "gib": float(memory[1]) if memory else None}
            session.note(f"plan {side}", {**numbers, "rows": told.splitlines()})
    if 64 in sets:
        words = [
            "--data",
            sets[64],
            "--preset",
            "tiny-64",
            "--steps",
            "12" if session.device == "cuda" else "4",
            "--kills",
            "0",
        ]
        told = session.call("train 64", [str(ROOT / "tests/bench/train.py"), *words], each * 1.8)
        if told:
            session.note("train 64", {"rows": told.splitlines()})


def training(session: Session, data: str, more: list[str], preset: str) -> None:
    """Train for what is left of the time, and keep what can be looked at."""
    run, seconds = session.work / "run", session.left - (35 if session.device == "cuda" else 75)
    if seconds < 5:
        return session.note("training", {"skipped": f"{session.left:.0f} s left"})
    words = ["train", "--data", data, "--preset", preset, "--out", str(run), "--device", session.device, "--log-images", "64"]
    words += ["--max-seconds", f"{seconds:.0f}", "--keep", "1", *more]
    session.call("training", ["-m", "spherehead", *words], session.left - 8)
    if (run / "metrics.jsonl").is_file():
        shutil.copy(run / "metrics.jsonl", session.out / "metrics.jsonl")
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        if rows:
            session.note("training", {"preset": preset, "rows": len(rows), "last": rows[-1]})
    for picture in sorted((run / "pictures").glob("*.png"))[-1:] if (run / "pictures").is_dir() else []:
        shutil.copy(picture, session.out / "grid.png")
    keep_weights(session, run)


def keep_weights(session: Session, run: Path) -> None:
    """Write the averaged generator in half precision, in files that are small enough to travel."""
    import torch
    from safetensors.torch import save_file
    from spherehead.model.store import ModelStoreError, load_generator
    from spherehead.model.train.checkpoint import newest

    try:
        tensors = load_generator(newest(run)).state_dict()
    except ModelStoreError as error:
        return session.note("weights", {"failed": str(error)})
    pieces: list[dict[str, torch.Tensor]] = [{}]
    held = 0
    for name, tensor in sorted(tensors.items()):
        half = tensor.half().contiguous()
        held += half.nbytes
        if held > PIECE:
            pieces.append({})
            held = half.nbytes
        pieces[-1][name] = half
    for number, piece in enumerate(pieces[:3]):
        save_file(piece, session.out / f"generator-half-{number}.safetensors")
    return session.note("weights", {"files": len(pieces)})


def main() -> int:
    """Run everything; the exit code is 1 where a part failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", default="", help="a finished data set of 128 pixels or more with masks and class maps")
    parser.add_argument("--seconds", type=float, default=520.0)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--preset", default="", help="what is trained at the end; small-128, or tiny-64 on a CPU")
    parser.add_argument("--train", default="", help="further words for `spherehead train`")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    session = Session(out, out / "work", arguments.device, arguments.seconds)
    session.work.mkdir(exist_ok=True)
    (out / "log.txt").write_text("")
    environment(session)
    for part, share in (("reference", 0.15), ("precision", 0.12), ("surface", 0.1), ("nccl", 0.1)):
        checks(session, part, share * arguments.seconds)
    sets = data_sets(session, arguments.data)
    speeds(session, sets, (0.07 if session.device == "cuda" else 0.2) * arguments.seconds)
    preset = arguments.preset or ("small-128" if arguments.device == "cuda" else "tiny-64")
    if SIZES.get(preset, 128) in sets:
        training(session, sets[SIZES.get(preset, 128)], arguments.train.split(), preset)
    shutil.rmtree(session.work)
    failed = sorted(name for name, found in session.summary.items() if "failed" in found)
    session.note("all", {"seconds": time.monotonic() - session.begun, "failed": failed})
    print(f"{out / 'summary.json'}; failed: {', '.join(failed) or 'nothing'}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
