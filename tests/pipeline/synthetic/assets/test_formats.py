"""MakeHuman's formats: small files written here by hand, whose meaning can be counted out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from spherehead.pipeline.synthetic.assets.formats import AssetError, read_material, read_obj, read_proxy, read_target

SQUARE = """# two groups, one quad each
v 0 0 0
v 2 0 0
v 2 1 0
v 0 1 0
v 0 0 3
vt 0.25 0.75
vt 1 0
g body
f 1/1 2/2 3/2 4/1
g helper-eye
f 1/1 2/2 5/2 5/1
"""
PROXY = """name cap
obj_file cap.obj
x_scale 0 1 4.0
material ../colours/red.mhmat
verts 0
3
0 1 2 0.5 0.25 0.25 0.1 0.2 0.3
delete_verts
0 2 - 4
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_quads_become_two_triangles_and_v_runs_downwards(tmp_path: Path) -> None:
    mesh = read_obj(write(tmp_path, "a.obj", SQUARE))
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 4], [0, 4, 4]]
    assert mesh.uvs.tolist() == [[0.25, 0.25], [1.0, 1.0]]
    assert mesh.group("helper-eye").tolist() == [2, 3]
    with pytest.raises(AssetError, match="expected a group 'tail'"):
        mesh.group("tail")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v 0 0 0\nv 1 0 nan\nv 0 1 0\nf 1 2 3\n", "finite"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 4\n", "names vertex 4 of 3"),
        ("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "faces with an area"),
        ("v 0 0 0\nv 1 0 x\n", "not a readable"),
        ("", "expected vertices and faces"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/2 2/1 3/1\n", "texture coordinate 2 of 1"),
    ],
)
def test_a_broken_mesh_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(AssetError, match=message) as refused:
        read_obj(write(tmp_path, "broken.obj", text))
    assert "broken.obj" in str(refused.value)


def test_a_target_moves_the_vertices_it_names(tmp_path: Path) -> None:
    target = read_target(write(tmp_path, "a.target", "# a comment\n3 0.5 -1 2\n\n0 0 0 0.25\n"), 5)
    assert target.indices.tolist() == [3, 0]
    assert target.offsets.tolist() == [[0.5, -1.0, 2.0], [0.0, 0.0, 0.25]]


@pytest.mark.parametrize("text", ["3 0.5 -1", "9 0 0 0", "1 0 0 inf", "1 0 0 zero"])
def test_a_truncated_or_foreign_target_is_refused_by_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(AssetError, match=r"cut\.target"):
        read_target(write(tmp_path, "cut.target", text), 5)


def test_a_proxy_follows_the_body(tmp_path: Path) -> None:
    """By the format's own rule: weighted anchors plus offsets, scaled by a distance on the body over its rest length."""
    proxy = read_proxy(write(tmp_path, "cap.mhclo", PROXY), 5)
    body = np.array([[0.0, 0, 0], [2, 0, 0], [2, 1, 0], [0, 1, 0], [0, 0, 3]])
    middle = 0.5 * body[0] + 0.25 * body[1] + 0.25 * body[2]
    assert proxy.fit(body) == pytest.approx(np.array([body[3], middle + np.array([0.1 * 2.0 / 4.0, 0.2, 0.3])]))
    wide = body * [3.0, 1.0, 1.0]
    assert proxy.fit(wide)[1] == pytest.approx(0.5 * wide[0] + 0.25 * wide[1] + 0.25 * wide[2] + [0.15, 0.2, 0.3])
    assert proxy.hidden.tolist() == [0, 2, 3, 4]
    assert (proxy.mesh_file, proxy.material_file) == ("cap.obj", "../colours/red.mhmat")


@pytest.mark.parametrize(
    "text", [PROXY.replace("0 1 2 0.5", "0 1 7 0.5"), PROXY.replace("0.2 0.3", ""), PROXY.replace("obj_file", "file"), ""]
)
def test_a_broken_proxy_is_refused_by_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(AssetError, match=r"cap\.mhclo"):
        read_proxy(write(tmp_path, "cap.mhclo", text), 5)


def test_a_material_says_colour_and_textures(tmp_path: Path) -> None:
    text = "# c\nname Red cloth\ndiffuseColor 0.5 0.25 0\ndiffuseTexture red one.png\ntransparent True\nshader x/y\n"
    material = read_material(write(tmp_path, "red.mhmat", text))
    assert (material.name, material.diffuse, material.diffuse_texture) == ("Red cloth", (0.5, 0.25, 0.0), "red one.png")
    assert material.transparent
    with pytest.raises(AssetError, match=r"gone\.mhmat"):
        read_material(tmp_path / "gone.mhmat")
