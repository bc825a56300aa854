"""Painted heads: scalps without hair look like the foreheads before them."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.people.paint import ENLARGED, HEAD_CROP, head_skin, scalp_mask
from spherehead.pipeline.synthetic.people.population import draw_person

LUMA = np.array([0.299, 0.587, 0.114])
SKINS = ("middleage_lightskinned_male_diffuse", "old_lightskinned_male_diffuse2", "young_lightskinned_male_diffuse3")


@pytest.mark.parametrize("skin", SKINS)
def test_bald_temples_have_no_patch_of_painted_stubble(makehuman: Assets, skin: str) -> None:
    """From the scalp's mask to 8 texels before it no twentieth is darker than the forehead by 3 %: 5 to 12 % before."""
    name = next(name for name in makehuman.names("skins") if name.rsplit("/", 1)[-1].startswith(f"{skin}."))
    person = dataclasses.replace(draw_person(makehuman, 1, 5), skins=((name, 1.0),), scalp="bare", growth=None, marks=None)
    left, top, right, bottom = HEAD_CROP
    painted = head_skin(makehuman, person, grows=np.zeros((512, 512), np.float32)) @ LUMA
    rows, columns = painted.shape[0] // ENLARGED, painted.shape[1] // ENLARGED
    coarse = cv2.GaussianBlur(painted.reshape(rows, ENLARGED, columns, ENLARGED).mean(axis=(1, 3)), (0, 0), 2.0)
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
