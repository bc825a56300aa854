"""An S3 server (moto's) and a plain web server in this process, both with faults injected on purpose."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

EXPIRED = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>ExpiredToken</Code><Message>The provided token has expired.'
    b"</Message></Error>"
)
_numbers = itertools.count(1)


@dataclass
class Faults:
    """Which requests fail, and how; one fault of a kind name -> how many are still to come, or a share of all requests."""

    planned: Counter[str] = field(default_factory=Counter)
    """503 | cut | slow | expired -> requests."""
    share: float = 0.0
    """Share of all requests that fail, evenly spread: 503, cut body and slow answers in turn."""
    only: str = ""
    """Requests whose path contains this."""
    seconds: float = 1.0
    """What a slow answer takes."""
    dead: bool = False
    """Whether every request gets 503."""
    requests: Counter[str] = field(default_factory=Counter)
    """Method -> requests."""
    failed: int = 0
    bucket: str = ""
    """Name of an empty bucket, of an S3 server."""
    _due: float = 0.0
    _turn: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, method: str, path: str) -> str:
        """Return the fault of a request; empty for none."""
        with self._lock:
            self.requests[method] += 1
            kind = ""
            if self.only in path:
                kind = "503" if self.dead else next((kind for kind, count in self.planned.items() if count > 0), "")
                self.planned[kind] -= bool(kind) and not self.dead
                self._due += self.share
                if not kind and self._due >= 1:
                    self._due -= 1
                    self._turn += 1
                    kind = ("503", "cut", "slow")[self._turn % 3]
            self.failed += bool(kind)
            return kind


class FaultyApp:
    """A WSGI application before another one."""

    def __init__(self, inner: Callable[..., Any], faults: Faults) -> None:
        self.inner, self.faults = inner, faults

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        kind = self.faults.next(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if kind == "503" or (kind == "cut" and environ["REQUEST_METHOD"] != "GET"):
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return [b""]
        if kind == "expired":
            start_response("400 Bad Request", [("Content-Type", "application/xml"), ("Content-Length", str(len(EXPIRED)))])
            return [EXPIRED]
        if kind == "slow":
            time.sleep(self.faults.seconds)
        if kind == "cut":
            body = b"".join(self.inner(environ, start_response))
            return [body[: len(body) // 2]]
        return self.inner(environ, start_response)


@functools.cache
def _server() -> tuple[int, FaultyApp]:
    """Start the S3 server of this process, which lives as long; its port, and where faults are set."""
    import logging

    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = FaultyApp(DomainDispatcherApplication(create_backend_app), Faults())
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port, app


@contextlib.contextmanager
def s3_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """Point this process and its children to an S3 server with one empty bucket, and yield what switches faults on."""
    import fsspec

    port, app = _server()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    app.faults = Faults()
    system = fsspec.filesystem("s3", use_listings_cache=False)
    app.faults.bucket = f"bucket{next(_numbers)}"
    system.call_s3("create_bucket", Bucket=app.faults.bucket)
    try:
        yield app.faults
    finally:
        app.faults = Faults()


def s3_put(key: str, data: bytes, bucket: str) -> None:
    """Put an object behind the toolkit's back."""
    import fsspec

    fsspec.filesystem("s3", use_listings_cache=False).call_s3("put_object", Bucket=bucket, Key=key, Body=data)


def s3_keys(bucket: str) -> dict[str, str]:
    """Return key -> ETag of every object in a bucket."""
    import fsspec

    system = fsspec.filesystem("s3", use_listings_cache=False)
    listed = system.call_s3("list_objects_v2", Bucket=bucket).get("Contents", [])
    return {one["Key"]: one["ETag"] for one in listed}


class WebServer(http.server.ThreadingHTTPServer):
    """A web server of a few files in memory, with faults."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        """Path with a leading slash -> body."""
        self.status: dict[str, int] = {}
        """Path -> status that it always gets."""
        self.moved: dict[str, str] = {}
        """Path -> address that it redirects to."""
        self.faults = Faults()
        self.agents: set[str] = set()
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: WebServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server, path = self.server, self.path.partition("?")[0]
        server.agents.add(self.headers.get("User-Agent", ""))
        server.asked.append(self.path)
        kind = server.faults.next("GET", path)
        status = server.status.get(path, 503 if kind == "503" else 200 if path in server.files else 404)
        if path in server.moved:
            return self._reply(302, b"", {"Location": server.moved[path]})
        body = server.files.get(path, b"") if status == 200 else b""
        if kind == "slow":  # a trickle, so that no single wait is long
            return self._reply(status, body, {}, pause=server.faults.seconds / max(len(body), 1))
        return self._reply(status, body, {"ETag": hashlib.md5(body).hexdigest()}, cut=kind == "cut")

    def _reply(self, status: int, body: bytes, headers: dict[str, str], cut: bool = False, pause: float = 0.0) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            if pause:
                for at in range(len(body)):
                    self.wfile.write(body[at : at + 1])
                    time.sleep(pause)
            else:
                self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def web_server() -> Iterator[WebServer]:
    """Run a web server."""
    server = WebServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
