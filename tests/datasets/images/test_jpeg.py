"""JPEG headers are read to the last marker, and what libjpeg mutters is heard without swallowing anybody else's words."""

from __future__ import annotations

import logging
import os
import threading

import pytest
from spherehead.datasets.images.jpeg import damage, decode_jpeg, read_jpeg
from spherehead.datasets.images.listening import Listener, listener
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


def test_pixels_are_those_of_opencv_whatever_the_subsampling_and_process(bad_inputs, photos):
    import cv2
    import numpy as np
    import picture_files as files

    base = files.portrait()
    kinds = [
        files.jpeg(base[: 400 - quality, : 320 - 3 * quality], quality, subsampling=chroma, progressive=progressive)
        for quality in (20, 75, 92, 100)
        for chroma in (0, 1, 2)
        for progressive in (False, True)
    ]
    kinds += [files.jpeg(base[..., 0]), files.jpeg(base, restart_marker_rows=1), *(path.read_bytes() for path in photos)]
    for factors in (0x411111, 0x211111, 0x121111, 0x221111, 0x111111):
        options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factors]
        kinds.append(cv2.imencode(".jpg", base, options)[1].tobytes())
    for data in kinds:
        array = np.frombuffer(data, np.uint8)
        expected = cv2.imdecode(array, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        pixels, complaint = decode_jpeg(data)
        assert complaint == "" and np.array_equal(pixels, expected)


def test_a_subsampling_that_turbojpeg_has_no_name_for_is_decoded_and_its_damage_heard(plain):
    import numpy as np

    # the luma factors 1 x 2 and the chroma factors 2 x 1 of a 4:2:2 picture exchanged: 1x2, 2x1, 1x1 has no name
    start = plain.index(b"\xff\xc0")
    odd = bytearray(plain)
    odd[start + 11], odd[start + 14] = 0x21, 0x12
    with pytest.raises(ValueError, match="subsampling"):
        __import__("simplejpeg").decode_jpeg(bytes(odd))
    pixels, complaint = decode_jpeg(bytes(odd))
    assert pixels.shape == (400, 320, 3) and complaint.startswith(("Corrupt JPEG data", "Premature end"))
    assert np.array_equal(pixels, decode_jpeg(bytes(odd))[0])


def test_a_decoder_that_gives_up_midway_returns_no_rows_of_old_memory(plain):
    import numpy as np

    # a Huffman table that makes no sense ends libjpeg in the middle: without strictness rows that nobody wrote would come out
    middle = len(plain) // 2
    broken = plain[:middle] + b"\xff\xc4\x00\x15\x00" + b"\xff" * 16 + plain[middle:]
    first, complaint = decode_jpeg(broken)
    second = decode_jpeg(broken)[0]
    assert complaint and (first is None or np.array_equal(first, second))


def test_an_earlier_complaint_is_heard_behind_a_harmless_one(plain):
    import picture_files as files

    profile = files.jpeg(files.portrait(), icc_profile=files.icc_profile(files.P3_TO_XYZ, "x"))
    place = profile.index(b"ICC_PROFILE\x00")
    odd = bytearray(profile)
    odd[place + 12] = 7  # number 7 of 1
    assert decode_jpeg(bytes(odd))[1] == "" and decode_jpeg(bytes(odd))[0] is not None
    stray = plain[:-2] + b"\x00\x00" + plain[-2:]
    assert decode_jpeg(stray)[1] == "" and decode_jpeg(stray)[0] is not None


def test_damage_in_the_header_is_told_and_not_raised(plain):
    # bytes that belong to no marker, before the quantisation table
    place = plain.index(b"\xff\xdb")
    pixels, complaint = decode_jpeg(plain[:place] + bytes(69) + plain[place:])
    assert complaint.startswith("Corrupt JPEG data: 69 extraneous bytes") and pixels is not None
