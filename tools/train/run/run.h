/* A training run: what vnet-train.c opens, runs and closes. Parts of the program, like it they
 * print and end it. run_open.c makes everything; run.c takes the steps and decides; run_save.c
 * writes what a run leaves behind: log, checkpoint, model, scores, charts. */
#ifndef VNET_TRAIN_RUN_H
#define VNET_TRAIN_RUN_H

#include "checkpoint.h"
#include "comm.h"
#include "feed.h"
#include "options.h"

struct vnt_run {
  struct vnt_options options;
  struct vnt_machine machine;
  struct vnc_graph graph;   /* at the patch of the samples */
  struct vnc_graph dropped; /* the same with dropout, which then is trained; or empty */
  char member[32];
  struct vnt_labels *labels; /* what the values of label maps mean */
  bool sides_lost;           /* --init's left and right, by other names */
  char *channels;            /* their names, "t1; t2"; NULL: they have none */
  struct vnt_net net;
  struct vnt_optim optim; /* its steps are the run's */
  float *average;         /* [net.elems + net.n_running]: running means of both; NULL: no --ema */
  struct vnt_samples samples;
  struct vnt_feed *feed;
  struct vnt_reduce *reduce;
  struct vnt_progress progress;
  char *identity;  /* see checkpoint.h */
  bool saved;      /* there is a checkpoint of this run; rank 0 knows */
  uint8_t *target; /* [share][d][h][w]: of the batch in net.input … */
  bool fed;        /* … where there has been one */
  size_t share;    /* samples of this rank in a step */
  /* Pressed: saves and stops after the present step; a validation ends at once. */
  struct vn_cancel *cancel;
  FILE *log;   /* rank 0, where asked for, as are the two paths */
  bool logged; /* it has rows */
  char *scores_path, *best_path;
};

void vnt_run_open(struct vnt_run *run, const struct vnt_options *options);
/* Trains to the last step, or until it is cancelled, and leaves everything saved. True: to the last
 * step. */
bool vnt_run_steps(struct vnt_run *run);
void vnt_run_close(struct vnt_run *run);

/* ---- run_save.c; called on rank 0 alone ---- */

/* Shows before any work that the results can be written, and opens the log: new, or without the
 * rows behind the checkpoint's step. */
void vnt_run_outputs(struct vnt_run *run);
void vnt_run_log(struct vnt_run *run, const struct vnt_loss *loss, double rate, double norm,
                 double seconds);
/* Segments the validation scans with the present weights; keeps the best. Nothing where that is
 * not due at this step, or was done. False: it was cancelled, and is to be done by the run that
 * resumes this one. */
bool vnt_run_validate(struct vnt_run *run);
/* The model, then the checkpoint, then the charts. */
void vnt_run_save(struct vnt_run *run);

#endif
