"""Where the head, its face and what is no hair lie on a crop; texture of hair alone is no noise, stripes of cloth no halos."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from spherehead.datasets.classes import INDEX
from spherehead.datasets.sample import Crop, Photo, Sample
from spherehead.manifests.identity import rng
from spherehead.pipeline.annotators.heads.strengths import StrengthReader
from spherehead.pipeline.stages.align import Align
from spherehead.pipeline.stages.detect import Detect
from spherehead.pipeline.stages.head_regions import background, regions, without_strands
from spherehead.pipeline.stages.matte import Matte
from spherehead.pipeline.stages.parse import Parse
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


def locs(ground: int, deviation: float, even: bool = False) -> Sample:
    """A round head of hair of the finest texture on a calm ground, both with white noise; `even` lays one colour behind."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:512, 0:512]
    head = (x - 256) ** 2 + (y - 256) ** 2 < 150**2
    classes = np.where(head, INDEX["hair"], ground).astype(np.uint8)
    fine = cv2.GaussianBlur(random.standard_normal((512, 512, 1)).astype(np.float32), (0, 0), 0.5)[..., None]
    picture = np.where(head[..., None], 110.0 + 12.0 * fine / fine.std(), 150.0) + random.normal(0.0, deviation, (512, 512, 3))
    if even:
        picture[~head] = 255.0
    image = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return Sample(id="x", photo=Photo.of_pixels(image), image=image, parsing=classes)


@pytest.mark.parametrize("ground", [INDEX["background"], INDEX["cloth"]])
def test_fine_hair_is_no_noise_where_what_lies_beside_it_is_calm(ground: int) -> None:
    reader = StrengthReader()
    calm, noisy = locs(ground, 2.0), locs(ground, 16.0)
    head, _ = regions(calm)
    assert calm.image is not None
    assert reader.read(calm.image, head, None, calm.photo.pixels)["noise"] > 6.0  # what the head alone would say
    assert pixel_scores(calm, reader)[0]["noise"] < 3.0
    assert pixel_scores(noisy, reader)[0]["noise"] > 6.0


def test_the_even_ground_of_a_cut_out_does_not_vouch_for_its_head() -> None:
    sample = locs(INDEX["background"], 16.0, even=True)
    assert background(sample) is None and without_strands(sample, None) is None
    scores, _ = pixel_scores(sample, StrengthReader())
    assert scores["noise"] > 6.0 and "halo" not in scores


def test_a_collar_of_sharp_lines_is_no_sharpened_picture(astronaut: np.ndarray) -> None:
    """Halos that are on the clothes alone are the clothes'; on all of the picture they are somebody's work."""
    sample = Sample(id="", photo=Photo.of_pixels(astronaut))
    for stage in (Detect(), Align(), Matte(), Parse()):
        (sample,) = stage.open().one(sample, rng(0, sample.id, stage.name))
    assert sample.image is not None and sample.parsing is not None
    sharp = cv2.addWeighted(sample.image, 5.0, cv2.GaussianBlur(sample.image, (0, 0), 2.0), -4.0, 0)
    told = []
    for image in (np.where((sample.parsing == INDEX["cloth"])[..., None], sharp, sample.image), sharp):
        crop = Crop(np.eye(3), len(image), 0.0, 1.0)
        changed = sample.with_(image=image, photo=Photo.of_pixels(image), crop=crop)
        told.append(pixel_scores(changed, StrengthReader())[0]["halo"])
    assert told[0] < 0.1 < 0.25 < told[1]
