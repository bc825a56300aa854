"""Build from one bucket into another while a share of the store's requests fails, then against a store that answers nothing.

python tests/bench/failing_store.py PHOTOGRAPHS [--share 0.05] [--workers 2] [--preset frames] [--set frame.size=64]
    [--patience 60] [--scratch DIR]

The store is moto's S3 server in this process; failing requests are 503, cut bodies and slow answers in turn. What it keeps is
compared with a build of the same photographs in a folder.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "helpers"))
from faulty_servers import Faults, s3_keys, s3_put, s3_server
from kill import digests


def build(source: str, out: str, arguments: argparse.Namespace, state: Path | None = None) -> tuple[int, float, str]:
    """Build; return the exit code, seconds and what was said last."""
    words = [
        sys.executable,
        "-m",
        "spherehead",
        "build-dataset",
        source,
        "--out",
        out,
        "--preset",
        arguments.preset,
        "--no-report",
    ]
    words += ["--workers", str(arguments.workers), *(word for setting in arguments.set for word in ("--set", setting))]
    began = time.perf_counter()
    done = subprocess.run([*words, *(("--state", str(state)) if state else ())], capture_output=True, text=True)
    return done.returncode, time.perf_counter() - began, (done.stderr.strip().splitlines() or [""])[-1][:300]


def stored(faults: Faults) -> dict[str, str]:
    """Return the ETag of each shard and table in the store."""
    found = {
        key.removeprefix("heads/"): tag.strip('"') for key, tag in s3_keys(faults.bucket).items() if key.startswith("heads/")
    }
    return {key: tag for key, tag in found.items() if key.endswith(".tar") or key in ("manifest.json", "manifest.parquet")}


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--preset", default="frames")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--patience", type=float, default=60.0, help="seconds that one object of the dead store is given")
    parser.add_argument("--scratch", type=Path, default=None)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=arguments.scratch) as name,
        pytest.MonkeyPatch.context() as patch,
        s3_server(patch) as faults,
    ):
        scratch = Path(name)
        files = sorted(path for path in arguments.photographs.rglob("*") if path.is_file())
        for path in files:
            s3_put(f"pictures/{path.relative_to(arguments.photographs).as_posix()}", path.read_bytes(), faults.bucket)
        code, seconds, said = build(str(arguments.photographs), str(scratch / "local"), arguments)
        print(f"{len(files):,} files; folder to folder: exit code {code}, {seconds:.1f} s; {said}", flush=True)
        faults.share, faults.seconds, before = arguments.share, 0.5, sum(faults.requests.values())
        url = f"s3://{faults.bucket}"
        code, seconds, said = build(f"{url}/pictures", f"{url}/heads", arguments, scratch / "state")
        asked = sum(faults.requests.values()) - before
        faults.share = 0.0
        files_here = {
            path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in (scratch / "local").iterdir() if path.is_file()
        }
        equal = {key: tag for key, tag in files_here.items() if key in digests(scratch / "local") and key in stored(faults)}
        print(
            f"bucket to bucket, {faults.failed:,} of {asked:,} requests failed: exit code {code}, {seconds:.1f} s, "
            f"{len(equal)} of {len(stored(faults))} files equal: {equal == stored(faults)}; {said}",
            flush=True,
        )
        faults.dead = True
        os.environ["SPHEREHEAD_STORE_PATIENCE"] = str(arguments.patience)
        for what, source, out in (
            ("read", f"{url}/pictures", str(scratch / "a")),
            ("write", str(arguments.photographs), f"{url}/b"),
        ):
            code, seconds, said = build(source, out, arguments, scratch / "other" if what == "write" else None)
            print(f"dead store, to {what}: exit code {code} after {seconds:.1f} s; {said}", flush=True)


if __name__ == "__main__":
    main()
