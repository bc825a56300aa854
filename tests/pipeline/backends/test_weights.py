from __future__ import annotations

import hashlib
import http.server
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from spherehead.pipeline.backends import weights, weights_listing
from spherehead.pipeline.backends.weights import WeightsError
from spherehead.pipeline.backends.weights_registry import REGISTRY, WeightFile

DATA = bytes(range(256)) * 20_000
"""5.12 MB that stand for a model file."""


class Server(http.server.ThreadingHTTPServer):
    """Serves DATA; knows ranges, and can cut answers short."""

    cut_after: int | None = None
    ranges: list[str | None]

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are part of the tests."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        if self.path == "/gone":
            self.send_error(404, "Not Found")
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.path != "/noranges" else 0
        if wanted and start >= len(DATA):
            self.send_error(416)
            return
        body = DATA[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.server.cut_after is None else body[: self.server.cut_after])

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server(("127.0.0.1", 0), Handler)
    served.ranges = []
    threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
    yield served
    served.shutdown()
    served.server_close()


@pytest.fixture(autouse=True)
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPHEREHEAD_WEIGHTS", "U2NET_HOME", "REMBG_HOME", "XDG_DATA_HOME", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SPHEREHEAD_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def register(monkeypatch: pytest.MonkeyPatch, **values: object) -> WeightFile:
    item = WeightFile("toy", "toy.onnx", "a test", "http://127.0.0.1:9/toy", "MIT", "here", **values)  # type: ignore[arg-type]
    monkeypatch.setitem(REGISTRY, "toy", item)
    return item


def url(server: Server, path: str = "/toy") -> str:
    return f"http://127.0.0.1:{server.server_address[1]}{path}"


SHA256, MD5 = hashlib.sha256(DATA).hexdigest(), hashlib.md5(DATA).hexdigest()


@pytest.mark.parametrize(
    ("digest", "kind"),
    [({"sha256": SHA256}, "sha256"), ({"sha256_prefix": SHA256[:10]}, "sha256 prefix"), ({"md5": MD5}, "md5")],
)
def test_fetched_file_is_proved_by_the_strongest_digest_known(
    server: Server, monkeypatch: pytest.MonkeyPatch, digest: dict[str, str], kind: str
) -> None:
    register(monkeypatch, **digest)
    fetched = weights.fetch("toy", url=url(server))
    assert fetched.path == weights.folder() / "toy.onnx"
    assert fetched.path.read_bytes() == DATA
    assert (fetched.sha256, fetched.checked_by) == (SHA256, kind)
    assert weights.require("toy") == fetched
    assert weights_listing.status("toy").state == "ok"
    receipt = json.loads((weights.folder() / "receipts.json").read_text())["toy.onnx"]
    assert receipt == {"sha256": SHA256, "checked_by": kind, "from": url(server)}
    assert [path.name for path in weights.folder().iterdir() if "part" in path.name] == []


def test_present_and_proved_file_is_not_downloaded_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, sha256=SHA256)
    weights.fetch("toy", url=url(server))
    weights.fetch("toy", url=url(server))
    assert len(server.ranges) == 1


@pytest.mark.parametrize("digest", [{"sha256": "0" * 64}, {"sha256_prefix": "0" * 10}, {"md5": "0" * 32}])
def test_wrong_bytes_are_never_kept(server: Server, monkeypatch: pytest.MonkeyPatch, digest: dict[str, str]) -> None:
    register(monkeypatch, **digest)
    with pytest.raises(WeightsError, match=r"is not toy: expected .*0000000000.*nothing was kept"):
        weights.fetch("toy", url=url(server))
    assert [path.name for path in weights.folder().iterdir()] == []


def test_cut_download_says_so_and_the_next_call_continues(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, sha256=SHA256)
    server.cut_after = 3_000_000
    with pytest.raises(WeightsError, match=r"ended after 3,000,000 of 5,120,000 bytes; the same command continues"):
        weights.fetch("toy", url=url(server))
    assert weights.find("toy") is None
    server.cut_after = None
    assert weights.fetch("toy", url=url(server)).path.read_bytes() == DATA
    assert server.ranges == [None, "bytes=3000000-"]


def test_server_without_ranges_gives_the_whole_file_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, sha256=SHA256)
    weights.folder().mkdir(parents=True)
    (weights.folder() / "toy.onnx.part").write_bytes(b"x" * 1000)
    assert weights.fetch("toy", url=url(server, "/noranges")).sha256 == SHA256


def test_partial_file_that_is_already_whole_is_taken(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, sha256=SHA256)
    weights.folder().mkdir(parents=True)
    (weights.folder() / "toy.onnx.part").write_bytes(DATA)
    assert weights.fetch("toy", url=url(server)).sha256 == SHA256


def test_damaged_partial_file_is_thrown_away_not_continued_for_ever(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, sha256=SHA256)
    weights.folder().mkdir(parents=True)
    (weights.folder() / "toy.onnx.part").write_bytes(b"x" * 1000)
    with pytest.raises(WeightsError, match=r"nothing was kept"):
        weights.fetch("toy", url=url(server))
    assert weights.fetch("toy", url=url(server)).sha256 == SHA256


def test_missing_page_and_dead_server_name_the_way_out(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, sha256=SHA256)
    with pytest.raises(WeightsError, match=r"answered 404 Not Found; without a network: download .* --from FILE"):
        weights.fetch("toy", url=url(server, "/gone"))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}/toy"
        with pytest.raises(WeightsError, match=r"cannot download toy from .*refused.*spherehead models fetch toy --from FILE"):
            weights.fetch("toy", url=dead)


def test_name_that_does_not_resolve_fails_kindly(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, sha256=SHA256)
    with pytest.raises(WeightsError, match=r"cannot download toy"):
        weights.fetch("toy", url="http://nowhere.invalid/toy", timeout=5)


def test_silent_server_is_given_up_after_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, sha256=SHA256)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(WeightsError, match=r"timed out"):
        weights.fetch("toy", url=f"http://127.0.0.1:{silent.getsockname()[1]}/toy", timeout=0.3)


def test_local_copy_is_taken_checked_and_left_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, sha256=SHA256)
    copy = tmp_path / "from_a_friend.onnx"
    copy.write_bytes(DATA)
    assert weights.fetch("toy", copy).sha256 == SHA256
    copy.write_bytes(DATA[:-1])
    with pytest.raises(WeightsError, match=r"is not toy"):
        weights.fetch("toy", copy)
    assert weights.require("toy").sha256 == SHA256
    with pytest.raises(WeightsError, match=r"cannot read .*No such file"):
        weights.fetch("toy", tmp_path / "absent")


def test_file_without_a_published_digest_needs_explicit_trust_and_is_then_held_to_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch)
    with pytest.raises(WeightsError, match=r"no digest of toy is published.*--trust"):
        weights.fetch("toy", url=url(server))
    assert server.ranges == []
    fetched = weights.fetch("toy", url=url(server), trust=True)
    assert (fetched.sha256, fetched.checked_by) == (SHA256, "sha256 of first use")
    assert weights.require("toy").checked_by == "sha256 of first use"
    fetched.path.write_bytes(DATA[:-1] + b"!")
    with pytest.raises(WeightsError, match=r"expected sha256 of first use"):
        weights.require("toy")


def test_unproved_file_laid_down_by_hand_is_not_accepted_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)
    weights.folder().mkdir(parents=True)
    (weights.folder() / "toy.onnx").write_bytes(DATA)
    with pytest.raises(WeightsError, match=f"cannot be proved.*{SHA256}.*--trust"):
        weights.require("toy")
    assert weights_listing.status("toy").state == "wrong"


def test_damage_after_fetching_is_seen(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, sha256=SHA256)
    path = weights.fetch("toy", url=url(server)).path
    path.write_bytes(DATA[:1000])
    with pytest.raises(WeightsError, match=r"is not toy: expected sha256 .* delete it, then: spherehead models fetch toy"):
        weights.require("toy")
    assert weights.fetch("toy", url=url(server)).sha256 == SHA256


def test_two_processes_do_not_write_one_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import fcntl

    register(monkeypatch, sha256=SHA256)
    weights.folder().mkdir(parents=True)
    (tmp_path / "copy").write_bytes(DATA)
    with (weights.folder() / "toy.onnx.part").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(WeightsError, match=r"another process is fetching"):
            weights.fetch("toy", tmp_path / "copy")
    assert weights.fetch("toy", tmp_path / "copy").sha256 == SHA256


def test_full_disk_is_refused_before_writing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    register(monkeypatch, sha256=SHA256)
    usage = shutil.disk_usage(os.sep)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(WeightsError, match=r"needs 5,120,000 bytes in .* 1,000 are free; set SPHEREHEAD_WEIGHTS"):
        weights.fetch("toy", url=url(server))


def test_files_of_rembg_and_torch_hub_are_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "rembg"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert weights.find("u2netp") is None
    assert weights_listing.status("2dfan4", checked=False).state == "missing"
    theirs = tmp_path / "rembg/models/u2netp/u2netp.onnx"
    hub = tmp_path / "torch/hub/checkpoints/2DFAN4-11f355bf06.pth.tar"
    for path in (theirs, hub):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"something else")
    assert weights.find("u2netp") == theirs
    assert weights.find("2dfan4") == hub
    assert weights_listing.status("2dfan4", checked=False).state == "present"
    with pytest.raises(WeightsError, match=r"expected sha256 prefix 11f355bf06"):
        weights.require("2dfan4")


def test_fetched_file_is_shown_to_the_library_that_runs_it(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "rembg"))
    register(monkeypatch, sha256=SHA256, rembg_session="toy")
    fetched = weights.fetch("toy", url=url(server))
    theirs = tmp_path / "rembg/models/toy/toy.onnx"
    assert theirs.resolve() == fetched.path.resolve()
    assert theirs.read_bytes() == DATA


def test_missing_file_names_the_command_and_unknown_name_the_nearest() -> None:
    with pytest.raises(WeightsError, match=r"u2net is not on this machine: spherehead models fetch u2net .*Apache-2.0"):
        weights.require("u2net")
    with pytest.raises(WeightsError, match=r"unknown model 'u2nett'.*did you mean 'u2net'"):
        weights.fetch("u2nett")


def test_listing_shows_embedded_models_with_digests_and_every_registered_file() -> None:
    lines = weights_listing.listing()
    embedded = [line for line in lines if line.state == "embedded"]
    assert {"face_landmark_with_attention", "selfie_segmentation", "pose_detection"} <= {line.name for line in embedded}
    assert all(len(line.sha256) == 64 for line in embedded)
    assert set(REGISTRY) <= {line.name for line in lines}


@pytest.mark.parametrize("item", REGISTRY.values(), ids=REGISTRY)
def test_registry_entries_are_well_formed(item: WeightFile) -> None:
    assert item.url.startswith("https://")
    assert item.licence and item.purpose and item.cited
    assert len(item.sha256) in (0, 64) and len(item.md5) in (0, 32)
    assert set(item.sha256 + item.md5 + item.sha256_prefix) <= set("0123456789abcdef")
    assert item.sha256_prefix in item.file_name


def test_md5_of_registered_mattes_are_those_in_rembgs_own_source() -> None:
    import importlib.metadata

    sessions = Path(str(importlib.metadata.distribution("rembg").locate_file("rembg/sessions")))
    source = "".join(path.read_text() for path in sessions.glob("*.py"))
    for item in REGISTRY.values():
        if item.rembg_session:
            assert item.url in source
            assert (item.md5 or item.sha256) in source
