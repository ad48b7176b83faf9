/* What a model's `vnet.expect` says is plausible of a scan and of its labels, checked. A result
 * that is not is still a result: the sentence here is a warning. Called by segment.c and judge.c.
 * The syntax, clauses between semicolons, each at most once for a label:
 *
 *   extent X X Y Y Z Z      the scan's extent in mm, least and most along each letter of
 *                           vnet.orientation (or i, j, k)
 *   ml LABEL LEAST MOST     the label's volume
 *   share LABEL LEAST MOST  the label's part of the voxels that are not background (window.h)
 *   pieces LABEL MOST       connected pieces (26 neighbours) that the network finds, before
 *                           clean-up; those of less than a hundredth of the label do not count
 *   surface LABEL MOST      area of the outer faces of the label's voxels, over its volume to the
 *                           power of 2/3: 6 for a cube, 7.3 for a ball, 8 for a brain, 11 and more
 *                           for what is ragged or thin
 *
 * extent 100 400 100 400 90 500; ml 1 600 2400; share 1 0.1 0.7; pieces 1 3; surface 1 9 */
#ifndef VNET_EXPECT_H
#define VNET_EXPECT_H

#include "orient.h"
#include "stage.h"

enum vn_expect_kind {
  VN_EXPECT_EXTENT,
  VN_EXPECT_ML,
  VN_EXPECT_SHARE,
  VN_EXPECT_PIECES,
  VN_EXPECT_SURFACE
};

struct vn_expect_clause {
  enum vn_expect_kind kind;
  size_t label;
  double number[6]; /* least and most, of one thing or three */
};

struct vn_expect {
  size_t count;
  struct vn_expect_clause *clauses; /* owned */
};

/* NULL: nothing is expected. To be closed in any case. VN_E_FORMAT, VN_E_MEMORY. */
enum vn_status vn_expect_parse(const char *text, size_t labels, struct vn_expect *expect,
                               struct vn_diag *diag);
void vn_expect_close(struct vn_expect *expect);

/* Is there a clause of this kind? */
bool vn_expect_has(const struct vn_expect *expect, enum vn_expect_kind kind);

/* What is compared; [labels] each, NULL where it is not known. */
struct vn_expect_facts {
  const uint64_t *voxels;
  const uint64_t *pieces;
  const double *faces_mm2;
  double voxel_ml;
  uint64_t lit; /* voxels that are not background */
};

/* Append a sentence to `warning` where something is beyond what is expected. */
void vn_expect_extent(const struct vn_expect *expect, const struct vn_view *view, char *warning,
                      size_t size);
void vn_expect_labels(const struct vn_expect *expect, const struct vn_expect_facts *facts,
                      const char *(*name)(const void *context, size_t label), const void *context,
                      char *warning, size_t size);

#endif
