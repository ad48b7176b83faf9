/* The table of the family's members. See family.h. */
#include "family.h"

#include <string.h>

enum { TABLE_STAGES = 5 };

static const struct vnc_spec family[] = {
    {.member = "vnet",
     .classes = 32,
     .left = {1, 2, 3, 3, 3},
     .right = {3, 3, 3, 3},
     .conv_bias = true,
     .first_act = true,
     .last_act = true,
     .out_act = true,
     .act = VN_ACT_PRELU},
    {.member = "vnet-2016",
     .classes = 2,
     .left = {1, 2, 3, 3, 3},
     .right = {1, 2, 3, 3},
     .conv_bias = true,
     .sum_act = true,
     .out_act_open = true,
     .act = VN_ACT_PRELU,
     .slope_per_channel = true,
     .tail = VNC_TAIL_SOFTMAX},
    {.member = "vnet-caffe",
     .classes = 2,
     .left = {1, 1, 2, 3, 3},
     .right = {1, 1, 2, 3},
     .conv_bias = true,
     .sum_act = true,
     .wide_head = true,
     .act = VN_ACT_PRELU,
     .slope_per_channel = true,
     .tail = VNC_TAIL_SOFTMAX},
    {.member = "monai",
     .classes = 1,
     .left = {1, 1, 2, 3, 2},
     .right = {1, 1, 2, 2},
     .norm = true,
     .last_act = true,
     .sum_act = true,
     .wide_head = true,
     .elu = true,
     .act = VN_ACT_ELU,
     .slope_per_channel = true},
    {.member = "mattmacy",
     .classes = 2,
     .left = {1, 1, 2, 3, 2},
     .right = {1, 1, 2, 2},
     .norm = true,
     .conv_bias = true,
     .last_act = true,
     .sum_act = true,
     .wide_head = true,
     .elu = true,
     .act = VN_ACT_ELU,
     .slope_per_channel = true,
     .tail = VNC_TAIL_LOGSOFTMAX},
};

enum { MEMBERS = sizeof family / sizeof family[0] };

const char *vnc_family_member(size_t index) {
  return index < MEMBERS ? family[index].member : NULL;
}

enum vn_status vnc_spec_init(struct vnc_spec *spec, const char *member, uint32_t stages,
                             struct vn_diag *diag) {
  size_t m = 0;
  while (m < MEMBERS && strcmp(family[m].member, member)) m++;
  if (m == MEMBERS) {
    return vn_fail(
        diag, VN_E_ARGUMENT,
        "\"%s\" is no member of the family: vnet, vnet-2016, vnet-caffe, monai, mattmacy", member);
  }
  if (!stages) stages = TABLE_STAGES;
  if (stages < VNC_STAGES_LEAST || stages > VNC_STAGES_MOST) {
    return vn_fail(diag, VN_E_ARGUMENT, "%u stages: a network of the family has %d to %d",
                   (unsigned)stages, VNC_STAGES_LEAST, VNC_STAGES_MOST);
  }
  *spec = family[m];
  spec->width = 16;
  spec->in_channels = 1;
  spec->stages = stages;
  /* Fewer stages drop the coarsest ones of the table, more repeat them. */
  for (size_t i = TABLE_STAGES; i < VNC_STAGES_MOST; i++) {
    spec->left[i] = spec->left[TABLE_STAGES - 1];
    spec->right[i - 1] = spec->right[TABLE_STAGES - 2];
  }
  return VN_OK;
}

enum vn_status vnc_spec_check(const struct vnc_spec *s, struct vn_diag *diag) {
  struct vnc_spec table;
  enum vn_status status = vnc_spec_init(&table, s->member, s->stages, diag);
  if (status) return status;
  if (s->width < 1 || s->width > 1024 || s->classes < 1 || s->classes > 1024) {
    return vn_fail(diag, VN_E_ARGUMENT, "width %u, %u classes: both have to be 1 to 1024",
                   (unsigned)s->width, (unsigned)s->classes);
  }
  if (s->in_channels < 1 || s->width % s->in_channels) {
    return vn_fail(diag, VN_E_ARGUMENT,
                   "width %u has to be a multiple of the %u input channels: the input is repeated "
                   "to that width",
                   (unsigned)s->width, (unsigned)s->in_channels);
  }
  if (s->act != VN_ACT_PRELU && !(s->act == VN_ACT_ELU && s->elu)) {
    return vn_fail(diag, VN_E_ARGUMENT, "%s does not exist with the activation %s", s->member,
                   vn_act_text(s->act));
  }
  return VN_OK;
}

/* Appends ` key=3,3,2` to text. */
static size_t counts_print(char *text, size_t size, size_t used, const char *key,
                           const uint32_t *counts, size_t n, bool reversed) {
  for (size_t i = 0; i < n && used < size; i++) {
    const char *before = i ? "," : key;
    int wrote = snprintf(text + used, size - used, "%s%u", before,
                         (unsigned)counts[reversed ? n - 1 - i : i]);
    used += wrote > 0 ? (size_t)wrote : 0;
  }
  return used;
}

void vnc_spec_text(const struct vnc_spec *s, char *text, size_t size) {
  int wrote =
      snprintf(text, size, "%s width=%u stages=%u in=%u classes=%u", s->member, (unsigned)s->width,
               (unsigned)s->stages, (unsigned)s->in_channels, (unsigned)s->classes);
  size_t used = wrote > 0 ? (size_t)wrote : 0;
  used = counts_print(text, size, used, " left=", s->left, s->stages, false);
  used = counts_print(text, size, used, " right=", s->right, s->stages - 1, true);
  if (used < size) snprintf(text + used, size - used, " act=%s", vn_act_text(s->act));
}
