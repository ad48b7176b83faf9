/* vnet-plan: a plan as text. What it is, its steps, where every tensor lies and for how long, a
 * chart of the arena, and a proof that no two buffers that are alive together overlap. Reads the
 * file through the runtime's loader, which has validated all of it. */
#include "cli.h"
#include "plan_find.h"
#include "sandbox.h"
#include "plan.h"
#include "vnet.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "Usage: vnet-plan [options] PLAN\n\n"
    "Prints a plan: what was recognised, its steps with the algorithm that each asks for,\n"
    "where every buffer lies in the arena and for how long, a chart of the arena, and\n"
    "whether the plan is sound.\n\n"
    "      --isa NAME       also show the kernel that each step gets here: avx512, avx2,\n"
    "                       neon, portable, ref, or best\n"
    "      --width N        columns of the chart; default 100\n" CLI_SANDBOX_HELP
    "  -h, --help, -V, --version\n\n"
    "Example: vnet-plan vnet.plan --isa best\n\n" CLI_EXIT_HELP;

enum { ROWS_MOST = 32, WIDTH_LEAST = 20, WIDTH_MOST = 1000 };

struct plan_view {
  const struct plan_header *header;
  const struct plan_buffer *buffers;
  const struct plan_tensor *tensors;
  const struct plan_step *steps;
  const struct plan_weight *weights;
  const struct plan_port *ports;
  const struct plan_meta *metas;
  const struct plan_end *ends;
  const struct plan_threshold *thresholds;
  const char *strings;
};

static struct plan_view view_of(const struct vn_plan *plan) {
  size_t size;
  const char *bytes = vn_plan_bytes(plan, &size);
  const struct plan_header *h = (const void *)bytes;
  return (struct plan_view){.header = h,
                            .buffers = (const void *)(bytes + h->buffers.offset),
                            .tensors = (const void *)(bytes + h->tensors.offset),
                            .steps = (const void *)(bytes + h->steps.offset),
                            .weights = (const void *)(bytes + h->weights.offset),
                            .ports = (const void *)(bytes + h->ports.offset),
                            .metas = (const void *)(bytes + h->metas.offset),
                            .ends = (const void *)(bytes + h->ends.offset),
                            .thresholds = (const void *)(bytes + h->thresholds.offset),
                            .strings = bytes + h->strings.offset};
}

static double mib(uint64_t bytes) {
  return (double)bytes / 0x1p20;
}

/* ---- the header ---- */

static void print_port(const struct plan_view *v, const struct plan_port *p) {
  printf("%-10s ", p->is_output ? "output" : "input");
  cli_show(stdout, v->strings + p->name);
  printf(" %s[", p->dtype == VN_I64 ? "i64" : "f32");
  for (uint32_t i = 0; i < p->rank; i++) printf("%s%" PRIu64, i ? "," : "", p->dim[i]);
  printf("]\n");
}

static void print_thresholds(const struct plan_view *v, const struct plan_end *end) {
  const struct plan_threshold *t = v->thresholds + end->first_threshold;
  uint32_t n = end->n_thresholds;
  bool same = true;
  for (uint32_t c = 1; c < n; c++) same = same && t[c].value == t[0].value;
  if (same) n = 1;
  for (uint32_t c = 0; c < n; c++) printf("%s%g", c ? ", " : " ", (double)t[c].value);
}

static void print_end(const struct plan_view *v, const struct plan_end *end) {
  static const char *const text[] = {
      [VN_END_UNSAID] = "not said",
      [VN_END_SCORES] = "scores; the highest is the label",
      [VN_END_SOFTMAX] = "probabilities; the highest is the label",
      [VN_END_LOGSOFTMAX] = "logarithms of probabilities; the highest is the label",
      [VN_END_REGIONS] = "regions, each by itself: from",
      [VN_END_FOREGROUND] = "probabilities of the foreground; background is what they leave of 1",
      [VN_END_LABELS] = "labels"};
  printf("means      %s", text[end->meaning]);
  if (end->meaning == VN_END_REGIONS) print_thresholds(v, end);
  putchar('\n');
}

static void print_header(const struct plan_view *v, const char *path) {
  const struct plan_header *h = v->header;
  uint64_t weight_bytes = 0;
  for (uint64_t i = 0; i < h->weights.count; i++) weight_bytes += v->weights[i].bytes;
  cli_line(stdout, "plan       %s", path);
  cli_line(stdout, "topology   %s", v->strings + h->topology);
  cli_line(stdout, "written by %s, format %u.%u", v->strings + h->producer, h->major, h->minor);
  printf("file       %.1f MiB, checksum %016" PRIx64 "\n", mib(h->file_bytes), h->checksum);
  printf("weights    %.1f MiB in %" PRIu64 " tensors\n", mib(weight_bytes), h->weights.count);
  printf("arena      %.1f MiB, lower bound %.1f MiB (%.3f)\n", mib(h->arena_bytes),
         mib(h->arena_bound_bytes),
         h->arena_bound_bytes ? (double)h->arena_bytes / (double)h->arena_bound_bytes : 1);
  for (uint64_t i = 0, out = 0; i < h->ports.count; i++) {
    print_port(v, &v->ports[i]);
    if (v->ports[i].is_output && out < h->ends.count) print_end(v, &v->ends[out++]);
  }
  for (uint64_t i = 0; i < h->metas.count; i++)
    cli_line(stdout, "metadata   %s = %s", v->strings + v->metas[i].key,
             v->strings + v->metas[i].value);
}

/* ---- steps ---- */

static void text_of_shape(const struct plan_tensor *t, char text[64]) {
  snprintf(text, 64, "%" PRIu64 "x%" PRIu64 "x%" PRIu64 "x%" PRIu64, t->dim[VN_C], t->dim[VN_D],
           t->dim[VN_H], t->dim[VN_W]);
}

/* What an op's name leaves open: the function, the size of groups, or the axes that have tables. */
static void text_of_op(const struct plan_step *s, char text[64]) {
  char axes[VN_AXES + 1] = "";
  size_t n = 0;
  for (uint32_t a = 0; s->op == VN_OP_SAMPLE && a < VN_AXES; a++)
    if (s->u.sample.table[a] != VN_NONE) axes[n++] = "ncdhw"[a];
  axes[n] = '\0';
  if (s->op == VN_OP_MAP)
    snprintf(text, 64, ", %s", vn_map_text(s->u.function.kind));
  else if (s->op == VN_OP_BINARY)
    snprintf(text, 64, ", %s", vn_binary_text(s->u.function.kind));
  else if (s->op == VN_OP_GROUPNORM)
    snprintf(text, 64, ", %u channels a group", s->u.norm.span);
  else if (s->op == VN_OP_SAMPLE)
    snprintf(text, 64, ", %s along %s", s->u.sample.largest ? "largest" : "weighted", axes);
  else
    *text = '\0';
}

/* Of steps with an epilogue in[1] is a residual. */
static bool has_residual(const struct plan_step *s) {
  return s->in[1] != VN_NONE && s->op != VN_OP_ADD && s->op != VN_OP_BINARY && s->op != VN_OP_PRELU;
}

static void text_of_algo(const struct plan_step *s, char text[64]) {
  const struct plan_conv *c = &s->u.conv;
  if (s->algo == VN_ALGO_WINOGRAD)
    snprintf(text, 64, "winograd %ux%ux%u", c->tile[0], c->tile[1], c->tile[2]);
  else
    snprintf(text, 64, "%s", vn_algo_text(s->algo));
}

static void print_steps(const struct plan_view *v, const struct vn_exec *exec) {
  printf("\nstep  op          asked for        %sin c d h w         out c d h w        GMAC  "
         "predicted  layer\n",
         exec ? "kernel here             " : "");
  for (uint64_t i = 0; i < v->header->steps.count; i++) {
    const struct plan_step *s = &v->steps[i];
    char in[64] = "-", out[64], algo[64], more[64];
    if (s->in[0] != VN_NONE) text_of_shape(&v->tensors[s->in[0]], in);
    text_of_shape(&v->tensors[s->out], out);
    text_of_algo(s, algo);
    text_of_op(s, more);
    printf("%4" PRIu64 "  %-10s  %-15s  ", i, vn_op_text(s->op), algo);
    if (exec) printf("%-22s  ", vn_exec_step(exec, i).kernel);
    cli_line(stdout, "%-18s %-18s %5.1f %7.2f ms  %s%s%s%s", in, out, (double)s->macs / 1e9,
             (double)s->predicted_ns / 1e6, v->strings + s->name, more,
             has_residual(s) ? " + residual" : "", s->act[0] || s->act[1] ? " + activation" : "");
  }
}

/* ---- the arena ---- */

/* A letter for each buffer, again from the start when they run out. */
static char letter(uint64_t buffer) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  return letters[buffer % (sizeof letters - 1)];
}

static void print_buffers(const struct plan_view *v) {
  printf("\nbuffer   offset MiB     size MiB   steps     tensors\n");
  for (uint64_t i = 0; i < v->header->buffers.count; i++) {
    const struct plan_buffer *b = &v->buffers[i];
    printf("%4" PRIu64 " %c  %11.3f  %11.3f  %3u..%-3u ", i, letter(i), mib(b->offset),
           mib(b->bytes), b->first_step, b->last_step);
    for (uint64_t t = 0; t < v->header->tensors.count; t++)
      if (v->tensors[t].buffer == i) {
        putchar(' ');
        cli_show(stdout, v->strings + v->tensors[t].name);
      }
    putchar('\n');
  }
}

/* The buffer that holds most of [from, to) at a step, or -1. */
static int64_t holder(const struct plan_view *v, uint64_t step, uint64_t from, uint64_t to) {
  int64_t best = -1;
  uint64_t most = 0;
  for (uint64_t i = 0; i < v->header->buffers.count; i++) {
    const struct plan_buffer *b = &v->buffers[i];
    uint64_t first = b->offset > from ? b->offset : from;
    uint64_t last = b->offset + b->bytes < to ? b->offset + b->bytes : to;
    if (b->first_step > step || b->last_step < step || last <= first || last - first <= most)
      continue;
    most = last - first;
    best = (int64_t)i;
  }
  return best;
}

/* Rows are parts of the arena, the lowest at the bottom; columns are steps. */
static void print_chart(const struct plan_view *v, uint64_t width) {
  uint64_t steps = v->header->steps.count, arena = v->header->arena_bytes;
  uint64_t columns = steps < width ? steps : width;
  printf("\narena by step, %" PRIu64 " steps from left to right\n", steps);
  for (uint64_t row = ROWS_MOST; row-- > 0;) {
    uint64_t from = arena / ROWS_MOST * row, to = arena / ROWS_MOST * (row + 1);
    if (to <= from) continue;
    printf("%9.1f MiB |", mib(from));
    for (uint64_t c = 0; c < columns; c++) {
      int64_t buffer = holder(v, c * steps / columns, from, to);
      putchar(buffer < 0 ? '.' : letter((uint64_t)buffer));
    }
    printf("|\n");
  }
}

/* The loader has refused what overlaps; here the same is looked at once more, pair by pair. */
static uint64_t count_overlaps(const struct plan_view *v) {
  uint64_t overlaps = 0;
  for (uint64_t i = 0; i < v->header->buffers.count; i++)
    for (uint64_t k = 0; k < i; k++) {
      const struct plan_buffer *a = &v->buffers[i], *b = &v->buffers[k];
      bool together = a->first_step <= b->last_step && b->first_step <= a->last_step;
      bool apart = a->offset + a->bytes <= b->offset || b->offset + b->bytes <= a->offset;
      overlaps += together && !apart;
    }
  return overlaps;
}

/* ---- the program ---- */

int main(int argc, char **argv) {
  enum { ISA = 256, WIDTH, NO_SANDBOX };
  static const struct option longs[] = {
      {"isa", required_argument, NULL, ISA},         {"width", required_argument, NULL, WIDTH},
      {"no-sandbox", no_argument, NULL, NO_SANDBOX}, {"help", no_argument, NULL, 'h'},
      {"version", no_argument, NULL, 'V'},           {NULL, 0, NULL, 0}};
  struct vn_diag diag = {""};
  struct vn_plan *plan = NULL;
  struct vn_exec *exec = NULL;
  const char *isa = NULL;
  bool no_sandbox = false;
  uint64_t width = 100;
  cli_start("vnet-plan");
  for (int option; (option = cli_option(argc, argv, "hV", longs)) != -1;) {
    switch (option) {
    case ISA:
      isa = optarg;
      break;
    case WIDTH:
      width = cli_count("--width", optarg, WIDTH_LEAST, WIDTH_MOST);
      break;
    case NO_SANDBOX:
      no_sandbox = true;
      break;
    case 'V':
      printf("vnet-plan %s\n", vn_version());
      cli_finish_stdout();
      return 0;
    default:
      fputs(help, stdout);
      cli_finish_stdout();
      return 0;
    }
  }
  if (argc - optind != 1)
    cli_fatal(VN_E_ARGUMENT, "expected one plan, got %d; try --help", argc - optind);
  char *path = plan_find(argv[optind], true);
  struct sandbox box;
  if (!no_sandbox) {
    sandbox_open(&box);
    sandbox_read(&box, path);
    sandbox_enter(&box);
  }
  cli_check(vn_plan_open(path, &plan, &diag), &diag);
  const struct vn_exec_options options = {.size = sizeof options,
                                          .isa = isa && strcmp(isa, "best") ? isa : NULL};
  if (isa) cli_check(vn_exec_open(plan, &options, &exec, &diag), &diag);
  struct plan_view v = view_of(plan);
  print_header(&v, path);
  print_steps(&v, exec);
  print_buffers(&v);
  print_chart(&v, width);
  uint64_t overlaps = count_overlaps(&v);
  printf("\nintegrity: checksum and every record right, %" PRIu64 " overlapping pairs of buffers\n",
         overlaps);
  vn_exec_close(&exec);
  vn_plan_close(&plan);
  free(path);
  cli_finish_stdout();
  return overlaps ? VN_E_INTERNAL : 0;
}
