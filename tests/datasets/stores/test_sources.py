"""Photographs behind URLs: the files of a local folder, in its order, with one named reason for each that cannot be read."""

from __future__ import annotations

import hashlib
import pickle
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from faulty_servers import Faults, WebServer, s3_put, s3_server, web_server
from spherehead.datasets.sample import Drop, SourceImage
from spherehead.datasets.shown import shown_address
from spherehead.datasets.sources.base import Refused, Source, SourceError
from spherehead.datasets.sources.folder import FolderSource
from spherehead.datasets.sources.listing import ListSource
from spherehead.datasets.sources.remote.open import open_remote
from spherehead.datasets.stores import retries
from spherehead.manifests.config import ConfigError

NAMES = ("x.jpg", "b/y.jpg", "b.jpg", ".h/z.jpg", ".h/w.jpg", "ü.jpg", "empty.jpg", "b/.DS_Store", "B.JPG", "b-c/d.jpg")


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    with s3_server(monkeypatch) as faults:
        yield faults


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setenv("no_proxy", "*")
    with web_server() as server:
        yield server


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "PAUSES", (0.01,) * 6)
    monkeypatch.setenv("SPHEREHEAD_STORE_TIMEOUT", "0.5")
    monkeypatch.setenv("SPHEREHEAD_STORE_PATIENCE", "5")


def content(source: Source) -> list[object]:
    return [
        (entry.path, entry.num_bytes, source.read(entry)) if isinstance(entry, SourceImage) else entry
        for entry in source.entries()
    ]


def reason_of(source: Source, entry: SourceImage | Refused) -> str:
    assert isinstance(entry, SourceImage)
    with pytest.raises(Drop) as refused:
        source.read(entry)
    return refused.value.reason


def test_a_bucket_names_and_reads_what_a_folder_of_the_same_files_does_while_requests_fail(
    faults: Faults, tmp_path: Path
) -> None:
    for name in NAMES:
        data = b"" if name == "empty.jpg" else name.encode() * 3
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(data)
        s3_put(f"photos/{name}", data, faults.bucket)
    s3_put("photos/", b"", faults.bucket)  # what consoles leave for folders
    s3_put("photos/b/", b"", faults.bucket)
    s3_put("photosbeside/q.jpg", b"beside", faults.bucket)
    faults.share, faults.seconds = 0.2, 0.7
    source = pickle.loads(pickle.dumps(open_remote(f"s3://{faults.bucket}/photos/")))
    assert content(source) == content(FolderSource("photos", str(tmp_path / "photos")))
    assert faults.failed >= 4
    single = open_remote(f"s3://{faults.bucket}/photos/b.jpg")
    assert content(single) == [("b.jpg", 15, b"b.jpg" * 3)]


def test_a_key_that_no_folder_can_have_is_told_and_ends_the_walk_there(faults: Faults) -> None:
    s3_put("photos/a//d.jpg", b"1", faults.bucket)
    s3_put("photos/c.jpg", b"2", faults.bucket)
    first, second = open_remote(f"s3://{faults.bucket}/photos").entries()
    assert isinstance(first, Refused) and first.reason == "special_file" and second.path == "c.jpg"


@pytest.mark.parametrize(
    ("kind", "reason"), [("changed", "changed_while_reading"), ("gone", "changed_while_reading"), ("expired", "store_denied"),
                         ("dead", "store_unavailable"), ("large", "not_an_image")],
)  # fmt: skip
def test_an_object_that_cannot_be_read_as_listed_has_one_reason(faults: Faults, kind: str, reason: str) -> None:
    s3_put("photos/a.jpg", b"first", faults.bucket)
    source = open_remote(f"s3://{faults.bucket}/photos")
    (entry,) = source.entries()
    if kind == "changed":
        s3_put("photos/a.jpg", b"other", faults.bucket)
    elif kind == "gone":
        fsspec.filesystem("s3", use_listings_cache=False).call_s3("delete_object", Bucket=faults.bucket, Key="photos/a.jpg")
    elif kind == "large":
        source.max_bytes = 4
    else:
        faults.planned["expired"], faults.dead = 99 * (kind == "expired"), kind == "dead"
    assert reason_of(source, entry) == reason


def test_an_object_that_changes_between_two_pieces_is_refused(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    from spherehead.datasets.stores import objects

    monkeypatch.setattr(objects, "PIECE", 4)
    s3_put("photos/a.jpg", b"12345678", faults.bucket)
    source = open_remote(f"s3://{faults.bucket}/photos")
    (entry,) = source.entries()
    assert isinstance(entry, SourceImage) and source.read(entry) == b"12345678"
    plain = objects.ObjectStore.read_range

    def meddling(store: objects.ObjectStore, key: str, start: int, end: int) -> bytes:
        if start:
            s3_put("photos/a.jpg", b"ABCDEFGH", faults.bucket)
        return plain(store, key, start, end)

    monkeypatch.setattr(objects.ObjectStore, "read_range", meddling)
    assert reason_of(source, entry) == "changed_while_reading"


def test_a_dead_store_ends_in_time_with_a_line_that_names_it(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPHEREHEAD_STORE_PATIENCE", "1")
    monkeypatch.setattr(retries, "PAUSES", (0.3,) * 6)
    faults.dead = True
    started = time.monotonic()
    with pytest.raises(SourceError, match=r"cannot list s3://bucket\d+/photos: .* no good answer in \d tries"):
        list(open_remote(f"s3://{faults.bucket}/photos").entries())
    assert time.monotonic() - started < 2.5
    monkeypatch.setenv("SPHEREHEAD_STORE_PATIENCE", "soon")
    with pytest.raises(ConfigError, match="SPHEREHEAD_STORE_PATIENCE"):
        open_remote(f"s3://{faults.bucket}/photos")


@pytest.mark.parametrize("url", ["s3://", "s3://bucket/set.tar", "https://127.0.0.1/photos/"])
def test_a_url_that_is_no_source_is_refused_at_once(url: str) -> None:
    with pytest.raises(SourceError):
        open_remote(url)


def a_list(server: WebServer, rows: list[dict[str, str]]) -> bytes:
    names = ["path", "sha256", "license", "attribution"]
    lines = [names, *([row.get(name, "") for name in names] for row in rows)]
    return "\n".join(",".join(line) for line in lines).encode()


def test_a_list_of_addresses_gives_every_row_a_file_or_a_reason(web: WebServer, tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d", "private/e"):
        web.files[f"/{name}.jpg"] = name.encode() * 1000
    web.files["/robots.txt"] = b"User-agent: *\nDisallow: /private/\nDisallow: /*.png$\n"
    web.status |= {"/forbidden.jpg": 403, "/dead.jpg": 503}
    web.moved |= {"/moved.jpg": f"{web.url}/c.jpg", "/lured.jpg": f"{web.url}/private/e.jpg"}
    digest = hashlib.sha256(b"a" * 1000).hexdigest()
    expected = [
        ("a.jpg", digest, b"a" * 1000), ("a.jpg", digest.upper(), b"a" * 1000), ("b.jpg", digest, "digest_mismatch"),
        ("c.jpg?id=3&X-Amz-Signature=secret", "", b"c" * 1000), ("moved.jpg", "", b"c" * 1000), ("none.jpg", "", "io_error"),
        ("private/e.jpg", "", "robots_disallowed"), ("x.png", "", "robots_disallowed"), ("lured.jpg", "", "robots_disallowed"),
        ("forbidden.jpg", "", "io_error"), ("dead.jpg", "", "store_unavailable"), ("d.jpg", "12", "digest_mismatch"),
    ]  # fmt: skip
    rows = [{"path": f"{web.url}/{name}", "sha256": sha256, "license": "CC0-1.0"} for name, sha256, _ in expected]
    (tmp_path / "list.csv").write_bytes(a_list(web, rows))
    source = pickle.loads(pickle.dumps(ListSource("list", str(tmp_path / "list.csv"))))
    entries = list(source.entries())
    assert not web.asked  # listing asks no server
    got = []
    for entry, (name, _, what) in zip(entries, expected, strict=True):
        assert entry.path.startswith(f"{web.url}/{name.partition('?')[0]}") and "secret" not in entry.path
        if isinstance(what, bytes):
            assert entry.rights.license == "CC0-1.0"
            got.append(source.read(entry))
        else:
            got.append(entry.reason if isinstance(entry, Refused) else reason_of(source, entry))
    assert got == [what for *_, what in expected]
    assert web.asked.count("/robots.txt") == 1 and not any("private" in path or "png" in path for path in web.asked)
    assert entries[3].path.endswith("c.jpg?id=3") and all(agent.startswith("spherehead-toolkit") for agent in web.agents)


@pytest.mark.parametrize("kind", ["503", "cut", "slow"])
def test_faults_that_pass_cost_no_photograph(web: WebServer, tmp_path: Path, kind: str) -> None:
    web.files["/a.jpg"] = bytes(range(256)) * 4
    web.faults.only, web.faults.planned[kind], web.faults.seconds = "a.jpg", 2, 60
    if kind == "slow":
        web.faults.planned[kind], web.faults.seconds = 1, 1.0
    (tmp_path / "list.csv").write_bytes(a_list(web, [{"path": f"{web.url}/a.jpg"}]))
    source = ListSource("list", str(tmp_path / "list.csv"))
    (entry,) = source.entries()
    assert isinstance(entry, SourceImage) and source.read(entry) == web.files["/a.jpg"]
    assert web.faults.failed >= 1


def test_an_endless_trickle_is_given_up_when_its_time_is_over(
    web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPHEREHEAD_STORE_PATIENCE", "0.6")
    web.files["/a.jpg"] = bytes(400)
    web.faults.only, web.faults.planned["slow"], web.faults.seconds = "a.jpg", 9, 40
    (tmp_path / "list.csv").write_bytes(a_list(web, [{"path": f"{web.url}/a.jpg"}]))
    source = ListSource("list", str(tmp_path / "list.csv"))
    (entry,) = source.entries()
    started = time.monotonic()
    assert reason_of(source, entry) == "store_unavailable" and time.monotonic() - started < 3


def test_a_server_without_an_answer_on_robots_is_not_read_and_one_without_the_file_is(
    web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.files["/a.jpg"] = b"a"
    (tmp_path / "list.csv").write_bytes(a_list(web, [{"path": f"{web.url}/a.jpg"}]))
    source = ListSource("list", str(tmp_path / "list.csv"))
    (entry,) = source.entries()
    web.status["/robots.txt"] = 500
    assert reason_of(source, entry) == "store_unavailable" and "/a.jpg" not in web.asked
    assert isinstance(entry, SourceImage)
    monkeypatch.setenv("SPHEREHEAD_ROBOTS", "ignore")
    monkeypatch.setenv("SPHEREHEAD_USER_AGENT", "my-lab/1.0")
    assert source.read(entry) == b"a" and "my-lab/1.0" in web.agents
    monkeypatch.setenv("SPHEREHEAD_ROBOTS", "respect")
    web.status["/robots.txt"] = 404
    assert source.read(entry) == b"a"


def test_a_list_that_lies_elsewhere_reads_its_rows_relative_to_itself(web: WebServer, faults: Faults) -> None:
    rows = a_list(web, [{"path": "in/a.jpg"}, {"path": "/top.jpg"}, {"path": "ftp://x.org/b.jpg"}])
    web.files |= {"/sets/list.csv": rows, "/sets/in/a.jpg": b"web", "/top.jpg": b"top"}
    s3_put("sets/list.csv", rows, faults.bucket)
    s3_put("sets/in/a.jpg", b"s3", faults.bucket)
    s3_put("top.jpg", b"top", faults.bucket)
    for url, first in ((f"{web.url}/sets/list.csv?token=1", b"web"), (f"s3://{faults.bucket}/sets/list.csv", b"s3")):
        source = pickle.loads(pickle.dumps(open_remote(url)))
        one, two, three = source.entries()
        assert isinstance(one, SourceImage) and isinstance(two, SourceImage) and isinstance(three, Refused)
        assert (source.read(one), source.read(two)) == (first, b"top") and source.label == "list.csv"


def test_addresses_are_shown_without_what_opens_them() -> None:
    url = "https://me:pw@x.org/a.jpg?w=1&X-Amz-Credential=c&X-Amz-Signature=s&sig=2"
    assert shown_address(url) == "https://x.org/a.jpg?w=1"
    assert shown_address("https://x.org/a%20b.jpg?q=a%2Fb") == "https://x.org/a%20b.jpg?q=a%2Fb"
