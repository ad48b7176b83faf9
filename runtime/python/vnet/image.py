"""Images as the library takes them: nibabel's or numpy's, seen in place where they can be.

Used by segment.py. A copy is made only of what the library has no type for: voxels in the other
byte order, float16, and files whose scaling is not one slope and intercept. nibabel is never
imported here; whatever has `dataobj`, `affine` and `header` is taken for one of its images.
"""
import sys
import warnings
from ctypes import sizeof
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from . import _abi, errors

_VOXELS = {("u", 1): 0, ("i", 1): 1, ("u", 2): 2, ("i", 2): 3, ("u", 4): 4, ("i", 4): 5,
           ("u", 8): 6, ("i", 8): 7, ("f", 4): 8, ("f", 8): 9}  # indices of _abi.VOXEL
_WORLDS = {"UNKNOWN": 0, "RAS": 1, "LPS": 2}
_MM = {"meter": 1000.0, "micron": 0.001}


class Image(NamedTuple):
    """A view for the library, and what results say about where they come from."""

    view: _abi.vn_image
    voxels: Optional[np.ndarray]  # i j k; keeps the memory alive; None: not loaded
    shape: Tuple[int, ...]  # the caller's, with trailing axes of extent 1
    affine: np.ndarray  # 4x4, the caller's
    world: str
    header: Any  # a copy of a nibabel image's, or None
    kind: Any  # that image's class, or None


def _three_axes(shape: Sequence[int]) -> Tuple[int, ...]:
    if len(shape) < 3:
        raise errors.ArgumentError(f"an image has three axes, not shape {tuple(shape)}")
    for axis, extent in enumerate(shape[3:], 4):
        if extent != 1:
            raise errors.UnsupportedError(f"a series of {extent} volumes along axis {axis}: one "
                                          "volume is segmented at a time, split it first")
    return tuple(shape[:3])


def _check_type(dtype: np.dtype) -> None:
    if dtype.kind == "c":
        raise errors.UnsupportedError("complex voxels: take the magnitude first")
    if dtype.fields:
        raise errors.UnsupportedError("colour voxels: a picture of a scan, not a scan")
    if dtype.kind not in "biuf":
        raise errors.UnsupportedError(f"voxels of type {dtype}: convert them to float32")
    if dtype.itemsize > 8:
        raise errors.UnsupportedError(f"{8 * dtype.itemsize}-bit float voxels: convert them to "
                                      "float32")


def _plain(array: np.ndarray) -> np.ndarray:
    """The array itself, or a copy where the library cannot read it in place."""
    _check_type(array.dtype)
    array = array.reshape(_three_axes(array.shape)) if array.ndim > 3 else array
    _three_axes(array.shape)
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    elif array.dtype == np.float16 or array.dtype.newbyteorder("=") == np.float16:
        array = array.astype(np.float32)
    elif not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.size > 1 and not any(array.strides):  # one broadcast voxel; all 0 is "dense" below
        array = np.array(array, order="F")
    return array


def _affine(affine: Any) -> np.ndarray:
    try:
        matrix = np.array(affine, np.float64)
    except (TypeError, ValueError):
        raise errors.ArgumentError("the affine is not a matrix of numbers") from None
    if matrix.shape == (3, 4):
        matrix = np.vstack([matrix, [0, 0, 0, 1]])
    if matrix.shape != (4, 4) or not np.array_equal(matrix[3], [0, 0, 0, 1]):
        raise errors.ArgumentError("the affine is not a 4x4 matrix with the last row 0 0 0 1, nor "
                                   "3x4")
    return matrix


def _view(voxels: Optional[np.ndarray], dim: Sequence[int], affine: np.ndarray, world: str,
          slope: float, inter: float) -> _abi.vn_image:
    view = _abi.vn_image(size=sizeof(_abi.vn_image), world=_WORLDS[world], slope=slope, inter=inter)
    view.dim[:] = dim
    for row in range(3):
        view.affine[row][:] = affine[row]
    if voxels is not None:
        view.voxels = voxels.ctypes.data
        view.stride[:] = voxels.strides
        view.type = _VOXELS[voxels.dtype.kind, voxels.dtype.itemsize]
    return view


# ---- nibabel ----


def _usable(affine: np.ndarray) -> bool:
    volume = np.prod(np.sqrt((affine[:3, :3] ** 2).sum(0)))
    return bool(np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-6 * volume)


def _form(header: Any, name: str) -> Optional[np.ndarray]:
    """A NIfTI header's sform or qform, where it is there and makes sense."""
    if int(header[name + "_code"]) <= 0:
        return None
    try:
        with np.errstate(all="ignore"):
            affine = header.get_sform() if name == "sform" else header.get_qform()
    except (ValueError, ArithmeticError, np.linalg.LinAlgError):
        return None  # a quaternion or a voxel size that is none
    return affine if _usable(affine) else None


def _nifti_lies(header: Any, own: np.ndarray) -> Tuple[np.ndarray, str]:
    """The affine that is used and its world, as vnet_scan.h has it for files: UNKNOWN where a NIfTI
    header has neither form, or two that point different ways, and of Analyze 7.5 and its kin, which
    do not say left from right, where no .mat beside them does. Other formats that nibabel reads do
    say how they lie."""
    try:
        sform, qform = _form(header, "sform"), _form(header, "qform")
    except (KeyError, TypeError, ValueError, IndexError):
        analyze = any(base.__name__ == "AnalyzeHeader" for base in type(header).__mro__)
        guessed = analyze and np.allclose(own, header.get_best_affine())
        return own, "UNKNOWN" if guessed else "RAS"
    if sform is None and qform is None:
        return own if _usable(own) else header.get_base_affine(), "UNKNOWN"
    if sform is None and not _usable(own):
        warnings.warn("its sform is not an invertible matrix: its qform is used", stacklevel=5)
        return qform, "RAS"
    if sform is not None and qform is not None:
        axes = (sform[:3, :3] * qform[:3, :3]).sum(0)
        return own, "RAS" if (axes > 0).all() else "UNKNOWN"
    return own, "RAS"


def _unit_mm(header: Any) -> float:
    try:
        return _MM.get(header.get_xyzt_units()[0], 1.0)
    except (AttributeError, KeyError):
        return 1.0


def _stored(image: Any) -> Tuple[np.ndarray, float, float]:
    """Voxels as they are stored, slope and inter. Only nibabel's plain proxy scales by these two
    alone: those of other formats scale by slice, and are asked for scaled voxels."""
    proxies = sys.modules.get("nibabel.arrayproxy")
    data = image.dataobj
    if proxies is not None and type(data) is proxies.ArrayProxy:
        slope, inter = float(data.slope), float(data.inter)
        plain = slope == 1 and inter == 0
        return np.asanyarray(data.get_unscaled()), 0.0 if plain else slope, 0.0 if plain else inter
    return np.asarray(data), 0.0, 0.0


def _from_nibabel(image: Any, affine: Any, world: str, load: bool, channels: int) -> List[Image]:
    if affine is not None or world != "RAS":
        raise errors.ArgumentError("a nibabel image has an affine and a world of its own")
    shape, volumes, header = tuple(image.shape), _volumes(image.shape, channels), image.header
    dim = _three_axes(shape if volumes == 1 else shape[:3])
    _check_type(np.dtype(image.get_data_dtype()))
    own = _affine(image.affine if image.affine is not None else header.get_best_affine())
    lies, world = _nifti_lies(header, own)
    in_mm = lies.copy()
    in_mm[:3] *= _unit_mm(header)
    parts: List[Optional[np.ndarray]] = [None] * volumes
    slope, inter = 0.0, 0.0
    if load:
        stored, slope, inter = _stored(image)
        parts = [_plain(part) for part in _split(stored, volumes)]
    return [Image(_view(part, dim, in_mm, world, slope, inter), part,
                  shape if volumes == 1 else shape[:3], own, world, header.copy(), type(image))
            for part in parts]


# ---- all ----


def _volumes(shape: Sequence[int], channels: int) -> int:
    """The channels that lie in one image: its one axis beyond the third that has an extent."""
    more = [extent for extent in shape[3:] if extent != 1]
    return channels if channels > 1 and more == [channels] else 1


def _split(array: np.ndarray, volumes: int) -> List[np.ndarray]:
    if volumes == 1:
        return [array]
    flat = array.reshape(*array.shape[:3], volumes)
    return [flat[..., i] for i in range(volumes)]


def volumes_of(image: Any, affine: Any, world: str, load: bool, channels: int = 1) -> List[Image]:
    """`load` False: for questions that do not need the voxels, which then are not read. Several
    where one image holds so many channels."""
    if world not in _WORLDS:
        raise errors.ArgumentError(f"world is {world!r}, not 'RAS', 'LPS' or 'UNKNOWN'")
    if hasattr(image, "dataobj") and hasattr(image, "affine"):
        return _from_nibabel(image, affine, world, load, channels)
    if affine is None:
        raise errors.ArgumentError("an array needs affine=, from voxel indices to mm")
    matrix, shape = _affine(affine), np.shape(image)
    volumes = _volumes(shape, channels)
    parts = [_plain(part) for part in _split(np.asarray(image), volumes)]
    return [Image(_view(part, part.shape, matrix, world, 0.0, 0.0), part,
                  tuple(shape) if volumes == 1 else tuple(shape[:3]), matrix, world, None, None)
            for part in parts]


def _in_order(images: Any, names: Sequence[Optional[str]]) -> List[Any]:
    """Of a dict the network's order, by the model's names for its channels, of any case."""
    if not all(names):
        raise errors.ArgumentError("the model does not name its channels: give a list of images")
    given = {str(name).lower(): image for name, image in images.items()}
    if len(given) != len(images) or set(given) != {str(name).lower() for name in names}:
        raise errors.ArgumentError(f"images of the channels {', '.join(map(str, images))}: the "
                                   f"model's are {', '.join(map(str, names))}")
    return [given[str(name).lower()] for name in names]


def images_of(image: Any, affine: Any, world: str, load: bool,
              names: Sequence[Optional[str]]) -> List[Image]:
    """A list, a tuple, or a dict by names: one image for each of the network's channels. An affine
    of three axes, or a list of affines: one for each."""
    if isinstance(image, dict):
        image = _in_order(image, names)
    if not isinstance(image, (list, tuple)):
        return volumes_of(image, affine, world, load, len(names))
    if not image:
        raise errors.ArgumentError("no image")
    affines = [affine] * len(image)
    if np.ndim(affine) == 3:
        affines = list(affine)
        if len(affines) != len(image):
            raise errors.ArgumentError(f"{len(affines)} affines for {len(image)} images")
    return [found for each, its in zip(image, affines)
            for found in volumes_of(each, its, world, load)]
