"""Configs: the published recipes' numbers, and settings that come together."""

from __future__ import annotations

import pytest
from spherehead.manifests.config import ConfigError, from_plain, to_plain
from spherehead.model.presets import PRESETS
from spherehead.model.train.config import TrainConfig
from spherehead.model.train.recipes import configured, train_preset


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_has_a_recipe_that_survives_its_file(name: str) -> None:
    config = train_preset(name)
    assert from_plain(TrainConfig, to_plain(config)) == config


def test_spherehead_is_trained_as_the_mission_tells() -> None:
    config = train_preset("spherehead-512")
    assert (config.optimiser.generator_lr, config.optimiser.discriminator_lr) == (0.002, 0.002)
    assert (config.batch, config.images) == (32, 25_000_000)
    assert config.terms.vico is not None and config.terms.vico.source == "real"
    grown = configured("spherehead-512", grow=64)
    assert grown.schedule.growth is not None
    sides = [grown.schedule.growth.at(images, 512)[0] for images in (0, 600_000, 1_200_000, 1_800_000)]
    assert sides == [64, 128, 256, 512]


def test_panohead_and_eg3d_have_their_published_numbers() -> None:
    panohead, eg3d = train_preset("panohead-512"), train_preset("eg3d-512")
    assert (panohead.optimiser.generator_lr, panohead.optimiser.discriminator_lr) == (0.0025, 0.002)
    assert panohead.terms.vico is None and panohead.terms.camera_shift is not None and panohead.terms.camera_shift.weight == 10
    assert panohead.sampling.background_swap == 0.2
    assert panohead.terms.r1 is not None and (panohead.terms.r1.every, panohead.terms.r1.image, panohead.terms.r1.mask) == (
        16,
        1,
        1,
    )
    assert panohead.schedule.swap.at(2_000_000) == 0.7 and eg3d.schedule.swap.at(2_000_000) == 0.8
    assert eg3d.terms.density is not None and (eg3d.terms.density.weight, eg3d.terms.density.every) == (0.25, 4)
    assert panohead.schedule.blur.at(0) == 10 / 512 and panohead.schedule.blur.at(200_000) == 0.0
    assert panohead.ema.half_life == 10_000


def test_settings_that_need_each_other_come_in_any_order() -> None:
    changes = [
        "schedule.growth.images=10",
        "schedule.growth.start=32",
        "schedule.growth.fade=5",
        "model.discriminator.smallest=32",
    ]
    for order in (changes, changes[::-1]):
        growth = configured("tiny-64", assignments=order).schedule.growth
        assert growth is not None and (growth.start, growth.images, growth.fade) == (32, 10.0, 5.0)


def test_a_field_of_a_term_that_is_off_turns_it_on() -> None:
    term = configured("tiny-64", assignments=["terms.density.weight=0.5"]).terms.density
    assert term is not None and (term.weight, term.every) == (0.5, 4)
    assert configured("tiny-64", assignments=["terms.vico=null"]).terms.vico is None


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (["terms.vicoo=null"], "did you mean 'vico'"),
        (["batch=7"], "micro_batch"),
        (["schedule.growth={start: 32, images: 10, fade: 5}"], "model.discriminator.smallest=32"),
        (
            ["model.discriminator.smallest=16", "schedule.growth={start: 24, images: 10, fade: 5}"],
            "32, 64, got 24",
        ),
        (["model.discriminator.smallest=16", "schedule.growth={start: 128, images: 10, fade: 5}"], "64, got 128"),
        (["terms.parsing={}"], "terms.labeller"),
        (["condition=subject"], "condition_dim=32"),
        (["micro_batch=6", "batch=6"], "group"),
        (["optimiser.discriminator_lr=0"], "positive learning rates"),
    ],
)
def test_settings_that_do_not_fit_are_named(changes: list[str], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        configured("tiny-64", assignments=changes)


def test_a_condition_brings_its_widths() -> None:
    config = configured("tiny-64", "subject")
    assert (config.model.generator.condition_dim, config.model.discriminator.label_dim) == (32, 57)
    assert configured("tiny-64", "none").model.generator.condition_scale == 0.0
    with pytest.raises(ConfigError, match="camera, subject or none"):
        configured("tiny-64", "person")


def test_a_persons_vector_may_have_another_length_but_a_labels() -> None:
    config = configured("tiny-64", "subject", assignments=["subject_dim=16"])
    assert (config.subject_dim, config.model.generator.condition_dim, config.model.discriminator.label_dim) == (16, 16, 41)
    with pytest.raises(ConfigError, match="another subject_dim than 25"):
        configured("tiny-64", "subject", assignments=["subject_dim=25"])


@pytest.mark.parametrize(
    ("condition", "change", "match"),
    [
        ("subject", "batch=32", "--condition none"),
        ("none", "sampling.style_mixing=0.5", "sampling.style_mixing=0"),
        ("none", "terms.vico={}", "terms.vico=null"),
    ],
)
def test_what_grams_networks_have_no_use_for_is_refused(condition: str, change: str, match: str) -> None:
    """Its mapping network sees no condition and gives one vector, its discriminator estimates the camera."""
    with pytest.raises(ConfigError, match=match):
        configured("gram-256", condition, assignments=[change])


def test_data_without_class_maps_need_no_change_by_hand() -> None:
    for name in ("spherehead-512", "small-128", "tiny-64", "tiny-64-feedback", "eg3d-512"):
        config = configured(name, parsing=False)
        assert config.model.generator.parsing is None and config.model.discriminator.parsing_channels == 0
        assert config.terms.labeller is None and (config.terms.r1 is None or config.terms.r1.parsing == 0)
    plain = configured("tiny-64", parsing=False)
    assert plain.terms.vico == configured("tiny-64").terms.vico and plain.schedule == configured("tiny-64").schedule


def test_growing_stages_are_as_before_and_fit_short_recipes() -> None:
    for name, start, images in (("spherehead-512", 64, 600_000), ("small-128", 64, 600_000), ("tiny-64", 32, 10_000)):
        growth = configured(name, grow=start).schedule.growth
        assert growth is not None and growth.images == images
    assert configured("small-128").images == 3_000_000
