"""JPEG headers are read to the last marker, and what libjpeg mutters is heard without swallowing anybody else's words."""

from __future__ import annotations

import logging
import os
import threading

import pytest
from spherehead.datasets.images.jpeg import Listener, damage, decode_jpeg, listener, read_jpeg
from spherehead.datasets.sample import Drop


@pytest.fixture
def plain(bad_inputs):
    return {case.name: case.data for case in bad_inputs.cases()}["formats/plain.jpg"]


def test_sizes_blocks_and_orientation_come_from_the_markers(bad_inputs):
    import picture_files as files

    base = files.portrait()
    for chroma, block in ((0, (8, 8)), (1, (16, 8)), (2, (16, 16))):
        header = read_jpeg(files.jpeg(base, subsampling=chroma, exif=files.exif(6)))
        assert (header.width, header.height, header.orientation, header.block) == (320, 400, 6, block)
    assert read_jpeg(files.jpeg(base[..., 0])).channels == 1


def test_the_end_is_found_behind_restarts_scans_thumbnails_and_fill_bytes(bad_inputs, plain):
    import picture_files as files

    base = files.portrait()
    for data in (plain, files.jpeg(base, progressive=True), files.jpeg(base, restart_marker_rows=1)):
        assert read_jpeg(data).problem is None and not read_jpeg(data).flags
        assert read_jpeg(data + b"more").flags == {"trailing_bytes"}
        assert read_jpeg(data[:-2]).problem[0] == "truncated"
    assert read_jpeg(plain[:2] + b"\xff\xff\xff" + plain[2:]).problem is None
    # the end marker of an embedded thumbnail is not the picture's
    block = files.exif(1).tobytes() + files.jpeg(base[::8, ::8])
    assert read_jpeg(files.jpeg(base, exif=block)[:-2]).problem[0] == "truncated"


def test_endless_segments_are_refused_and_not_walked(plain):
    for data in (b"\xff\xd8" + b"\xff\xfe\x00\x02" * 3_000_000, plain[:-2] + b"\xff\x05" * 3_000_000):
        with pytest.raises(Drop, match="corrupt_stream: more than"):
            read_jpeg(data)


def test_complaints_are_heard_and_kept_off_the_console(plain, capfd):
    broken = plain[: len(plain) // 2] + b"\xff\xd9"
    assert decode_jpeg(broken)[1] == "Corrupt JPEG data: premature end of data segment"
    assert decode_jpeg(plain)[1] == ""
    assert capfd.readouterr().err == ""


def test_other_writers_are_passed_on_whole(capfd):
    with listener().listen() as heard:
        os.write(2, b"Corrupt JPEG data: bad Huffman code\nsomebody else\n")
        logging.getLogger("test").handlers or os.write(2, b"and more")
    assert heard == ["Corrupt JPEG data: bad Huffman code"]
    assert capfd.readouterr().err == "somebody else\nand more"
    with listener().listen() as heard:
        pass
    assert heard == []


def test_standard_error_comes_back_after_an_exception(capfd):
    with pytest.raises(RuntimeError), listener().listen():
        raise RuntimeError("inside")
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_threads_hear_only_their_own_file(plain):
    broken = plain[: len(plain) // 2] + b"\xff\xd9"
    wrong = []

    def work(data, expected):
        for _ in range(20):
            if bool(decode_jpeg(data)[1]) != expected:
                wrong.append(expected)

    threads = [threading.Thread(target=work, args=pair) for pair in ((plain, False), (broken, True), (plain, False))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_process_without_standard_error_still_decodes(plain):
    saved = os.dup(2)
    os.close(2)
    try:
        with Listener().listen() as heard:
            pixels = decode_jpeg(plain)[0]
    finally:
        os.dup2(saved, 2)
        os.close(saved)
    assert heard == [] and pixels is not None


def test_harmless_habits_of_cameras_are_no_damage():
    assert damage(["Corrupt JPEG data: 2 extraneous bytes before marker 0xd9"]) == ""
    assert damage(["Corrupt JPEG data: bad ICC marker", "Invalid SOS parameters for sequential JPEG"]) == ""
    for line in ("Corrupt JPEG data: 53 extraneous bytes before marker 0xd9", "Corrupt JPEG data: bad Huffman code",
                 "Corrupt JPEG data: found marker 0xd5 instead of RST3", "Premature end of JPEG file"):  # fmt: skip
        assert damage([line]) == line
