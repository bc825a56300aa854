"""Face units and builds as weights: within what a face can do, as often as asked, and parts of one body."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spherehead.pipeline.synthetic.assets.registry import morphs
from spherehead.pipeline.synthetic.face.morphs import build_weights, macro_weights
from spherehead.pipeline.synthetic.face.units import EXCLUDE, FOLDER, PAIRED, SINGLE, WHOLE, _few, unit_weights

LISTED = {item.path.removeprefix("targets/").removesuffix(".target") for item in morphs()}


def drawn(seed: int, count: int) -> list[dict[str, float]]:
    random = np.random.default_rng(seed)
    return [unit_weights(1.0, random) for _ in range(count)]


def test_every_unit_is_a_listed_morph_and_all_but_looks_are_drawn() -> None:
    names = {FOLDER + unit for unit in SINGLE} | {FOLDER + unit + side for unit in PAIRED for side in ("Left", "Right")}
    looks = {name for name in LISTED if name.startswith(FOLDER + "eyeLook")}
    assert names | looks == {name for name in LISTED if name.startswith(FOLDER)} and len(looks) == 8
    assert {unit for _, recipe in WHOLE.values() for unit in recipe} <= {*PAIRED, *SINGLE}
    assert {name for weights in drawn(1, 3000) for name in weights} == names


def test_units_at_random_never_exclude_each_other() -> None:
    random = np.random.default_rng(4)
    several = [few for few in (_few(random) for _ in range(3000)) if len(few) > 1]
    assert len(several) > 1500
    assert not [few for few in several for first, second in EXCLUDE if first in few and second in few]


def test_no_face_moves_beyond_a_unit_and_lips_do_not_go_through_each_other() -> None:
    alone = 0
    for weights in drawn(2, 2000):
        assert all(0.0 < weight <= 1.0 for weight in weights.values())
        units = {name.removeprefix(FOLDER) for name in weights}
        assert weights.get(FOLDER + "mouthClose", 0.0) <= weights.get(FOLDER + "jawOpen", 0.0)
        assert "tongueOut" not in units or weights[FOLDER + "jawOpen"] >= 0.35
        alone += len(units & {"eyeBlinkLeft", "eyeBlinkRight"}) == 1
    assert 10 < alone < 200  # winks


def test_expressions_come_as_often_as_asked() -> None:
    random = np.random.default_rng(3)
    share = np.mean([bool(unit_weights(0.7, random)) for _ in range(1000)])
    assert abs(share - 0.7) < 4 * np.sqrt(0.7 * 0.3 / 1000) + 0.01  # a lone mouthClose moves nothing
    assert not unit_weights(0.0, random)


@given(st.integers(0, 1 << 31), st.floats(0.0, 1.0), st.floats(0.0, 0.9), st.booleans())
def test_builds_are_parts_of_one_body(seed: int, male: float, age: float, children: bool) -> None:
    """Shares of the builds of a sex and an age add up to at most its own; the rest is the mean build, which moves nothing."""
    random = np.random.default_rng(seed)
    macro = macro_weights(male, age, (0.2, 0.3, 0.5), random if children else None)
    builds = build_weights(macro, random)
    assert set(builds) <= LISTED
    for sex in ("female", "male"):
        for stage in ("child", "young", "old"):
            own = sum(weight for name, weight in macro.items() if name.endswith(f"-{sex}-{stage}"))
            assert -1e-12 <= sum(share for name, share in builds.items() if f"-{sex}-{stage}-" in name) <= own + 1e-9


def test_weight_and_muscle_have_the_mean_that_is_told_and_reach_both_ends() -> None:
    random, macro = np.random.default_rng(5), macro_weights(1.0, 0.0, (1.0, 0.0, 0.0), None)
    heavy, thin = [], []
    for _ in range(2000):
        builds = build_weights(macro, random)
        heavy.append(sum(share for name, share in builds.items() if name.endswith("maxweight")))
        thin.append(sum(share for name, share in builds.items() if name.endswith("minweight")))
    assert np.mean(heavy) - np.mean(thin) == pytest.approx(2.0 * 0.05, abs=0.04)  # of a mean weight of 0.55
    assert max(heavy) > 0.9 and max(thin) > 0.8
