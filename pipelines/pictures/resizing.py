"""Pictures at another size."""

import cv2
import numpy as np
import numpy.typing as npt


def resized(pixels: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Pixels at another height and width: along an axis that shrinks averaged, along one that grows interpolated."""
    (height, width), (tall, wide) = pixels.shape[:2], size
    smaller = cv2.resize(pixels, (min(width, wide), min(height, tall)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(smaller, (wide, tall), interpolation=cv2.INTER_LINEAR), np.uint8)
