"""Segmenter: scans in, labels out. `open` is what most users call.

Orientation, resampling, intensities and windows are the library's; what an image is, is image.py's.
"""
from ctypes import POINTER, byref, c_double, c_uint64, pointer as pointer_to, sizeof
from operator import index
from typing import Any, List, Optional, Sequence, Tuple, Union

import numpy as np

from . import _abi, errors
from ._call import Cancel, Progress, run
from ._handle import Handle
from ._library import lib
from .image import Image, images_of
from .plan import Plan, Source, text
from .result import Label, Measure, Report, Result
from .tensor import Step, exec_info, exec_options, exec_steps, open_on

_WEIGHTINGS = {"gaussian": 0, "constant": 1}
_PROBABILITIES = {"uint16": (0, np.uint16), "float32": (1, np.float32)}
_READING = 0.25  # of opening, by rule of thumb


def open(source: Union[Source, Sequence[Source]], *, threads: Optional[int] = None, isa: Optional[str] = None,
         memory_limit: Optional[int] = None, progress: Optional[Progress] = None,
         cancel: Optional[Cancel] = None) -> "Segmenter":
    """Opens the plan (a path, or bytes) and makes it ready for scans. See Plan and Segmenter for
    arguments and errors. Closing the segmenter frees the plan, too. Of a list of plans, such as the
    folds of a training, the probabilities are averaged (Segmenter.add)."""
    sources = list(source) if isinstance(source, (list, tuple)) else [source]
    if not sources:
        raise errors.ArgumentError("a list of no plans")
    models: List[Segmenter] = []
    try:
        for i, one in enumerate(sources):
            begin, end = i / len(sources), (i + 1) / len(sources)
            read = begin + _READING * (end - begin)
            with Plan(one, progress=progress, cancel=cancel, _part=(begin, read)) as plan:
                models.append(Segmenter(plan, threads=threads, isa=isa, memory_limit=memory_limit,
                                        progress=progress, cancel=cancel, _part=(read, end)))
            if i:
                models[0].add(models[i])  # which keeps its plan
        return models.pop(0)
    finally:
        for model in models:
            model.close()


class Segmenter:
    """A plan made ready for scans: threads, memory and the model's metadata. Context manager.

    Runs one call at a time; a second one at the same time is refused with BusyError. To segment on
    several threads, open several on one Plan: they share its weights.

    channels: images that a run takes. channel_names: what the model calls them, None where it does
    not say. regions: 0 where labels exclude each other, else how many of them may overlap.
    labels: the model's, by value. validation_dice: the mean Dice score of each label, by value, over
    cases that the model was not trained on, as its author says; NaN where that is not known, None
    where the model does not say or several are averaged. patch: voxels of a window along the
    model's d, h, w. spacing_mm: of the model's d, h, w, 0 where it is the image's own, or
    None where all are. orientation: "RAS" …, or None: the image's own axes. intensity: "percentile
    0.5 99.5, ct 0 80" …. memory_bytes: that the open segmenter takes; memory(image) says what a run does.
    """

    def __init__(self, plan: Plan, *, threads: Optional[int] = None, isa: Optional[str] = None,
                 memory_limit: Optional[int] = None, progress: Optional[Progress] = None,
                 cancel: Optional[Cancel] = None, _part: Tuple[float, float] = (0.0, 1.0)):
        """threads None: one for each core; isa None: the best here; memory_limit, in bytes, holds
        for opening and for every run. ArgumentError; UnsupportedError: the network does not take
        images, or this machine lacks the instruction set; FormatError: metadata that cannot be
        read; OutOfMemoryError; CancelledError."""
        self._handle: Handle = open_on(plan, lib.vn_segmenter_open, lib.vn_segmenter_close,
                                       "segmenter", exec_options(threads, isa, memory_limit),
                                       cancel=cancel, progress=progress, part=_part)
        with self._handle.use() as segmenter:
            info = _info(segmenter)
            inside = exec_info(lib.vn_exec_info(lib.vn_segmenter_exec(segmenter)))
            self.labels = tuple(_label(lib.vn_segmenter_label(segmenter, i))
                                for i in range(info.labels))
            names = [lib.vn_segmenter_channel(segmenter, i).name for i in range(info.channels)]
        self.channels: int = info.channels
        self.channel_names = tuple(None if name is None else text(name) for name in names)
        self.regions: int = info.regions
        self.validation_dice: Optional[Tuple[float, ...]] = (
            tuple(info.validation_dice[:info.labels]) if info.validation_dice else None)
        self.patch: Tuple[int, ...] = tuple(info.patch)
        self.spacing_mm = tuple(info.spacing_mm) if any(info.spacing_mm) else None
        self.orientation = None if info.orientation is None else text(info.orientation)
        self.intensity = text(info.intensity)
        self.named: bool = info.named  # the model names its labels
        self.memory_bytes: int = info.memory_bytes
        self.isa, self.threads = inside.isa, inside.threads
        self.topology, self.checksum = plan.topology, plan.checksum

    def add(self, other: "Segmenter") -> None:
        """From now on runs are runs of `other`, too, and voxels are labelled by the mean of their
        probabilities. Both take the same channels and tell the same labels; grid, window and
        intensities are each model's own. `other` belongs to this one and is closed. ArgumentError:
        they do not go together; then nothing has changed."""
        if other is self:
            raise errors.ArgumentError("a segmenter is not averaged with itself")
        diag = _abi.vn_diag()
        with self._handle.use() as segmenter:
            status = other._handle.give(
                self._handle, lambda theirs: lib.vn_segmenter_add(segmenter, theirs, byref(diag)))
            errors.check(status, diag)
            self.memory_bytes, self.validation_dice = _info(segmenter).memory_bytes, None

    def segment(self, image: Any, affine: Any = None, *, world: str = "RAS", overlap: float = 0.5,
                weighting: str = "gaussian", mirror: str = "", every_window: bool = False,
                replace_nan: bool = False, largest_component: bool = False,
                min_volume_ml: float = 0.0, windows_most: Optional[int] = None,
                probabilities: Optional[str] = None, regions: bool = False,
                match_grids: bool = False,
                progress: Optional[Progress] = None, cancel: Optional[Cancel] = None,
                out: Optional[np.ndarray] = None) -> Result:
        """Labels every voxel.

        image: a nibabel image, or an array of any integer or float type up to 64 bits, in any
            memory layout, indexed [i, j, k]; trailing axes of extent 1 are accepted. For a network
            of several channels a list of them in the model's order, a dict by channel_names, or one
            with an axis of so many behind k.
        affine: of arrays, 4x4 or 3x4: (i, j, k, 1) to mm of the voxels' centres in `world`: "RAS"
            (NIfTI), "LPS" (DICOM, ITK), or "UNKNOWN". Of a list of images one for all, or a list.
        match_grids: images on other grids are brought onto the first one's, not refused.
        overlap: of windows, 0 to below 1. weighting: "gaussian" or "constant". mirror: letters of
            "dhw", the model's axes along which flipped windows are averaged, too; labels that are each
            other's mirror in vnet.labels change sides. every_window: those with nothing but
            background are run, too.
        replace_nan: voxels that are not finite become the smallest value, not an error; a frame
        of them around the scan is background without it.
        largest_component: keeps the largest piece of each label. min_volume_ml: removes smaller
            pieces. windows_most: a scan that takes more windows is refused
            (None: 10000, and more of windows below 64x64x64).
        probabilities: "float32" or "uint16" (65535 is 1) asks for them. regions: asks for each of
            the model's overlapping regions by itself.
        progress: called with the share that is done, on this thread; what it raises stops the run
            and is raised here. cancel: a Cancel, to be pressed from elsewhere.
        out: takes the labels: an array of the image's three extents, uint8 or uint16, any layout.

        ArgumentError; FormatError: voxels that are not finite; UnsupportedError: image and model do
        not go together; OutOfMemoryError; CancelledError; BusyError. The segmenter is as before."""
        options = _options(overlap, weighting, mirror, every_window, replace_nan,
                           largest_component, min_volume_ml, windows_most, match_grids)
        images = images_of(image, affine, world, True, self.channel_names)
        shape = tuple(images[0].view.dim)
        labels = self._labels_array(shape, out, images)
        label_map = _label_map(labels)
        scores = self._add_scores(label_map, shape, probabilities)
        each = self._add_regions(label_map, shape) if regions else None
        soft_ml = (c_double * len(self.labels))()
        label_map.soft_ml = soft_ml
        report = _abi.vn_segment_report(size=sizeof(_abi.vn_segment_report))
        pointers = _pointers(images)

        def work(diag: _abi.vn_diag, _alive: Any = (images, labels, scores, each, soft_ml)) -> int:
            with self._handle.use() as segmenter:
                return lib.vn_segment(segmenter, pointers, len(images), byref(options),
                                      byref(label_map), byref(report), byref(diag))

        run(work, options=options, cancel=cancel, progress=progress)
        measures = _measure(images[0], label_map, soft_ml, labels)
        views = [None if array is None else array.transpose(0, 3, 2, 1) for array in (scores, each)]
        return Result(labels, views[0], self.labels, measures, _report(report), images[0], views[1])

    def memory(self, image: Any, affine: Any = None, *, world: str = "RAS", overlap: float = 0.5,
               weighting: str = "gaussian", mirror: str = "", every_window: bool = False,
               replace_nan: bool = False, largest_component: bool = False,
               min_volume_ml: float = 0.0, windows_most: Optional[int] = None,
               match_grids: bool = False) -> int:
        """The most bytes that this segmenter and segment() with these arguments would hold
        together, without the image, the label map and probabilities; clean-up, which is not
        counted, takes a little more. Reads no voxels of a nibabel image. Raises what segment()
        would, as far as that can be known without voxels."""
        options = _options(overlap, weighting, mirror, every_window, replace_nan,
                           largest_component, min_volume_ml, windows_most, match_grids)
        images = images_of(image, affine, world, False, self.channel_names)
        found, diag, pointers = c_uint64(), _abi.vn_diag(), _pointers(images)
        with self._handle.use() as segmenter:
            errors.check(lib.vn_segmenter_memory(segmenter, pointers, len(images), byref(options),
                                                 byref(found), byref(diag)), diag)
        return found.value

    @property
    def steps(self) -> Tuple[Step, ...]:
        """The network's steps, with the times of the latest window."""
        with self._handle.use() as segmenter:
            return exec_steps(lib.vn_segmenter_exec(segmenter))

    def close(self) -> None:
        self._handle.close()

    def __enter__(self) -> "Segmenter":
        return self

    def __exit__(self, *_exception: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return (f"<vnet.Segmenter {self.topology}, {len(self.labels)} labels, {self.isa}, "
                f"{self.threads} threads{', closed' if self._handle.closed else ''}>")

    def _labels_array(self, shape: Tuple[int, ...], out: Optional[np.ndarray],
                      images: List[Image]) -> np.ndarray:
        least = np.uint8 if len(self.labels) <= 256 else np.uint16
        if out is None:
            return np.empty(shape, least, order="F")
        if not isinstance(out, np.ndarray) or out.shape != shape:
            raise errors.ArgumentError(f"out is not an array of shape {shape}")
        if out.dtype not in (np.uint8, np.uint16) or out.dtype.itemsize < np.dtype(least).itemsize:
            raise errors.ArgumentError(f"out is {out.dtype}, which is not uint8 or uint16, or does "
                                       f"not hold {len(self.labels)} labels")
        if not (out.flags.writeable and out.flags.aligned):
            raise errors.ArgumentError("out cannot be written, or is not aligned")
        if any(stride == 0 for stride, extent in zip(out.strides, shape) if extent > 1):
            raise errors.ArgumentError("out has voxels that share their memory")
        if any(np.may_share_memory(out, image.voxels) for image in images):
            raise errors.ArgumentError("out shares memory with an image")
        return out

    def _add_scores(self, label_map: _abi.vn_label_map, shape: Tuple[int, ...],
                    kind: Optional[str]) -> Optional[np.ndarray]:
        if kind is None:
            return None
        if kind not in _PROBABILITIES:
            raise errors.ArgumentError(f"probabilities is {kind!r}, not None, 'float32' or "
                                       "'uint16'")
        label_map.probability, dtype = _PROBABILITIES[kind]
        scores = np.empty((len(self.labels), *shape[::-1]), dtype)
        label_map.probabilities = scores.ctypes.data
        return scores

    def _add_regions(self, label_map: _abi.vn_label_map, shape: Tuple[int, ...]) -> np.ndarray:
        if not self.regions:
            raise errors.UnsupportedError("the network's labels exclude each other: it has no "
                                          "regions that may overlap")
        each = np.empty((self.regions, *shape[::-1]), np.uint8)
        label_map.regions = each.ctypes.data
        return each


def _info(segmenter: Any) -> _abi.vn_segmenter_info:
    info, diag = _abi.vn_segmenter_info(size=sizeof(_abi.vn_segmenter_info)), _abi.vn_diag()
    errors.check(lib.vn_segmenter_info(segmenter, byref(info), byref(diag)), diag)
    return info


def _label(info: _abi.vn_label_info) -> Label:
    return Label(info.value, text(info.name), tuple(info.rgb))


def _options(overlap: float, weighting: str, mirror: str, every_window: bool, replace_nan: bool,
             largest_component: bool, min_volume_ml: float,
             windows_most: Optional[int], match_grids: bool) -> _abi.vn_segment_options:
    if not 0 <= overlap < 1:
        raise errors.ArgumentError(f"overlap is {overlap}, not 0 or more and below 1")
    if weighting not in _WEIGHTINGS:
        raise errors.ArgumentError(f"weighting is {weighting!r}, not 'gaussian' or 'constant'")
    if not isinstance(mirror, str) or set(mirror) - set("dhw"):
        raise errors.ArgumentError(f"mirror is {mirror!r}, not letters of 'dhw'")
    if not min_volume_ml >= 0:
        raise errors.ArgumentError(f"min_volume_ml is {min_volume_ml}, not 0 or more")
    if windows_most is not None and not 1 <= index(windows_most) < 1 << 64:
        raise errors.ArgumentError(f"windows_most is {windows_most}, not at least 1")
    options = _abi.vn_segment_options(
        size=sizeof(_abi.vn_segment_options), overlap=overlap if overlap else -1.0,
        weighting=_WEIGHTINGS[weighting], every_window=every_window, replace_nan=replace_nan,
        largest_component=largest_component, min_volume_ml=min_volume_ml,
        windows_most=index(windows_most or 0), match_grids=match_grids)
    options.mirror[:] = [axis in mirror for axis in "dhw"]
    return options


def _pointers(images: List[Image]) -> Any:
    return (POINTER(_abi.vn_image) * len(images))(*(pointer_to(image.view) for image in images))


def _label_map(labels: np.ndarray) -> _abi.vn_label_map:
    label_map = _abi.vn_label_map(size=sizeof(_abi.vn_label_map), data=labels.ctypes.data,
                                  elem_bytes=labels.itemsize)
    label_map.stride[:] = labels.strides
    return label_map


def _measure(image: Image, label_map: _abi.vn_label_map, soft_ml: Sequence[float],
             labels: np.ndarray) -> List[Measure]:
    count = len(soft_ml)
    found = (_abi.vn_measure * count)()

    def work(diag: _abi.vn_diag, _alive: Any = (image, labels)) -> int:
        return lib.vn_measure_labels(byref(image.view), byref(label_map), count, found, byref(diag))

    run(work)  # cannot be stopped, and need not: seconds at most
    return [Measure(each.voxels, each.ml, each.mean, each.sd, tuple(each.centroid_mm), soft)
            for each, soft in zip(found, soft_ml)]


def _report(raw: _abi.vn_segment_report) -> Report:
    return Report(tuple(raw.grid), tuple(raw.grid_spacing_mm), raw.windows, raw.skipped,
                  raw.replaced_vox, raw.removed_vox, raw.shift, raw.scale, raw.low, raw.high,
                  raw.intensity_ns / 1e9, raw.network_ns / 1e9, raw.outside_ns / 1e9,
                  raw.clean_ns / 1e9, raw.note.decode(errors="replace"),
                  raw.warning.decode(errors="replace"))
