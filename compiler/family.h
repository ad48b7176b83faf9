/* The family's specification: what each member is made of, at any width and number of stages.
 * Read by topology.c, which compares graphs with it, and by models/build.c, which builds graphs
 * from it. Knows no graph itself. */
#ifndef VNC_FAMILY_H
#define VNC_FAMILY_H

#include "fail.h"
#include "types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VNC_STAGES_LEAST = 2, VNC_STAGES_MOST = 8 };

enum vnc_tail { VNC_TAIL_NONE, VNC_TAIL_SOFTMAX, VNC_TAIL_LOGSOFTMAX };

/* Index 0 is the full grid: left[i] and right[i] are called "left i+1" and "right i+1". */
struct vnc_spec {
  const char *member;
  uint32_t width; /* channels of left 1; they double at every stage down */
  uint32_t stages, in_channels, classes;
  uint32_t left[VNC_STAGES_MOST];  /* 5x5x5 convolutions of each stage */
  uint32_t right[VNC_STAGES_MOST]; /* stages - 1 of them */
  bool norm;         /* BatchNorm after every convolution and up-convolution but the last one */
  bool conv_bias;    /* false: bias in up-convolutions and in the 1x1x1 alone */
  bool first_act;    /* left 1: activation on its last convolution, before the sum */
  bool last_act;     /* the same of every other stage */
  bool sum_act;      /* activation after the sums */
  bool wide_head;    /* 5x5x5 to the classes, with activation, before the 1x1x1 */
  bool out_act;      /* activation after the 1x1x1 */
  bool out_act_open; /* the 1x1x1 may as well have one: the paper does not say */
  bool elu;          /* the member exists with ELU, too */
  uint32_t act;      /* VN_ACT_PRELU or, where `elu` allows it, VN_ACT_ELU */
  bool slope_per_channel; /* PRELU: else one for each layer */
  enum vnc_tail tail;
};

/* The members' names in the order of the design's table; NULL past the last. */
const char *vnc_family_member(size_t index);

/* Fills the member's defaults for this number of stages (0: five). VN_E_ARGUMENT: no such member,
 * or no such number of stages; the sentence lists what there is. */
enum vn_status vnc_spec_init(struct vnc_spec *spec, const char *member, uint32_t stages,
                             struct vn_diag *diag);

/* Can a network be built to it? Width a multiple of the input channels, activation known, … */
enum vn_status vnc_spec_check(const struct vnc_spec *spec, struct vn_diag *diag);

/* "vnet width=16 stages=5 in=1 classes=32 left=1,2,3,3,3 right=3,3,3,3 act=prelu"; right begins at
 * the coarsest grid. Cut when it does not fit. */
void vnc_spec_text(const struct vnc_spec *spec, char *text, size_t size);

#endif
