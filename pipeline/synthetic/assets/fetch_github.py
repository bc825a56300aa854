"""MakeHuman's assets from upstream's own repositories, at pinned commits, textures out of Git LFS.

Texts are proved by the sha256 in `registry`; a picture by the sha256 in its LFS pointer, which must be the registry's
where that is known. Putting files in place is `fetch`'s business.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from .... import __version__
from .registry import COMMITS, Asset

RETRY_DELAYS = (0.5, 2.0)
"""Seconds to wait before asking again after a passing fault."""
AT_ONCE = 6
"""Requests under way at the same time."""
_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d+)\n*")


class GithubError(RuntimeError):
    """Upstream cannot be had; the message says why."""


@dataclass(frozen=True)
class Origin:
    """Where upstream is reached; tests and mirrors put another place here."""

    raw: str = "https://raw.githubusercontent.com/{repository}/{commit}/{path}"
    """Address of a file at a commit."""
    lfs: str = "https://github.com/{repository}.git/info/lfs/objects/batch"
    """Address of the LFS batch API of a repository."""
    timeout: float = 30.0
    """Seconds without a byte before giving up."""


@dataclass(frozen=True)
class Pointer:
    """What upstream's commit holds in place of a picture."""

    sha256: str
    num_bytes: int

    @classmethod
    def read(cls, data: bytes) -> Pointer | None:
        """Return the pointer that a file's content is, None where it is none."""
        found = _POINTER.fullmatch(data)
        return cls(found[1].decode(), int(found[2])) if found else None


def download(wanted: Sequence[Asset], have: Callable[[Asset, str], bool], origin: Origin) -> Iterator[tuple[Asset, bytes]]:
    """Yield (asset, content) of the wanted files, each proved; those that are here already are passed over.

    Args:
        wanted: files of the registry.
        have: tells whether an asset is here already with a sha256.
        origin: where upstream is.

    Raises:
        GithubError: it cannot be reached, or gave other bytes than upstream's commit or the registry names.
    """
    missing = [asset for asset in wanted if asset.is_picture or not have(asset, asset.upstream_sha256)]
    if not missing:
        return
    pictures: list[tuple[Asset, Pointer]] = []
    first = get(_address(missing[0], origin), origin.timeout)  # alone: says at once when nothing can be reached
    with ThreadPoolExecutor(AT_ONCE) as pool:
        rest = pool.map(lambda asset: get(_address(asset, origin), origin.timeout), missing[1:])
        for asset, data in zip(missing, _joined(first, rest), strict=True):
            pointer = Pointer.read(data)
            if pointer is None:
                yield asset, _proved(asset, data, asset.upstream_sha256)
            elif asset.upstream_sha256 not in ("", pointer.sha256):
                raise GithubError(f"{asset.path}: expected sha256 {asset.upstream_sha256}, upstream names {pointer.sha256}")
            elif not have(asset, pointer.sha256):
                pictures.append((asset, pointer))
        links = _links([*pictures], origin)
        contents = pool.map(lambda item: get(*links[item[1].sha256]), pictures)
        for (asset, pointer), data in zip(pictures, contents, strict=True):
            yield asset, _proved(asset, data, pointer.sha256)


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _address(asset: Asset, origin: Origin) -> str:
    path = urllib.request.pathname2url(asset.upstream_path)
    return origin.raw.format(repository=asset.repository, commit=COMMITS[asset.repository], path=path)


def _proved(asset: Asset, data: bytes, sha256: str) -> bytes:
    came = hashlib.sha256(data).hexdigest()
    if came != sha256 and sha256:
        raise GithubError(f"{asset.path}: expected sha256 {sha256}, got {came} ({len(data):,} bytes); nothing of it was kept")
    if not sha256:
        raise GithubError(f"{asset.path}: expected a Git LFS pointer, got {len(data):,} bytes that nothing proves")
    return data


def _links(
    pictures: Sequence[tuple[Asset, Pointer]], origin: Origin
) -> dict[str, tuple[str, float, Mapping[str, str], bytes | None]]:
    """Ask the LFS batch API where objects are and return sha256 -> arguments of `get`."""
    links: dict[str, tuple[str, float, Mapping[str, str], bytes | None]] = {}
    for repository in sorted({asset.repository for asset, _ in pictures}):
        objects = [
            {"oid": pointer.sha256, "size": pointer.num_bytes} for asset, pointer in pictures if asset.repository == repository
        ]
        body = json.dumps({"operation": "download", "transfers": ["basic"], "objects": objects}).encode()
        form = "application/vnd.git-lfs+json"
        address = origin.lfs.format(repository=repository)
        answer = get(address, origin.timeout, {"Accept": form, "Content-Type": form}, body)
        try:
            told: list[dict[str, Any]] = json.loads(answer)["objects"]
            for entry in told:
                if "error" in entry:
                    raise GithubError(f"{address}: {entry['oid']}: {entry['error'].get('message', 'refused')}")
                action = entry["actions"]["download"]
                links[entry["oid"]] = (action["href"], origin.timeout, action.get("header", {}), None)
        except (ValueError, KeyError, TypeError) as error:
            raise GithubError(f"{address}: expected an answer of the LFS batch API, got {answer[:80]!r}") from error
        lacking = [told["oid"] for told in objects if told["oid"] not in links]
        if lacking:
            raise GithubError(f"{address}: says nothing of {len(lacking)} objects, such as {lacking[0]}")
    return links


def get(address: str, timeout: float, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> bytes:
    """Return what an address gives, asking again after faults that may pass.

    Raises:
        GithubError: it cannot be reached, refuses, or ends early.
    """
    request = urllib.request.Request(address, body, {"User-Agent": f"spherehead/{__version__}", **(headers or {})})
    for delay in (*RETRY_DELAYS, None):
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                data: bytes = answer.read()
                expected = answer.headers.get("Content-Length")
                if expected is None or len(data) == int(expected):
                    return data
                reason = f"ended after {len(data):,} of {int(expected):,} bytes"
        except urllib.error.HTTPError as error:
            reason = f"answered {error.code} {error.reason}"
            if error.code < 500 and error.code != 429:
                raise GithubError(f"{address} {reason}") from error
        except OSError as error:  # URLError is one
            reason = f"cannot be reached: {getattr(error, 'reason', None) or error}"
            if delay is None or "resolve" in reason or "not known" in reason:
                raise GithubError(f"{address} {reason}") from error
        if delay is None:
            raise GithubError(f"{address} {reason}")
        time.sleep(delay)
    raise AssertionError("unreachable")
