"""Head scans as a source: placed by four landmarks, drawn with exact labels, damage told by file and the rest built."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as some
from scipy import ndimage
from spherehead.datasets.camera import FOCAL, RADIUS, Camera
from spherehead.datasets.classes import INDEX
from spherehead.datasets.sample import Rights, SourceImage
from spherehead.datasets.shards.codec import decode_grey, decode_image
from spherehead.datasets.sources.base import Refused, SourceError
from spherehead.manifests.config import ConfigError
from spherehead.pipeline import presets
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.request import BuildRequest
from spherehead.pipeline.synthetic.assets.formats import AssetError
from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing, look
from spherehead.pipeline.synthetic.scans.mesh_head import Sidecar, build_head, place_landmarks, places, read_sidecar, sidecar_of
from spherehead.pipeline.synthetic.scans.meshes import colour_atlas, read_scan
from spherehead.pipeline.synthetic.scans.source import MeshSource, parse

trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")
pytest.importorskip("mitsuba", reason="mitsuba is not installed")
import scans  # noqa: E402

FILES = ("a.glb", "b.obj", "c.ply", "d.glb")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same ball in every format: with a texture as GLB and OBJ, with colours at its vertices as PLY and GLB."""
    root = tmp_path_factory.mktemp("scans")
    for name, mesh in zip(FILES, (scans.textured(), scans.textured(), scans.coloured(), scans.coloured()), strict=True):
        scans.save(mesh, root / name)
    return root


def told(landmarks: np.ndarray) -> Sidecar:
    return Sidecar(Path("head.json"), landmarks, Rights())


@given(
    some.floats(0.001, 1000.0), some.tuples(*[some.floats(-3.0, 3.0)] * 3), some.tuples(*[some.floats(-50.0, 50.0)] * 3)
)  # fmt: skip
def test_landmarks_give_back_the_similarity_that_moved_them(
    scale: float, turn: tuple[float, ...], shift: tuple[float, ...]
) -> None:
    rotation = trimesh.transformations.euler_matrix(*turn)[:3, :3]
    moved = scale * (places() @ rotation.T + np.array(shift))
    placement, residual = place_landmarks(told(moved))
    assert placement.apply(moved) == pytest.approx(places(), abs=1e-9)
    assert placement.scale == pytest.approx(1.0 / scale)
    assert residual < 1e-9


def test_the_residual_is_the_distance_that_no_similarity_takes_away() -> None:
    """By the plain twin: the best of many small similarities around the fit is not better."""
    bent = places() + np.array([[0.01, 0, 0], [0, 0.01, 0], [0, 0, -0.02], [0.0, -0.01, 0]])
    placement, residual = place_landmarks(told(bent))
    random = np.random.default_rng(0)
    placed = placement.apply(bent)
    assert residual == pytest.approx(np.sqrt(((placed - places()) ** 2).sum(axis=1).mean()))
    for _ in range(200):
        turn = trimesh.transformations.euler_matrix(*random.normal(0, 0.02, 3))[:3, :3]
        other = (1 + random.normal(0, 0.02)) * placed @ turn.T + random.normal(0, 0.002, 3)
        assert np.sqrt(((other - places()) ** 2).sum(axis=1).mean()) >= residual
    place_landmarks(told(bent), residual + 1e-6)
    with pytest.raises(AssetError, match=r"head\.json: the landmarks fit no head.*nose_tip 0\.0"):
        place_landmarks(told(bent), residual - 1e-6)


def test_mirrored_heads_and_flat_landmarks_are_refused() -> None:
    with pytest.raises(AssetError, match="mirrored"):
        place_landmarks(told(places()[[1, 0, 2, 3]]))  # left and right exchanged
    with pytest.raises(AssetError, match="mirrored"):
        place_landmarks(told(places() * [1.0, 1.0, -1.0]))  # left-handed axes
    flat = places().copy()
    flat[2] = flat[[0, 1, 3]].mean(axis=0)
    with pytest.raises(AssetError, match="one plane"):
        place_landmarks(told(flat))
    with pytest.raises(AssetError, match="one plane"):
        place_landmarks(told(np.ones((4, 3))))


@pytest.mark.parametrize("name", FILES)
def test_a_ball_is_seen_where_and_as_the_formula_says(folder: Path, name: str) -> None:
    """A ball of radius r at distance d is a disc of radius f tan(asin(r / d)); +x is to the right; depth is d - r in front."""
    head = build_head(folder / name, read_sidecar(sidecar_of(folder / name)))
    assert head.residual < 1e-5
    seen = look(Drawing(head), Camera.look_at(0.0, 0.0), 128, with_albedo=True)
    radius = 128 * FOCAL * np.tan(np.arcsin(scans.RADIUS / RADIUS))
    covered = seen.mask / 255.0
    assert covered.sum() == pytest.approx(np.pi * radius**2, rel=0.01)
    rows, columns = np.nonzero(covered > 0.5)
    assert (rows.mean(), columns.mean()) == pytest.approx((63.5, 63.5), abs=0.1)
    assert seen.depth[64, 64] == pytest.approx(RADIUS - scans.RADIUS, abs=0.002)
    assert seen.normals[64, 64] == pytest.approx([0, 0, 1], abs=0.05)
    assert seen.albedo is not None
    for column, colour in ((40, scans.BLUE), (88, scans.RED)):
        linear = (np.array(colour) / 255.0 + 0.055) / 1.055
        assert seen.albedo[64, column] == pytest.approx(np.maximum(linear, 0) ** 2.4, abs=0.02)


def test_the_back_is_behind_and_the_picture_agrees_with_the_mask(folder: Path) -> None:
    source = MeshSource(f"mesh:{folder},views=2,size=96,samples=4,background=plain,pitch_degrees=0,roll_degrees=0")
    image = next(entry for entry in source.entries() if isinstance(entry, SourceImage) and entry.path.startswith("c.ply"))
    picture = decode_image(source.read(image)).astype(float)
    mask = decode_grey(source.sidecar(image, "mask") or b"")
    camera = Camera.from_label(np.array(json.loads(source.sidecar(image, "camera") or b"")))
    camera.check()
    assert source.sidecar(image, "parsing") is None
    point, _ = camera.project(np.array([[0.25, 0.0, 0.0], [-0.25, 0.0, 0.0]]))
    inside = np.zeros_like(mask, dtype=bool)
    inside[24:72, 24:72] = True
    redness = picture[..., 0] - picture[..., 2]
    columns = np.arange(96)[None, :] + 0.5
    red_right = point[0, 0] > point[1, 0]
    half = (columns > 48) if red_right else (columns < 48)
    side = np.broadcast_to(half, mask.shape) & inside & (mask == 255)
    other = np.broadcast_to(~half, mask.shape) & inside & (mask == 255)
    if abs(point[0, 0] - point[1, 0]) > 0.2:
        assert redness[side].mean() > redness[other].mean() + 30
    outside = picture[ndimage.maximum_filter(mask, 3) == 0]
    assert np.ptp(outside, axis=0).max() <= 1  # the plain background alone


def test_an_atlas_of_vertex_colours_is_linear_over_each_face() -> None:
    """Against a plain bilinear lookup, at random places in random faces."""
    random = np.random.default_rng(1)
    colours = random.integers(60, 190, (30, 3)).astype(np.uint8)
    faces = random.integers(0, 30, (50, 3))
    uvs, face_uvs, texture = colour_atlas(colours, faces)
    height, width = texture.shape[:2]
    for face in range(50):
        weight = random.dirichlet(np.ones(3))
        u, v = (weight @ uvs[face_uvs[face]]) * [width, height] - 0.5
        x, y = int(np.floor(u + 1e-9)), int(np.floor(v + 1e-9))
        a, b = u - x, v - y
        x1, y1 = min(x + 1, width - 1), min(y + 1, height - 1)
        corner = texture[..., :3].astype(float)
        seen = (corner[y, x] * (1 - a) + corner[y, x1] * a) * (1 - b) + (corner[y1, x] * (1 - a) + corner[y1, x1] * a) * b
        expected = weight @ colours[faces[face]]
        clipped = (colours[faces[face]].astype(int)[1:].sum(axis=0) - colours[faces[face, 0]]).clip(0, 255)
        if (clipped == colours[faces[face]].astype(int)[1:].sum(axis=0) - colours[faces[face, 0]]).all():
            assert seen == pytest.approx(expected, abs=0.6)


@pytest.mark.parametrize("name", ["x.ply", "x.obj", "x.glb"])
def test_classes_at_vertices_become_an_exact_class_map(tmp_path: Path, name: str) -> None:
    """Hair above, skin below, in the file's own order of vertices; an .obj whose texture is cut keeps that order."""
    points, _ = scans.ball()
    path = scans.save(scans.textured() if name.endswith("obj") else scans.coloured(), tmp_path / name, classes="x.txt")
    if name.endswith("obj"):  # cut the texture: every face gets texture corners of its own
        lines = path.read_text().splitlines()
        corners = sum(line.startswith("vt ") for line in lines)
        lines = [line if not line.startswith("vt ") else f"{line}\nvt {line.split()[1]} 0.5" for line in lines]
        shift = [0]

        def other(word: str) -> str:
            vertex, corner = word.split("/")[:2]
            shift[0] += 1
            return f"{vertex}/{2 * int(corner) - shift[0] % 2}"

        lines = ["f " + " ".join(map(other, line.split()[1:])) if line.startswith("f ") else line for line in lines]
        path.write_text("\n".join(lines) + "\n")
        assert sum(len(surface.points) for surface in read_scan(path).surfaces) > corners
    (tmp_path / "x.txt").write_text("\n".join("hair" if y > 0.05 else "1" for y in points[:, 1]))
    head = build_head(path, read_sidecar(sidecar_of(path)))
    seen = look(Drawing(head), Camera.look_at(0.0, 0.0), 96)
    assert head.has_classes
    rows = np.arange(96)[:, None] + 0.5
    level = 48 - 96 * FOCAL * 0.05 / (RADIUS - np.sqrt(scans.RADIUS**2 - 0.05**2))
    well_inside = seen.mask == 255
    assert (seen.parsing[well_inside & (rows < level - 4)] == INDEX["hair"]).mean() > 0.97
    assert (seen.parsing[well_inside & (rows > level + 4)] == INDEX["skin"]).mean() > 0.97
    (tmp_path / "x.txt").write_text("hair\n" * 7)
    with pytest.raises(AssetError, match=rf"x\.txt: expected {len(points)} lines"):
        build_head(path, read_sidecar(sidecar_of(path)))
    (tmp_path / "x.txt").write_text("hare\n" * len(points))
    with pytest.raises(AssetError, match=r"x\.txt.*'hare'"):
        build_head(path, read_sidecar(sidecar_of(path)))


def test_a_vertex_may_have_another_texture_corner_in_each_face(tmp_path: Path) -> None:
    """Two halves of a square that share an edge; one is painted from the red end of the texture, one from the blue end."""
    path = scans.save(scans.textured(), tmp_path / "cut.obj")
    library = next(line for line in path.read_text().splitlines() if line.startswith("mtllib"))
    use = next(line for line in path.read_text().splitlines() if line.startswith("usemtl"))
    corners = scans.own_frame(np.array([[-0.2, -0.2, 0.1], [0.2, -0.2, 0.1], [0.2, 0.2, 0.1], [-0.2, 0.2, 0.1]]))
    lines = [library, *("v " + " ".join(map(str, corner)) for corner in corners), "vt 0.9 0.5", "vt 0.1 0.5", use]
    path.write_text("\n".join([*lines, "f 1/1 2/1 3/1", "f 1/2 3/2 4/2"]) + "\n")
    seen = look(Drawing(build_head(path, read_sidecar(sidecar_of(path)))), Camera.look_at(0.0, 0.0), 64, with_albedo=True)
    assert seen.albedo is not None
    red, blue = seen.albedo[40, 40], seen.albedo[24, 24]
    assert red[0] > 5 * red[2]
    assert blue[2] > 5 * blue[0]


def test_settings_are_read_and_mistakes_named(folder: Path, tmp_path: Path) -> None:
    asked = parse("mesh:my scans/2,views=3,limits.max_faces=10,yaw_degrees=60")
    assert (asked.folder, asked.views, asked.limits.max_faces, asked.yaw_degrees) == ("my scans/2", 3, 10, 60)
    for text, words in (
        ("mesh:", "folder first"), ("mesh:views=2", "folder first"), ("mesh:a,veiws=2", "views"),
        ("mesh:a,views=0", "1 or more"), ("mesh:a,pitch_degrees=-1", "pitch_degrees of 0"), ("mesh:a,roll_degrees=-1", "roll"),
        ("mesh:a,views=2,views=3", "views is given twice"), ("mesh:a,folder=b", "folder is given twice"),
        ("mesh:a,variant=fast", "scalar_rgb"), ("mesh:a,background=red", "gradient"), ("mesh:a,yaw_degrees=0", "yaw_degrees"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            parse(text)
    with pytest.raises(SourceError, match=r"\.glb"):
        MeshSource(f"mesh:{tmp_path}")
    sides = [
        entry for entry in MeshSource(f"mesh:{folder},views=16,yaw_degrees=40").entries() if isinstance(entry, SourceImage)
    ]
    source = MeshSource(f"mesh:{folder},views=16,yaw_degrees=40,size=64,samples=1")
    yaws = [
        Camera.from_label(np.array(json.loads(source.sidecar(image, "camera") or b""))).yaw
        for image in [entry for entry in source.entries() if isinstance(entry, SourceImage)][:4]
    ]
    assert len(sides) == 64
    assert np.abs(yaws).max() <= np.radians(40.001)


def test_a_build_is_the_same_for_one_and_two_workers_with_licence_and_residual(folder: Path, tmp_path: Path) -> None:
    for name in ("a.glb", "a.json", "c.ply", "c.json"):
        (tmp_path / "two").mkdir(exist_ok=True)
        shutil.copy(folder / name, tmp_path / "two" / name)
    text = f"mesh:{tmp_path / 'two'},views=2,seed=5,size=64,samples=1"
    shards = {}
    for workers, engine in ((1, "inline"), (2, "local")):
        out = tmp_path / str(workers)
        assert build(BuildRequest((text,), out, presets.frames(), workers=workers, engine=engine)).counts["kept"] == 4
        shards[workers] = {path.name: path.read_bytes() for path in sorted(out.glob("*.tar"))}
        rows = pd.read_parquet(out / "manifest.parquet")
        assert rows["synthetic"].all()
        assert set(rows["license"]) == {"CC-BY-4.0"}
        assert rows.groupby("parent").size().tolist() == [2, 2]
        made = [json.loads(text) for text in rows["derivation"]]
        assert {item["step"] for item in made} == {"mesh"}
        assert max(item["residual"] for item in made) < 1e-4
    assert shards[1] == shards[2]


def test_a_change_of_a_sidecar_is_seen(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "c.ply", tmp_path / "c.ply")
    shutil.copy(folder / "c.json", tmp_path / "c.json")
    text = f"mesh:{tmp_path},views=1,size=64,samples=1"
    before = next(iter(MeshSource(text).entries()))
    (tmp_path / "c.json").write_text(json.dumps(scans.sidecar(license="CC0-1.0")))
    after = next(iter(MeshSource(text).entries()))
    assert not isinstance(before, Refused)
    assert not isinstance(after, Refused)
    assert before.stamp != after.stamp
    assert after.rights.license == "CC0-1.0"


def test_only_scans_that_are_called_bald_get_hair_and_only_where_asked_for(tmp_path: Path) -> None:
    scans.save(scans.coloured(), tmp_path / "bald.ply", bald=True)
    scans.save(scans.coloured(), tmp_path / "hairy.ply")
    plain, grown = (list(MeshSource(f"mesh:{tmp_path},views=1{text}").entries()) for text in ("", ",hair=grown"))
    made = [json.loads(row.sidecar["derivation"]) for row in (*plain, *grown) if isinstance(row, SourceImage)]
    assert ["hair" in one for one in made] == [False, False, True, False]
    assert [row.source for row in plain] == [row.source for row in grown]
    assert list(MeshSource(f"mesh:{tmp_path},views=1,hair=scan").entries()) == plain
    assert read_sidecar(tmp_path / "bald.json").bald and not read_sidecar(tmp_path / "hairy.json").bald
    with pytest.raises(ConfigError, match="scan or grown"):
        parse(f"mesh:{tmp_path},hair=wig")
    (tmp_path / "bald.json").write_text(json.dumps(scans.sidecar(bald="yes")))
    with pytest.raises(AssetError, match="true or false"):
        read_sidecar(tmp_path / "bald.json")
