"""Painted heads: scalps without hair look like the foreheads before them, and small pictures need no fine textures."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import INDEX
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.people.figure import build_figure
from spherehead.pipeline.synthetic.people.paint import FINE, HEAD_CROP, SMALL, head_skin, scalp_mask
from spherehead.pipeline.synthetic.people.population import draw_person
from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing
from spherehead.pipeline.synthetic.shading.surfaces import surfaces_of
from spherehead.pipeline.synthetic.source import MakeHumanSettings, Shot, shoot

LUMA = np.array([0.299, 0.587, 0.114])
SKINS = ("middleage_lightskinned_male_diffuse", "old_lightskinned_male_diffuse2", "young_lightskinned_male_diffuse3")


@pytest.mark.parametrize("skin", SKINS)
def test_bald_temples_have_no_patch_of_painted_stubble(makehuman: Assets, skin: str) -> None:
    """From the scalp's mask to 8 texels before it no twentieth is darker than the forehead by 3 %: 5 to 12 % before."""
    name = next(name for name in makehuman.names("skins") if name.rsplit("/", 1)[-1].startswith(f"{skin}."))
    person = dataclasses.replace(draw_person(makehuman, 1, 5), skins=((name, 1.0),), scalp="bare", growth=None, marks=None)
    left, top, right, bottom = HEAD_CROP
    painted = head_skin(makehuman, person, grows=np.zeros((512, 512), np.float32)) @ LUMA
    enlarged = 2 * FINE
    rows, columns = painted.shape[0] // enlarged, painted.shape[1] // enlarged
    coarse = cv2.GaussianBlur(painted.reshape(rows, enlarged, columns, enlarged).mean(axis=(1, 3)), (0, 0), 2.0)
    grows = scalp_mask(makehuman)[top:bottom, left:right] > 0.5
    grows[120:250, 96:] = False  # the corners of eyes
    away = cv2.distanceTransform((~grows).astype(np.uint8), cv2.DIST_L2, 5)
    row, column = np.mgrid[:rows, :columns]
    temple = (away > 0.5) & (away < 8.0) & (column > 50) & (column < 96) & (row > 142) & (row < 226)  # between the ears
    scalp = (away == 0.0) & (column > 50) & (column < 100) & (row > 100) & (row < 270)
    forehead = np.median(coarse[150:220, 84:96])
    assert temple.sum() > 500 and scalp.sum() > 1000
    assert np.quantile(coarse[temple], 0.05) > 0.97 * forehead
    assert np.median(coarse[scalp]) == pytest.approx(forehead, rel=0.02)


def blocks(picture: np.ndarray) -> np.ndarray:
    return np.asarray(picture.astype(np.float64).reshape(SMALL // 8, 8, SMALL // 8, 8, -1).mean(axis=(1, 3)))


def roughness(shot: Shot) -> float:
    """Return how much single pixels of skin stand out from their neighbours."""
    grey = shot.image.astype(np.float32).mean(axis=2)
    skin = cv2.erode((shot.parsing == INDEX["skin"]).astype(np.uint8), np.ones((5, 5))) > 0
    return float((grey - cv2.GaussianBlur(grey, (0, 0), 1.5))[skin].std())


@pytest.mark.parametrize("head", [7, 20])
def test_small_pictures_look_the_same_with_coarse_textures(makehuman: Assets, head: int) -> None:
    settings = MakeHumanSettings(seed=1, size=SMALL, light="raster", background="plain")
    shots = []
    for side in (SMALL, 2 * SMALL):
        figure = build_figure(makehuman, draw_person(makehuman, 1, head), side)
        shots.append(shoot(settings, figure, surfaces_of(drawing := Drawing(figure)), drawing, Camera.look_at(0.3, 0.05), 0))
    coarse, fine = shots
    assert not np.array_equal(coarse.image, fine.image)
    apart = np.abs(blocks(coarse.image) - blocks(fine.image))
    assert apart.max() < 5.0 and apart.mean() < 0.4
    assert (coarse.parsing != fine.parsing).mean() < 5e-4
    assert np.abs(coarse.mask.astype(int) - fine.mask).mean() < 0.02
    assert roughness(coarse) == pytest.approx(roughness(fine), rel=0.08)
