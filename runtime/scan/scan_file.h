/* An open scan file, whatever its format. Private to this folder: one file for each format fills
 * it (nifti_read.c, nrrd_read.c, mgh.c) and says how a result of that format begins (nifti_write.c,
 * nrrd_write.c, mgh.c); opening, loading and writing are common to all (scan_open.c, scan_load.c,
 * scan_write.c). */
#ifndef VNET_SCAN_FILE_H
#define VNET_SCAN_FILE_H

#include "scan_stream.h"
#include "vnet_scan.h"

#include <nifti/nifti2.h>

enum vn_scan_format { VN_SCAN_NIFTI, VN_SCAN_NRRD, VN_SCAN_MGH };

enum vn_encoding { VN_ENCODING_RAW, VN_ENCODING_GZIP, VN_ENCODING_TEXT };

/* A piece of a header's text. */
struct vn_text {
  const char *at;
  int size;
};

/* What results must carry over word by word. Pieces of `text`; of size 0 where the file has
 * none. */
struct vn_nrrd {
  char *text;
  struct vn_text space, space_dimension, origin, space_units, units;
  struct vn_text direction[3], spacing[3]; /* of i, j, k */
};

struct vn_nifti {
  struct nifti_2_header field; /* native byte order, whichever version the file is */
  int version;                 /* 1 or 2 */
  bool pair;                   /* the voxels are in an .img file of their own */
};

enum { VN_MGH_BYTES = 284 }; /* of the header, before the voxels */

struct vn_scan {
  enum vn_scan_format format;
  /* The grid. */
  size_t dim[3], elems;   /* i j k; elems: of all volumes */
  size_t volumes;         /* on it; 1 unless a series may be opened */
  bool series;            /* which the caller has asked for */
  size_t before;          /* the volumes' axis comes after so many of i j k; 3: it is the slowest */
  double affine[3][4];    /* voxel (i, j, k, 1) to world mm, RAS */
  double spacing_mm[3];   /* finite and positive, even where there is no affine */
  const char *unoriented; /* NULL, or why the affine is a guess; see vn_scan_unoriented */
  char unoriented_own[96]; /* room for such a sentence */
  /* The voxels: value = slope * stored + inter. */
  enum vn_voxel type;
  size_t elem_bytes;
  bool swapped; /* not in the machine's byte order */
  double slope, inter;
  bool labels; /* they are labels, says the header */
  /* Where they are: a stream that begins at byte `start` of the file, `skip` bytes into it. */
  char *voxel_path;
  enum vn_encoding encoding;
  uint64_t start, skip, data_bytes; /* data_bytes: elems * elem_bytes */
  /* What a person should know. */
  char note[480];
  size_t note_header; /* bytes of it that are not about geometry */
  /* What the format itself keeps. */
  struct vn_nifti nifti;
  struct vn_nrrd nrrd;
  unsigned char mgh[VN_MGH_BYTES];

  float *voxels; /* NULL until loaded */
};

/* ---- readers: header to scan, the stream being at the file's start ---- */

/* The file that has the header: the other one of a pair for an .img. To be freed by the caller. */
enum vn_status vn_nifti_header_path(const char *path, char **header, struct vn_diag *diag);

/* `bytes` are the first `size` ones of the file; `image`: of a pair that was named by its voxels
 * their file, or NULL. */
enum vn_status vn_nifti_open(const char *path, const char *image, const unsigned char *bytes,
                             size_t size, struct vn_stream *stream, struct vn_scan *scan,
                             struct vn_diag *diag);
enum vn_status vn_nrrd_open(const char *path, struct vn_stream *stream, struct vn_scan *scan,
                            struct vn_diag *diag);
enum vn_status vn_mgh_open(const char *path, const unsigned char *bytes, size_t size,
                           struct vn_stream *stream, struct vn_scan *scan, struct vn_diag *diag);

/* Takes the affine from the sform or the qform, which must be there and make sense. */
enum vn_status vn_nifti_form(struct vn_scan *scan, bool qform, struct vn_diag *diag);

/* ---- what readers share (scan_open.c) ---- */

/* Sets elems, elem_bytes and data_bytes from dim and type. VN_E_FORMAT: cannot be counted. */
enum vn_status vn_scan_count(struct vn_scan *scan, struct vn_diag *diag);

/* The size that the header promises against that of the stream's file, before anything is
 * allocated. */
enum vn_status vn_scan_size_check(const struct vn_scan *scan, const struct vn_stream *stream,
                                  struct vn_diag *diag);

/* Takes an axis of so many volumes behind `before` of i j k, or refuses it: `where` begins the
 * sentence, as in "a series of 3 volumes". */
enum vn_status vn_scan_series(struct vn_scan *scan, size_t volumes, size_t before,
                              const char *where, struct vn_diag *diag);

/* Finite, of sizes that a scan can have, and no axis lost. */
bool vn_affine_usable(const double m[3][4]);
double vn_affine_spacing(const double m[3][4], int axis);
/* Spacing alone: voxel axes are world axes, the scan's middle is the world's. */
void vn_affine_plain(struct vn_scan *scan);

/* Adds a sentence to the note. */
#define vn_scan_note_add(scan, ...) vn_say((scan)->note, sizeof(scan)->note, __VA_ARGS__)

/* Bytes of a voxel of this type. */
size_t vn_voxel_bytes(enum vn_voxel type);

bool vn_name_ends(const char *name, const char *ending); /* in letters of either case */

/* ---- what is no scan (scan_sniff.c) ---- */

/* The refusal of a file that begins like this. `path` is for formats that are known by name
 * only. */
enum vn_status vn_content_refuse(const char *path, const unsigned char *bytes, size_t size,
                                 struct vn_diag *diag);
/* The refusal of an open folder. */
enum vn_status vn_folder_refuse(const char *folder, struct vn_diag *diag);

/* ---- writers ---- */

/* What is to be written, checked. */
struct vn_result {
  const struct vn_scan *like; /* of the format that is written; NULL: the grid says it all */
  struct vn_image grid;       /* world RAS or unknown */
  size_t elems;               /* of one label map */
  enum vn_voxel type;         /* as the file will have it */
  size_t series;              /* probabilities and regions: so many volumes; 0: labels */
  size_t labels;
  const struct vn_label_info *label; /* [labels], or NULL */
  const char *description;           /* or NULL */
  const struct vn_cancel *cancel;    /* or NULL */
  bool gzip;
  double slope; /* NIfTI alone can say it */
};

/* The bytes before the voxels. */
struct vn_head {
  unsigned char *bytes; /* freed by the caller */
  size_t size;
  bool swap;  /* voxels are stored in the other byte order */
  bool plain; /* the head is not compressed, even where the voxels are */
};

enum vn_status vn_nifti_head(const struct vn_result *result, struct vn_head *head,
                             struct vn_diag *diag);
enum vn_status vn_nrrd_head(const struct vn_result *result, struct vn_head *head,
                            struct vn_diag *diag);
enum vn_status vn_mgh_head(const struct vn_result *result, struct vn_head *head,
                           struct vn_diag *diag);

#endif
