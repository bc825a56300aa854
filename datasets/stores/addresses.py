"""One whole file from its address: an object of a store or a web address, held against the sha256 that somebody gave for it."""

from __future__ import annotations

import hashlib
from urllib.parse import urljoin

from ..sample import Drop
from ..shown import shown_address
from .connection import is_store, scheme_of
from .objects import ObjectStore
from .retries import StoreError, StoreSettings
from .web import TooLarge, fetch


def is_address(text: str) -> bool:
    """Return whether a text is the address of a file that can be read from elsewhere."""
    return scheme_of(text) in ("http", "https") or is_store(text)


def joined(base: str, text: str) -> str:
    """Return an address that stands in a list, relative to the list's own address where it has no scheme."""
    if scheme_of(text):
        return text
    if not is_store(base):
        return urljoin(base, text)
    scheme, _, rest = base.partition("://")
    bucket, _, key = rest.partition("/")
    return f"{scheme}://{urljoin(f'http://{bucket}/{key}', text).removeprefix('http://')}"


def read_address(url: str, sha256: str, max_bytes: int) -> bytes:
    """Return the bytes behind an address.

    Args:
        url: of a web server or an object store.
        sha256: hex digits that the bytes must have; empty where nobody gave them.
        max_bytes: larger files are refused.

    Raises:
        Drop: io_error, changed_while_reading, too_many_bytes, store_unavailable, store_denied, robots_disallowed or
            digest_mismatch.
    """
    settings = StoreSettings.from_environment()
    try:
        data = _object(url, settings, max_bytes) if is_store(url) else fetch(url, settings, max_bytes)
    except StoreError as error:
        raise error.drop() from error
    found = hashlib.sha256(data).hexdigest() if sha256 else ""
    if found != sha256.strip().lower():
        raise Drop("digest_mismatch", f"{shown_address(url)}: expected sha256 {sha256}, got {found} ({len(data):,} bytes)")
    return data


def _object(url: str, settings: StoreSettings, max_bytes: int) -> bytes:
    """Return an object that is not too large."""
    store = ObjectStore(url, settings)
    found = store.find("")
    if found is not None and found.num_bytes > max_bytes:
        raise TooLarge(f"{store.place}: {found.num_bytes} bytes > max_bytes {max_bytes}")
    return store.read("", found)
