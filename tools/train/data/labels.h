/* What the values of label maps mean: classes, with names, colours and sides. From a table that a
 * person writes (--label-table), CSV with the columns value and class and perhaps name, colour and
 * mirror, in any order:
 *
 *   value,class,name,colour,mirror
 *   17,1,left hippocampus,#c83232,2
 *   53,2,right hippocampus,#3232c8,1
 *   10,3,grey matter,,
 *   49,3,,,
 *   77,ignore,,,
 *   others,0,,,
 *
 * Values are whole numbers from 0 to 65535; several may be one class. Classes are 0, the
 * background, 1, 2 …; a voxel that is to be ignored is neither learnt from nor scored. `others`
 * says what the values mean that the table does not name; without it they are refused, but for 0,
 * the background. `mirror` is the class on the other side of the body, which a mirrored sample
 * shows; itself, where it has none. A name or colour stands in one of its class's rows. */
#ifndef VNET_TRAIN_LABELS_H
#define VNET_TRAIN_LABELS_H

#include "vnet_status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  VNT_CLASSES_MOST = 256, /* 255 where voxels are ignored */
  VNT_IGNORED = 255,      /* the class of an ignored voxel */
  VNT_VALUES = 1 << 16,
};

struct vnt_labels {
  size_t classes;               /* with the background */
  bool ignores;                 /* there are voxels to be ignored: then the class 255 is theirs */
  bool table;                   /* from one: else every value is its own class */
  int16_t class_of[VNT_VALUES]; /* -1: refused */
  bool sided, side_said[VNT_CLASSES_MOST]; /* said: the table has the class's mirror */
  uint8_t other_side[VNT_CLASSES_MOST];    /* a class's own, where it has none */
  char *json; /* of `vnet.labels`; NULL: there are no names and colours. Owned */
};

/* Every value below `classes` is its own class, but for `ignored`, if it is not negative, which is
 * from 0 to 65535. *labels is allocated, to be closed in any case. VN_E_ARGUMENT, VN_E_MEMORY. */
enum vn_status vnt_labels_plain(size_t classes, int ignored, struct vnt_labels **labels,
                                struct vn_diag *diag);
/* Sides as `vnet.labels` has them; NULL: none. VN_E_FORMAT, VN_E_MEMORY. */
enum vn_status vnt_labels_sides(struct vnt_labels *labels, const char *json, struct vn_diag *diag);
/* From a table. VN_E_IO; VN_E_FORMAT, with file and line; VN_E_MEMORY. */
enum vn_status vnt_labels_read(const char *path, struct vnt_labels **labels, struct vn_diag *diag);
void vnt_labels_close(struct vnt_labels **labels); /* accepts NULL */

/* Of everything that changes what is learnt. */
uint64_t vnt_labels_checksum(const struct vnt_labels *labels);

/* The class of a voxel of a label map, VNT_IGNORED, or -1. */
static inline int vnt_class_of(const struct vnt_labels *labels, float value) {
  const bool known = value >= 0 && value < VNT_VALUES && value == (float)(int)value;
  return known ? labels->class_of[(int)value] : -1;
}

/* "liver,tumour:#c83232" as the JSON of `vnet.labels`, for labels from 1 on; colours that are left
 * out are the palette's (palette.h). To be freed. VN_E_ARGUMENT: more names than classes, or one
 * that the palette does not take; VN_E_MEMORY. */
enum vn_status vnt_labels_json(const char *names, size_t classes, char **json,
                               struct vn_diag *diag);

#endif
