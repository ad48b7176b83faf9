"""The public headers as ctypes: enums, structs and prototypes, in the headers' order and names.

Used by the rest of the package alone. Nothing is loaded or called here. tests/e2e/run_python.py
compares every size, offset and number with what a C compiler makes of the headers.
"""
from ctypes import (CFUNCTYPE, POINTER, Structure, c_bool, c_char, c_char_p, c_double, c_int,
                    c_size_t, c_ssize_t, c_ubyte, c_uint64, c_void_p)
from typing import Any, Dict, Tuple

# ---- vnet_status.h ----

STATUS = ("VN_OK", "VN_E_INTERNAL", "VN_E_ARGUMENT", "VN_E_IO", "VN_E_FORMAT", "VN_E_UNSUPPORTED",
          "VN_E_MEMORY", "VN_E_CANCELLED")
(VN_OK, VN_E_INTERNAL, VN_E_ARGUMENT, VN_E_IO, VN_E_FORMAT, VN_E_UNSUPPORTED, VN_E_MEMORY,
 VN_E_CANCELLED) = range(len(STATUS))


class vn_diag(Structure):
    _fields_ = [("text", c_char * 512)]


# ---- vnet.h ----

vn_progress_fn = CFUNCTYPE(c_int, c_void_p, c_double)

_STOPPABLE: Any = [("cancel", c_void_p), ("progress", vn_progress_fn),
                   ("progress_context", c_void_p)]


class vn_run_options(Structure):
    _fields_ = [("size", c_size_t), *_STOPPABLE, ("memory_limit_bytes", c_uint64)]


TYPE = ("VN_TYPE_F32", "VN_TYPE_I64")


class vn_port(Structure):
    _fields_ = [("name", c_char_p), ("type", c_int), ("rank", c_size_t), ("dim", c_size_t * 6),
                ("elems", c_size_t)]


class vn_exec_options(Structure):
    _fields_ = [("size", c_size_t), ("threads", c_size_t), ("isa", c_char_p),
                ("memory_limit_bytes", c_uint64), *_STOPPABLE]


class vn_exec_info(Structure):
    _fields_ = [("isa", c_char_p), ("threads", c_size_t), ("arena_bytes", c_uint64),
                ("scratch_bytes", c_uint64), ("packed_bytes", c_uint64)]


class vn_step_info(Structure):
    _fields_ = [("name", c_char_p), ("op", c_char_p), ("kernel", c_char_p), ("macs", c_uint64),
                ("last_ns", c_uint64), ("predicted_ns", c_uint64)]


# ---- vnet_segment.h ----

VOXEL = ("VN_VOXEL_U8", "VN_VOXEL_I8", "VN_VOXEL_U16", "VN_VOXEL_I16", "VN_VOXEL_U32",
         "VN_VOXEL_I32", "VN_VOXEL_U64", "VN_VOXEL_I64", "VN_VOXEL_F32", "VN_VOXEL_F64")
WORLD = ("VN_WORLD_UNKNOWN", "VN_WORLD_RAS", "VN_WORLD_LPS")
WEIGHTING = ("VN_WEIGHTING_GAUSSIAN", "VN_WEIGHTING_CONSTANT")
PROBABILITY = ("VN_PROBABILITY_U16", "VN_PROBABILITY_F32")


class vn_image(Structure):
    _fields_ = [("size", c_size_t), ("voxels", c_void_p), ("type", c_int), ("world", c_int),
                ("dim", c_size_t * 3), ("stride", c_ssize_t * 3), ("affine", c_double * 4 * 3),
                ("slope", c_double), ("inter", c_double)]


class vn_segmenter_info(Structure):
    _fields_ = [("size", c_size_t), ("channels", c_size_t), ("labels", c_size_t),
                ("patch", c_size_t * 3), ("spacing_mm", c_double * 3), ("orientation", c_char_p),
                ("intensity", c_char_p), ("named", c_bool), ("memory_bytes", c_uint64),
                ("regions", c_size_t), ("validation_dice", POINTER(c_double))]


class vn_channel_info(Structure):
    _fields_ = [("name", c_char_p), ("intensity", c_char_p)]


class vn_label_info(Structure):
    _fields_ = [("value", c_size_t), ("name", c_char_p), ("rgb", c_ubyte * 3)]


class vn_segment_options(Structure):
    _fields_ = [("size", c_size_t), ("overlap", c_double), ("weighting", c_int),
                ("mirror", c_bool * 3), ("every_window", c_bool), ("replace_nan", c_bool),
                ("largest_component", c_bool), ("min_volume_ml", c_double), *_STOPPABLE,
                ("windows_most", c_size_t), ("match_grids", c_bool)]


class vn_label_map(Structure):
    _fields_ = [("size", c_size_t), ("data", c_void_p), ("elem_bytes", c_size_t),
                ("stride", c_ssize_t * 3), ("probabilities", c_void_p), ("probability", c_int),
                ("regions", c_void_p), ("soft_ml", POINTER(c_double))]


class vn_segment_report(Structure):
    _fields_ = [("size", c_size_t), ("grid", c_size_t * 3), ("grid_spacing_mm", c_double * 3),
                ("windows", c_size_t), ("skipped", c_size_t), ("replaced_vox", c_size_t), ("removed_vox", c_uint64), ("shift", c_double),
                ("scale", c_double), ("low", c_double), ("high", c_double),
                ("intensity_ns", c_uint64), ("network_ns", c_uint64), ("outside_ns", c_uint64),
                ("clean_ns", c_uint64), ("note", c_char * 256), ("warning", c_char * 512)]


class vn_measure(Structure):
    _fields_ = [("voxels", c_uint64), ("ml", c_double), ("mean", c_double), ("sd", c_double),
                ("centroid_mm", c_double * 3)]


# ---- what the tests compare, and what the loader declares ----

STRUCTS = (vn_diag, vn_run_options, vn_port, vn_exec_options, vn_exec_info, vn_step_info, vn_image,
           vn_segmenter_info, vn_label_info, vn_channel_info, vn_segment_options, vn_label_map, vn_segment_report,
           vn_measure)
ENUMS = (STATUS, TYPE, VOXEL, WORLD, WEIGHTING, PROBABILITY)

_handle, _out, _diag = c_void_p, POINTER(c_void_p), POINTER(vn_diag)
_images = POINTER(POINTER(vn_image))

# {library: {function: (result, arguments)}}
FUNCTIONS: Dict[str, Dict[str, Tuple[Any, Tuple[Any, ...]]]] = {
    "vnet": {
        "vn_version": (c_char_p, ()),
        "vn_cancel_create": (c_int, (_out, _diag)),
        "vn_cancel_press": (None, (_handle,)),
        "vn_cancel_close": (None, (_out,)),
        "vn_plan_open_with": (c_int, (c_char_p, POINTER(vn_run_options), _out, _diag)),
        "vn_plan_open_memory": (c_int, (c_void_p, c_size_t, _out, _diag)),
        "vn_plan_close": (None, (_out,)),
        "vn_plan_inputs": (c_size_t, (_handle,)),
        "vn_plan_outputs": (c_size_t, (_handle,)),
        "vn_plan_input": (vn_port, (_handle, c_size_t)),
        "vn_plan_output": (vn_port, (_handle, c_size_t)),
        "vn_plan_meta": (c_char_p, (_handle, c_char_p)),
        "vn_plan_topology": (c_char_p, (_handle,)),
        "vn_plan_checksum": (c_uint64, (_handle,)),
        "vn_exec_open": (c_int, (_handle, POINTER(vn_exec_options), _out, _diag)),
        "vn_exec_close": (None, (_out,)),
        "vn_exec_info": (vn_exec_info, (_handle,)),
        "vn_exec_measure": (c_int, (_handle, POINTER(vn_exec_options), POINTER(vn_exec_info),
                                    _diag)),
        "vn_exec_run_with": (c_int, (_handle, POINTER(c_void_p), POINTER(c_void_p),
                                     POINTER(vn_run_options), _diag)),
        "vn_exec_steps": (c_size_t, (_handle,)),
        "vn_exec_step": (vn_step_info, (_handle, c_size_t)),
    },
    "vnet-segment": {
        "vn_segmenter_open": (c_int, (_handle, POINTER(vn_exec_options), _out, _diag)),
        "vn_segmenter_close": (None, (_out,)),
        "vn_segmenter_add": (c_int, (_handle, _out, _diag)),
        "vn_segmenter_info": (c_int, (_handle, POINTER(vn_segmenter_info), _diag)),
        "vn_segmenter_label": (vn_label_info, (_handle, c_size_t)),
        "vn_segmenter_channel": (vn_channel_info, (_handle, c_size_t)),
        "vn_segmenter_exec": (c_void_p, (_handle,)),
        "vn_segmenter_memory": (c_int, (_handle, _images, c_size_t, POINTER(vn_segment_options),
                                        POINTER(c_uint64), _diag)),
        "vn_segment": (c_int, (_handle, _images, c_size_t, POINTER(vn_segment_options),
                               POINTER(vn_label_map), POINTER(vn_segment_report), _diag)),
        "vn_measure_labels": (c_int, (POINTER(vn_image), POINTER(vn_label_map), c_size_t,
                                      POINTER(vn_measure), _diag)),
    },
}
