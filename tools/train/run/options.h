/* What vnet-train was asked to do: what is not said, what does not go together, what hangs on the
 * network. command_line.h reads it. Parts of the program: mistakes end it. */
#ifndef VNET_TRAIN_OPTIONS_H
#define VNET_TRAIN_OPTIONS_H

#include "generate.h"
#include "loss.h"
#include "optim.h"

struct vnt_options {
  const char *labels, *data, *init, *output; /* of labels and data one is NULL */
  const char *plan; /* a list to propose options for: nothing is trained, and no other is set */
  uint64_t memory_bytes; /* of --plan; 0: not given */
  uint64_t render;       /* samples to write instead of training; 0: it is training */
  const char *member, *isa, *checkpoint, *log, *charts;
  const char *orientation, *intensity, *label_names, *label_table, *expect;
  double spacing_mm[3]; /* x y z along the orientation; all 0: each scan's own */
  size_t width, stages, batch, threads, feed_threads;
  size_t classes;                       /* 0 until it is settled: not given */
  size_t patch[3], model_patch[3];      /* d h w; model_patch 0 until it is settled */
  const char *validation, *maps_folder; /* validation: a list beside --labels */
  int contrast;                         /* enum vnt_contrast; below 0: not given */
  double tolerance_mm;
  size_t fold, folds; /* folds 0: the list's own split */
  double odds;        /* of labels in the exported model, times what was learnt */
  double rate, dropout, freeze, clip, average, foreground, timeout_s; /* foreground below 0: the
                                                                         recipe's */
  int ignored;          /* a value of label maps; -1: none */
  uint64_t cache_bytes; /* 0: not given */
  double *class_weight; /* [n_weights]; NULL: all 1 */
  size_t n_weights;
  uint64_t steps, seed, every, validate_every; /* validate_every 0: never */
  enum vnt_optim_kind optimizer;
  struct vnt_loss_spec loss;
  bool flip[3]; /* d h w */
  bool paper, float16, resume, quiet;
  bool shaped;      /* --member, --width or --stages was given */
  bool prepared[3]; /* --orientation, --spacing, --intensity were given */
  bool losing;      /* --loss was given */
  bool wide;        /* --width was given */
  bool flipping;    /* --flip was given */
  /* Options that --plan and --render have no use for; NULL: none was given. */
  const char *unplanned, *unrendered;
};

/* What --optimizer, --loss and --contrast call them. */
extern const char *const vnt_optimizers[]; /* by enum vnt_optim_kind */
extern const char *const vnt_losses[];     /* by enum vnt_loss_kind */
extern const char *const vnt_contrasts[];  /* by enum vnt_contrast */

/* What holds where nothing is said, or nothing but --paper. */
struct vnt_options vnt_options_default(bool paper);

/* Once all that is said is there: refuses what does not go together, and fills in what hangs on the
 * rest. */
void vnt_options_complete(struct vnt_options *options);

/* Is this rule that of scans that --labels renders, with or without "ct A B"? */
bool vnt_rule_renders(const char *intensity);

/* What hangs on the network, once it is known that it tells `classes` apart; `window` is its own,
 * d h w, or NULL. To be called by whoever makes the network. */
void vnt_options_settle(struct vnt_options *options, size_t classes, const size_t *window);

/* What of it decides the weights, as lines such as "--width 8": what a checkpoint remembers. To be
 * freed. `isa` is the one that was chosen; NULL when memory is short. */
char *vnt_options_text(const struct vnt_options *options, const char *isa);

#endif
