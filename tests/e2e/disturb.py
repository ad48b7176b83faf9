"""A head as other scanners might have seen it, for run_brain.py, run_brain_parts.py and parts_score.py."""
import numpy as np
from scipy import ndimage

THICK = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 4, 1.5], [0, 0, 0, 1]])  # its voxels to the whole image's


def turned(image, axes):
    return ndimage.rotate(image, 15, axes, reshape=False, order=1)


def thick(image):
    """Slices of four along the last axis."""
    planes = image.shape[2] // 4 * 4
    return image[:, :, :planes].reshape(*image.shape[:2], -1, 4).mean(3)


def biased(image):
    """Under a bias field, with noise."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in image.shape), indexing="ij", sparse=True)
    field = np.exp(0.4 * x + 0.3 * y * z - 0.3 * z * z + 0.2 * np.sin(3 * y))
    noise = np.random.default_rng(1).normal(0, 0.05 * np.percentile(image, 99), image.shape)
    return np.abs(image * field + noise).astype(np.float32)
