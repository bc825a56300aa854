"""The identity term: its formula, which photographs it looks at, and that it moves the picture's face alone."""

from __future__ import annotations

import dataclasses
import math
from types import ModuleType

import pytest
import torch
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import INDEX
from spherehead.model.generator import Generator
from spherehead.model.inversion.face_identity import FaceIdentity, comparison, faces_shown
from spherehead.model.inversion.objective import Objective, ObjectiveSettings
from spherehead.model.inversion.style_space import repeated
from spherehead.model.inversion.targets import Targets
from spherehead.model.nets.face_chips import face_chips
from spherehead.model.nets.face_recognition import FaceRecognition


@pytest.fixture(scope="module")
def net() -> FaceRecognition:
    """Random weights: formulas hold for any."""
    torch.manual_seed(0)
    return FaceRecognition().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def generator(small_heads: ModuleType) -> Generator:
    found: Generator = small_heads.generator()
    return found


def targets(*yaws: float) -> Targets:
    """Photographs of noise at azimuths in degrees, whose class map is skin."""
    draw, count = torch.Generator().manual_seed(0), len(yaws)
    labels = [torch.from_numpy(Camera.look_at(math.radians(yaw), 0.0).label()) for yaw in yaws]
    parsing = torch.zeros(count, 20, 16, 16)
    parsing[:, INDEX["skin"]] = 1.0
    mask = torch.zeros(count, 1, 64, 64)
    mask[..., :56] = 1.0
    image = torch.rand(count, 3, 64, 64, generator=draw) * 2 - 1
    return Targets(tuple(map(str, yaws)), image, mask, torch.stack(labels), torch.full((count,), 0.05), parsing)


def test_only_photographs_that_show_a_face_count() -> None:
    found = targets(0.0, 50.0, 80.0, 180.0)
    assert faces_shown(found) == [0, 1]
    assert found.parsing is not None
    hidden = found.parsing.clone()
    hidden[0] = 0.0
    hidden[0, INDEX["hair"]] = 1.0
    assert faces_shown(dataclasses.replace(found, parsing=hidden)) == [1]
    assert faces_shown(dataclasses.replace(found, parsing=None)) == [0, 1]


def test_the_term_is_the_distance_of_vectors_of_both_faces_on_grey(net: FaceRecognition, generator: Generator) -> None:
    """Faces from behind count as without a fault: the sum over those that are seen, divided by all photographs."""
    found = targets(10.0, 180.0, -30.0)
    ws, shared = torch.zeros(3, generator.num_ws, 16), generator.planes(torch.zeros(1, generator.num_ws, 16))
    made = generator.synthesise(ws, found.camera, planes=repeated(shared, 3))
    terms = Objective(found, 16, True, None, ObjectiveSettings(identity=0.7), net)(made)
    expected = 0.0
    for row in (0, 2):
        one, other = (
            net(face_chips(picture[row : row + 1] * found.mask[row : row + 1], found.camera[row : row + 1]))
            for picture in (made.image, found.image)
        )
        expected += 0.7 * float((one - other).norm()) / 3
    assert float(terms["identity"]) == pytest.approx(expected, rel=1e-4)
    assert "identity" not in Objective(found, 16, True, None, ObjectiveSettings(identity=0.0), net)(made)
    assert "identity" not in Objective(found, 16, True)(made)
    assert "identity" not in Objective(found, 16, True, None, ObjectiveSettings(), net).plain()(made)
    behind = generator.synthesise(ws[1:2], found.camera[1:2])
    assert "identity" not in Objective(found.rows([1]), 16, True, None, ObjectiveSettings(), net)(behind)


def test_equal_faces_are_near_and_a_gradient_flows_to_the_face_inside_the_matte(net: FaceRecognition) -> None:
    found = targets(0.0, 120.0)
    identity = FaceIdentity(net, found)
    assert identity(found.image).tolist() == pytest.approx([1e-4], abs=1e-6)
    picture = found.image.flip(2).requires_grad_(True)
    identity(picture).sum().backward()
    assert picture.grad is not None and picture.grad[0, :, 24:40, 24:40].abs().min() > 0
    assert not picture.grad[1].any() and not picture.grad[0, ..., 56:].any()
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_descent_along_the_gradient_brings_the_face_nearer(net: FaceRecognition) -> None:
    found = targets(15.0)
    identity, picture = FaceIdentity(net, found), found.image.flip(3).requires_grad_(True)
    before = identity(picture)
    (gradient,) = torch.autograd.grad(before.sum(), picture)
    after = identity(picture.detach() - 0.02 * before.detach() * gradient / gradient.square().sum())
    assert float(after) == pytest.approx(0.98 * before.item(), rel=0.01)


def test_words_say_what_is_missing_and_how_to_get_it(net: FaceRecognition) -> None:
    assert "spherehead models fetch identity" in comparison(None, targets(0.0), 0.1)
    assert "no photograph shows a face" in comparison(net, targets(180.0), 0.1)
    assert comparison(net, targets(0.0, 180.0), 0.25).startswith(
        "identities were compared for 1 of 2 photographs, the identity term"
    )
    assert "there is no identity term" in comparison(net, targets(0.0), 0.0)
