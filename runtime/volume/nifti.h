/* Scans from NIfTI files and label maps back to them, on the scan's own grid.
 *
 * Accepted: NIfTI-1 and -2, .nii and .hdr/.img pairs, each also gzipped, either byte order, every
 * integer and float type up to 64 bits, scl_slope and scl_inter; axes beyond three must have extent
 * 1. Refused with a sentence: .nia, Analyze 7.5, complex, colour, 128-bit and 1-bit voxels, series,
 * and files whose size contradicts their header by more than 1 MiB of trailing bytes.
 *
 * Voxels that are NaN, infinite or beyond float32 are refused, because no later step can tell what
 * they stood for; vn_scan_load's caller may instead ask for the scan's smallest finite value in
 * their place, which is air or background in CT and MR alike (0 would be water in CT). */
#ifndef VNET_NIFTI_H
#define VNET_NIFTI_H

#include "vnet_status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vn_header;

struct vn_scan {
  size_t dim[3], elems; /* x y z, x fastest in memory */
  double affine[3][4];  /* voxel (i, j, k, 1) to world mm, RAS+; sform before qform */
  bool oriented;        /* the file gives an affine; else it is diag(spacing_mm) and a guess */
  bool contradictory;   /* sform and qform point the axes in different directions */
  double spacing_mm[3]; /* along x y z, positive */
  float *voxels;        /* scaled values; NULL until loaded */
  size_t replaced;      /* voxels that were not finite */

  struct vn_header *header; /* private, as is what follows */
  char *image_path;
};

/* Reads and checks the header, and against it the size of the file. Fills *scan, which the caller
 * gives to vn_scan_close in any case. VN_E_IO, VN_E_FORMAT, VN_E_UNSUPPORTED, VN_E_MEMORY. */
enum vn_status vn_scan_open(const char *path, struct vn_scan *scan, struct vn_diag *diag);

/* Reads the voxels: allocates elems floats, which the scan owns. As vn_scan_open, and VN_E_FORMAT
 * for voxels that are not finite unless `replace` asks for the smallest finite value instead. */
enum vn_status vn_scan_load(struct vn_scan *scan, bool replace, struct vn_diag *diag);

/* Accepts NULL, zeroed and half-built scans. */
void vn_scan_close(struct vn_scan *scan);

/* A label for every voxel of a scan, in the scan's order: uint8_t, or int16_t when there are more
 * than 256 classes. */
struct vn_labels {
  void *data;
  size_t elem_bytes, elems, classes;
};

/* Writes the labels as a single-file NIfTI of the scan's version to `fd`, gzipped or not. Grid,
 * affines, codes and units are the scan's, bit for bit; extensions and timing are not carried over.
 * `description` (may be NULL) becomes the header's, cut to 79 bytes. The same input gives the same
 * bytes. VN_E_IO, VN_E_MEMORY. */
enum vn_status vn_labels_write(int fd, bool gzip, const struct vn_scan *scan,
                               const struct vn_labels *labels, const char *description,
                               struct vn_diag *diag);

/* Class probabilities of every voxel, class by class, each in the scan's order. */
enum vn_scores_kind { VN_SCORES_UINT16 /* 65535 times the probability, rounded */, VN_SCORES_F32 };
struct vn_scores {
  void *data; /* the caller's: classes * elems elements; NULL: not asked for */
  enum vn_scores_kind kind;
};
static inline size_t vn_scores_elem_bytes(enum vn_scores_kind kind) {
  return kind == VN_SCORES_F32 ? 4 : 2;
}

/* Writes them as a series x y z class on the scan's grid; 16-bit ones with scl_slope 1/65535, so
 * that readers see probabilities either way. Otherwise as vn_labels_write. */
enum vn_status vn_scores_write(int fd, bool gzip, const struct vn_scan *scan,
                               const struct vn_scores *scores, size_t classes,
                               const char *description, struct vn_diag *diag);

#endif
