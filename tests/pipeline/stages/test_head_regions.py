"""Where the head and its face lie on a crop, told without any model."""

from __future__ import annotations

import numpy as np
from spherehead.datasets.classes import INDEX
from spherehead.datasets.sample import Photo, Sample
from spherehead.pipeline.annotators.heads.strengths import StrengthReader
from spherehead.pipeline.stages.head_regions import regions
from spherehead.pipeline.stages.quality import pixel_scores


def test_skin_without_an_eye_is_no_face_to_be_judged_by_its_brightness() -> None:
    y, x = np.mgrid[0:512, 0:512]
    bald = np.where((x - 256) ** 2 + (y - 256) ** 2 < 150**2, INDEX["skin"], INDEX["background"]).astype(np.uint8)
    seen = bald.copy()
    seen[240:250, 240:256] = INDEX["left_eye"]
    picture = np.full((512, 512, 3), 215, dtype=np.uint8)
    photo = Photo.of_pixels(picture)
    nape, face = (Sample(id="x", photo=photo, image=picture, parsing=classes) for classes in (bald, seen))
    assert regions(nape)[1] is None and regions(face)[1] is not None
    reader = StrengthReader()
    assert "face_luma" not in pixel_scores(nape, reader)[0]
    assert round(pixel_scores(face, reader)[0]["face_luma"]) == 215
