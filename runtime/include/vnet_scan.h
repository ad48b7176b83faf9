/* Scans from NIfTI files as images for vnet_segment.h, and label maps back to files.
 *
 * Accepted: NIfTI-1 and -2, .nii and .hdr/.img pairs, each also gzipped, either byte order, every
 * integer and float type up to 64 bits, scl_slope and scl_inter; axes beyond three must have extent
 * 1. Refused with a sentence: .nia, Analyze 7.5, complex, colour, 128-bit and 1-bit voxels, series,
 * and files whose size contradicts their header by more than 1 MiB of trailing bytes. Every byte of
 * a file is treated as hostile. What vnet.h says of threads, growth and errors holds here, too. */
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

/* An open file: its header, and its voxels once loaded. Used by one thread at a time. */
struct vn_scan;

/* Reads and checks the header, and against it the size of the file. Sets *file, which the caller
 * owns, or leaves it NULL. VN_E_IO, VN_E_FORMAT, VN_E_UNSUPPORTED, VN_E_MEMORY. */
VN_SCAN_API enum vn_status vn_scan_open(const char *path, struct vn_scan **file,
                                        struct vn_diag *diag);

/* Reads the voxels as float32, which the file owns. With `run` (may be NULL) it can be stopped. */
VN_SCAN_API enum vn_status vn_scan_load(struct vn_scan *file, const struct vn_run_options *run,
                                        struct vn_diag *diag);

/* Accepts NULL; sets *file to NULL. */
VN_SCAN_API void vn_scan_close(struct vn_scan **file);

/* Fills *image, whose size the caller has set: dense, i fastest, world RAS, sform before qform;
 * float32 voxels that belong to the file, NULL until they are loaded. World is UNKNOWN where the
 * file has neither form, or where the two point the axes in different directions. */
VN_SCAN_API void vn_scan_image(const struct vn_scan *file, struct vn_image *image);

/* NULL: the file says how the scan lies; else a sentence's end for a person: "has neither sform nor
 * qform and does not say left from right". Static. */
VN_SCAN_API const char *vn_scan_unoriented(const struct vn_scan *file);

/* Does the header say that the values are labels, and no scan (NIfTI's intent LABEL)? Those that
 * are written by vn_scan_write_labels do. */
VN_SCAN_API bool vn_scan_is_labels(const struct vn_scan *file);

/* Writes a dense label map (elem_bytes 1 or 2) of `labels` classes as a single NIfTI file to an
 * open descriptor, gzipped or not. With `like`, grid, affines, codes and units are that file's, bit
 * for bit; extensions and timing are not carried over. With `like` NULL they are `image`'s: a
 * NIfTI-1 file (NIfTI-2 where an axis is longer than 32767) with an sform, and a qform where the
 * axes are orthogonal. `description` (may be NULL) becomes the header's, cut to 79 bytes. The same
 * input gives the same bytes. VN_E_IO, VN_E_MEMORY, VN_E_ARGUMENT. */
VN_SCAN_API enum vn_status vn_scan_write_labels(int fd, bool gzip, const struct vn_scan *like,
                                                const struct vn_image *image,
                                                const struct vn_label_map *map, size_t labels,
                                                const char *description, struct vn_diag *diag);

/* Writes the map's probabilities as a series i j k label on the same grid; 16-bit ones with
 * scl_slope 1/65535, so that readers see probabilities either way. Otherwise as
 * vn_scan_write_labels. */
VN_SCAN_API enum vn_status
vn_scan_write_probabilities(int fd, bool gzip, const struct vn_scan *like,
                            const struct vn_image *image, const struct vn_label_map *map,
                            size_t labels, const char *description, struct vn_diag *diag);

/* vn_scan_write_labels to a file that is whole or absent: written beside `path` under a hidden
 * name that no other writer has, flushed and renamed. What writers that were killed left in that
 * folder is removed. Gzipped where `path` ends in .gz. */
VN_SCAN_API enum vn_status vn_scan_save_labels(const char *path, const struct vn_scan *like,
                                               const struct vn_image *image,
                                               const struct vn_label_map *map, size_t labels,
                                               const char *description, struct vn_diag *diag);

#ifdef __cplusplus
}
#endif

#endif
