"""Streams of sets behind URLs: the same batches as from the folder, or an error that names the place."""

from __future__ import annotations

import dataclasses
import http.server
import re
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import pytest
from spherehead.datasets.shards import storage as shard_bytes
from spherehead.datasets.shards.storage import LocalSource, RemoteSource, open_source, shown_place
from spherehead.datasets.streaming.loader import DataError, ShardStream, StreamSettings, open_loader

SETTINGS = StreamSettings(batch=4, resolution=16, lanes=2, window=2, piece=4)


class Server(http.server.ThreadingHTTPServer):
    """A web server of one folder that knows byte ranges, and can fail on purpose."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.ranges, self.failures, self.short = folder, True, Counter[str](), False
        self.asked: list[str] = []
        self.secret, self.through = "", Counter[str]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        address = urlsplit(self.path)  # a proxy is asked for whole addresses
        self.server.through[address.hostname or ""] += 1
        if address.query != self.server.secret or (self.server.secret and not body):
            return self.reply(403, b"", {})  # an address that is signed for GET opens nothing else
        path = self.server.folder / address.path.strip("/")
        if not path.is_file():
            return self.reply(404, b"", {})
        if self.server.failures[path.suffix] > 0:
            self.server.failures[path.suffix] -= 1
            return self.reply(503, b"", {})
        data, headers, status = path.read_bytes(), {"Accept-Ranges": "bytes"}, 200
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked and self.server.ranges:
            start, end = int(asked[1]), int(asked[2])
            headers["Content-Range"], status = f"bytes {start}-{end}/{len(data)}", 206
            data = data[start : end + 1 - (3 if self.server.short and path.suffix == ".tar" else 0)]
        if body:
            self.server.asked.append(path.name)
        return self.reply(status, data, headers, body)

    def reply(self, status: int, data: bytes, headers: dict[str, str], body: bool = True) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(stream_set: Path) -> Iterator[Server]:
    server = Server(stream_set)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_bytes, "_PAUSES", (0.0, 0.0, 0.0))


def digests(place: str | Path, streams: ModuleType, count: int) -> list[str]:
    stream = ShardStream([place], SETTINGS)
    return [streams.digest(stream[number]) for number in range(count)]


def test_a_web_server_gives_the_batches_of_the_folder(stream_set: Path, server: Server, streams: ModuleType) -> None:
    assert digests(server.url, streams, 25) == digests(stream_set, streams, 25)
    assert digests(server.url + "/", streams, 1) == digests(stream_set, streams, 1)
    assert len(server.asked) < 200


def test_any_file_system_of_fsspec_gives_the_batches_of_the_folder(stream_set: Path, streams: ModuleType) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in stream_set.iterdir():
        if path.is_file():
            memory.pipe_file(f"/heads/set/{path.name}", path.read_bytes())
    try:
        assert digests("memory://heads/set", streams, 12) == digests(stream_set, streams, 12)
        assert digests(f"file://{stream_set}", streams, 3) == digests(stream_set, streams, 3)
        memory.rm_file("/heads/set/train-000001.tar")
        with pytest.raises(DataError, match=r"memory://heads/set: shard train-000001.tar is missing"):
            ShardStream(["memory://heads/set"], SETTINGS)
    finally:
        memory.rm("/heads", recursive=True)


def test_a_signed_address_opens_every_file_and_is_told_to_nobody(
    stream_set: Path, server: Server, streams: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    server.secret = "X-Amz-Credential=AKIA%2F20260101&sig=a%2Bb%3D&part=1%20of+2"
    place = f"{server.url}/?{server.secret}"
    server.failures[".tar"] = 1
    assert digests(place, streams, 12) == digests(stream_set, streams, 12)
    stream = ShardStream([place], SETTINGS)
    assert [streams.digest(batch) for batch in open_loader(stream, range(2), workers=1)] == digests(stream_set, streams, 2)
    server.failures[".tar"] = 10**6
    with pytest.raises(DataError) as caught:
        ShardStream([place], SETTINGS)[0]
    assert "403, message" not in str(caught.value) and "503, message" in str(caught.value) and server.url in str(caught.value)
    for told in (str(caught.value), caplog.text):
        assert "AKIA" not in told and "sig=" not in told
    assert shown_place(place) == f"{server.url}?..."
    assert shown_place("https://me:word@host/set") == "https://host/set" and shown_place("a/b?c") == "a/b?c"


def test_proxies_of_the_environment_are_asked(
    stream_set: Path, server: Server, streams: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", server.url)
    assert digests("http://heads.invalid", streams, 6) == digests(stream_set, streams, 6)
    assert set(server.through) == {"heads.invalid"}


def test_reading_a_manifest_leaves_no_thread_that_could_abort_the_exit(stream_set: Path) -> None:
    """Threads of Arrow that hold a Python file when the interpreter ends are killed inside C++, which aborts the process."""
    code = (
        "import sys, psutil\n"
        "from spherehead.datasets.shards.storage import open_source\n"
        "from spherehead.datasets.streaming import index\n"
        "index._SMALL = int(sys.argv[2])\n"
        "before = psutil.Process().num_threads()\n"
        "index.read_rows([open_source(sys.argv[1])], 'train')\n"
        "print(psutil.Process().num_threads() - before)\n"
    )
    for small in ("0", "1000000"):
        done = subprocess.run([sys.executable, "-c", code, str(stream_set), small], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "0"


def test_workers_read_from_a_web_server(stream_set: Path, server: Server, streams: ModuleType) -> None:
    stream = ShardStream([server.url], SETTINGS)
    found = [streams.digest(batch) for batch in open_loader(stream, range(3, 12), workers=2)]
    assert found == digests(stream_set, streams, 12)[3:]


def test_failures_that_pass_are_tried_again(
    stream_set: Path, server: Server, streams: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    server.failures.update({".json": 2, ".parquet": 2, ".tar": 5})
    assert digests(server.url, streams, 3) == digests(stream_set, streams, 3)
    assert server.failures.total() == 0
    assert sum("again in" in record.message for record in caplog.records) >= 3


def test_failures_that_stay_are_errors_that_name_the_file(server: Server) -> None:
    stream = ShardStream([server.url], SETTINGS)
    server.failures[".tar"] = 10**6
    with pytest.raises(DataError, match=rf"cannot read {server.url}/train-00000\d.tar in 4 tries"):
        stream[0]


def test_a_server_that_ends_early_is_an_error(server: Server) -> None:
    server.short = True
    with pytest.raises(DataError, match=r"in 4 tries.*asked for bytes"):
        ShardStream([server.url], SETTINGS)


def test_a_server_without_ranges_is_an_error_that_says_so(server: Server) -> None:
    server.ranges = False
    with pytest.raises(DataError, match=r"asked for [\d,]+ bytes, got [\d,]+; this server knows no byte ranges"):
        ShardStream([server.url], SETTINGS)


def test_no_set_at_a_url_is_said(server: Server) -> None:
    with pytest.raises(DataError, match=rf"no manifest.json in {server.url}/nowhere"):
        ShardStream([f"{server.url}/nowhere"], SETTINGS)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with pytest.raises(DataError, match=r"manifest.json in 4 tries.*Connect"):
        ShardStream([f"http://127.0.0.1:{port}"], SETTINGS)


def test_unknown_protocols_and_missing_packages_are_said() -> None:
    with pytest.raises(DataError, match="give a folder or a URL that fsspec knows"):
        ShardStream(["strange://set"], SETTINGS)


def test_the_next_window_is_read_while_this_one_is_in_use(server: Server) -> None:
    import time

    stream = ShardStream([server.url], dataclasses.replace(SETTINGS, lanes=1))
    stream[0]
    for _ in range(100):
        before = len(server.asked)
        time.sleep(0.05)
        if len(server.asked) == before:
            break
    first = stream.place(0).window
    numbers = [number for number in range(20) if stream.place(number).window == first + 1]
    server.failures[".tar"] = 10**6  # from now on nothing can be read
    assert len(stream[numbers[0]].ids) == 4


def test_ranges_of_local_files(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(range(200)))
    source = open_source(tmp_path)
    assert isinstance(source, LocalSource) and isinstance(open_source("s3://bucket/set"), RemoteSource)
    assert source.read("a.bin", 10, 13) == bytes([10, 11, 12]) and source.read("a.bin", 5, 5) == b""
    assert (source.size("a.bin"), source.size("b.bin")) == (200, None)
    with pytest.raises(DataError, match=r"a.bin ends at byte 200, expected 201"):
        source.read("a.bin", 190, 201)
    with pytest.raises(DataError, match=r"cannot read .*b.bin"):
        source.read("b.bin", 0, 1)


def test_few_files_stay_open(tmp_path: Path) -> None:
    import psutil

    for number in range(150):
        (tmp_path / f"{number}.tar").write_bytes(bytes([number]))
    source, before = LocalSource(str(tmp_path)), psutil.Process().num_fds()
    for _ in range(2):
        assert [source.read(f"{number}.tar", 0, 1)[0] for number in range(150)] == list(range(150))
    assert psutil.Process().num_fds() - before <= 64
