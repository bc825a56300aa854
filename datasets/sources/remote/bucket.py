"""Photographs in an object store: every object under a URL such as s3://bucket/photos, in the order of a folder.

How objects are listed and read is `stores`' business; lists of addresses are `sources.listing`'s.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...sample import Drop, SourceImage
from ...stores.objects import ObjectStore, OddKey, StoredObject
from ...stores.retries import ObjectMissing, StoreError
from ..base import Refused, Source, SourceError
from ..folder import guard_size
from ..names import hidden_part, is_text


class BucketSource(Source):
    """Every object under a URL, or the one object that it names."""

    def __init__(self, url: str, label: str = "") -> None:
        """Read from the objects under `url`.

        Raises:
            SourceError: the URL names no bucket, or ends in an archive.
        """
        self.store: ObjectStore = ObjectStore(url)
        self._only: StoredObject | None = None
        bucket, _, prefix = self.store.url.partition("://")[2].partition("/")
        if not bucket:
            raise SourceError(f"expected a bucket in {url!r}, such as s3://bucket/photos")
        name = prefix.rpartition("/")[2] or bucket
        if name.lower().endswith((".tar", ".zip", ".tgz", ".tar.gz")):
            raise SourceError(f"archives in stores are not read: copy {self.store.place} here, or unpack it in the bucket")
        self.label = label or name

    def entries(self) -> Iterator[SourceImage | Refused]:
        """Name every object in the order in which a folder of the same files would be read.

        Raises:
            SourceError: the store does not answer, refuses, or holds nothing under the URL.
        """
        try:
            count, told = 0, set[str]()
            for found in self.store.walk():
                count += 1
                entry = self._entry(found)
                if not isinstance(entry, Refused) or entry.path not in told:
                    yield entry
                told.update([entry.path] if isinstance(entry, Refused) else ())
        except StoreError as error:
            raise SourceError(f"cannot list {self.store.place}: {error}") from error
        if not count:
            raise SourceError(f"expected photographs under {self.store.place}, found no object there; check the URL")

    def _entry(self, found: StoredObject | OddKey) -> SourceImage | Refused:
        """Return an object as the source's file, or why it is none."""
        path = found.key or self.label
        if isinstance(found, OddKey):
            return Refused(self.label, path, "special_file", found.detail)
        if hidden := hidden_part(path.split("/")):
            return Refused(self.label, hidden, "hidden_file", "a folder, not entered" if hidden.endswith("/") else "")
        if not is_text(path):
            return Refused(self.label, path, "special_file", "a key that is no UTF-8 text")
        stamp = f"{found.num_bytes}-{found.tag}-{self.store.place}" if found.tag else ""
        return SourceImage(self.label, path, found.num_bytes, stamp, sidecar={"tag": found.tag})

    def read(self, image: SourceImage) -> bytes:
        """Read one object whole; one that is not as it was listed is refused. See `Source.read`.

        Raises:
            Drop: io_error, changed_while_reading, too_many_bytes, store_unavailable or store_denied.
        """
        key = "" if image.path == self.label and self._is_single() else image.path
        try:
            if image.num_bytes > self.max_bytes:
                guard_size(self.store.read_range(key, 0, min(4096, image.num_bytes)), image.num_bytes, self.max_bytes)
            return self.store.read(key, StoredObject(key, image.num_bytes, image.sidecar.get("tag", "")))
        except ObjectMissing as error:
            raise Drop("changed_while_reading", f"{error} any more") from error
        except StoreError as error:
            raise error.drop() from error

    def _is_single(self) -> bool:
        """Return whether the URL names one object."""
        if self._only is None:
            self._only = self.store.find("")
        return self._only is not None
