"""What somebody writes in an hour with the same libraries: decode, face mesh, crop, selfie mask, guided filter, encode.

The twin that the pipeline's path with embedded models is timed beside; it keeps no reasons, no labels and no guarantees.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


class PlainScript:
    """Models opened once, then one picture after the other."""

    def __init__(self) -> None:
        """Open the models."""
        import mediapipe as mp

        cv2.setNumThreads(1)
        self._mesh = mp.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True)
        self._selfie = mp.solutions.selfie_segmentation.SelfieSegmentation(model_selection=0)

    def process(self, path: Path) -> int:
        """Return the bytes of the encoded crop and mask, 0 where there is no face."""
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        found = self._mesh.process(image).multi_face_landmarks
        if not found:
            return 0
        height, width = image.shape[:2]
        points = np.array([(p.x * width, p.y * height) for p in found[0].landmark])
        left, right = points[[33, 133]].mean(0), points[[263, 362]].mean(0)
        scale = 115.0 / np.linalg.norm(right - left)
        angle = np.degrees(np.arctan2(*(right - left)[::-1]))
        centre = (left + right) / 2
        matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), angle, scale)
        matrix[:, 2] += 256 - centre
        crop = cv2.warpAffine(image, matrix, (512, 512), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        coarse = self._selfie.process(crop).segmentation_mask
        alpha = _guided(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255, coarse, 8, 1e-4)
        mask = (np.clip(alpha, 0, 1) * 255).astype(np.uint8)
        blur = cv2.Laplacian(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var()
        if blur < 1:
            return 0
        encoded = cv2.imencode(".jpg", crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
        return len(encoded) + len(cv2.imencode(".png", mask)[1])


def _guided(guide: np.ndarray, source: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """He et al. 2013, eq. 5, 6 and 8, with box filters."""
    size = (2 * radius + 1, 2 * radius + 1)
    mean_i, mean_p = cv2.blur(guide, size), cv2.blur(source, size)
    covariance = cv2.blur(guide * source, size) - mean_i * mean_p
    variance = cv2.blur(guide * guide, size) - mean_i * mean_i
    a = covariance / (variance + epsilon)
    b = mean_p - a * mean_i
    return cv2.blur(a, size) * guide + cv2.blur(b, size)
