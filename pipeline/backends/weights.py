"""Model files: which there are, under which licence, which digest proves them, and how they come onto this machine.

Nothing is downloaded unless `fetch` is called; what a model is good for and how it runs is left to the stages. The models
inside MediaPipe's wheel need none of this. The download is written here because it must resume where it was cut, hold a
lock, and prove files whose publisher names a prefix, an MD5 or no digest at all, which pooch does not.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ... import __version__
from ...manifests.config import unknown, user_cache, user_path, weights_folder
from ...manifests.store import write_json
from . import rembg_models
from .weights_registry import REGISTRY, WeightFile

PIECE = 1 << 20
"""Bytes read at a time."""
FIRST_USE = "sha256 of first use"
"""What a file is checked against whose digest nobody publishes."""
RECEIPTS = "receipts.json"
"""File beside the weights: full sha256 of what was fetched and what it was checked against."""


class WeightsError(RuntimeError):
    """A model file that is missing, damaged or cannot be fetched; the message says what to do."""


@dataclass(frozen=True)
class Fetched:
    """A model file that is in place and was checked."""

    path: Path
    sha256: str
    checked_by: str
    """sha256, sha256 prefix, md5, or sha256 of first use: what the digest was compared with."""


def folder() -> Path:
    """Return where fetched files go."""
    return weights_folder()


def entry(name: str) -> WeightFile:
    """Return the registry's entry.

    Raises:
        WeightsError: no such name; the message suggests the nearest.
    """
    if name not in REGISTRY:
        raise WeightsError(unknown(name, REGISTRY, "the registry of models").replace("field", "model"))
    return REGISTRY[name]


def places(item: WeightFile) -> list[Path]:
    """Return the paths where a file may lie: ours first, then where the library that runs it looks, its own choice last."""
    return [folder() / item.file_name, *_back_end_places(item)]


def _back_end_places(item: WeightFile) -> list[Path]:
    """Return where the library that runs the file looks for it, the place for a new file last."""
    if item.rembg_session:
        return list(reversed(rembg_models.candidates(item.rembg_session)))
    if item.torch_hub:
        return [torch_checkpoints() / item.file_name]
    return []


def torch_checkpoints() -> Path:
    """Return where torch.hub keeps weights: in $TORCH_HOME, else in the user's cache folder."""
    home = os.environ.get("TORCH_HOME")
    return (user_path(home) if home else user_cache() / "torch") / "hub" / "checkpoints"


def find(name: str) -> Path | None:
    """Return where a model file lies, None where it is not on this machine. The digest is not checked: see `require`."""
    return next((path for path in places(entry(name)) if path.is_file()), None)


def require(name: str) -> Fetched:
    """Return a model file that is here and is what the registry says.

    Raises:
        WeightsError: it is missing or its digest is wrong; the message names the command or the path that mends it.
    """
    item, path = entry(name), find(name)
    if path is None:
        raise WeightsError(f"{name} is not on this machine: {how_to_get(item)}")
    return check(item, path)


def check(item: WeightFile, path: Path) -> Fetched:
    """Compare a file with the digest that the registry, or the receipt of its first use, holds.

    Raises:
        WeightsError: the digest differs, or there is none to compare with.
    """
    sha256, md5 = _digests(path)
    kind, expected, came = _comparison(item, sha256, md5)
    if not kind:
        raise WeightsError(
            f"{path} cannot be proved: no digest of {item.name} is published; its sha256 is {sha256}. "
            f"To take it as it is and record this digest: spherehead models fetch {item.name} --from {path} --trust"
        )
    if came != expected:
        raise WeightsError(
            f"{path} is not {item.name}: expected {kind} {expected}, got {came}; "
            f"delete it, then: spherehead models fetch {item.name}"
        )
    return Fetched(path, sha256, kind)


def _comparison(item: WeightFile, sha256: str, md5: str) -> tuple[str, str, str]:
    """Return (kind of digest, expected, came) for the strongest digest that is known; empty where there is none."""
    if item.sha256:
        return "sha256", item.sha256, sha256
    if item.sha256_prefix:
        return "sha256 prefix", item.sha256_prefix, sha256[: len(item.sha256_prefix)]
    if item.md5:
        return "md5", item.md5, md5
    receipt = _receipts().get(item.file_name)
    return (FIRST_USE, receipt["sha256"], sha256) if receipt else ("", "", "")


def fetch(name: str, from_path: Path | None = None, url: str = "", trust: bool = False, timeout: float = 30.0) -> Fetched:
    """Bring a model file into `folder()`: from a local file or the network, checked, and only then under its name.

    An interrupted download is continued by the next call. A file whose digest is published nowhere is refused unless
    `trust` is set; then its sha256 is recorded, and from that time on only the same bytes pass.

    Args:
        name: of the registry.
        from_path: a local copy to take instead of downloading.
        url: a mirror to take instead of the registry's address.
        trust: accept a file on first use where no digest is known.
        timeout: seconds without a byte before giving up.

    Raises:
        WeightsError: offline, not found, cut short, wrong digest, disk full, or trust would be needed.
    """
    item = entry(name)
    present = folder() / item.file_name
    if present.is_file() and from_path is None:
        with contextlib.suppress(WeightsError):
            return check(item, present)
    if not item.proved and not trust and item.file_name not in _receipts():
        raise WeightsError(
            f"no digest of {name} is published, so a download cannot be proved; "
            f"to take what comes and record its sha256: spherehead models fetch {name} --trust"
        )
    present.parent.mkdir(parents=True, exist_ok=True)
    with _partial(present) as part:
        if from_path is not None:
            _copy(from_path, part)
        else:
            _download(item, url or item.url, part, timeout)
        return _accept(item, Path(part.name), present, str(from_path) if from_path else url or item.url)


def _accept(item: WeightFile, part: Path, present: Path, source: str) -> Fetched:
    """Check the finished partial file, write its receipt, give it its name, and show it to the library that runs it."""
    sha256, md5 = _digests(part)
    kind, expected, came = _comparison(item, sha256, md5)
    if came != expected:
        part.unlink()
        raise WeightsError(f"what {source} gave is not {item.name}: expected {kind} {expected}, got {came}; nothing was kept")
    receipt = {"sha256": sha256, "checked_by": kind or FIRST_USE, "from": source}
    write_json(folder() / RECEIPTS, {**_receipts(), item.file_name: receipt})
    part.replace(present)
    for place in _back_end_places(item)[-1:]:
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            place.symlink_to(present.resolve())
    return Fetched(present, sha256, receipt["checked_by"])


@contextlib.contextmanager
def _partial(present: Path) -> Iterator[IO[bytes]]:
    """Open the partial file for this process alone; it stays for the next call unless it became the real file."""
    path = present.with_name(present.name + ".part")
    with path.open("a+b") as part:
        try:
            fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WeightsError(f"another process is fetching {present.name}; wait for it or stop it") from error
        if not path.exists() or not os.path.samestat(os.fstat(part.fileno()), path.stat()):
            raise WeightsError(f"another process has just fetched {present.name}; run the command again")
        try:
            yield part
        finally:
            if path.exists() and not path.stat().st_size:
                path.unlink()


def _copy(source: Path, part: IO[bytes]) -> None:
    """Take a local file's bytes."""
    part.truncate(0)
    try:
        with source.open("rb") as file:
            shutil.copyfileobj(file, part, PIECE)
    except OSError as error:
        raise WeightsError(f"cannot read {source}: {error.strerror or error}") from error
    _sync(part)


def _download(item: WeightFile, url: str, part: IO[bytes], timeout: float) -> None:
    """Stream a file to `part`, continuing where an earlier call was cut; resuming needs a digest that proves the whole."""
    if not item.proved:
        part.truncate(0)
    start = part.seek(0, os.SEEK_END)
    headers = {"User-Agent": f"spherehead/{__version__}", **({"Range": f"bytes={start}-"} if start else {})}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout) as answer:
            if answer.status != 206:
                part.truncate(0)
                start = part.seek(0)
            expected = _expected_bytes(answer, start)
            _room(item, part, expected)
            while piece := answer.read(PIECE):
                part.write(piece)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the partial file is already whole, or longer than the file: the digest decides
            return
        raise WeightsError(f"{url} answered {error.code} {error.reason}; {by_hand(item)}") from error
    except (OSError, urllib.error.URLError) as error:
        _sync(part)
        reason = getattr(error, "reason", None) or error
        raise WeightsError(f"cannot download {item.name} from {url}: {reason}; {by_hand(item)}") from error
    _sync(part)
    if expected is not None and part.tell() < expected:
        raise WeightsError(f"{url} ended after {part.tell():,} of {expected:,} bytes; the same command continues from there")


def _expected_bytes(answer: Any, start: int) -> int | None:
    """Return the size of the whole file as the server tells it, None where it does not."""
    length = answer.headers.get("Content-Length", "")
    return start + int(length) if length.isdigit() else None


def _room(item: WeightFile, part: IO[bytes], expected: int | None) -> None:
    """Refuse before the disk is full.

    Raises:
        WeightsError: fewer bytes are free than the rest of the file needs.
    """
    where = Path(part.name).parent
    free, need = shutil.disk_usage(where).free, (expected or 0) - part.tell()
    if need > free:
        raise WeightsError(f"{item.name} needs {need:,} bytes in {where}, {free:,} are free; set SPHEREHEAD_WEIGHTS elsewhere")


def _sync(part: IO[bytes]) -> None:
    part.flush()
    os.fsync(part.fileno())


def how_to_get(item: WeightFile) -> str:
    """Word how a file comes onto this machine."""
    return f"spherehead models fetch {item.name} (from {item.url}, licence {item.licence}), or {by_hand(item)}"


def by_hand(item: WeightFile) -> str:
    """Word how to bring a file over from another machine."""
    return (
        f"without a network: download {item.url} elsewhere, then run "
        f"spherehead models fetch {item.name} --from FILE, or put it at {places(item)[-1]}"
    )


def _receipts() -> dict[str, dict[str, str]]:
    """Read what earlier calls recorded."""
    path = folder() / RECEIPTS
    if not path.is_file():
        return {}
    try:
        plain: dict[str, dict[str, str]] = json.loads(path.read_bytes())
    except ValueError as error:
        raise WeightsError(f"{path} is no JSON ({error}); delete it, and trusted files must be trusted again") from error
    return plain


def _digests(path: Path) -> tuple[str, str]:
    """Return (sha256, md5) of a file, read once for each (path, size, time of change)."""
    stat = path.stat()
    return _read_digests(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _read_digests(path: Path, num_bytes: int, changed_ns: int) -> tuple[str, str]:
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            sha256.update(piece)
            md5.update(piece)
    return sha256.hexdigest(), md5.hexdigest()
