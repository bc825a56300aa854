"""Both stages: own samples are found again, a stopped run resumes bit-exact, and tuning holds what no photograph shows."""

from __future__ import annotations

import dataclasses
import math
from types import ModuleType

import pytest
import torch
from spherehead.model.generator import Generator
from spherehead.model.inversion.cameras import angle_between, moved
from spherehead.model.inversion.objective import Objective, ObjectiveSettings, total
from spherehead.model.inversion.scores import drift, psnr
from spherehead.model.inversion.search import Guess, Search, SearchSettings, choose_starts, ramp
from spherehead.model.inversion.style_space import StyleSpace, shared_planes, style_space
from spherehead.model.inversion.targets import TargetError, Targets, error_of_confidence, expected_error, targets_of
from spherehead.model.inversion.tuning import (
    Tuning,
    TuningSettings,
    held_cameras,
    judged_cameras,
    tuned_parameters,
    tuned_rows,
    with_changes,
)
from spherehead.model.nets.efficientnet import Encoder
from spherehead.model.nets.perceptual import PerceptualNet

SHORT = SearchSettings(
    steps=12, camera_steps=3, start_steps=4, starts_degrees=(0.0, 40.0), starts_pitch_degrees=(20.0,), camera_prior=0.02
)


@pytest.fixture(scope="module")
def generator(small_heads: ModuleType) -> Generator:
    found: Generator = small_heads.generator()
    return found


@pytest.fixture(scope="module")
def targets(small_heads: ModuleType, generator: Generator) -> Targets:
    samples = [small_heads.photograph(generator, 5), small_heads.photograph(generator, 5, 2.0, 0.0)]
    return targets_of(samples, 64, 16, 20)


def opened(generator: Generator, targets: Targets, settings: SearchSettings = SHORT) -> tuple[StyleSpace, Objective, Guess]:
    space = style_space(generator)
    return space, Objective(targets, 16, True), Guess(space, targets, settings)


def test_objective_of_the_truth_is_below_that_of_the_mean_head(generator: Generator, targets: Targets) -> None:
    from spherehead.model.visualization.views import head_styles, seeded_latents

    _, objective, guess = opened(generator, targets)
    truth = head_styles(generator, seeded_latents([5], 20)).expand(2, -1, -1)
    found = [
        {name: float(value) for name, value in objective(generator.synthesise(ws, targets.camera).detach()).items()}
        for ws in (truth, guess.styles())
    ]
    assert found[0]["reconstruction"] < 0.6 * found[1]["reconstruction"]  # an untrained raw picture is not the reduced one
    assert found[0]["mask"] <= found[1]["mask"]
    assert set(found[0]) == {"reconstruction", "mask", "classes"}


def test_ground_counts_only_where_it_has_a_style_of_its_own(generator: Generator, targets: Targets) -> None:
    outside = dataclasses.replace(targets, image=torch.where(targets.mask > 0, targets.image, -targets.image))
    made = generator.synthesise(opened(generator, targets)[2].styles(), targets.camera)
    settings = ObjectiveSettings(gradient=0.0, levels=1)
    first, second = (Objective(part, 16, False, None, settings)(made)["reconstruction"] for part in (targets, outside))
    other = Objective(outside, 16, True, None, settings)(made)["reconstruction"]
    raw_edge = 0.05  # pixels of the raw picture at the outline mix inside and outside
    assert abs(float(first - second)) < raw_edge
    assert math.isfinite(float(other))


@pytest.mark.slow
def test_own_sample_is_found_again_from_a_wrong_camera(generator: Generator, targets: Targets) -> None:
    from spherehead.model.inversion.cameras import moved
    from spherehead.model.visualization.views import head_styles, ring, seeded_latents

    units = torch.zeros(2, 6)
    units[:, 1] = 1.0
    wrong = dataclasses.replace(targets, camera=moved(targets.camera, units, targets.angle_error))
    settings = SearchSettings(steps=45, camera_steps=3, camera_rate=0.06, camera_prior=0.02)
    space, objective, guess = opened(generator, wrong, settings)
    search = Search(generator, guess, objective)
    losses = [search.step() for _ in range(search.steps)]
    truth = head_styles(generator, seeded_latents([5], 20)).expand(2, -1, -1)
    least = float(total(objective(generator.synthesise(truth, targets.camera))))
    assert losses[-1] - least < 0.5 * (losses[0] - least)
    cameras = ring(4)
    with torch.no_grad():
        wanted, made, mean = (
            generator.synthesise(ws.expand(4, -1, -1), cameras).image
            for ws in (
                truth[:1],
                guess.styles()[:1],
                space.styles(torch.zeros(space.size), torch.zeros(1, 16)),
            )
        )
    assert float(psnr(made, wanted).mean()) > float(psnr(mean, wanted).mean()) + 3.0
    before, after = angle_between(wrong.camera, targets.camera), angle_between(guess.cameras(), targets.camera)
    assert float(after.detach().mean()) < float(before.mean())


def test_the_perceptual_term_is_the_networks_distance_inside_the_matte(generator: Generator, targets: Targets) -> None:
    """On pictures that are grey outside the matte, pixels weighted by it, the mean over the photographs."""
    torch.manual_seed(0)
    net = PerceptualNet(Encoder(4))
    made = generator.synthesise(opened(generator, targets)[2].styles().detach(), targets.camera).detach()
    found = Objective(targets, 16, True, net)(made)["perceptual"]
    expected = net(made.image * targets.mask, targets.image * targets.mask, targets.mask).mean()
    torch.testing.assert_close(found, ObjectiveSettings().perceptual * expected)


@pytest.mark.parametrize("stage", ["search", "tuning"])
def test_a_stopped_stage_resumes_bit_exact(generator: Generator, targets: Targets, stage: str) -> None:
    def work() -> Search | Tuning:
        _, objective, guess = opened(generator, targets)
        if stage == "search":
            return Search(generator, guess, objective)
        return Tuning(generator, guess.styles().detach(), targets.camera, objective, TuningSettings(steps=8, cameras=4))

    whole, first = work(), work()
    losses = [whole.step() for _ in range(8)]
    for _ in range(4):
        first.step()
    second = work()
    second.restore(first.state())
    assert second.done == 4
    assert [second.step() for _ in range(4)] == losses[4:]
    for name, value in whole.state().items():
        assert torch.equal(value, second.state()[name]), name


def test_uncertain_cameras_are_tried_from_every_azimuth(generator: Generator, targets: Targets) -> None:
    wrong = dataclasses.replace(targets, angle_error=torch.tensor([0.05, 0.35]))
    space, objective, _ = opened(generator, wrong)
    units, tried = choose_starts(generator, space, wrong, objective, SHORT)
    assert [(start.photograph, start.degrees, start.pitch) for start in tried] == [(1, 0, 0), (1, 40, 0), (1, 0, 20)]
    assert torch.equal(units[0], torch.zeros(6))
    best = min(tried, key=lambda start: start.loss)
    turned = math.degrees(float(angle_between(moved(wrong.camera, units, wrong.angle_error), wrong.camera)[1]))
    chosen = best if best.loss < (1 - SHORT.start_margin) * tried[0].loss else tried[0]
    assert turned == pytest.approx(chosen.degrees + chosen.pitch, abs=0.1)
    guess = Guess(space, wrong, SHORT)
    guess.begin_at(units)
    assert float(guess.priors()["camera prior"].detach()) == 0.0  # held to where it begins
    sure, _ = choose_starts(generator, space, wrong, objective, dataclasses.replace(SHORT, start_margin=1.0))
    stayed = math.degrees(float(angle_between(moved(wrong.camera, sure, wrong.angle_error), wrong.camera)[1]))
    assert stayed < 1e-3  # no start is better by the whole loss
    known = dataclasses.replace(wrong, angle_error=torch.tensor([0.05, 0.05]))
    assert not choose_starts(generator, space, known, objective, dataclasses.replace(SHORT, behind_degrees=180.0))[1]
    everywhere = dataclasses.replace(SHORT, behind_degrees=0.0, start_steps=1)
    assert len(choose_starts(generator, space, known, objective, everywhere)[1]) == 6  # from behind, whatever was expected


def test_starts_turn_about_the_head_and_up() -> None:
    from spherehead.datasets.camera import Camera
    from spherehead.model.inversion.search import _turned

    label = torch.from_numpy(Camera.look_at(2.5, 0.1).label())
    error = torch.tensor([0.2])
    for azimuth, pitch in ((20.0, 0.0), (0.0, 12.0)):
        there = moved(label[None], _turned(label, azimuth, pitch, error[0])[None], error)
        camera = Camera.from_label(there[0].numpy())
        assert math.degrees(camera.yaw - 2.5) == pytest.approx(azimuth, abs=0.01)
        assert math.degrees(camera.pitch - 0.1) == pytest.approx(pitch, abs=0.01)


@pytest.mark.slow
def test_tuning_improves_the_photograph_and_holds_the_rest(generator: Generator, targets: Targets) -> None:
    front = Targets(("a",), targets.image[:1].flip(3), targets.mask[:1], targets.camera[:1], targets.angle_error[:1])
    _, objective, guess = opened(generator, front)
    ws, held = guess.styles().detach(), ring_of(6)
    results = {}
    for name, weight in (("held", 1.0), ("free", 0.0)):
        settings = TuningSettings(steps=25, rate=5e-3, cameras=6, mask=weight, depth=4 * weight, colour=weight)
        tuning = Tuning(generator, ws, front.camera, objective, settings)
        losses = [tuning.step() for _ in range(25)]
        assert losses[-1] < losses[0]
        results[name] = drift(generator, tuning.generator, ws, held)
    assert results["held"].depth < results["free"].depth
    assert results["held"].psnr > results["free"].psnr


def ring_of(count: int) -> torch.Tensor:
    from spherehead.model.visualization.views import ring

    return ring(count)


def test_changes_in_half_precision_give_the_tuned_generator(generator: Generator, targets: Targets) -> None:
    _, objective, guess = opened(generator, targets)
    tuning = Tuning(generator, guess.styles().detach(), targets.camera, objective, TuningSettings(steps=4, cameras=2))
    for _ in range(4):
        tuning.step()
    changes = tuning.changes()
    assert {name.split(".")[0] for name in changes} <= {"backbone", "to_raw", "parsing", "upsampler"}
    assert all(value.dtype == torch.float16 for value in changes.values())
    again = with_changes(generator, changes)
    for name, value in tuned_parameters(tuning.generator).items():
        torch.testing.assert_close(tuned_parameters(again)[name], value, rtol=1e-3, atol=1e-5)
    before = dict(generator.named_parameters())
    untouched = [name for name in before if name not in changes]
    assert untouched and all(torch.equal(before[name], dict(again.named_parameters())[name]) for name in untouched)
    with pytest.raises(ValueError, match="of this generator's weights"):
        with_changes(generator, {"no.such": torch.zeros(1)})


def test_held_cameras_go_all_around(generator: Generator) -> None:
    labels = held_cameras(TuningSettings(cameras=24))
    yaws = torch.atan2(labels[:, 3], labels[:, 11]).sort().values
    gaps = yaws.diff()
    assert float(gaps.max()) < 2 * 2 * math.pi / 24 + 1e-3
    assert torch.equal(labels, held_cameras(TuningSettings(cameras=24)))


def test_drift_is_judged_from_other_cameras_than_those_that_are_held() -> None:
    held, judged = held_cameras(TuningSettings(cameras=24)), judged_cameras(TuningSettings(cameras=24))
    apart = (held[:, None, :16] - judged[None, :, :16]).norm(dim=2)
    assert float(apart.amin(dim=1).min()) > 1e-3


def test_one_run_of_the_backbone_gives_all_pictures_and_their_gradients(generator: Generator, targets: Targets) -> None:
    _, objective, guess = opened(generator, targets)
    found = []
    for shared in (True, False):
        ws = guess.styles()
        planes = shared_planes(generator, ws) if shared else generator.planes(ws)
        loss = total(objective(generator.synthesise(ws, guess.cameras(), planes=planes)))
        found.append((loss.detach(), *torch.autograd.grad(loss, [guess.head, guess.ground, guess.units])))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_rate_rises_and_falls() -> None:
    rates = [ramp(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and max(rates) == 1.0 and rates[-1] < 0.01
    assert all(rate == 1.0 for rate in rates[5:75])


def test_samples_without_matte_or_camera_are_refused(small_heads: ModuleType, generator: Generator) -> None:
    sample = small_heads.photograph(generator, 1)
    for change, word in (({"mask": None}, "matte"), ({"camera": None}, "camera")):
        with pytest.raises(TargetError, match=f"has no {word}"):
            targets_of([dataclasses.replace(sample, **change)], 64, 16)
    with pytest.raises(TargetError, match="at least one"):
        targets_of([], 64, 16)


def test_trust_in_a_camera_depends_on_what_it_was_fitted_to(small_heads: ModuleType, generator: Generator) -> None:
    front, back = small_heads.photograph(generator, 1), small_heads.photograph(generator, 1, math.pi)
    exact = dataclasses.replace(front, record={"synthetic": True})
    assert expected_error(exact) < expected_error(front) < expected_error(back)
    known = {"notes": {"pose_source": "head"}}
    read = [dataclasses.replace(back, record={**known, "scores": {"pose_confidence": sure}}) for sure in (1.0, 0.8, 0.5, 0.0)]
    errors = [expected_error(sample) for sample in read]
    assert errors == sorted(errors) and errors[0] == math.radians(2.0) and errors[-1] == math.radians(20.0)
    apart = {"landmarks": [0.0] * 136, "scores": {"pose_disagreement_degrees": 16.0}}
    assert expected_error(dataclasses.replace(front, record=apart)) == pytest.approx(math.radians(8.0))


def test_a_confidence_means_the_error_of_which_it_is_the_chance() -> None:
    """Lengths of a density exp(-r / s) in 3-D: the share below 15 degrees, and the root mean square of one axis."""
    spread = math.radians(3.0)
    lengths = torch.distributions.Gamma(3.0, 1.0 / spread)
    torch.manual_seed(0)
    drawn = lengths.sample((200_000,))
    confidence = float((drawn < math.radians(15.0)).double().mean())
    axis = float((drawn.double().square().mean() / 3.0).sqrt())
    assert error_of_confidence(confidence) == pytest.approx(axis, rel=0.02)


def test_weights_are_tuned_to_faces_from_cameras_that_are_known() -> None:
    from spherehead.model.visualization.views import look_from

    cameras = look_from([0.0, math.pi / 2, -math.pi / 2, math.pi, 0.3])
    errors = torch.tensor([0.05, 0.05, 0.05, 0.05, 0.3])
    assert tuned_rows(cameras, errors, TuningSettings()) == [0, 1, 2]
    assert tuned_rows(cameras, errors, TuningSettings(steps=0)) == []
