"""Open sources that lie behind URLs: a prefix of a bucket, one object of it, or a list of photographs.

The layer above registers it under its schemes; a list on this machine may name addresses as well, see `sources.listing`.
"""

from __future__ import annotations

from ...shown import shown_address
from ...stores.connection import STORES, is_store
from ...stores.objects import ObjectStore
from ...stores.retries import StoreError, StoreSettings
from ...stores.web import fetch
from ..base import Source, SourceError
from ..listing import ListSource
from ..tables import ENDINGS
from .bucket import BucketSource

SCHEMES = tuple(f"{scheme}:" for scheme in (*STORES, "http", "https"))
"""How the texts of these sources begin."""
MAX_LIST = 4 << 30
"""Bytes of a list that is read from elsewhere; it is held in memory."""


def open_remote(url: str) -> Source:
    """Open the source behind a URL.

    Raises:
        SourceError: it is no list and no bucket, or cannot be read.
    """
    path = url.partition("?")[0].rstrip("/")
    if not path.lower().endswith(ENDINGS):
        if is_store(url):
            return BucketSource(url)
        raise SourceError(
            f"expected a list of photographs at {shown_address(url)}: a web address that ends in {', '.join(ENDINGS)}; web "
            "servers cannot be listed"
        )
    try:
        data = ObjectStore(url).read("") if is_store(url) else fetch(url, StoreSettings.from_environment(), MAX_LIST)
    except StoreError as error:
        raise SourceError(f"cannot read the list {shown_address(url)}: {error}") from error
    return ListSource(path.rpartition("/")[2], url, data)
