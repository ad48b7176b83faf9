/* An open segmenter. Private: segment.c fills it, crew.c and segment_run.c run it. */
#ifndef VNET_SEGMENTER_H
#define VNET_SEGMENTER_H

#include "channels.h"
#include "decide.h"
#include "expect.h"
#include "palette.h"

struct vn_segmenter {
  const struct vn_plan *plan;
  struct vn_exec *exec;
  uint64_t memory_limit_bytes;
  size_t output; /* the one with the scores */
  struct vn_decision decision;
  size_t classes; /* labels */
  bool spaced;
  double spacing_mm[3]; /* d h w; 0: the image's own */
  struct vn_channels channels;
  struct vn_palette palette;
  struct vn_expect expect;
  float foreground;        /* -INFINITY: the model does not say */
  double *validation_dice; /* [classes]; NULL: the model does not say. Owned */
  double network_work;
  bool ran;                    /* the exec's memory has been written to, and is no longer free */
  struct vn_segmenter **other; /* [others], owned: models that are averaged with it */
  size_t others;
};

/* Model `index` of those that are averaged: itself first. */
static inline struct vn_segmenter *vn_segmenter_model(const struct vn_segmenter *segmenter,
                                                      size_t index) {
  return index ? segmenter->other[index - 1] : (struct vn_segmenter *)(uintptr_t)segmenter;
}

/* What its own exec holds. */
uint64_t vn_segmenter_exec_bytes(const struct vn_segmenter *segmenter);

/* Rough, for progress alone: nanoseconds of a thread for a voxel of clean-up. */
#define VN_CLEAN_NS 5.0

#endif
