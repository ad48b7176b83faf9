/* Scans from files as images for vnet_segment.h, and results back to files of the same formats.
 *
 * NIfTI-1 and -2, .nii and .hdr/.img pairs, each also gzipped, either byte order, every integer and
 * float type up to 64 bits, scl_slope and scl_inter. NRRD (3D Slicer), .nrrd and .nhdr with its
 * data file beside it: raw, gzip and ascii encodings, either byte order, every type but block. MGH
 * and MGZ (FreeSurfer): uchar, short, ushort, int, float. A file is known by its content, not by
 * its name. Axes beyond three must have extent 1, but for vn_scan_open_series. What cannot be read
 * is refused with a sentence that says what the file is and, where there is a way, what converts
 * it: series and vectors, complex, colour, 128-bit and 1-bit voxels, Analyze 7.5, MetaImage, MINC,
 * DICOM, pictures, archives; and files whose size contradicts their header by more than 1 MiB of
 * trailing bytes. Every byte of a file is treated as hostile. What vnet.h says of threads, growth
 * and errors holds here, too. */
#ifndef VNET_SCAN_H
#define VNET_SCAN_H

#include "vnet_segment.h"

#if defined(_WIN32) && defined(VN_SCAN_BUILDING)
#define VN_SCAN_API __declspec(dllexport)
#else
#define VN_SCAN_API VN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- in ---- */

/* An open file: its header, and its voxels once loaded. Used by one thread at a time. */
struct vn_scan;

/* Reads and checks the header, and against it the size of the file. Sets *file, which the caller
 * owns, or leaves it NULL. Folders, FIFOs and devices are refused at once. VN_E_IO, VN_E_FORMAT,
 * VN_E_UNSUPPORTED, VN_E_MEMORY. */
VN_SCAN_API enum vn_status vn_scan_open(const char *path, struct vn_scan **file,
                                        struct vn_diag *diag);

/* The same of files that may hold a series, too: several volumes on one grid, as the channels of a
 * scan are kept in NIfTI's fourth or fifth axis, in NRRD's axis that is not one of space, or in
 * MGH's frames. */
VN_SCAN_API enum vn_status vn_scan_open_series(const char *path, struct vn_scan **file,
                                               struct vn_diag *diag);

/* How many there are; 1 unless it was opened as a series. */
VN_SCAN_API size_t vn_scan_volumes(const struct vn_scan *file);

/* vn_scan_image of one of them, index < volumes: not always dense. */
VN_SCAN_API void vn_scan_volume(const struct vn_scan *file, size_t index, struct vn_image *image);

/* Reads the voxels as float32, which the file owns. `run` (may be NULL) is told of progress and can
 * stop it, also while a compressed file is read. */
VN_SCAN_API enum vn_status vn_scan_load(struct vn_scan *file, const struct vn_run_options *run,
                                        struct vn_diag *diag);

/* Accepts NULL; sets *file to NULL. */
VN_SCAN_API void vn_scan_close(struct vn_scan **file);

/* Fills *image, whose size the caller has set: dense, i fastest, world RAS; float32 voxels that
 * belong to the file, NULL until they are loaded. A NIfTI file's affine is its sform, else its
 * qform with the absolute values of pixdim (0: 1 mm). World is UNKNOWN where vn_scan_unoriented
 * says why. */
VN_SCAN_API void vn_scan_image(const struct vn_scan *file, struct vn_image *image);

/* NULL: the file says how the scan lies; else a sentence's end for a person: "has neither sform nor
 * qform and does not say left from right". Belongs to the file. */
VN_SCAN_API const char *vn_scan_unoriented(const struct vn_scan *file);

/* Does the header say that the values are labels, and no scan? NIfTI's intent LABEL, or the fields
 * of 3D Slicer's segmentations; MGH cannot say so. What vn_scan_write_labels writes says it. */
VN_SCAN_API bool vn_scan_is_labels(const struct vn_scan *file);

/* NULL, or what a person should know of how the file was read, without a full stop: "its sform is
 * not an invertible matrix: its qform is used". Several are joined by "; ". Belongs to the file
 * until vn_scan_set_geometry. */
VN_SCAN_API const char *vn_scan_note(const struct vn_scan *file);

/* The file that has the voxels: the header's own, the .img beside it, or what a detached NRRD
 * header names. No result may be written there. Belongs to the file. */
VN_SCAN_API const char *vn_scan_voxel_path(const struct vn_scan *file);

/* Someone knows better than the file, or than this library, how the scan lies: "sform" or "qform",
 * or where the axes i, j, k point, such as "RAS" or "LPI" (with the file's voxel sizes, its middle
 * at 0). To be called before vn_scan_image; results that are written like this file keep what its
 * header says. VN_E_ARGUMENT: none of these, or the file has no such form. */
VN_SCAN_API enum vn_status vn_scan_set_geometry(struct vn_scan *file, const char *geometry,
                                                struct vn_diag *diag);

/* ---- out ---- */

/* The parts of a scan's name: sets *stem to the length of `path` without the ending that names a
 * format, in letters of either case (".nii.gz", ".hdr", ".nhdr", ".MGZ" …), and returns the ending
 * that a result of that format has: ".nii.gz", ".nrrd" or ".mgz". NULL, and the whole of `path`,
 * where no format is named. */
VN_SCAN_API const char *vn_scan_name(const char *path, size_t *stem);

/* May a result be called this? Its format is what its name says: .nii, .nii.gz, .nrrd, .mgh,
 * .mgz. */
VN_SCAN_API bool vn_scan_writable(const char *name);

/* A result on its way to a file. */
struct vn_scan_result {
  size_t size;                       /* sizeof(struct vn_scan_result) */
  const struct vn_scan *like;        /* the scan's file, or NULL */
  const struct vn_image *image;      /* the grid where `like` is NULL */
  const struct vn_label_map *map;    /* dense */
  size_t labels;                     /* classes, 0 … labels - 1 */
  const struct vn_label_info *label; /* [labels], for formats that keep names; may be NULL */
  const char *description;           /* for a NIfTI or NRRD header; may be NULL */
  struct vn_cancel *cancel;          /* ends the writing; may be NULL */
};

/* Writes the label map as a single file to an open descriptor, in the format that `name` says.
 *
 * With `like` of that format, grid and geometry are that file's: the fields of NIfTI and MGH bit
 * for bit (affines, codes, units), those of NRRD word for word (space, directions, origin, units).
 * Extensions, timing and tags are not carried over. Otherwise the affine is converted; without one
 * (VN_WORLD_UNKNOWN) the voxel sizes alone are written, and no MGH, for which FreeSurfer would take
 * a default: VN_E_UNSUPPORTED. A new NIfTI file is NIfTI-1 (NIfTI-2 where an axis is longer
 * than 32767) with an sform, and a qform where the axes are orthogonal. A NRRD file has the fields
 * of 3D Slicer's segmentations, which Slicer takes it for when its name ends in .seg.nrrd. The same
 * input gives the same bytes. VN_E_IO, VN_E_MEMORY, VN_E_ARGUMENT, VN_E_CANCELLED. */
VN_SCAN_API enum vn_status vn_scan_write_labels(int fd, const char *name,
                                                const struct vn_scan_result *result,
                                                struct vn_diag *diag);

/* Writes the map's regions as a series i j k region on the same grid, uint8, 1 inside; `labels` is
 * one more than there are regions. Otherwise as vn_scan_write_labels. */
VN_SCAN_API enum vn_status vn_scan_write_regions(int fd, const char *name,
                                                 const struct vn_scan_result *result,
                                                 struct vn_diag *diag);

/* Writes the map's probabilities as a series i j k label on the same grid. 16-bit ones stay so in
 * NIfTI, with scl_slope 1/65535, and become float32 in NRRD and MGH, so that readers see
 * probabilities either way. Otherwise as vn_scan_write_labels. */
VN_SCAN_API enum vn_status vn_scan_write_probabilities(int fd, const char *name,
                                                       const struct vn_scan_result *result,
                                                       struct vn_diag *diag);

/* vn_scan_write_labels to a file that is whole or absent: written beside `path` under a hidden
 * name that no other writer has, flushed and renamed. What writers that were killed left in that
 * folder is removed. */
VN_SCAN_API enum vn_status
vn_scan_save_labels(const char *path, const struct vn_scan_result *result, struct vn_diag *diag);

#ifdef __cplusplus
}
#endif

#endif
