/* What hangs together among the options; see options.h. Like main it ends the program. */
#include "options.h"

#include <string.h>

#include "augment.h"
#include "charts.h"
#include "cli.h"
#include "intensity.h"
#include "printed.h"

const char *const vnt_optimizers[] = {[VNT_SGD] = "sgd", [VNT_ADAMW] = "adamw"};
const char *const vnt_losses[] = {
    [VNT_LOSS_DICE] = "dice", [VNT_LOSS_SIGMOID_DICE] = "sigmoid", [VNT_LOSS_MULTI_DICE] = "multi"};

const char *const vnt_contrasts[] = {
    [VNT_CONTRAST_ANY] = "any", [VNT_CONTRAST_MRI] = "mri", [VNT_CONTRAST_T1] = "t1"};

/* Rate, freeze and clip below 0: to be decided by the optimiser. */
struct vnt_options vnt_options_default(bool paper) {
  struct vnt_options o = {.member = "monai",
                          .width = 8,
                          .stages = 4,
                          .batch = 1,
                          .feed_threads = 1,
                          .patch = {72, 88, 72},
                          .flip = {!paper, !paper, !paper},
                          .rate = -1,
                          .freeze = -1,
                          .clip = -1,
                          .foreground = -1,
                          .tolerance_mm = 2,
                          .odds = 1,
                          .ignored = -1,
                          .contrast = -1,
                          .timeout_s = 300,
                          .steps = 4500,
                          .seed = 1,
                          .every = 200,
                          .optimizer = VNT_ADAMW,
                          .loss = {.kind = VNT_LOSS_DICE, .cross_entropy = 0.5}};
  if (!paper) return o;
  o.member = "vnet-2016";
  o.width = 16;
  o.stages = 5;
  o.batch = 2;
  o.patch[0] = 64;
  o.patch[1] = o.patch[2] = 128;
  o.spacing_mm[0] = o.spacing_mm[1] = 1;
  o.spacing_mm[2] = 1.5;
  o.steps = 50000;
  o.optimizer = VNT_SGD;
  o.loss.cross_entropy = 0;
  return o;
}

/* How scans of --labels are rendered. None of them is a CT: "ct A B" is for those to come. */
static const char rendered[] = "percentile 0.5 99.5";

bool vnt_rule_renders(const char *intensity) {
  struct vn_intensity_rule rule;
  return !vn_intensity_parse(intensity, &rule, NULL) && rule.kind == VN_INTENSITY_PERCENTILE &&
         rule.a == 0.5 && rule.b == 99.5;
}

static void labels_complete(struct vnt_options *o) {
  static const char brain[] = /* heads of adults, from the chin or the neck up */
      "extent 100 320 120 320 80 350; ml 1 800 2100; share 1 0.03 0.6; pieces 1 2; surface 1 8.8";
  if (o->data) cli_fatal(VN_E_ARGUMENT, "--data and --labels: one of the two");
  if (o->validate_every && !o->validation)
    cli_fatal(VN_E_ARGUMENT, "--validate-every needs scans: with --labels those of --validation "
                             "CASES.csv");
  if (o->prepared[0])
    cli_fatal(VN_E_ARGUMENT,
              "--orientation goes with --data: scans of --labels are rendered as RAS");
  if (o->intensity && !vnt_rule_renders(o->intensity))
    cli_fatal(VN_E_ARGUMENT,
              "--intensity: with --labels it is '%s', which ', ct A B' may follow, "
              "got %s",
              rendered, o->intensity);
  if (o->classes && o->classes != 2 && !o->label_table)
    cli_fatal(VN_E_ARGUMENT, "--labels: the classes are 2, background and brain, or those of a "
                             "--label-table");
  if (o->foreground >= 0 || o->cache_bytes || o->folds || o->flipping || o->paper)
    cli_fatal(VN_E_ARGUMENT, "--foreground, --flip, --paper, --cache-limit and --fold go with "
                             "--data");
  if (o->ignored >= 0 && !o->validation)
    cli_fatal(VN_E_ARGUMENT, "--ignore goes with --data, or with --validation");
  if (!o->prepared[1]) o->spacing_mm[0] = o->spacing_mm[1] = o->spacing_mm[2] = 2;
  if (!o->spacing_mm[0] || o->spacing_mm[0] != o->spacing_mm[1] ||
      o->spacing_mm[0] != o->spacing_mm[2])
    cli_fatal(VN_E_ARGUMENT, "--spacing: with --labels it is one number");
  if (o->contrast < 0) o->contrast = o->label_table ? VNT_CONTRAST_MRI : VNT_CONTRAST_ANY;
  o->orientation = "RAS";
  if (!o->intensity) o->intensity = rendered;
  if (o->label_table) return;
  if (!o->label_names) o->label_names = "brain:#e6b400";
  if (!o->expect) o->expect = brain;
}

void vnt_options_settle(struct vnt_options *o, size_t classes, const size_t *window) {
  static const size_t head[3] = {96, 112, 96};
  if (o->labels && !o->label_table && classes != 2)
    cli_fatal(VN_E_ARGUMENT,
              "--labels trains for 2 classes, background and brain, or for those of a "
              "--label-table; the model of --init tells %zu apart",
              classes);
  o->classes = classes;
  if (!o->losing && classes > 2) o->loss.kind = VNT_LOSS_MULTI_DICE;
  if (classes > 2 && o->loss.kind != VNT_LOSS_MULTI_DICE)
    cli_fatal(VN_E_ARGUMENT, "--loss %s: for two classes; with %zu it is multi",
              vnt_losses[o->loss.kind], classes);
  if (o->class_weight && o->n_weights != classes)
    cli_fatal(VN_E_ARGUMENT, "--class-weights: %zu weights, but %zu classes with the background",
              o->n_weights, classes);
  o->loss.class_weight = o->class_weight;
  if (!window) window = o->labels ? head : o->patch;
  if (!o->model_patch[0]) memcpy(o->model_patch, window, sizeof o->model_patch);
}

/* What would show at the first sample, or at the first checkpoint. */
static void patch_check(const struct vnt_options *o) {
  if (o->labels && o->patch[2] > VNT_GENERATE_WIDEST)
    cli_fatal(VN_E_ARGUMENT, "--patch: with --labels at most %d along w", VNT_GENERATE_WIDEST);
  if (o->data && o->patch[2] > VNT_AUGMENT_WIDEST)
    cli_fatal(VN_E_ARGUMENT, "--patch: with --data at most %d along w", VNT_AUGMENT_WIDEST);
  for (int a = 0; o->charts && a < 3; a++)
    if (o->patch[a] > VNT_SLICES_SIDE_MOST)
      cli_fatal(VN_E_ARGUMENT,
                "--charts draws samples of at most %d voxels along an axis, got "
                "--patch %zux%zux%zu",
                VNT_SLICES_SIDE_MOST, o->patch[0], o->patch[1], o->patch[2]);
}

void vnt_options_complete(struct vnt_options *o) {
  if (o->plan && o->unplanned)
    cli_fatal(VN_E_ARGUMENT, "--plan only looks at the cases: no --%s beside it", o->unplanned);
  if (o->plan) return;
  if (o->memory_bytes) cli_fatal(VN_E_ARGUMENT, "--memory-limit goes with --plan");
  if (!o->labels && !o->data)
    cli_fatal(VN_E_ARGUMENT, "what to train on is missing: --data CASES.csv or --labels DIR; try "
                             "--help");
  if (o->render && (!o->labels || !o->output || o->unrendered))
    cli_fatal(VN_E_ARGUMENT,
              "--render writes samples of --labels DIR into the folder -o FOLDER%s%s%s",
              o->unrendered ? ": no --" : "", o->unrendered ? o->unrendered : "",
              o->unrendered ? " beside it" : "");
  if (!o->output) cli_fatal(VN_E_ARGUMENT, "where the model goes is missing: -o MODEL.onnx");
  if (o->labels) labels_complete(o);
  patch_check(o);
  if (o->data && o->contrast >= 0)
    cli_fatal(VN_E_ARGUMENT, "--contrast is of scans that --labels renders");
  if (o->contrast < 0) o->contrast = VNT_CONTRAST_ANY;
  if (o->init && o->shaped)
    cli_fatal(VN_E_ARGUMENT, "--init says what the network is: no --member, --width or --stages");
  if (o->freeze < 0) o->freeze = o->optimizer == VNT_SGD ? 1 : 0.5;
  if (o->rate < 0) o->rate = o->optimizer == VNT_SGD ? 1e-4 : 1e-3;
  if (o->clip < 0) o->clip = o->optimizer == VNT_SGD ? 0 : 1;
  if (o->label_table && (o->label_names || o->ignored >= 0))
    cli_fatal(VN_E_ARGUMENT, "--label-table has the names and what is ignored: no --label-names "
                             "and no --ignore beside it");
  if ((o->charts || o->validate_every) && !o->log)
    cli_fatal(VN_E_ARGUMENT, "--charts and --validate-every need --log FILE.csv");
  if (o->maps_folder && !o->validate_every)
    cli_fatal(VN_E_ARGUMENT, "--validation-maps goes with --validate-every");
  if (o->validation && (o->data || !o->validate_every))
    cli_fatal(VN_E_ARGUMENT, "--validation goes with --labels and --validate-every; a list of "
                             "--data says by its column split what is for validation");
  if (!o->checkpoint && !o->render) o->checkpoint = cli_joined(o->output, ".ckpt", "");
}

char *vnt_options_text(const struct vnt_options *o, const char *isa) {
  struct vn_printed text;
  FILE *out = vn_printed_open(&text);
  if (!out) return NULL;
  if (!o->init)
    fprintf(out, "--member %s\n--width %zu\n--stages %zu\n", o->member, o->width, o->stages);
  fprintf(out, "--classes %zu\n--patch %zux%zux%zu\n", o->classes, o->patch[0], o->patch[1],
          o->patch[2]);
  if (o->spacing_mm[0] > 0)
    fprintf(out, "--spacing %.9g %.9g %.9g\n", o->spacing_mm[0], o->spacing_mm[1],
            o->spacing_mm[2]);
  else
    fputs("--spacing own\n", out);
  fprintf(out, "--orientation %s\n--intensity %s\n%s", o->orientation,
          o->labels ? rendered : o->intensity, o->paper ? "--paper\n" : "");
  fprintf(out, "--flip %d%d%d\n", o->flip[0], o->flip[1], o->flip[2]);
  fprintf(out, "--batch %zu\n--optimizer %s\n--rate %.17g\n--loss %s\n--cross-entropy %.17g\n",
          o->batch, vnt_optimizers[o->optimizer], o->rate, vnt_losses[o->loss.kind],
          o->loss.cross_entropy);
  if (o->optimizer == VNT_ADAMW || o->freeze < 1) /* there is something that ends with the steps */
    fprintf(out, "--steps %llu\n--freeze %.17g\n", (unsigned long long)o->steps, o->freeze);
  if (o->foreground >= 0) fprintf(out, "--foreground %.17g\n", o->foreground);
  for (size_t c = 0; c < o->n_weights; c++)
    fprintf(out, "%s%.17g%s", c ? "," : "--class-weights ", o->class_weight[c],
            c + 1 < o->n_weights ? "" : "\n");
  if (o->contrast > VNT_CONTRAST_ANY) fprintf(out, "--contrast %s\n", vnt_contrasts[o->contrast]);
  if (o->folds) fprintf(out, "--fold %zu/%zu\n", o->fold, o->folds);
  if (o->ignored >= 0) fprintf(out, "--ignore %d\n", o->ignored);
  if (o->average > 0) fprintf(out, "--ema %.17g\n", o->average);
  fprintf(out, "--clip %.17g\n", o->clip);
  fprintf(out, "--dropout %.17g\n--seed %llu\n--isa %s\n", o->dropout, (unsigned long long)o->seed,
          isa);
  return vn_printed_close(out, &text) ? text.text : NULL;
}
