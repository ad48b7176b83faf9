/* The models of a run: what stands in the plan's place, one word or several between commas, whose
 * probabilities are averaged (vn_segmenter_add). Used by vnet-run and what it is made of; like it
 * they end the program where a model cannot be had. */
#ifndef VNET_RUN_MODELS_H
#define VNET_RUN_MODELS_H

#include "cli.h"
#include "sandbox.h"
#include "vnet_segment.h"

enum { RUN_MODELS_MOST = 16, RUN_CHECKSUM = 17 };

struct run_models {
  size_t count;
  struct run_model {
    char *given, *path; /* as it was given: a plan, a name or an ONNX model; its plan */
    struct vn_plan *plan;
  } of[RUN_MODELS_MOST];
  char checksum[RUN_MODELS_MOST * RUN_CHECKSUM]; /* of all plans, with a '+' between them */
};

/* Looks for the plans, and compiles what is none yet (plan_find.h). A word that is a file's name is
 * one model, whatever commas are in it. */
struct run_models run_models_find(const char *word, bool notes);

/* All of them may be read; none of them may be replaced. */
void run_models_allow(struct sandbox *box, const struct run_models *models);
void run_models_add(struct cli_files *all, const struct run_models *models);

/* Reads the plans. */
void run_models_open(struct run_models *models, struct vn_cancel *cancel);

/* One segmenter of all of them; the caller owns it. */
struct vn_segmenter *run_models_segmenter(const struct run_models *models,
                                          const struct vn_exec_options *options);

/* Notes what is unusual of a model that is to run on scans. */
void run_models_note(const struct run_models *models);

void run_models_close(struct run_models *models);

#endif
