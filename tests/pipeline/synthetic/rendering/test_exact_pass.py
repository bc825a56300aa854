"""Exact labels: what classes, coverage, depth and normals say of a pixel is what the meshes say."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import INDEX, mirror_parsing
from spherehead.datasets.compiled import compiled
from spherehead.datasets.images.colour_space import srgb_to_linear
from spherehead.datasets.sources.sidecars import sides_swapped
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.hair.strands import Strands
from spherehead.pipeline.synthetic.people.figure import Figure, build_figure
from spherehead.pipeline.synthetic.people.glasses import SHAPES, GlassesLook
from spherehead.pipeline.synthetic.people.paint import plain
from spherehead.pipeline.synthetic.people.parts import Part
from spherehead.pipeline.synthetic.people.population import Person, draw_person
from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing, look, look_with_guide, reduce_labels


def plain_person(assets: Assets, **changes: object) -> Person:
    """Somebody bald without glasses, looking straight ahead."""
    calm = {"hair": "", "hat": "", "scalp": "bare", "glasses": None, "expression": {}, "gaze": (0.0, 0.0)}
    return dataclasses.replace(draw_person(assets, 3, 0), **{**calm, **changes})


@pytest.fixture(scope="module")
def figure(makehuman: Assets) -> Figure:
    return build_figure(makehuman, plain_person(makehuman))


@pytest.fixture(scope="module")
def drawing(figure: Figure) -> Drawing:
    return Drawing(figure)


@pytest.mark.parametrize("yaw", [0.0, 0.9, -1.6, 3.1])
def test_no_solid_vertex_lies_before_what_its_pixel_shows(figure: Figure, drawing: Drawing, yaw: float) -> None:
    """Compared with the nearest of the nine pixels around, for slopes; many lie on it, because the skin is a fine mesh."""
    camera = Camera.look_at(yaw, 0.1)
    view = look(drawing, camera, 256)
    image, depth = camera.project(np.vstack([part.points for part in figure.parts if part.is_opaque]))
    pixels = np.floor(image * 256).astype(int)
    inside = ((pixels >= 0) & (pixels < 256)).all(axis=1)
    behind = depth[inside] - ndimage.minimum_filter(view.depth, 3)[pixels[inside, 1], pixels[inside, 0]]
    behind = behind[np.isfinite(behind)]
    assert np.quantile(behind, 0.005) > -0.004
    assert (np.abs(behind) < 0.004).sum() > 500


def test_left_is_the_subjects_left(drawing: Drawing) -> None:
    view = look(drawing, Camera.look_at(0.0, 0.0), 256)
    columns = {name: np.nonzero(view.parsing == INDEX[name])[1].mean() for name in ("left_eye", "right_eye", "left_ear")}
    assert columns["left_eye"] > 128 > columns["right_eye"]
    assert columns["left_ear"] > columns["left_eye"]
    assert not sides_swapped(view.parsing)
    assert sides_swapped(view.parsing[:, ::-1])


def test_a_face_has_all_its_parts_in_their_places(drawing: Drawing) -> None:
    parsing = look(drawing, Camera.look_at(0.0, 0.0), 512).parsing
    rows = {}
    for name in ("left_brow", "left_eye", "nose", "upper_lip", "lower_lip", "neck", "cloth"):
        found = np.nonzero(parsing == INDEX[name])
        assert len(found[0]) > 100, name
        rows[name] = found[0].mean()
    ordered = [rows[name] for name in ("left_brow", "left_eye", "nose", "upper_lip", "lower_lip", "neck", "cloth")]
    assert ordered == sorted(ordered)
    assert not np.isin(parsing, [INDEX["hair"], INDEX["glasses"], INDEX["hat"], INDEX["earring"]]).any()


def test_mask_and_classes_agree_everywhere(drawing: Drawing) -> None:
    view = look(drawing, Camera.look_at(0.7, -0.2), 256)
    assert ((view.mask >= 128) == (view.parsing != INDEX["background"])).all()
    assert (np.isfinite(view.depth) == (np.linalg.norm(view.normals, axis=2) > 0.5)).all()
    edge = (view.mask > 0) & (view.mask < 255)
    solid = ndimage.binary_erosion(view.mask == 255, iterations=2)
    assert np.isfinite(view.depth[solid]).mean() > 0.999
    assert edge.sum() < 0.02 * edge.size


def test_labels_hardly_depend_on_the_sampling(drawing: Drawing) -> None:
    """99.9 per cent of pixels away from class borders agree with a three times finer look; borders are a pixel wide."""
    camera = Camera.look_at(0.3, 0.0)
    coarse, fine = look(drawing, camera, 256).parsing, look(drawing, camera, 256, 9).parsing
    border = ndimage.maximum_filter(fine, 3) != ndimage.minimum_filter(fine, 3)
    assert (coarse == fine)[~border].mean() > 0.999
    assert (coarse == fine).mean() > 0.985


def test_a_mirrored_camera_sees_the_mirrored_head(makehuman: Assets) -> None:
    person = plain_person(makehuman, shape={"macrodetails/asian-female-young": 1.0})
    drawing = Drawing(build_figure(makehuman, person))
    camera = Camera.look_at(0.6, 0.1, 0.1)
    one, other = look(drawing, camera, 128).parsing, look(drawing, camera.mirrored(), 128).parsing
    assert (mirror_parsing(one) == other).mean() > 0.98


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_glasses_lie_before_the_eyes_and_outside_the_head(makehuman: Assets, shape: str) -> None:
    glasses = GlassesLook(shape, (0.1, 0.1, 0.1), 1.0, 0.03, 0.0, False)
    figure = build_figure(makehuman, plain_person(makehuman, glasses=glasses))
    drawing = Drawing(figure)
    front = look(drawing, Camera.look_at(0.0, 0.0), 256)
    assert not np.isin(front.parsing, [INDEX["left_eye"], INDEX["right_eye"]]).any()
    assert (front.parsing == INDEX["glasses"]).sum() > 900
    for yaw, ear in ((np.pi / 2, "left_ear"), (-np.pi / 2, "right_ear")):
        side = look(drawing, Camera.look_at(yaw, 0.0), 256).parsing
        temple = np.nonzero(side == INDEX["glasses"])[1]
        ear_columns = np.nonzero(side == INDEX[ear])[1]
        unbroken = np.unique(temple)
        assert len(unbroken) > 0.85 * (unbroken.max() - unbroken.min())
        assert abs(np.abs(temple - 128).min() - np.abs(ear_columns - 128).min()) < 30


def test_a_clear_lens_is_glasses_but_lets_the_background_through(makehuman: Assets) -> None:
    views = {}
    for opacity in (0.0, 0.9):
        look_of = GlassesLook("square", (0.1, 0.1, 0.1), 1.1, 0.02, opacity, False)
        drawing = Drawing(build_figure(makehuman, plain_person(makehuman, glasses=look_of)))
        views[opacity] = look(drawing, Camera.look_at(1.2, 0.0), 256)
    assert views[0.9].mask.astype(int).sum() > views[0.0].mask.astype(int).sum()


def test_every_head_stays_inside_the_volume(makehuman: Assets) -> None:
    """Published renderers cut space off at 0.5 world units; heads with their hair stay well inside in width and depth."""
    reach = []
    for head in range(12):
        figure = build_figure(makehuman, draw_person(makehuman, 5, head))
        parts = [part.points for part in figure.parts if part.name in ("hair", "hat", "frame")]
        skin = next(part for part in figure.parts if part.name == "head")
        points = np.vstack([*parts, skin.points])
        reach.append(np.abs(points[points[:, 1] > -0.2][:, [0, 2]]).max())
    assert max(reach) < 0.42


def reduced(fine: np.ndarray, clear: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class and coverage of 3 x 3 pixels by numpy over the whole picture."""
    cells = (fine.shape[0] // 3, 3, fine.shape[1] // 3, 3)
    coverage = 1.0 - clear.reshape(cells).mean(axis=(1, 3))
    mask = np.round(255.0 * np.clip(coverage, 0.0, 1.0)).astype(np.uint8)
    fine = np.where((fine == 0) & (clear < 0.5), np.uint8(INDEX["hair"]), fine)
    votes = np.where(clear > 0.5, np.uint8(0), fine).reshape(cells).swapaxes(1, 2).reshape(cells[0], cells[2], 9)
    parsing = np.array([[np.bincount(cell).argmax() for cell in row] for row in votes], dtype=np.uint8)
    parsing[mask < 128] = 0
    lost = (parsing == 0) & (mask >= 128)
    parsing[lost] = fine.reshape(cells).max(axis=(1, 3))[lost]
    return parsing, mask


def test_classes_and_coverage_are_bit_for_bit_those_of_the_slow_twin() -> None:
    random = np.random.default_rng(2)
    fine = random.integers(0, 19, (36, 36)).repeat(2, axis=0).repeat(2, axis=1).astype(np.uint8)
    clear = (random.random((72, 72)) ** random.choice([0.0, 0.3, 3.0], (72, 72))).astype(np.float32)
    clear[:20] = np.round(clear[:20])
    expected = reduced(fine, clear)
    for loop in (reduce_labels, compiled(reduce_labels)):
        parsing, mask = np.empty((24, 24), np.uint8), np.empty((24, 24), np.uint8)
        loop(fine, clear, 3, INDEX["background"], INDEX["hair"], parsing, mask)
        assert np.array_equal(parsing, expected[0])
        assert np.array_equal(mask, expected[1])


def test_classes_and_colours_of_a_picture_are_those_of_the_slow_twin(figure: Figure, drawing: Drawing) -> None:
    """Pixel by pixel from the parts themselves: the face's class unless a field is positive there, and the nearest texel."""
    seen = drawing.see(Camera.look_at(0.8, 0.1), 120)
    found, colours = drawing.classes(seen), drawing.colours(seen)
    starts = np.cumsum([0, *(len(part.faces) for part in figure.parts)])
    assert (found[seen.face < 0] == 0).all()
    assert (colours[seen.face < 0] == 0).all()
    for row, column in np.argwhere(seen.face >= 0)[::7]:
        index = np.searchsorted(starts, seen.face[row, column], "right") - 1
        part, face = figure.parts[index], seen.face[row, column] - starts[index]
        second, third = seen.bary[row, column].astype(np.float64)
        weights = np.array([1.0 - second - third, second, third])
        label = part.labels[face]
        if part.fields is not None and label == INDEX["skin"]:
            told = weights @ part.fields[part.faces[face]]
            label = [label, *(own for value, own in zip(told, part.field_labels, strict=True) if value > 0)][-1]
            if np.abs(told).min() < 1e-6:
                continue
        assert found[row, column] == label
        height, width = part.texture.shape[:2]
        u, v = weights @ part.uvs[part.face_uvs[face]] * [width, height]
        if np.abs(np.array([u, v]) - np.round([u, v])).min() < 1e-3:
            continue  # on the border of two texels
        texel = part.texture[int(np.clip(v, 0, height - 1)), int(np.clip(u, 0, width - 1)), :3]
        assert colours[row, column] == pytest.approx(srgb_to_linear(texel / 255.0), abs=1e-6)


def test_glass_that_hides_nothing_is_in_the_labels_but_not_in_the_guide(makehuman: Assets) -> None:
    bare = plain_person(makehuman)
    glasses = GlassesLook("square", (0.1, 0.1, 0.1), 1.1, 0.02, 0.0, False)
    drawing = Drawing(build_figure(makehuman, dataclasses.replace(bare, glasses=glasses)))
    camera = Camera.look_at(0.2, 0.0)
    labels, guide = look_with_guide(drawing, camera, 128)
    alone = look(drawing, camera, 128)
    assert np.array_equal(labels.parsing, alone.parsing)
    assert np.array_equal(labels.mask, guide.mask)
    eyes = [INDEX["left_eye"], INDEX["right_eye"]]
    assert np.isin(guide.parsing, eyes).sum() > 20
    assert (labels.parsing[np.isin(guide.parsing, eyes)] == INDEX["glasses"]).all()
    assert guide.albedo is not None


def test_strands_behind_clear_glass_cover_as_much_as_without_it() -> None:
    """Strands before nothing, half of them behind a lens: what is seen through glass counts, and is of the glass's class."""
    square = np.array([[-0.1, -0.1, 0.1], [0.1, -0.1, 0.1], [0.1, 0.1, 0.1], [-0.1, 0.1, 0.1]])
    faces = np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)
    ahead, glass = np.tile([0.0, 0.0, 1.0], (4, 1)), np.full(2, INDEX["glasses"], dtype=np.uint8)
    lens = Part("lens", square, ahead, faces, np.full((1, 2), 0.5), 0 * faces, plain((1.0, 1.0, 1.0), 0.0), glass, "lens", 0.0)
    lines = np.array([[[-0.2, y, 0.0], [0.0, y, 0.0], [0.2, y, 0.0]] for y in np.linspace(-0.05, 0.05, 30)], np.float32)
    hair = Strands("hair", "hair", lines, np.full((30, 3), 0.001, np.float32), np.full((30, 2, 3), 0.2, np.float32))
    head = SimpleNamespace(parts=(lens,), strands=(hair,))
    view, guide = look_with_guide(Drawing(head), Camera.look_at(0.0, 0.0), 64)
    assert (view.mask == guide.mask).all()
    assert ((view.mask >= 128) == (view.parsing != INDEX["background"])).all()
    assert guide.mask[32, 32] > 128 and (view.parsing[32, 32], guide.parsing[32, 32]) == (INDEX["glasses"], INDEX["hair"])
    beside = np.argmax(guide.parsing[32] == INDEX["hair"])
    assert view.parsing[32, beside + 1] == INDEX["hair"]
    assert (look(Drawing(head), Camera.look_at(0.0, 0.0), 64).mask == view.mask).all()
