/* Everything that a run needs, made in the order in which it can fail soonest; see run.h. */
#include "run.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "calibrate.h"
#include "cli.h"
#include "expect.h"
#include "images.h"
#include "model_file.h"
#include "models/build.h"

static void machine_open(struct vnt_run *run) {
  struct vn_diag diag;
  const struct vnt_options *o = &run->options;
  const size_t ranks = vnt_comm_ranks();
  if (o->batch % ranks)
    cli_fatal(VN_E_ARGUMENT, "--batch %zu cannot be shared equally by %zu ranks", o->batch, ranks);
  run->share = o->batch / ranks;
  const size_t threads = o->threads ? o->threads : vnt_comm_threads();
  cli_check(vnt_machine_open(o->isa, threads, &run->machine, &diag), &diag);
  run->machine.sum = vnt_comm_sum;
  run->machine.processes = ranks;
}

/* ---- labels and channels ---- */

/* The classes that are asked for; 0: none are. */
static void labels_open(struct vnt_run *run) {
  struct vnt_options *o = &run->options;
  struct vn_diag diag;
  if (!o->label_table) return;
  cli_check(vnt_labels_read(o->label_table, &run->labels, &diag), &diag);
  if (o->classes && o->classes != run->labels->classes)
    cli_fatal(VN_E_ARGUMENT, "--classes %zu: the table of labels has %zu, with the background",
              o->classes, run->labels->classes);
  o->classes = run->labels->classes;
}

/* How many channels the data has; sets run->channels. */
static size_t channels_count(struct vnt_run *run) {
  const struct vnt_options *o = &run->options;
  struct vnt_list list;
  struct vn_diag diag;
  if (!o->data) return 1;
  cli_check(vnt_list_read(o->data, &list, &diag), &diag);
  cli_check(vnt_images_count(&list, o->data, &diag), &diag);
  const size_t channels = list.channels;
  free(run->channels);
  run->channels = vnt_list_channels(&list);
  if (list.channel[0] && !run->channels) cli_fatal(VN_E_MEMORY, "out of memory");
  vnt_list_close(&list);
  return channels;
}

/* ---- the network ---- */

static void graph_build(struct vnt_run *run, struct vnc_graph *graph) {
  struct vnc_spec spec;
  struct vn_diag diag;
  struct vnt_options *o = &run->options;
  const uint64_t patch[3] = {o->patch[0], o->patch[1], o->patch[2]};
  const size_t channels = channels_count(run);
  cli_check(vnc_spec_init(&spec, o->member, (uint32_t)o->stages, &diag), &diag);
  if (!o->wide) o->width = (o->width + channels - 1) / channels * channels;
  spec.width = (uint32_t)o->width;
  spec.in_channels = (uint32_t)channels;
  spec.classes = (uint32_t)o->classes;
  spec.tail = VNC_TAIL_SOFTMAX;
  cli_check(vnc_model_build(&spec, patch, o->seed, graph, &diag), &diag);
  snprintf(run->member, sizeof run->member, "%s", spec.member);
}

/* As the options' other strings it lives as long as the program; the graph's own move as it grows.
 */
static const char *kept(const char *text) {
  const char *copy = strdup(text);
  if (!copy) cli_fatal(VN_E_MEMORY, "out of memory");
  return copy;
}

/* What the command line does not say of how scans are prepared is the model's, or the defaults. */
static void prepared_take(struct vnt_run *run) {
  struct vnt_options *o = &run->options;
  const char *orientation = vnc_graph_meta_value(&run->graph, "vnet.orientation");
  const char *intensity = vnc_graph_meta_value(&run->graph, "vnet.intensity");
  const char *spacing = vnc_graph_meta_value(&run->graph, "vnet.spacing_mm");
  double mm[3];
  if (o->data && o->init && !o->prepared[0] && orientation) o->orientation = kept(orientation);
  if (o->init && !o->prepared[2] && intensity && (o->data || vnt_rule_renders(intensity)))
    o->intensity = kept(intensity);
  if (o->init && !o->prepared[1] && spacing && vn_numbers_parse(spacing, mm, 3) == 3)
    memcpy(o->spacing_mm, mm, sizeof mm);
  if (o->labels && (o->spacing_mm[0] != o->spacing_mm[1] || o->spacing_mm[0] != o->spacing_mm[2]))
    cli_fatal(VN_E_ARGUMENT,
              "%s: its spacing is %g x %g x %g mm, and with --labels it is one number: give "
              "--spacing",
              o->init, o->spacing_mm[0], o->spacing_mm[1], o->spacing_mm[2]);
  if (!o->orientation) o->orientation = "RAS";
  if (!o->intensity) o->intensity = "zscore";
}

/* What --init brings along stays. */
static void expect_set(struct vnt_run *run) {
  const struct vnt_options *o = &run->options;
  struct vn_expect expect;
  struct vn_diag diag;
  if (!o->expect) return;
  const enum vn_status status = vn_expect_parse(o->expect, o->classes, &expect, &diag);
  vn_expect_close(&expect);
  if (status) cli_fatal(status == VN_E_MEMORY ? status : VN_E_ARGUMENT, "--expect: %s", diag.text);
  vnt_model_meta(&run->graph, "vnet.expect", o->expect);
}

static void metas_set(struct vnt_run *run) {
  const struct vnt_options *o = &run->options;
  struct vn_diag diag;
  char text[128], *labels = NULL;
  vnt_model_meta(&run->graph, "vnet.orientation", o->orientation);
  vnt_model_meta(&run->graph, "vnet.intensity", o->intensity);
  snprintf(text, sizeof text, "%g %g %g", o->spacing_mm[0], o->spacing_mm[1], o->spacing_mm[2]);
  vnt_model_meta(&run->graph, "vnet.spacing_mm", o->spacing_mm[0] > 0 ? text : NULL);
  snprintf(text, sizeof text, "%zu %zu %zu", o->model_patch[0], o->model_patch[1],
           o->model_patch[2]);
  vnt_model_meta(&run->graph, "vnet.patch", text);
  if (o->labels || o->prepared[2]) /* heads in the air; or what was said of other intensities */
    vnt_model_meta(&run->graph, "vnet.foreground", o->labels ? "0.1" : NULL);
  if (run->channels && !vnc_graph_meta_value(&run->graph, "vnet.channels"))
    vnt_model_meta(&run->graph, "vnet.channels", run->channels);
  vnt_model_meta(&run->graph, "vnet.validation_dice", NULL); /* --init's, of other weights */
  if (run->labels->json) vnt_model_meta(&run->graph, "vnet.labels", run->labels->json);
  if (!o->label_names) return;
  cli_check(vnt_labels_json(o->label_names, o->classes, &labels, &diag), &diag);
  vnt_model_meta(&run->graph, "vnet.labels", labels);
  free(labels);
}

/* From a file; with other classes than it has, under a head of its own. */
static void graph_import(struct vnt_run *run, struct vnc_graph *graph) {
  struct vnt_options *o = &run->options;
  struct vn_diag diag;
  size_t window[3];
  cli_check(vnt_model_import(o->init, o->patch, graph, window, run->member, &diag), &diag);
  const size_t has = vnt_model_classes(graph), channels = channels_count(run);
  if (vnt_model_channels(graph) != channels)
    cli_fatal(VN_E_ARGUMENT, "%s: it is for scans of %zu channels, the data has %zu", o->init,
              vnt_model_channels(graph), channels);
  if (graph->nodes[graph->outputs[0].node].dim[VN_C] == 1) {
    if (!o->losing) o->loss.kind = VNT_LOSS_SIGMOID_DICE;
    vnt_model_one(graph);
  }
  vnt_options_settle(o, o->classes ? o->classes : has, window);
  if (o->classes == has && vnt_model_overlaps(graph))
    cli_fatal(VN_E_UNSUPPORTED,
              "%s: its %zu outputs are regions that may overlap, and what is trained are labels "
              "that exclude each other",
              o->init, has);
  if (o->classes == has) return;
  cli_check(vnt_model_head(graph, o->classes, o->seed, &diag), &diag);
  if (!o->quiet && vnt_comm_rank() == 0 && graph == &run->graph)
    cli_note("%s tells %zu classes apart: for %zu it gets a new head", o->init, has, o->classes);
}

static void graph_make(struct vnt_run *run, struct vnc_graph *graph) {
  struct vnt_options *o = &run->options;
  if (o->init) {
    graph_import(run, graph);
  } else {
    vnt_options_settle(o, o->classes ? o->classes : 2, NULL);
    graph_build(run, graph);
  }
}

/* Every value is a class: those of --init, with its sides, unless they have other names. */
static void labels_own(struct vnt_run *run) {
  const struct vnt_options *o = &run->options;
  const char *json = vnc_graph_meta_value(&run->graph, "vnet.labels");
  struct vn_diag diag;
  cli_check(vnt_labels_plain(o->classes, o->ignored, &run->labels, &diag), &diag);
  cli_check(vnt_labels_sides(run->labels, json, &diag), &diag);
  if (!o->label_names || !run->labels->sided) return;
  run->sides_lost = true;
  vnt_labels_close(&run->labels);
  cli_check(vnt_labels_plain(o->classes, o->ignored, &run->labels, &diag), &diag);
}

static void graph_open(struct vnt_run *run) {
  const struct vnt_options *o = &run->options;
  struct vn_diag diag;
  labels_open(run);
  graph_make(run, &run->graph);
  if (!run->labels) labels_own(run);
  prepared_take(run);
  metas_set(run);
  expect_set(run);
  if (run->graph.failed) cli_fatal(VN_E_MEMORY, "out of memory");
  /* What does not fit the model shows now, not at the first checkpoint. */
  if (o->odds != 1) cli_check(vnt_model_odds(&run->graph, 1, &diag), &diag);
  cli_check(vnt_model_resize(&run->graph, o->model_patch, &diag), &diag);
  cli_check(vnt_model_resize(&run->graph, o->patch, &diag), &diag);
}

/* The graph that is trained: the model's, or a second one with places of dropout. */
static struct vnc_graph *trained_open(struct vnt_run *run) {
  const struct vnt_options *o = &run->options;
  struct vn_diag diag;
  if (o->dropout <= 0) return &run->graph;
  graph_make(run, &run->dropped);
  cli_check(vnt_dropout_insert(&run->dropped, &diag), &diag);
  return &run->dropped;
}

static void net_open(struct vnt_run *run) {
  const struct vnt_options *o = &run->options;
  struct vn_diag diag;
  cli_check(vnt_net_open(&run->machine, trained_open(run), run->share, &run->net, &diag), &diag);
  run->optim = (struct vnt_optim){.kind = o->optimizer,
                                  .momentum = 0.99,
                                  .beta1 = 0.9,
                                  .beta2 = 0.999,
                                  .epsilon = 1e-8,
                                  .decay = o->optimizer == VNT_ADAMW ? 0.01 : 0,
                                  .clip = o->clip};
  cli_check(vnt_optim_open(&run->optim, run->net.elems, &diag), &diag);
  if (o->average > 0) {
    run->average = malloc((run->net.elems + run->net.n_running) * sizeof *run->average);
    if (!run->average) cli_fatal(VN_E_MEMORY, "out of memory");
  }
  cli_check(vnt_reduce_open(&run->net, &run->reduce, &diag), &diag);
  run->target = malloc(run->share * o->patch[0] * o->patch[1] * o->patch[2]);
  if (!run->target) cli_fatal(VN_E_MEMORY, "out of memory");
}

/* ---- data ---- */

static void notes_print(const struct vnt_run *run) {
  const struct vnt_cases *cases = &run->samples.cases;
  if (run->options.quiet || vnt_comm_rank() != 0) return;
  if (run->options.data && cases->list.channels > 1 && !cases->list.channel[0])
    cli_note("%s: scans of %zu channels that have no names; a column image_NAME;NAME;… gives them",
             run->options.data, cases->list.channels);
  for (size_t i = 0; i < cases->list.count; i++)
    if (*cases->items[i].note)
      cli_note("%s: %s", cases->items[i].row->image[0], cases->items[i].note);
  for (size_t class = 1; cases->n_training && class < run->labels->classes; class ++) {
    bool there = false;
    for (size_t i = 0; i < cases->n_training && !there; i++) {
      const struct vnt_case *item = &cases->items[cases->training[i]];
      there = item->before[(class + 1) * (item->source.dim[0] + 1) - 1] > 0;
    }
    if (!there) cli_note("%s: class %zu is in no case to train on", run->options.data, class);
  }
}

/* Of all ranks of a node together, each of which has cases of its own; without a figure half of
 * what is free, so that the rest is for activations and what else there is. */
static uint64_t cache_bytes(const struct vnt_options *o) {
  return (o->cache_bytes ? o->cache_bytes : vn_memory_free() / 2) / vnt_comm_neighbours();
}

static void samples_open(struct vnt_run *run) {
  const struct vnt_options *o = &run->options;
  struct vn_diag diag;
  char *store = cli_joined(o->checkpoint, ".cases", "");
  const struct vnt_samples_spec spec = {
      .labels = o->labels,
      .contrast = (enum vnt_contrast)o->contrast,
      .data = o->data,
      .validation = o->validation,
      .patch = o->patch,
      .spacing_mm = {o->spacing_mm[2], o->spacing_mm[1], o->spacing_mm[0]},
      .orientation = o->orientation,
      .intensity = o->intensity,
      .classes = run->labels,
      .channels = vnc_graph_meta_value(&run->graph, "vnet.channels"),
      .store_path = store,
      .memory_bytes = cache_bytes(o),
      .foreground = o->foreground,
      .fold = o->fold,
      .folds = o->folds,
      .paper = o->paper,
      .flip = {o->flip[0], o->flip[1], o->flip[2]},
  };
  cli_check(vnt_samples_open(&spec, run->machine.pool, &run->samples, &diag), &diag);
  run->samples.cases.store.path = NULL; /* which has all it will have */
  free(store);
  notes_print(run);
  if (o->validate_every && run->samples.cases.n_validation == 0)
    cli_fatal(VN_E_ARGUMENT, "%s: no case is for validation: a column split or --fold says which",
              o->data);
}

/* What decides the result, before the first step. */
static void identity_make(struct vnt_run *run) {
  char start[128] = "";
  char *text = vnt_options_text(&run->options, run->machine.runtime->name);
  if (run->options.init)
    snprintf(start, sizeof start, "--init of the checksum %08llx\n",
             (unsigned long long)vnt_net_checksum(&run->net));
  if (run->labels->table)
    snprintf(start + strlen(start), sizeof start - strlen(start),
             "--label-table of the checksum %08llx\n",
             (unsigned long long)vnt_labels_checksum(run->labels));
  if (run->sides_lost)
    snprintf(start + strlen(start), sizeof start - strlen(start),
             "--label-names that do not tell left from right\n");
  if (!text || asprintf(&run->identity, "%s%s%s", text, start, run->samples.list) < 0)
    cli_fatal(VN_E_MEMORY, "out of memory");
  free(text);
}

static void calibrate(struct vnt_run *run) {
  const struct vnt_options *o = &run->options;
  struct vn_diag diag;
  for (size_t i = 0; i < run->share; i++) {
    const size_t at = i * run->samples.voxels;
    cli_check(vnt_samples_make(&run->samples, o->seed, vnt_comm_rank() * run->share + i,
                               run->machine.pool,
                               (float *)run->net.input.data + at * run->samples.channels,
                               run->target + at, &diag),
              &diag);
  }
  vnt_net_calibrate(&run->net);
}

/* Of what validation scores beside the weights: the cases, and how the model of them is made. */
static uint32_t validation_sum(const struct vnt_run *run) {
  const struct vnt_options *o = &run->options;
  char *text;
  const int length =
      asprintf(&text, "--odds %.17g --float16 %d --model-patch %zux%zux%zu --intensity %s", o->odds,
               o->float16, o->model_patch[0], o->model_patch[1], o->model_patch[2], o->intensity);
  if (length < 0) cli_fatal(VN_E_MEMORY, "out of memory");
  const uLong sum = crc32(run->samples.validation, (const Bytef *)text, (uInt)length);
  free(text);
  return (uint32_t)sum;
}

/* The best score of other cases, or of a model made otherwise, says nothing of those to come: what
 * was validated is validated anew. A run that is not validated leaves all that to the next. */
static void validation_take(struct vnt_run *run) {
  struct vnt_progress *p = &run->progress;
  const double sum = validation_sum(run);
  if (!run->options.validate_every || p->validation == sum) return;
  if (p->best_step && !run->options.quiet && vnt_comm_rank() == 0)
    cli_note("other cases are validated on than before, or another model of the same weights: "
             "the best one is that of now");
  p->best_step = p->best_score = p->validated = 0;
  p->validation = sum;
}

void vnt_run_open(struct vnt_run *run, const struct vnt_options *options) {
  struct vn_diag diag;
  *run = (struct vnt_run){.options = *options};
  const struct vnt_options *o = &run->options;
  cli_check(vn_cancel_create(&run->cancel, &diag), &diag);
  machine_open(run);
  graph_open(run);
  net_open(run);
  samples_open(run);
  identity_make(run);
  if (o->resume) {
    const struct vnt_checkpoint checkpoint = {&run->net, &run->optim, run->average, &run->progress,
                                              run->identity};
    cli_check(vnt_checkpoint_read(o->checkpoint, &checkpoint, &diag), &diag);
    if (run->optim.steps > o->steps)
      cli_fatal(VN_E_ARGUMENT, "%s: it is at step %llu, beyond --steps %llu", o->checkpoint,
                (unsigned long long)run->optim.steps, (unsigned long long)o->steps);
    run->saved = true;
    vnt_net_changed(&run->net);
  } else if (o->init && run->net.n_running) {
    calibrate(run);
  }
  validation_take(run);
  if (run->average && !o->resume) {
    memcpy(run->average, run->net.param, run->net.elems * sizeof(float));
    memcpy(run->average + run->net.elems, run->net.running, run->net.n_running * sizeof(float));
  }
  if (vnt_comm_rank() == 0) vnt_run_outputs(run);
  const struct vnt_feed_spec feed = {.samples = &run->samples,
                                     .pool = run->machine.pool,
                                     .threads = o->feed_threads,
                                     .seed = o->seed,
                                     .step = run->optim.steps,
                                     .batch = o->batch,
                                     .first = vnt_comm_rank() * run->share,
                                     .count = run->share};
  cli_check(vnt_feed_open(&feed, &run->feed, &diag), &diag);
}

void vnt_run_close(struct vnt_run *run) {
  if (run->log) fclose(run->log); /* synced with the last checkpoint */
  vnt_feed_close(&run->feed);
  vnt_reduce_close(&run->reduce);
  vnt_samples_close(&run->samples);
  vnt_labels_close(&run->labels);
  free(run->channels);
  free(run->average);
  free(run->target);
  free(run->identity);
  free(run->scores_path);
  free(run->best_path);
  vnt_optim_close(&run->optim);
  vnt_net_close(&run->net);
  vnc_graph_free(&run->graph);
  vnc_graph_free(&run->dropped);
  vnt_machine_close(&run->machine);
  vn_cancel_close(&run->cancel);
}
