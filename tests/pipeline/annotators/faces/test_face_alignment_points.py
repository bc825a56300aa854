"""The face-alignment back end on random weights: where the file is sought, and that points land where the heat maps peak."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from spherehead.datasets.warp import apply
from spherehead.pipeline.annotators.faces.face_alignment_points import (
    CROP_SIDE,
    WEIGHTS,
    FaceAlignmentPoints,
    crop_matrix,
    decode,
    find_weights,
    require_weights,
    weight_files,
    weights_folder,
)


@pytest.fixture(scope="module")
def torch_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TORCH_HOME whose FAN file holds seeded random weights of the right shapes."""
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("face_alignment.models")
    home = tmp_path_factory.mktemp("torch")
    folder = home / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(models.FAN(4).state_dict(), folder / WEIGHTS["2d"])
    return home


def test_weights_are_sought_where_torch_keeps_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert weights_folder() == tmp_path / "hub" / "checkpoints"
    assert weights_folder("/elsewhere") == Path("/elsewhere")
    assert weights_folder("~/weights") == Path.home() / "weights"
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert weights_folder() == tmp_path / "cache" / "torch" / "hub" / "checkpoints"


def test_absent_weights_are_named_with_where_to_put_and_get_them(tmp_path: Path) -> None:
    assert find_weights("3d", str(tmp_path)) is None
    with pytest.raises(FileNotFoundError) as caught:
        require_weights("3d", str(tmp_path))
    message = str(caught.value)
    assert (
        WEIGHTS["3d"] in message
        and str(tmp_path) in message
        and "https://" in message
        and "detect.landmarks=mediapipe" in message
    )


def test_weights_are_hashed_for_the_stages_key(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS["2d"]).write_bytes(b"weights")
    assert weight_files("2d", str(tmp_path)) == ((WEIGHTS["2d"], hashlib.sha256(b"weights").hexdigest()),)


def test_peaks_are_read_to_a_quarter_cell() -> None:
    maps = np.zeros((2, 64, 64), dtype=np.float32)
    maps[0, 20, 30], maps[0, 20, 31], maps[0, 19, 30] = 1.0, 0.5, 0.4
    maps[1, 0, 63] = 1.0  # at the edge there are no neighbours to ask
    assert np.allclose(decode(maps), [(30.75, 20.25), (63.5, 0.5)])


def test_input_is_placed_as_in_the_networks_training() -> None:
    """The box's centre, 12 per cent of its height higher, at a scale of (width + height) / 195 per 200 pixels."""
    matrix = crop_matrix((100.0, 50.0, 197.5, 147.5))
    assert np.allclose(apply(matrix, np.array([148.75, 98.75 - 0.12 * 97.5])), CROP_SIDE / 2)
    assert matrix[0, 0] == pytest.approx(CROP_SIDE / 200.0)


@pytest.mark.slow
def test_points_agree_with_the_packages_own_decoding(
    torch_home: Path, monkeypatch: pytest.MonkeyPatch, astronaut: np.ndarray
) -> None:
    """At a scale of one, where both see the same pixels; the package rounds its answer down to whole pixels."""
    import face_alignment

    monkeypatch.setenv("TORCH_HOME", str(torch_home))
    side = 195.0 * CROP_SIDE / 200.0 / 2.0
    x, y = 224.0, 128.0 + 0.12 * side
    box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    ours = FaceAlignmentPoints("2d").find(astronaut, box)
    package = face_alignment.FaceAlignment(
        face_alignment.LandmarksType.TWO_D, device="cpu", face_detector="folder", compile=False
    )
    (theirs,) = package.get_landmarks_from_image(astronaut, detected_faces=[np.array([*box, 1.0])])
    assert ours.shape == (68, 2) and ours.dtype == np.float32
    apart = np.abs(ours - theirs).max(axis=1)
    assert np.mean(apart <= 2.0) > 0.9, apart  # random weights: a few maps have two peaks of nearly one height


def test_the_same_picture_gives_the_same_points(torch_home: Path, astronaut: np.ndarray) -> None:
    network = FaceAlignmentPoints("2d", str(torch_home / "hub" / "checkpoints"))
    box = (174.0, 70.0, 274.0, 176.0)
    assert np.array_equal(network.find(astronaut, box), network.find(astronaut, box))
