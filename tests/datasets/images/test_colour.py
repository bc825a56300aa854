"""Colour arithmetic gives the numbers of its formulas."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from spherehead.datasets.images import colour


def test_sixteen_bits_are_divided_by_257_and_rounded():
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(colour.to_eight_bits(every), np.floor(every / 257 + 0.5))


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_transparency_mixes_exactly(level, alpha, under):
    pixels = np.full((1, 1, 3), level, np.uint8)
    mixed = colour.composite(pixels, np.full((1, 1), alpha, np.uint8), (under, 0, 255))
    assert mixed.reshape(-1).tolist() == [
        (2 * (level * alpha + below * (255 - alpha)) + 255) // 510 for below in (under, 0, 255)
    ]


@given(st.tuples(*[st.integers(0, 255)] * 4))
def test_inks_let_light_through_by_the_formula(inks):
    *colours, black = inks
    rgb = colour.cmyk_to_rgb(np.array([[inks]], np.uint8))[0, 0]
    assert rgb.tolist() == [int((255 - ink) * (255 - black) / 255 + 0.5) for ink in colours]


def test_orientations_are_the_eight_of_exif_and_keep_masks_in_step(bad_inputs):
    import picture_files as files

    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    for orientation in range(1, 9):
        stored = files.stored_for(picture, orientation)
        turned = colour.upright(stored, orientation)
        assert np.array_equal(turned, picture) and turned.flags.c_contiguous
        assert np.array_equal(colour.upright(np.ascontiguousarray(stored[..., 0]), orientation), picture[..., 0])
        assert colour.upright_size(stored.shape[1], stored.shape[0], orientation) == (7, 5)


def test_srgb_profiles_cost_nothing_and_each_profile_is_built_once(bad_inputs, monkeypatch):
    import picture_files as files

    profiles = colour.Profiles()
    srgb, wide = files.icc_profile(files.SRGB_TO_XYZ, "a name"), files.icc_profile(files.P3_TO_XYZ, "sRGB, it says")
    assert profiles.transform(srgb, 3) == "srgb"
    assert not isinstance(profiles.transform(wide, 3), str)
    assert profiles.transform(wide, 1) == "icc_ignored" and profiles.transform(b"nonsense", 3) == "icc_ignored"
    first = profiles.transform(wide, 3)
    monkeypatch.setattr(colour, "_build", lambda *_: "built again")
    assert profiles.transform(wide, 3) is first


def test_display_p3_is_converted_as_its_formula_says(bad_inputs):
    import picture_files as files

    levels = np.arange(0, 256, 15, dtype=np.uint8)
    every = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 18, 3)
    stored = files.in_display_p3(every)
    converted, flag = colour.Profiles().to_srgb(stored, files.icc_profile(files.P3_TO_XYZ, "Display P3"))
    linear = files.linear(stored / 255.0) @ (np.linalg.inv(files.SRGB_TO_XYZ) @ files.P3_TO_XYZ).T
    assert flag == "icc_converted"
    assert np.abs(converted - 255 * np.clip(files.encoded(linear), 0, 1)).max() <= 2
    # and back at the colours that were stored, where 8 bits can hold them: next to black they cannot
    light = every.min(-1) >= 45
    assert np.abs(converted.astype(int) - every)[light].max() <= 3
    assert np.abs(stored.astype(int) - every)[light].max() > 20


def test_steep_curves_of_one_channel_are_followed_to_their_dark_end(bad_inputs):
    import picture_files as files
    from spherehead.datasets.images import colour_space

    ramp = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    for gamma in (1.0, 1 / 1.8, 1 / 2.6):
        truth = 255 * files.encoded((np.arange(256) / 255.0) ** (1 / gamma))
        profile = colour_space.of_gamma(gamma, (), grey=True)
        for pixels in (ramp, ramp.astype(np.uint16) * 257):
            found, _ = colour.Profiles().to_srgb(pixels, profile)
            assert np.abs(found[0, :, 0] - truth).max() <= 1.0
