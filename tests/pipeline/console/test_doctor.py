from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from spherehead.pipeline.console import doctor
from spherehead.pipeline.console.doctor import Check, Diagnosis


def only(checks: Iterator[Check]) -> Check:
    (check,) = checks
    return check


@pytest.fixture(scope="module")
def diagnosis() -> Diagnosis:
    return doctor.examine()


def test_this_machine_can_build(diagnosis: Diagnosis) -> None:
    assert diagnosis.healthy, diagnosis.text()
    states = {check.name: check.state for check in diagnosis.checks}
    assert states["embedded models"] == "ok"
    assert states["packages"] == "ok"
    assert diagnosis.text().splitlines()[-1] == "healthy: builds will run"


def test_json_says_the_same_as_the_text(diagnosis: Diagnosis) -> None:
    plain = json.loads(diagnosis.json())
    assert plain["healthy"] is diagnosis.healthy
    assert [check["name"] for check in plain["checks"]] == [check.name for check in diagnosis.checks]


def test_one_fault_makes_the_machine_ill() -> None:
    ill = Diagnosis((Check("a", "warning", "x"), Check("b", "fault", "broken", "mend it")))
    assert not ill.healthy
    assert "fault    b  broken; mend it" in ill.text()
    assert ill.text().endswith("1 faults: builds will not run")


def test_opencv_wheels_at_different_versions_are_told() -> None:
    names = doctor.OPENCV
    good = doctor.judge_opencv(dict.fromkeys(names, "4.14.0.94"), "4.14.0")
    assert good.state == "ok"
    mixed = doctor.judge_opencv({names[0]: "4.14.0.94", names[1]: "4.11.0.86"}, "4.14.0")
    assert (mixed.state, "overwrite each other" in mixed.found) == ("warning", True)
    shadowed = doctor.judge_opencv(dict.fromkeys(names, "4.14.0.94"), "5.0.0")
    assert shadowed.state == "warning"


def test_pins_name_every_package_that_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "constraints.txt"
    file.write_text(f"# a remark\nnumpy==0.0.1\nno-such-package==1.0\npytest=={pytest.__version__}  # right\n")
    monkeypatch.setattr(doctor, "PINS", file)
    check = only(doctor.pins())
    assert check.state == "warning"
    assert check.found == f"1 of 2 differ from the tested set: numpy {np.__version__} (tested 0.0.1)"


def test_cpu_build_of_torch_counts_as_the_pinned_one() -> None:
    assert doctor.same("2.13.0+cpu", "2.13.0")
    assert not doctor.same("2.13.1", "2.13.0")


def test_other_python_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    assert only(doctor.python()).state == "fault"


def test_missing_and_unfit_packages_are_faults_with_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    wanted = ["no-such-package>=1", "numpy>=999", "pytest", "ray ; extra == 'ray'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: wanted)
    check = only(doctor.packages())
    assert check.state == "fault"
    assert check.found == f"no-such-package is missing; numpy {np.__version__} does not fit >=999"


def test_blind_detector_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "drawn_face", lambda: np.zeros((256, 256, 3), np.uint8))
    assert only(doctor.models()).state == "fault"


def test_full_disk_and_small_memory_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    import psutil

    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    assert only(doctor.disk()).state == "warning"
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 100 << 20}))
    check = only(doctor.memory())
    assert (check.state, check.remedy) == ("fault", "use --workers 1")


def test_unwritable_weights_folder_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPHEREHEAD_WEIGHTS", "/proc/nowhere")
    monkeypatch.setattr("os.access", lambda *_: False)
    assert only(doctor.cache()).state == "warning"
    assert doctor.existing(Path("/proc/nowhere/at/all")) == Path("/proc")


def test_check_that_breaks_is_a_fault_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[Check]:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(doctor, "LOOKS", (broken, doctor.python))
    states = [(check.name, check.state) for check in doctor.examine().checks]
    assert states == [("broken", "fault"), ("python", "ok")]
