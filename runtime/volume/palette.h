/* Names and colours of labels, from a model's `vnet.labels`. Private to this library and the
 * trainer.
 *
 * The metadata is JSON: an array of objects with "value" (the label), "name" and "colour" (or
 * "color"), "#rrggbb" or [r, g, b] from 0 to 255, and "mirror", the label that is the same on the
 * body's other side, of which either has the other; further members are passed over. Names are
 * well-formed UTF-8 without control characters (C0, DEL, C1). Example:
 *   [{"value": 1, "name": "left lung", "colour": "#e6b400", "mirror": 2},
 *    {"value": 2, "name": "right lung", "mirror": 1}] */
#ifndef VNET_PALETTE_H
#define VNET_PALETTE_H

#include "vnet_status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VN_PALETTE_NAME_MOST = 63 }; /* bytes of UTF-8 */

struct vn_palette {
  struct vn_palette_entry {
    char name[VN_PALETTE_NAME_MOST + 1];
    uint8_t rgb[3];
    bool listed;   /* the text has it */
    size_t mirror; /* itself, where it is not said */
  } * entries;
  size_t count;
  bool sided;            /* some have another one as their mirror */
  size_t *order, listed; /* order[listed]: labels as the text has them */
};

/* An entry for each of `classes` (at least 1) labels; `text` may be NULL. What it does not say is
 * "background" for label 0, "label N" and a colour of its own for the others. Sets *palette, to be
 * closed in any case. VN_E_FORMAT: the text is malformed, names a label that the network does not
 * have, or anything twice, or a mirror of one side; VN_E_MEMORY. */
enum vn_status vn_palette_parse(const char *text, size_t classes, struct vn_palette *palette,
                                struct vn_diag *diag);
void vn_palette_close(struct vn_palette *palette);

#endif
