"""Result: what a segmentation gives, as arrays and numbers, and as nibabel images.

Made by segment.py alone. Holds no reference to the image that was segmented, only to a copy of its
header. nibabel is imported when an image is asked for.
"""
from typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from . import errors
from .image import Image

_ANALYZE = ("data_type", "db_name", "session_error", "glmax", "glmin")  # left over in NIfTI-1


class Label(NamedTuple):
    """A class of the model. value 0 is background."""

    value: int
    name: str
    rgb: Tuple[int, int, int]


class Measure(NamedTuple):
    """What a label covers; NaN for what a label without voxels has no mean of."""

    voxels: int
    ml: float
    mean: float  # of the image's values under the label
    sd: float  # of the population
    centroid_mm: Tuple[float, float, float]  # in the image's world
    soft_ml: float  # what the label's probabilities add up to; NaN: they are none


class Report(NamedTuple):
    """How a run went."""

    grid: Tuple[int, ...]  # voxels along the model's d, h, w that the image became
    grid_spacing_mm: Tuple[float, ...]
    windows: int
    skipped: int  # of the windows: background alone
    replaced_voxels: int  # that were not finite
    removed_voxels: int  # by clean-up
    shift: float  # the network saw (value - shift) * scale,
    scale: float
    low: float  # clipped to these
    high: float
    intensity_s: float
    network_s: float
    outside_s: float  # windows and resampling
    clean_s: float
    note: str  # what was found in the values: filling around the scan, those of a CT; or ""
    warning: str  # why the result may be of no use: empty, or not what the model expects; or ""


def _volumes(labels: Sequence[Label], measures: Sequence[Measure]) -> Dict[str, float]:
    """Without the background; a name that occurs twice is told apart by the value."""
    names = [label.name for label in labels]
    return {label.name if names.count(label.name) == 1 else f"{label.name} ({label.value})":
            measures[label.value].ml for label in labels if label.value}


class Result:
    """labels: [i, j, k] as the image is indexed, uint8 (uint16 for more than 256 labels).
    probabilities: None, or [label, i, j, k], float32 from 0 to 1 or uint16 from 0 to 65535.
    regions: None, or [region, i, j, k], uint8, 1 inside; region r is label r + 1.
    names, colours: by label value. measures: by label value, the first channel's intensities.
    volumes_ml: by name, without the background. affine: 4x4, the caller's, in its own world."""

    def __init__(self, labels: np.ndarray, probabilities: Optional[np.ndarray],
                 classes: Sequence[Label], measures: Sequence[Measure], report: Report,
                 image: Image, regions: Optional[np.ndarray] = None):
        self.labels, self.probabilities, self.regions = labels, probabilities, regions
        self.names = tuple(label.name for label in classes)
        self.colours = tuple(label.rgb for label in classes)
        self.measures, self.report = tuple(measures), report
        self.volumes_ml = _volumes(classes, measures)
        self.affine, self.world = image.affine, image.world
        self._shape, self._header, self._kind = image.shape, image.header, image.kind

    def to_nibabel(self) -> Any:
        """The label map as a NIfTI image on the grid of the image that was segmented. Of a NIfTI
        image version, affines, codes and units stay; extensions and timing do not."""
        image = self._nifti(self.labels.reshape(self._shape, order="A"))
        image.header["intent_code"] = 1002  # NIFTI_INTENT_LABEL
        image.header["cal_max"] = len(self.names) - 1
        return image

    def probabilities_to_nibabel(self) -> Any:
        """The probabilities as a series i j k label. 16-bit ones have the slope 1/65535, which
        applies once they are saved, so that readers see probabilities either way."""
        if self.probabilities is None:
            raise errors.ArgumentError("probabilities were not asked for")
        image = self._nifti(np.moveaxis(self.probabilities, 0, 3))
        if image.get_data_dtype() == np.uint16:
            image.header.set_slope_inter(1 / 65535, 0)
        image.header["cal_max"] = 1
        return image

    def _nifti(self, data: np.ndarray) -> Any:
        try:
            import nibabel
        except ImportError:
            raise ImportError("to_nibabel needs the package nibabel") from None
        single = {"Nifti2Image": nibabel.Nifti2Image, "Nifti2Pair": nibabel.Nifti2Image}
        kind = single.get(getattr(self._kind, "__name__", ""), nibabel.Nifti1Image)
        if self._header is None:
            return self._nifti_of_array(kind, data, nibabel)
        if not isinstance(self._header, nibabel.Nifti1Header):  # 2 derives from 1
            return _in_mm(kind(data, self.affine))
        header = kind.header_class.from_header(self._header)
        header.extensions.clear()
        for field in ("cal_min", "cal_max", "slice_start", "slice_end", "slice_code",
                      "slice_duration", "toffset", "intent_code", "intent_p1", "intent_p2",
                      "intent_p3", "intent_name", "aux_file", "descrip", *_ANALYZE):
            if field in header.keys():
                header[field] = 0 if header[field].dtype.kind != "S" else b""
        header.set_data_dtype(data.dtype)
        return kind(data, self.affine, header)

    def _nifti_of_array(self, kind: Any, data: np.ndarray, nibabel: Any) -> Any:
        if self.world == "UNKNOWN":
            header = kind.header_class()
            header.set_data_dtype(data.dtype)
            header.set_data_shape(data.shape)
            spacing = nibabel.affines.voxel_sizes(self.affine)
            header.set_zooms([*spacing, *([1] * (data.ndim - 3))])
            return _in_mm(kind(data, None, header))
        flip = np.diag([-1.0, -1.0, 1.0, 1.0]) if self.world == "LPS" else np.eye(4)
        image = kind(data, flip @ self.affine)
        image.set_sform(flip @ self.affine, code=1)
        return _in_mm(image)

    def __repr__(self) -> str:
        volumes = ", ".join(f"{name} {ml:.1f} ml" for name, ml in self.volumes_ml.items())
        return f"<vnet.Result {self.labels.shape}: {volumes}>"


def _in_mm(image: Any) -> Any:
    image.header.set_xyzt_units("mm")
    return image
