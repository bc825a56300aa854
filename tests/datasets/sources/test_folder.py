"""Folders, zips, lists and shards name the same files in a stable order, and read them whole or say why not."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import random
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.images.decode import DecodePolicy, decode
from spherehead.datasets.sample import Drop, SourceImage
from spherehead.datasets.sources import folder as sources
from spherehead.datasets.sources.base import Refused, SourceError
from spherehead.datasets.sources.folder import FolderSource, read_file
from spherehead.datasets.sources.open import open_source, open_sources

NAMES = st.text("ab._-é", min_size=1, max_size=3).filter(lambda name: set(name) - {"."})


def outcomes(source):
    """Path -> "ok" or reason, and the sha256 of what was read."""
    reasons, digests = {}, {}
    for entry in source.entries():
        if isinstance(entry, Refused):
            reasons[entry.path] = entry.reason
            continue
        try:
            data = source.read(entry)
            digests[entry.path] = hashlib.sha256(data).hexdigest()
            decode(data, DecodePolicy())
            reasons[entry.path] = "ok"
        except Drop as drop:
            reasons[entry.path] = drop.reason
    return reasons, digests


@pytest.fixture(scope="module")
def bad_folder(bad_inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("around") / "inputs"
    return folder, bad_inputs.write_bad_inputs(folder)


def test_every_bad_file_in_a_folder_is_named_once_with_its_reason(bad_folder):
    folder, expected = bad_folder
    source = open_source(str(folder))
    paths = [entry.path for entry in source.entries()]
    assert len(paths) == len(set(paths))
    assert outcomes(source)[0] == expected


def test_a_zip_of_a_folder_gives_the_same_files_in_the_same_order(bad_folder, tmp_path):
    folder, expected = bad_folder
    path = tmp_path / "inputs.zip"
    names = [name for name, reason in expected.items() if (folder / name).is_file() and not (folder / name).is_symlink()]
    # a zip's names are text: the one that is no UTF-8 stays outside
    names = [name for name in names if name.isprintable() or "\n" in name]
    random.Random(3).shuffle(names)
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.write(folder / name, name)
        archive.writestr("__MACOSX/._portrait.jpg", b"x")
    plain, packed = open_source(str(folder)), open_source(str(path))
    listed = [entry.path for entry in packed.entries() if isinstance(entry, SourceImage)]
    assert listed == [entry.path for entry in plain.entries() if entry.path in set(listed)]
    from_folder, from_zip = outcomes(plain), outcomes(packed)
    assert from_zip[0] == {path: from_folder[0][path] for path in from_zip[0]}
    assert from_zip[1] == {path: from_folder[1][path] for path in from_zip[1]}
    assert len(from_zip[1]) > 100


@settings(max_examples=25, deadline=None)
@given(names=st.lists(NAMES, unique=True, max_size=12), seed=st.integers(0, 1000))
def test_order_depends_on_names_and_not_on_creation(tmp_path_factory, names, seed):
    listings = []
    for turn in range(2):
        root = tmp_path_factory.mktemp("order")
        shuffled = [f"{folder}/{name}" for name in names for folder in ("x", "x-y", "X")] + [f"x{name}.jpg" for name in names]
        random.Random(seed + turn).shuffle(shuffled)
        for name in shuffled:
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(name.encode())
        listings.append([(type(entry).__name__, entry.path) for entry in FolderSource("f", str(root)).entries()])
    assert listings[0] == listings[1]
    parts = [path.encode().rstrip(b"/").split(b"/") for _, path in listings[0]]
    assert parts == sorted(parts) and len(parts) == 4 * len(names)


def test_links_are_followed_on_wish_wherever_they_lead_but_never_in_circles(tmp_path):
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a" / "1.jpg").write_bytes(b"1")
    (tmp_path / "secret.jpg").write_bytes(b"2")
    (root / "file.jpg").symlink_to("a/1.jpg")
    (root / "a" / "up").symlink_to("..")
    (root / "out.jpg").symlink_to("../secret.jpg")
    (root / "z").symlink_to("a")
    (root / "gone.jpg").symlink_to("nowhere")
    (root / "self.jpg").symlink_to("self.jpg")
    found = {entry.path: type(entry).__name__ for entry in FolderSource("r", str(root), follow_links=True).entries()}
    assert found == {
        "a/1.jpg": "SourceImage",
        "a/up/": "Refused",
        "file.jpg": "SourceImage",
        "gone.jpg": "Refused",
        "out.jpg": "SourceImage",
        "self.jpg": "Refused",
        "z/": "Refused",
    }
    details = {entry.path: entry.detail for entry in FolderSource("r", str(root), True).entries() if isinstance(entry, Refused)}
    assert details["a/up/"].startswith("a loop") and "a/" in details["z/"]
    assert "broken" in details["gone.jpg"] and "loop" in details["self.jpg"]
    plain = {entry.path: entry for entry in FolderSource("r", str(root)).entries()}
    assert all("--follow-links" in plain[name].detail for name in ("a/up", "file.jpg", "out.jpg", "z"))


def test_a_hugging_face_cache_is_read_through_its_links(tmp_path):
    blobs, snapshot = tmp_path / "models--x" / "blobs", tmp_path / "models--x" / "snapshots" / "0123"
    for folder in (blobs, snapshot / "images"):
        folder.mkdir(parents=True)
    for index in range(3):
        (blobs / f"{index:064x}").write_bytes(b"%d" % index)
        (snapshot / "images" / f"{index}.jpg").symlink_to(f"../../../blobs/{index:064x}")
    (tmp_path / "photos").symlink_to(snapshot)
    source = open_source(str(tmp_path / "photos"), follow_links=True)
    assert [(entry.path, source.read(entry)) for entry in source.entries()] == [
        (f"images/{i}.jpg", b"%d" % i) for i in range(3)
    ]
    assert {entry.reason for entry in open_source(str(snapshot)).entries()} == {"special_file"}


def test_a_link_that_is_named_itself_is_followed(tmp_path, bad_inputs):
    import picture_files as files

    (tmp_path / "blob").write_bytes(files.jpeg(files.portrait()))
    (tmp_path / "one.jpg").symlink_to("blob")
    source = open_source(str(tmp_path / "one.jpg"))
    (entry,) = source.entries()
    assert entry.path == "one.jpg" and source.read(entry) == (tmp_path / "blob").read_bytes()


def test_a_finished_data_set_among_photographs_is_not_entered_and_other_folders_with_one_such_name_are(tmp_path):
    for folder, names in (("heads", ("manifest.json", "manifest.parquet")), ("mine", ("manifest.json",))):
        (tmp_path / folder / "report").mkdir(parents=True)
        for name in (*names, "report/0.jpg"):
            (tmp_path / folder / name).write_bytes(b"x")
    (tmp_path / "z.jpg").write_bytes(b"x")
    found = list(FolderSource("p", str(tmp_path)).entries())
    told = Refused("p", "heads/", "special_file", "a finished data set, not entered; it can be a source of its own")
    assert found[0] == told
    assert [entry.path for entry in found[1:]] == ["mine/manifest.json", "mine/report/0.jpg", "z.jpg"]


@pytest.mark.parametrize("name", ["photos", "list.csv", "list.parquet", "cameras.json", "a.zip", "a.tar", "a.jpg"])
def test_a_pipe_or_device_named_as_a_source_is_refused_at_once(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(SourceError, match="found a named pipe"):
        open_source(str(tmp_path / name))
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(SourceError, match="found a character device"):
        open_source(str(tmp_path / name))


def test_a_pipe_among_archives_is_one_refusal(tmp_path):
    os.mkfifo(tmp_path / "a.tar")
    (entry,) = open_source(str(tmp_path / "*.tar")).entries()
    assert (entry.path, entry.reason) == ("a.tar", "io_error") and "a named pipe" in entry.detail


def test_a_changed_file_is_noticed(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"first")
    source = FolderSource("f", str(tmp_path))
    (image,) = source.entries()
    assert source.read(image) == b"first"
    path.write_bytes(b"other")
    os.utime(path, ns=(1, 1))
    with pytest.raises(Drop, match="changed_while_reading"):
        source.read(image)
    path.unlink()
    with pytest.raises(Drop, match="io_error: ENOENT"):
        source.read(image)


def test_a_pipe_in_a_files_place_does_not_hold_the_reader_up(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"first")
    source = FolderSource("f", str(tmp_path))
    (image,) = source.entries()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(Drop, match="special_file"):
        source.read(image)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(Drop, match="special_file"):
        source.read(image)


def test_passing_faults_are_tried_again_and_lasting_ones_named(tmp_path, monkeypatch):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"first")
    image = SourceImage("f", "photo.jpg", 5)
    waits, faults = [], [errno.EIO, errno.ESTALE]
    real = os.open

    def shaky(*args, **kwargs):
        if faults:
            raise OSError(faults.pop(), "stale")
        return real(*args, **kwargs)

    monkeypatch.setattr(sources.time, "sleep", waits.append)
    monkeypatch.setattr(sources.os, "open", shaky)
    assert read_file(os.fsencode(path), image, 100) == b"first"
    assert waits == list(sources.RETRY_DELAYS[:2])
    faults[:] = [errno.EIO] * 9
    with pytest.raises(Drop, match="io_error: EIO"):
        read_file(os.fsencode(path), image, 100)
    faults[:] = [errno.EACCES]
    waits.clear()
    with pytest.raises(Drop, match="io_error: EACCES"):
        read_file(os.fsencode(path), image, 100)
    assert waits == []


def test_large_files_are_refused_unread_and_films_told_from_pictures(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(5000))
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff" + bytes(5000))
    reasons, _ = outcomes(open_source(str(tmp_path), max_bytes=1000))
    assert reasons == {"film.mp4": "not_an_image", "photo.jpg": "too_many_bytes"}


def test_sources_travel_to_other_processes(bad_folder):
    folder, _ = bad_folder
    again = pickle.loads(pickle.dumps(open_source(str(folder))))
    first = next(entry for entry in again.entries() if isinstance(entry, SourceImage))
    assert again.read(first) == (folder / first.path).read_bytes()


def test_unusable_sources_say_what_was_expected(tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"no zip")
    (tmp_path / "notes.txt").write_bytes(b"words")
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "columns.csv").write_bytes(b"url,caption\nx,y\n")
    for name in ("missing", "broken.zip", "notes.txt", "empty.csv", "columns.csv", "*.tar"):
        with pytest.raises(SourceError, match="expected"):
            open_source(str(tmp_path / name))
    for text in ("", "\0", "~nobody-of-that-name/x", "a" * 5000):
        with pytest.raises(SourceError, match="expected a folder"):
            open_source(text)
    with pytest.raises(SourceError, match="at least one source"):
        open_sources([])


def test_labels_stay_apart_and_a_single_picture_is_a_source(tmp_path, bad_inputs):
    import picture_files as files

    for folder in ("a/photos", "b/photos"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "one.jpg").write_bytes(files.jpeg(files.portrait()))
        (tmp_path / folder / "two.jpg").write_bytes(files.jpeg(files.portrait()))
    opened = open_sources([str(tmp_path / "a/photos"), str(tmp_path / "b/photos"), str(tmp_path / "a/photos/two.jpg")])
    assert [source.label for source in opened] == ["photos", "photos#2", "photos#3"]
    assert [[entry.path for entry in source.entries()] for source in opened] == [["one.jpg", "two.jpg"]] * 2 + [["two.jpg"]]
    assert {entry.source for entry in opened[1].entries()} == {"photos#2"}
