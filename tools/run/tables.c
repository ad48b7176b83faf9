/* ITK-SNAP's label description file and 3D Slicer's colour table; see tables.h. */
#include "tables.h"

void table_itksnap(const struct vn_label_info *labels, size_t count, FILE *out) {
  fputs("################################################\n"
        "# ITK-SnAP Label Description File\n"
        "# File format:\n"
        "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL\n"
        "################################################\n",
        out);
  for (size_t i = 0; i < count; i++) {
    const struct vn_label_info *l = &labels[i];
    fprintf(out, "%5zu  %4u %4u %4u  %7d  %d  %d    \"", l->value, l->rgb[0], l->rgb[1], l->rgb[2],
            i > 0, i > 0, i > 0);
    for (const char *c = l->name; *c; c++) fputc(*c == '"' ? '\'' : *c, out);
    fputs("\"\n", out);
  }
}

void table_slicer(const struct vn_label_info *labels, size_t count, FILE *out) {
  fprintf(out, "# Color table file\n# %zu values\n", count);
  for (size_t i = 0; i < count; i++) {
    const struct vn_label_info *l = &labels[i];
    fprintf(out, "%zu ", l->value);
    for (const char *c = l->name; *c; c++) fputc(*c == ' ' ? '_' : *c, out);
    fprintf(out, " %u %u %u %d\n", l->rgb[0], l->rgb[1], l->rgb[2], i > 0 ? 255 : 0);
  }
}
