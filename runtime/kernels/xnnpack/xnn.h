/* XNNPACK's convolution over its API's history, under one face. Included by conv_xnnpack.c alone.
 *
 * VN_XNN_API, found by CMake: 2022 create and setup; 2023 reshape apart from setup, two caches,
 * workspace with an alignment; 2025 one cache, workspace without. */
#ifndef VNET_XNN_H
#define VNET_XNN_H

#include <stddef.h>
#include <xnnpack.h>

#if VN_XNN_API == 2022
#define VN_XNN_CACHES
#elif VN_XNN_API == 2023
#define VN_XNN_CACHES NULL, NULL,
#elif VN_XNN_API == 2025
#define VN_XNN_CACHES NULL,
#else
#error "VN_XNN_API: 2022, 2023 or 2025"
#endif

struct xnn_place {
  size_t n, height, width;
  const float *in;
  float *out;
  void *workspace;
};

/* Once, before the first point: everything that allocates. *workspace_bytes: what runs need. */
static inline enum xnn_status xnn_shape(xnn_operator_t op, const struct xnn_place *p,
                                        pthreadpool_t pool, size_t *workspace_bytes) {
  *workspace_bytes = 0;
#if VN_XNN_API == 2022
  return xnn_setup_convolution2d_nhwc_f32(op, p->n, p->height, p->width, p->in, p->out, pool);
#elif VN_XNN_API == 2023
  size_t alignment;
  return xnn_reshape_convolution2d_nhwc_f32(op, p->n, p->height, p->width, workspace_bytes,
                                            &alignment, NULL, NULL, pool);
#else
  return xnn_reshape_convolution2d_nhwc_f32(op, p->n, p->height, p->width, workspace_bytes, NULL,
                                            NULL, pool);
#endif
}

/* Before each run: where to read and write. Allocates nothing for a size that xnn_shape has
 * seen. */
static inline enum xnn_status xnn_point(xnn_operator_t op, const struct xnn_place *p,
                                        pthreadpool_t pool) {
#if VN_XNN_API == 2022
  return xnn_setup_convolution2d_nhwc_f32(op, p->n, p->height, p->width, p->in, p->out, pool);
#else
  (void)pool;
  return xnn_setup_convolution2d_nhwc_f32(op, p->workspace, p->in, p->out);
#endif
}

#endif
