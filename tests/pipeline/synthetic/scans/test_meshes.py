"""Scans are read as their writers meant them, and damaged ones refused: textures that repeat, names, options, any bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from spherehead.pipeline.synthetic.assets.formats import AssetError
from spherehead.pipeline.synthetic.scans.materials import Texture, find, parse_texture
from spherehead.pipeline.synthetic.scans.meshes import MeshLimits, Surface, companions, read_scan

trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")

GRADIENT = np.full((128, 256, 3), 9, np.uint8)
GRADIENT[..., 0], GRADIENT[..., 1] = np.arange(256), np.arange(128)[:, None]
"""Red tells the column, green the row."""


def write_band(folder: Path, offset: tuple[float, float], line: str = "map_Kd tex.png", texture: str = "tex.png") -> Path:
    """Write a cylinder of 32 x 2 quads that one texture wraps around, its coordinates moved by an offset."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(GRADIENT).save(folder / texture)
    (folder / "m.mtl").write_text(f"newmtl m\nKd 1 1 1\n{line}\n")
    lines, faces = ["mtllib m.mtl", "usemtl m"], []
    for ring in range(3):
        for step in range(33):
            angle = 2 * np.pi * step / 32
            lines.append(f"v {np.cos(angle):.6f} {ring} {np.sin(angle):.6f}")
            lines.append(f"vt {step / 32 + offset[0]:.6f} {ring / 2 + offset[1]:.6f}")
    for ring in range(2):
        for step in range(32):
            a, b = 33 * ring + step + 1, 33 * (ring + 1) + step + 1
            faces += [f"f {a}/{a} {a + 1}/{a + 1} {b}/{b}", f"f {a + 1}/{a + 1} {b + 1}/{b + 1} {b}/{b}"]
    (folder / "band.obj").write_text("\n".join([*lines, *faces]) + "\n")
    return folder / "band.obj"


def colour_at(surface: Surface, face: int, weights: np.ndarray) -> np.ndarray:
    """Sample a surface as the renderers do: bilinear, clamped at the texture's edge."""
    height, width = surface.texture.shape[:2]
    u, v = weights @ surface.uvs[surface.face_uvs[face]] * (width, height) - 0.5
    left, top = int(np.floor(u)), int(np.floor(v))
    across, down = u - left, v - top
    columns, rows = np.clip([left, left + 1], 0, width - 1), np.clip([top, top + 1], 0, height - 1)
    patch = surface.texture[np.ix_(rows, columns)][..., :3].astype(float)
    return (1 - down) * ((1 - across) * patch[0, 0] + across * patch[0, 1]) + down * (
        (1 - across) * patch[1, 0] + across * patch[1, 1]
    )


def check_band(path: Path, offset: tuple[float, float]) -> None:
    """Compare the middle of every face with the picture where it must be: what its place says, whole turns left out."""
    (surface,) = read_scan(path).surfaces
    middle = np.full(3, 1 / 3)
    for face in range(len(surface.faces)):
        points = surface.points[surface.faces[face]]
        angles = np.arctan2(points[:, 2], points[:, 0])
        angles = angles[0] + np.remainder(angles - angles[0] + np.pi, 2 * np.pi) - np.pi
        u = (angles.mean() / (2 * np.pi) + offset[0]) % 1.0
        v = (1.0 - (points[:, 1].mean() / 2 + offset[1])) % 1.0
        if min(256 * u, 256 * (1 - u), 128 * v, 128 * (1 - v)) < 1.5:
            continue  # the filter mixes both ends of the picture there
        found = colour_at(surface, face, middle)
        assert abs(found[0] - (256 * u - 0.5)) < 1.2 and abs(found[1] - (128 * v - 0.5)) < 1.2, (face, u, v, found)


@pytest.mark.parametrize(
    "offset", [(0.0, 0.0), (0.52, 0.0), (0.013, 0.25), (1.0, 0.0), (-0.3, -0.7), (7.49, 3.1), (0.9, 0.99)]
)  # fmt: skip
def test_a_face_that_crosses_the_edge_shows_the_texture_on_both_sides_of_it(
    tmp_path: Path, offset: tuple[float, float]
) -> None:
    check_band(write_band(tmp_path, offset), offset)


def test_textures_that_do_not_cross_are_left_as_they_are(tmp_path: Path) -> None:
    (surface,) = read_scan(write_band(tmp_path, (0.0, 0.0))).surfaces
    assert surface.texture.shape == (128, 256, 4) and np.array_equal(surface.face_uvs, surface.faces)


def test_the_failing_scans_are_read(shared: Path) -> None:
    for name in ("mesh_off/off.obj", "mesh_space/space.obj"):
        (surface,) = read_scan(shared / "failing" / name).surfaces
        assert np.ptp(surface.uvs[surface.face_uvs], axis=1).max() < 0.1


def test_a_face_of_many_repeats_is_refused_by_name(tmp_path: Path) -> None:
    path = write_band(tmp_path, (0.0, 0.0))
    words = path.read_text().splitlines()
    path.write_text("\n".join(f"vt {90000 * float(w.split()[1])} 0.5" if w.startswith("vt") else w for w in words))
    with pytest.raises(AssetError, match="repeats its texture"):
        read_scan(path)


@pytest.mark.parametrize(
    ("line", "texture"),
    [
        ("map_Kd my head.png", "my head.png"),
        ('map_Kd "my head.png"', "my head.png"),
        ("map_Kd -clamp on my head.png", "my head.png"),
        ("map_Kd -s 1 1 1 -o 0 0 0 -mm 0 1 tex.png", "tex.png"),
        ("map_Kd -blendu on -blendv off -texres 512 -bm 1.0 2 heads.png", "2 heads.png"),
        ("map_Kd textures\\tex.png", "tex.png"),
        ("map_Kd C:\\Users\\me\\scans\\my tex.png", "my tex.png"),
        ("map_Kd ./tex.png", "tex.png"),
        ("map_Kd TEX.PNG", "tex.png"),
        ("map_kd\ttex.png", "tex.png"),
        ("  map_Kd   tex.png   ", "tex.png"),
        ("map_Kd größe 头.png", "größe 头.png"),
    ],
)
def test_a_texture_is_found_however_it_is_named(tmp_path: Path, line: str, texture: str) -> None:
    path = write_band(tmp_path, (0.0, 0.0), line, texture)
    assert tmp_path / texture in companions(path)
    check_band(path, (0.0, 0.0))


def test_a_texture_in_a_folder_is_found_through_backslashes(tmp_path: Path) -> None:
    path = write_band(tmp_path, (0.0, 0.0), "map_Kd maps\\skin\\tex.png")
    (tmp_path / "maps" / "skin").mkdir(parents=True)
    (tmp_path / "tex.png").rename(tmp_path / "maps" / "skin" / "tex.png")
    check_band(path, (0.0, 0.0))


def test_several_libraries_are_read(tmp_path: Path) -> None:
    path = write_band(tmp_path, (0.0, 0.0))
    (tmp_path / "other mat.mtl").write_text("newmtl x\nKd 1 0 0\n")
    path.write_text(path.read_text().replace("mtllib m.mtl", "mtllib other mat.mtl\nmtllib m.mtl"))
    check_band(path, (0.0, 0.0))
    path.write_text(path.read_text().replace("mtllib other mat.mtl\nmtllib m.mtl", "mtllib m.mtl m.mtl"))
    check_band(path, (0.0, 0.0))


def test_scale_offset_and_clamping_of_a_material_are_drawn(tmp_path: Path) -> None:
    path = write_band(tmp_path / "moved", (0.0, 0.0), "map_Kd -o 0.25 0.5 0 tex.png")
    check_band(path, (0.25, 0.5))
    path = write_band(tmp_path / "clamped", (0.5, 0.0), "map_Kd -clamp on tex.png")
    (surface,) = read_scan(path).surfaces
    far = surface.uvs[surface.face_uvs][:, :, 0]
    assert far.max() == 1.0 and surface.texture.shape == (128, 256, 4)
    assert (far.min(axis=1) == 1.0).sum() == 2 * 2 * 16  # the half beyond the edge shows its last column


def test_what_is_not_drawn_and_what_is_missing_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="turbulence"):
        read_scan(write_band(tmp_path / "a", (0.0, 0.0), "map_Kd -t 0.1 0.1 0.1 tex.png"))
    with pytest.raises(AssetError, match=r"my head\.png: expected the file that band\.obj names"):
        read_scan(write_band(tmp_path / "b", (0.0, 0.0), "map_Kd my head.png"))


words = st.text(alphabet="abc 12.-\"'\\/é", min_size=1, max_size=12)


@given(words.filter(lambda name: name.strip("\"' \t") == name and not name.startswith("-")), st.booleans())
def test_options_never_eat_a_name(name: str, clamp: bool) -> None:
    assert parse_texture(f"-clamp {'on' if clamp else 'off'} -bm 1 {name}") == Texture(name, clamp)


@given(st.text(max_size=60))
def test_any_text_after_map_kd_is_read_or_refused(text: str) -> None:
    try:
        found = parse_texture(text)
    except ValueError:
        return
    assert isinstance(found.name, str) and len(found.scale) == len(found.offset) == 2
    assert find(Path("nowhere at all"), found.name) is None or found.name


def seeds() -> dict[str, bytes]:
    """One small sound scan of every format."""
    box = trimesh.creation.icosphere(subdivisions=1, radius=1.0)
    coloured = trimesh.Trimesh(
        box.vertices, box.faces, process=False, vertex_colors=np.full((len(box.vertices), 3), 90, np.uint8)
    )
    picture = Image.fromarray(GRADIENT[::16, ::16])
    uvs = np.column_stack([np.linspace(0, 1.4, len(box.vertices)), np.linspace(-0.3, 1, len(box.vertices))])
    visual = trimesh.visual.TextureVisuals(uv=uvs, material=trimesh.visual.texture.SimpleMaterial(image=picture))
    textured = trimesh.Trimesh(box.vertices, box.faces, process=False, visual=visual)
    return {
        "a.glb": textured.export(file_type="glb"),
        "b.glb": coloured.export(file_type="glb"),
        "c.ply": coloured.export(file_type="ply"),
        "d.ply": coloured.export(file_type="ply", encoding="ascii"),
        "e.obj": b"mtllib e.mtl\nusemtl m\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nvt 0 0\nvt 1.5 0\nvt 0 1\n"
        b"f 1/1 2/2 3/3\nf 1/1 3/3 4/2\nf 2/2 4/1 3/3\n",
        "e.mtl": b"newmtl m\nKd 1 1 1\nmap_Kd -clamp off -s 1 1 1 tex.png\n",
    }


SEEDS = seeds()
BITS = (
    b"nan",
    b"1e999",
    b"-1",
    b"99999999999",
    b"/",
    b"\x00",
    b"\\\n",
    b"mtllib e.mtl\n",
    b"usemtl",
    b"end_header\n",
    b"{",
    b"[",
    b'"count":999999999,',
)


def attack(folder: Path, data: st.DataObject) -> None:
    """Change a scan's bytes and read it: a scan or our own refusal."""
    name = data.draw(st.sampled_from(sorted(SEEDS)))
    changed = bytearray(SEEDS[name])
    for _ in range(data.draw(st.integers(0, 5))):
        place = data.draw(st.integers(0, max(0, len(changed) - 1)))
        if data.draw(st.booleans()):
            changed[place : place + 1] = bytes([data.draw(st.integers(0, 255))])
        else:
            changed[place : place + data.draw(st.integers(0, 6))] = data.draw(
                st.one_of(st.sampled_from(BITS), st.binary(max_size=8))
            )
    if data.draw(st.integers(0, 9)) == 0:
        changed = changed[: data.draw(st.integers(0, len(changed)))]
    for other, content in SEEDS.items():
        if other.startswith("e."):
            (folder / other).write_bytes(content)
    (folder / name).write_bytes(changed)
    Image.fromarray(GRADIENT[::16, ::16]).save(folder / "tex.png")
    path = folder / name.replace(".mtl", ".obj")
    try:
        scan = read_scan(path, MeshLimits(max_faces=10_000, max_megabytes=1.0))
    except AssetError as error:
        assert " at 0x" not in str(error)
        return
    for surface in scan.surfaces:
        assert np.isfinite(surface.points).all() and np.isfinite(surface.uvs).all()
        assert surface.uvs.min() >= 0.0 and surface.uvs.max() <= 1.0 and surface.face_uvs.max() < len(surface.uvs)


COMMON = {"deadline": 10_000, "suppress_health_check": list(HealthCheck), "database": None}


@settings(max_examples=150, derandomize=True, **COMMON)
@given(data=st.data())
def test_changed_scans_are_read_or_refused_but_never_raise(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    attack(tmp_path_factory.mktemp("scan"), data)


@pytest.mark.slow
@settings(max_examples=10_000, **COMMON)
@given(data=st.data())
def test_ten_thousand_changed_scans_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    attack(_folder(tmp_path_factory), data)


def _folder(factory: pytest.TempPathFactory, _made: list[Path] = []) -> Path:  # noqa: B006
    """Return one folder for all examples: ten thousand would take longer to make than to read."""
    if not _made:
        _made.append(factory.mktemp("scans"))
    return _made[0]


def test_headers_that_declare_more_than_the_file_can_hold_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "x.ply").write_bytes(SEEDS["c.ply"].replace(b"element vertex 42", b"element vertex 4200000000"))
    glb = SEEDS["b.glb"]
    told = json.loads(glb[20 : 20 + int.from_bytes(glb[12:16], "little")])
    told["accessors"][0] = {"componentType": 5126, "type": "VEC3", "count": 2_000_000_000}
    body = json.dumps(told).encode()
    body += b" " * (-len(body) % 4)
    rest = glb[20 + int.from_bytes(glb[12:16], "little") :]
    whole = b"glTF\x02\x00\x00\x00" + (20 + len(body) + len(rest)).to_bytes(4, "little")
    (tmp_path / "x.glb").write_bytes(whole + len(body).to_bytes(4, "little") + b"JSON" + body + rest)
    for name in ("x.ply", "x.glb"):
        with pytest.raises(AssetError, match="declares"):
            read_scan(tmp_path / name)
