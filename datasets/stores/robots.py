"""What robots.txt of a web server allows, asked once a server and process; the only module that imports protego.

The rules are those of RFC 9309: no file means all is allowed, a server that cannot say means nothing is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from .retries import StoreError, StoreUnavailable

MOST_BYTES = 500 << 10
"""What of a robots.txt is read, as RFC 9309 (section 2.5) asks for at least."""


class RobotsDisallowed(StoreError):
    """The server's robots.txt does not allow this program to read the address."""

    reason = "robots_disallowed"


def root_of(url: str) -> str:
    """Return the scheme, host and port of a web address."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme.lower()}://{host.lower()}"


def check_robots(url: str, user_agent: str, fetch: Callable[[str, int], tuple[int, bytes]]) -> None:
    """Refuse an address that its server's robots.txt does not allow.

    Args:
        url: the address.
        user_agent: who asks.
        fetch: address and maximum number of bytes -> status and body; raises StoreUnavailable where there is no answer.

    Raises:
        RobotsDisallowed: it is not allowed.
        StoreUnavailable: the server does not say, for the moment.
    """
    status, rules = _rules(root_of(url), fetch)
    if 400 <= status < 500:  # RFC 9309, 2.3.1.3: unavailable, so anything may be read
        return
    if status >= 500:
        raise StoreUnavailable(f"{root_of(url)}/robots.txt answers {status}: nothing may be read until it says what is allowed")
    if not rules.can_fetch(url, user_agent):
        text = f"robots.txt of {root_of(url)} disallows this address for {user_agent.split('/')[0]!r}"
        raise RobotsDisallowed(f"{text}; SPHEREHEAD_ROBOTS=ignore reads it all the same, where that is your right")


@functools.lru_cache(maxsize=4096)
def _rules(root: str, fetch: Callable[[str, int], tuple[int, bytes]]) -> tuple[int, Any]:
    """Return the status of a server's robots.txt and its rules; an exception is not remembered."""
    from protego import Protego

    status, body = fetch(f"{root}/robots.txt", MOST_BYTES)
    return status, Protego.parse(body.decode("utf-8", "replace") if status < 400 else "")
