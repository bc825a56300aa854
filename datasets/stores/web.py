"""Whole files from web addresses: robots.txt respected, bodies held against their length, passing faults tried again.

Byte ranges of shards behind web addresses are `shards.storage`'s business.
"""

from __future__ import annotations

import dataclasses
import email.utils
import http.client
import time
import urllib.error
import urllib.request
from typing import IO, Any

from ..shown import shown_address
from .retries import ObjectMissing, PassingFault, StoreError, StoreSettings, StoreUnavailable, tried
from .robots import check_robots, root_of

PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP status codes of faults that may pass."""
_CHUNK = 64 << 10
_MOST_SILENT = 3
_silent: dict[str, int] = {}
"""Server -> files in a row that it gave no answer for, in this process."""


class TooLarge(StoreError):
    """A body that is larger than what was asked for at most."""

    reason = "too_many_bytes"


def fetch(url: str, settings: StoreSettings, max_bytes: int) -> bytes:
    """Return the body of a web address.

    Args:
        url: http or https; redirects are followed, each as the first address.
        settings: time limits, name and whether robots.txt counts.
        max_bytes: the most that is read.

    Raises:
        RobotsDisallowed, ObjectMissing, TooLarge, StoreUnavailable, StoreError: with the address, without its secrets.
    """
    place, host = shown_address(url), root_of(url)
    if _silent.get(host, 0) >= _MOST_SILENT:  # a server that is gone may not cost its whole patience for every file
        settings = dataclasses.replace(settings, patience=0.0)
    try:
        if settings.robots:
            check_robots(url, settings.user_agent, _Robots(settings))
        data = tried(place, settings, lambda: _get(url, place, settings, max_bytes, settings.robots))
    except StoreUnavailable:
        _silent[host] = _silent.get(host, 0) + 1
        raise
    _silent.pop(host, None)
    return data


class _Robots:
    """Fetches robots.txt; equal where the settings are, so that what was fetched is remembered."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Robots) and other._settings == self._settings

    def __hash__(self) -> int:
        return hash(self._settings)

    def __call__(self, url: str, max_bytes: int) -> tuple[int, bytes]:
        try:
            return 200, tried(url, self._settings, lambda: _get(url, url, self._settings, max_bytes, False, cut=True))
        except _Status as error:
            return error.status, b""
        except ObjectMissing:
            return 404, b""


class _Status(StoreError):
    """An answer that will not get better by asking again."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to where robots.txt allows it."""

    def __init__(self, settings: StoreSettings, robots: bool) -> None:
        self._settings, self._robots = settings, robots

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Return the request to where a redirect leads."""
        if self._robots:
            check_robots(newurl, self._settings.user_agent, _Robots(self._settings))
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _get(url: str, place: str, settings: StoreSettings, max_bytes: int, robots: bool, cut: bool = False) -> bytes:
    """Make one request and read its body whole, or its beginning where it may be cut."""
    headers = {"User-Agent": settings.user_agent, "Accept-Encoding": "identity"}
    opener = urllib.request.build_opener(_Redirects(settings, robots))
    started = time.monotonic()
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=settings.timeout) as answer:
            length = answer.headers.get("Content-Length")
            expected = int(length) if length is not None and length.isdecimal() else None
            if expected is not None and expected > max_bytes and not cut:
                raise TooLarge(f"{place}: {expected} bytes > max_bytes {max_bytes}")
            data = _body(answer, max_bytes, started + max(settings.patience, settings.timeout))
    except urllib.error.HTTPError as error:
        with error:
            _refuse(error, place)
        raise AssertionError("unreachable") from error
    except http.client.IncompleteRead as error:
        raise PassingFault(f"the body ends after {len(error.partial):,} bytes of its last part") from error
    if len(data) > max_bytes:
        if cut:
            return data[:max_bytes]
        raise TooLarge(f"{place}: more than max_bytes {max_bytes}")
    if expected is not None and len(data) != expected and not cut:
        raise PassingFault(f"the body ends after {len(data):,} of {expected:,} bytes")
    return data


def _body(answer: IO[bytes], max_bytes: int, until: float) -> bytes:
    """Read a body up to one byte more than wanted; one that trickles in is given up when its time is over."""
    parts: list[bytes] = []
    total = 0
    while total <= max_bytes and (part := answer.read1(_CHUNK)):  # type: ignore[attr-defined]
        parts.append(part)
        total += len(part)
        if time.monotonic() > until:
            raise PassingFault(f"only {total:,} bytes came in the time for one object")
    return b"".join(parts)


def _refuse(error: urllib.error.HTTPError, place: str) -> None:
    """Raise what an HTTP status means."""
    if error.code in PASSING_STATUS:
        raise PassingFault(f"HTTP {error.code} {error.reason}", _retry_after(error.headers.get("Retry-After", "")))
    if error.code in (404, 410):
        raise ObjectMissing(f"{place}: HTTP {error.code} {error.reason}")
    raise _Status(f"{place}: HTTP {error.code} {error.reason}", error.code)


def _retry_after(text: str) -> float:
    """Return the seconds that a Retry-After header asks for; 0 where it asks for none."""
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0
