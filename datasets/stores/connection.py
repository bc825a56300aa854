"""Connections to object stores through fsspec, with time limits on every request: the only module that opens them.

What is asked over a connection is left to `objects`, and to `shards.storage`, which reads byte ranges of shards.
"""

from __future__ import annotations

import os
from typing import Any

from .retries import StoreSettings

STORES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs", "memory": "",
}  # fmt: skip
"""Scheme of an object store -> the package that fsspec needs for it."""


def scheme_of(text: str) -> str:
    """Return the scheme of a URL in lower case; empty for a path."""
    scheme, mark, _ = text.partition("://")
    return scheme.lower() if mark and scheme.isascii() and scheme.isalnum() else ""


def is_store(text: str) -> bool:
    """Return whether a text is the URL of an object store that can be listed and written."""
    return scheme_of(text) in STORES


def connect(url: str, settings: StoreSettings) -> tuple[Any, str]:
    """Return an fsspec file system and the URL's path in it.

    Connections belong to the process that opens them; fsspec keeps one a process and set of options.

    Raises:
        ImportError: the package for this kind of store is not installed; the message has the pip line.
    """
    import fsspec

    scheme = scheme_of(url)
    options: dict[str, Any] = {"use_listings_cache": False}
    if STORES.get(scheme) == "s3fs":  # retries are ours: those of botocore and s3fs would multiply with them
        options["config_kwargs"] = {
            "connect_timeout": settings.timeout, "read_timeout": settings.timeout, "retries": {"total_max_attempts": 1},
        }  # fmt: skip
    try:
        system, path = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        package = STORES.get(scheme) or "the package of this store"
        extra = "pip install 'spherehead-toolkit[s3]'" if package == "s3fs" else f"pip install {package}"
        raise ImportError(f"{url}: {package} is not installed; {extra}") from error
    if STORES.get(scheme) == "s3fs":
        system.retries = 1
    return system, str(path)


class Connection:
    """A connection that is opened where it is used, and again in another process."""

    def __init__(self, url: str, settings: StoreSettings) -> None:
        """Note where to connect; nothing is opened yet."""
        self.url, self.settings = url, settings
        self._system: Any = None
        self._path, self._process = "", -1

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "settings": self.settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["url"], state["settings"])  # type: ignore[misc]

    def opened(self) -> tuple[Any, str]:
        """Return the file system of this process and the path of the URL in it, without a slash at its end."""
        if self._system is None or self._process != os.getpid():
            self._system, path = connect(self.url, self.settings)
            self._path, self._process = path.rstrip("/"), os.getpid()
        return self._system, self._path

    def call(self, name: str, *args: Any, seconds: float = 0.0, **options: Any) -> Any:
        """Call a method of the file system with a time limit.

        Args:
            name: of the method.
            args: for it.
            seconds: the limit; the settings' timeout where 0.
            options: further arguments.
        """
        from fsspec.asyn import AsyncFileSystem

        system, _ = self.opened()
        if isinstance(system, AsyncFileSystem):
            options["timeout"] = seconds or self.settings.timeout
        return getattr(system, name)(*args, **options)
