/* Models as files: what a run starts from and what it writes. A graph is built or imported once, at
 * the size of a training sample, and takes the model's own size only while it is written. */
#ifndef VNET_TRAIN_MODEL_FILE_H
#define VNET_TRAIN_MODEL_FILE_H

#include "graph.h"

/* Reads an ONNX model of the family into *graph, at `patch` (d h w) whatever size it was made for,
 * which `window` gets, `patch` where it was made for none; `member` gets its name. The graph is to
 * be freed in any case. VN_E_UNSUPPORTED: not of the family; VN_E_ARGUMENT: `patch` does not fit
 * it; otherwise as vnc_onnx_import. */
enum vn_status vnt_model_import(const char *path, const size_t patch[3], struct vnc_graph *graph,
                                size_t window[3], char member[32], struct vn_diag *diag);

/* How many classes the graph's output tells apart, and how many channels its scans have. */
size_t vnt_model_classes(const struct vnc_graph *graph);
size_t vnt_model_channels(const struct vnc_graph *graph);

/* Are the output's channels regions that may overlap, not labels that exclude each other? */
bool vnt_model_overlaps(const struct vnc_graph *graph);

/* Of a model of one channel that no sigmoid ends: the metadata says that from 0 on a score is
 * inside, unless they say something else. */
void vnt_model_one(struct vnc_graph *graph);

/* A head for so many classes in the place of the model's own, untrained, the same for the same
 * seed; what the metadata says of the old classes is dropped. VN_E_UNSUPPORTED, VN_E_MEMORY. */
enum vn_status vnt_model_head(struct vnc_graph *graph, size_t classes, uint64_t seed,
                              struct vn_diag *diag);

/* The odds of each class against the background times `odds`, by the biases that the scores end
 * with. VN_E_UNSUPPORTED: there are none, or an activation behind them. */
enum vn_status vnt_model_odds(struct vnc_graph *graph, double odds, struct vn_diag *diag);

/* Gives the graph another size. On failure the graph is of no use any more. */
enum vn_status vnt_model_resize(struct vnc_graph *graph, const size_t patch[3],
                                struct vn_diag *diag);

/* Metadata `key`, in the place of what was there; value NULL: only takes it away. */
void vnt_model_meta(struct vnc_graph *graph, const char *key, const char *value);

/* The bytes (to be freed) of the model at `model_patch`; the graph is back at `patch`
 * afterwards. */
struct vnt_model_export {
  const char *name;
  const size_t *patch, *model_patch; /* [3] */
  bool float16;
};
enum vn_status vnt_model_bytes(struct vnc_graph *graph, const struct vnt_model_export *options,
                               void **bytes, size_t *size, struct vn_diag *diag);

#endif
