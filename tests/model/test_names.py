"""Every published name has its own place, is a known constant, or is refused by name."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.model.interop.limits import CheckpointError
from spherehead.model.interop.names import PublishedNameError, discriminator_name, generator_name, load_published

ODD_GENERATOR = [
    "backbone.synthesis.b8.surprise.weight",
    "backbone.synthesis.b8.const.weight",
    "backbone.synthesis.b8.conv0",
    "backbone.synthesis.b5.conv0.weight",
    "backbone.synthesis.b0.const",
    "backbone.synthesis.b99999999999999999999.const",
    "bcg_synthesis.b12.torgb.weight",
    "superresolution.block0.fromrgb.weight",
    "superresolution.block7.conv0.weight",
    "decoder.net.1.weight",
    "decoder.net.9.bias",
    "ConvC.0.weight",
    "torgb",
    "",
    "backbone.mapping.fc0.weight\n",
]
ODD_DISCRIMINATOR = [
    "b5.conv0.weight",
    "b0.conv.weight",
    "b8.odd.weight",
    "b8.conv0",
    "b64.fromrgb.weight",
    "b4.conv0.weight",
    "mapping",
]
PARTS = [
    "backbone",
    "synthesis",
    "bcg_synthesis",
    "b4",
    "b8",
    "b5",
    "b128",
    "conv0",
    "conv",
    "const",
    "torgb",
    "fromrgb",
    "weight",
    "superresolution",
    "block0",
    "block3",
    "decoder",
    "net",
    "0",
    "1",
    "mapping",
    "fc0",
]
WORDS = st.lists(st.sampled_from(PARTS), max_size=5) | st.lists(st.text(max_size=6), max_size=5)


@pytest.mark.parametrize("name", ODD_GENERATOR)
def test_odd_generator_names_are_refused_by_name(name: str) -> None:
    with pytest.raises(PublishedNameError) as caught:
        generator_name(name)
    assert f"'{name}'" in str(caught.value) and isinstance(caught.value, CheckpointError)


@pytest.mark.parametrize("name", ODD_DISCRIMINATOR)
def test_odd_discriminator_names_are_refused_by_name(name: str) -> None:
    with pytest.raises(PublishedNameError) as caught:
        discriminator_name(name, 128)
    assert f"'{name}'" in str(caught.value)


@given(WORDS)
@settings(max_examples=300, deadline=None)
def test_any_name_has_a_place_is_a_constant_or_is_refused(words: list[str]) -> None:
    name = ".".join(words)
    for rename in (generator_name, lambda name: discriminator_name(name, 128)):
        try:
            here = rename(name)
        except PublishedNameError:
            continue
        assert here is None or (isinstance(here, str) and here)


def test_blocks_are_counted_here_and_named_by_resolution_there() -> None:
    assert generator_name("backbone.synthesis.b4.const") == "backbone.blocks.0.start"
    assert generator_name("bcg_synthesis.b128.conv1.affine.bias") == "background.network.blocks.5.second.style.bias"
    assert generator_name("superresolution.block1.torgb.weight") == "upsampler.blocks.1.to_map.weight"
    assert generator_name("backbone.synthesis.b8.resample_filter") is None
    assert discriminator_name("b128.conv0.bias", 128) == "blocks.0.first.bias"
    assert discriminator_name("b128.fromrgb.weight", 128) == "from_picture.weight"
    assert discriminator_name("b4.out.weight", 128) == "out.weight"


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.decoder = torch.nn.ModuleDict({"hidden": torch.nn.Linear(2, 3, dtype=torch.float64)})


FITTING = {"decoder.net.0.weight": torch.ones(3, 2), "decoder.net.0.bias": torch.zeros(3), "t_mapping.w_avg": torch.ones(1)}


def test_fitting_tensors_fill_a_module() -> None:
    module = Small()
    load_published(module, FITTING, generator_name)
    assert torch.equal(module.decoder["hidden"].weight, torch.ones(3, 2, dtype=torch.float64))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"decoder.net.1.weight": torch.ones(1)},
            "no place is known for the published .* 'decoder.net.1.weight'",
        ),
        ({"backbone.synthesis.b8.odd.weight": torch.ones(1)}, "no place is known .* 'backbone.synthesis.b8.odd.weight'"),
        ({"decoder.net.2.weight": torch.ones(1)}, "'decoder.net.2.weight' would be 'decoder.out.weight', which these settings"),
        ({"decoder.net.0.weight": torch.ones(2, 3)}, r"'decoder.net.0.weight' .* expected shape \(3, 2\), got \(2, 3\)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(changes: dict[str, torch.Tensor], words: str) -> None:
    with pytest.raises(PublishedNameError, match=words):
        load_published(Small(), {**FITTING, **changes}, generator_name)


def test_empty_and_doubly_taken_places_are_named() -> None:
    with pytest.raises(PublishedNameError, match=r"1 tensors stay empty, first 'decoder\.hidden\.bias'"):
        load_published(Small(), {"decoder.net.0.weight": torch.ones(3, 2)}, generator_name)
    with pytest.raises(PublishedNameError, match=r"'decoder\.net\.0\.weight' .* another one has that place"):
        load_published(Small(), FITTING, lambda name: "decoder.hidden.bias" if name != "t_mapping.w_avg" else None)
