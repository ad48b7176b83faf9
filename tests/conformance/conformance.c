/* ONNX's conformance vectors through importer, compiler and runtime.
 *
 *   conformance FOLDER [PART-OF-A-NAME]      (Debian: /usr/share/libonnx-testdata/data)
 *
 * Each case is tried with every input computed and with every input but the first known when
 * compiling, which is how networks hold their weights. It passes when one of the two compiles and
 * all that compile give the expected outputs; it is refused when the importer says why for both.
 * Anything else fails, a crash too: every case has a process of its own. Then all inputs are known,
 * as in the arithmetic around shapes, which the compiler has to evaluate. */
#include "compile.h"
#include "onnx_case.h"
#include "vnet.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECONDS_MOST = 60, CASES_MOST = 4096, BFLOAT16 = 16 };

/* ONNX's own tolerances. */
static const double RELATIVE = 1e-3, ABSOLUTE = 1e-7;

/* The least that must pass; raise it with what is supported. */
static const struct {
  const char *group;
  size_t least, least_known;
} groups[] = {{"node", 345, 140},
              {"pytorch-converted", 79, 4},
              {"pytorch-operator", 27, 14},
              {"simple", 6, 6}};
enum { GROUPS = sizeof groups / sizeof *groups };

/* Beginnings of names of which every case must pass. */
static const char *const required[] = {"test_Conv",  "test_conv_", "test_convtranspose",
                                       "test_PReLU", "test_prelu", "test_BatchNorm3d"};

enum outcome { REFUSED, PASSED, FAILED };

struct result {
  enum outcome outcome;
  bool known; /* passed when everything was known */
  size_t group;
  char name[256], text[512];
};

static enum outcome say(struct result *r, enum outcome outcome, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum outcome say(struct result *r, enum outcome outcome, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(r->text, sizeof r->text, format, args);
  va_end(args);
  return outcome;
}

/* ---- outputs ---- */

static bool close_to(double got, double want) {
  if (isnan(want)) return isnan(got);
  return got == want || fabs(got - want) <= ABSOLUTE + RELATIVE * fabs(want);
}

static enum outcome compare(struct result *r, struct vn_port port, const void *data,
                            const struct case_tensor *want) {
  if (port.rank != want->rank || memcmp(port.dim, want->dim, want->rank * sizeof *want->dim))
    return say(r, FAILED, "output '%s' has another shape than expected", port.name);
  if ((port.type == VN_TYPE_F32) != want->is_float)
    return say(r, FAILED, "output '%s' has another type than expected", port.name);
  for (size_t i = 0; i < want->elems; i++) {
    double got =
        want->is_float ? (double)((const float *)data)[i] : (double)((const int64_t *)data)[i];
    double expected = want->is_float ? (double)want->f[i] : (double)want->i[i];
    if (!close_to(got, expected))
      return say(r, FAILED, "output '%s'[%zu] is %.9g, expected %.9g", port.name, i, got, expected);
  }
  return PASSED;
}

/* One way to try one set of a case's data. */
enum mode { COMPUTED, WEIGHTS_KNOWN, ALL_KNOWN };

struct attempt {
  const struct onnx_case *c;
  size_t set;
  enum mode mode;
  struct result *r;
};

/* What a plan takes for integers. */
static void make_float(struct case_tensor *t) {
  if (t->is_float) return;
  t->f = malloc((t->elems + 1) * sizeof *t->f);
  if (!t->f) abort();
  for (size_t i = 0; i < t->elems; i++) t->f[i] = (float)t->i[i];
  free(t->i);
  t->i = NULL;
  t->is_float = true;
}

/* The vectors hold bfloat16 as the 16 bits that it is. */
static void make_bfloat(struct case_tensor *t) {
  if (t->is_float) return;
  make_float(t);
  for (size_t i = 0; i < t->elems; i++) {
    const uint32_t bits = (uint32_t)t->f[i] << 16;
    memcpy(&t->f[i], &bits, sizeof bits);
  }
}

/* Zeros plus a known value: that value as floats, of at least one dimension. */
static void make_sum(struct case_tensor *t) {
  if (t->rank == 0) t->dim[t->rank++] = 1;
  make_float(t);
}

static bool read_output(const struct attempt *a, size_t i, struct case_tensor *t) {
  char path[1024];
  case_path(a->c, a->set, "output", i, path, sizeof path);
  bool good = case_tensor_read(path, t);
  if (good && a->mode == ALL_KNOWN) make_sum(t);
  return good;
}

static bool read_input(const struct attempt *a, size_t i, struct case_tensor *t) {
  char path[1024];
  case_path(a->c, a->set, "input", i, path, sizeof path); /* those that are bound come last */
  bool good = a->mode == ALL_KNOWN ? read_output(a, 0, t) : case_tensor_read(path, t);
  if (good && a->mode != ALL_KNOWN && case_type(a->c->inputs[i]) == BFLOAT16) make_bfloat(t);
  if (good) make_float(t);
  if (a->mode != ALL_KNOWN) return good;
  for (size_t k = 0; good && k < t->elems; k++) t->f[k] = 0;
  return good;
}

static enum outcome check_outputs(const struct attempt *a, const struct vn_plan *plan,
                                  void *const *data) {
  enum outcome outcome = PASSED;
  if (a->mode != ALL_KNOWN && vn_plan_outputs(plan) != a->c->model->graph->n_output)
    return say(a->r, FAILED, "another number of outputs than expected");
  for (size_t i = 0; outcome == PASSED && i < vn_plan_outputs(plan); i++) {
    struct case_tensor want;
    if (!read_output(a, i, &want))
      outcome = say(a->r, FAILED, "an output was made that the vectors hold as no tensor");
    else
      outcome = compare(a->r, vn_plan_output(plan, i), data[i], &want);
    case_tensor_free(&want);
  }
  return outcome;
}

/* ---- one case ---- */

static enum outcome run_plan(const struct attempt *a, const struct vn_plan *plan) {
  struct vn_exec *exec = NULL;
  struct vn_diag diag = {""};
  struct case_tensor in[CASE_INPUTS] = {0};
  const void *inputs[CASE_INPUTS];
  void *outputs[CASE_INPUTS] = {NULL};
  enum outcome outcome = PASSED;
  size_t n_out = vn_plan_outputs(plan);
  if (n_out > CASE_INPUTS) return say(a->r, FAILED, "%zu outputs", n_out);
  for (size_t i = 0; i < vn_plan_inputs(plan); i++) {
    if (!read_input(a, i, &in[i]))
      outcome = say(a->r, FAILED, "input %zu of the vectors cannot be read", i);
    else if (in[i].elems != vn_plan_input(plan, i).elems) /* which is what the model declares */
      outcome = say(a->r, REFUSED, "input %zu of the vectors does not fit the model", i);
    inputs[i] = in[i].f;
  }
  for (size_t i = 0; i < n_out; i++) outputs[i] = malloc(8 * vn_plan_output(plan, i).elems);
  const struct vn_exec_options options = {.size = sizeof options, .threads = 1};
  if (outcome == PASSED &&
      (vn_exec_open(plan, &options, &exec, &diag) || vn_exec_run(exec, inputs, outputs, &diag)))
    outcome = say(a->r, FAILED, "runtime: %.400s", diag.text);
  if (outcome == PASSED) outcome = check_outputs(a, plan, outputs);
  vn_exec_close(&exec);
  for (size_t i = 0; i < CASE_INPUTS; i++) {
    case_tensor_free(&in[i]);
    free(outputs[i]);
  }
  return outcome;
}

static enum outcome run_graph(const struct attempt *a, struct vnc_graph *g) {
  const struct vnc_options options = {.topology = "any"};
  struct vn_diag diag = {""};
  struct vn_plan *plan = NULL;
  void *bytes = NULL;
  size_t size = 0;
  enum outcome outcome = PASSED;
  if (vnc_compile_graph(g, &options, &bytes, &size, NULL, &diag))
    outcome = say(a->r, FAILED, "compiler: %.400s", diag.text);
  else if (vn_plan_open_memory(bytes, size, &plan, &diag))
    outcome = say(a->r, FAILED, "loader: %.400s", diag.text);
  else
    outcome = run_plan(a, plan);
  vn_plan_close(&plan);
  free(bytes);
  return outcome;
}

/* `bindings`, `paths`: room for CASE_INPUTS. */
static size_t bind(const struct attempt *a, struct vnc_binding *bindings, char paths[][1024]) {
  size_t n = 0, first = a->mode == COMPUTED ? a->c->n_inputs : a->mode == WEIGHTS_KNOWN ? 1 : 0;
  for (size_t i = first; i < a->c->n_inputs; i++, n++) {
    case_path(a->c, a->set, "input", i, paths[n], 1024);
    bindings[n] = (struct vnc_binding){a->c->inputs[i]->name, paths[n]};
  }
  return n;
}

static enum outcome try_set(const struct attempt *a, const char *model) {
  char paths[CASE_INPUTS][1024];
  struct vnc_binding bindings[CASE_INPUTS];
  struct vnc_import_options options = {.bindings = bindings};
  struct vnc_graph g;
  struct vn_diag diag = {""};
  enum outcome outcome;
  options.n_bindings = bind(a, bindings, paths);
  enum vn_status status = vnc_onnx_import(model, &options, &g, &diag);
  if (!status)
    outcome = run_graph(a, &g);
  else if (status != VN_E_UNSUPPORTED || !*diag.text || strchr(diag.text, '\n'))
    outcome = say(a->r, FAILED, "a sound model refused as '%s': %.400s", vn_status_text(status),
                  diag.text);
  else
    outcome = say(a->r, REFUSED, "%s", diag.text);
  vnc_graph_free(&g);
  return outcome;
}

static enum outcome try_all(const struct onnx_case *c, enum mode mode, struct result *r) {
  enum outcome outcome = PASSED;
  size_t set = 0;
  char path[1024], model[1024];
  snprintf(model, sizeof model, "%s/model.onnx", c->folder);
  for (; outcome == PASSED; set++) {
    case_path(c, set, "output", 0, path, sizeof path);
    if (!case_exists(path)) break;
    outcome = try_set(&(struct attempt){c, set, mode, r}, model);
  }
  return set ? outcome : say(r, FAILED, "it has no data");
}

/* The vectors give sequences, too, and bfloat16 as uint16. */
static bool holds_its_type(const struct onnx_case *c, size_t input) {
  struct case_tensor t;
  char path[1024];
  int32_t type = case_type(c->inputs[input]);
  case_path(c, 0, "input", input, path, sizeof path);
  bool good = type && case_tensor_read(path, &t);
  if (!good) return false;
  case_tensor_free(&t);
  return t.type == type;
}

/* The case's operators on values that are known when compiling, where they are tensors. */
static enum outcome try_known(const struct onnx_case *c, struct result *r) {
  const struct attempt a = {c, 0, ALL_KNOWN, r};
  struct case_tensor want;
  char model[] = "/tmp/vnet-known-XXXXXX";
  enum outcome outcome = REFUSED;
  int32_t type = case_type(c->model->graph->output[0]);
  for (size_t i = 0; i < c->n_inputs; i++)
    if (!holds_its_type(c, i)) return REFUSED;
  if (!type || !read_output(&a, 0, &want)) return REFUSED;
  bool usable = want.type == type && want.elems && want.rank <= 5;
  int fd = usable ? mkstemp(model) : -1;
  if (fd >= 0) {
    close(fd);
    if (case_write_known(c, &want, model)) outcome = try_set(&a, model);
    unlink(model);
  }
  case_tensor_free(&want);
  return outcome;
}

static void try_case(const char *folder, struct result *r) {
  struct onnx_case c;
  if (!case_open(&c, folder)) {
    r->outcome = say(r, FAILED, "its model cannot be read");
    return;
  }
  struct result other = *r;
  r->outcome = try_all(&c, COMPUTED, r);
  if (r->outcome != FAILED && c.n_inputs > 1) {
    other.outcome = try_all(&c, WEIGHTS_KNOWN, &other);
    if (other.outcome == FAILED || r->outcome == REFUSED) *r = other;
  }
  other = *r;
  other.outcome = try_known(&c, &other);
  r->known = other.outcome == PASSED;
  if (r->outcome != FAILED && other.outcome == FAILED) *r = other;
  case_close(&c);
}

/* In a process of its own, which also asks the sanitizers whether anything leaked. */
static void isolate(const char *folder, struct result *r) {
  int ends[2], state = 0;
  fflush(NULL);
  if (pipe(ends)) abort();
  pid_t child = fork();
  if (child < 0) abort();
  if (!child) {
    alarm(SECONDS_MOST);
    try_case(folder, r);
    exit(write(ends[1], r, sizeof *r) == sizeof *r ? 0 : 1);
  }
  close(ends[1]);
  struct result got;
  ssize_t n = read(ends[0], &got, sizeof got);
  close(ends[0]);
  waitpid(child, &state, 0);
  if (n == sizeof got) *r = got;
  if (n != sizeof got || state)
    r->outcome = say(r, FAILED, "crashed: %s %d", WIFSIGNALED(state) ? "signal" : "exit status",
                     WIFSIGNALED(state) ? WTERMSIG(state) : WEXITSTATUS(state));
}

/* ---- the table ---- */

/* Reasons count together when they differ in names alone: "node '…' …". */
static void reason_of(const char *text, char reason[512]) {
  size_t n = 0;
  bool quoted = false;
  for (; *text && n < 500; text++) {
    if (*text == '\'') {
      if (!quoted) n += (size_t)sprintf(reason + n, "'…'");
      quoted = !quoted;
    } else if (!quoted) {
      reason[n++] = *text;
    }
  }
  reason[n] = '\0';
}

struct reason {
  char text[512];
  size_t count;
  const char *example;
};

static int by_count(const void *a, const void *b) {
  const struct reason *x = a, *y = b;
  if (x->count != y->count) return x->count < y->count ? 1 : -1;
  return strcmp(x->text, y->text);
}

static void print_reasons(const struct result *results, size_t n) {
  struct reason *reasons = calloc(n + 1, sizeof *reasons);
  size_t count = 0, k;
  for (size_t i = 0; i < n; i++) {
    char text[512];
    if (results[i].outcome != REFUSED) continue;
    reason_of(results[i].text, text);
    for (k = 0; k < count && strcmp(reasons[k].text, text); k++) continue;
    if (k == count) {
      strcpy(reasons[count].text, text);
      reasons[count++].example = results[i].name;
    }
    reasons[k].count++;
  }
  qsort(reasons, count, sizeof *reasons, by_count);
  printf("\nrefused, because\n");
  for (k = 0; k < count; k++)
    printf("%5zu  %s  (%s)\n", reasons[k].count, reasons[k].text, reasons[k].example);
  free(reasons);
}

static bool is_required(const char *name) {
  for (size_t i = 0; i < sizeof required / sizeof *required; i++)
    if (!strncmp(name, required[i], strlen(required[i]))) return true;
  return false;
}

static bool print_table(const struct result *results, size_t n, bool all) {
  bool good = n > 0;
  size_t missed = 0;
  print_reasons(results, n);
  printf("\n%-20s %6s %6s %7s %6s  %s\n", "", "cases", "passed", "refused", "failed", "known");
  for (size_t g = 0; g < GROUPS; g++) {
    size_t count[3] = {0}, known = 0;
    for (size_t i = 0; i < n; i++) {
      count[results[i].outcome] += results[i].group == g;
      known += results[i].group == g && results[i].known;
    }
    printf("%-20s %6zu %6zu %7zu %6zu %6zu\n", groups[g].group, count[0] + count[1] + count[2],
           count[PASSED], count[REFUSED], count[FAILED], known);
    good = good && !count[FAILED];
    if (!all || (count[PASSED] >= groups[g].least && known >= groups[g].least_known)) continue;
    printf("%s: %zu and %zu passed before\n", groups[g].group, groups[g].least,
           groups[g].least_known);
    good = false;
  }
  for (size_t i = 0; i < n; i++) {
    if (results[i].outcome == PASSED || !is_required(results[i].name)) continue;
    printf("must pass: %s: %s\n", results[i].name, results[i].text);
    missed++;
  }
  return good && !missed;
}

/* ---- all of them ---- */

static int is_case(const struct dirent *d) {
  return !strncmp(d->d_name, "test_", 5);
}

static size_t run_group(const char *data, size_t group, const char *part, struct result *results,
                        size_t most) {
  char folder[512];
  struct dirent **names;
  size_t n = 0;
  snprintf(folder, sizeof folder, "%s/%s", data, groups[group].group);
  int found = scandir(folder, &names, is_case, alphasort);
  for (int i = 0; i < found; i++) {
    if (n < most && (!part || strstr(names[i]->d_name, part))) {
      static const char *const words[] = {"refused", "passed", "FAILED"};
      char path[800];
      struct result *r = &results[n++];
      r->group = group;
      snprintf(r->name, sizeof r->name, "%s", names[i]->d_name);
      snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
      isolate(path, r);
      printf("%-7s %s%s%s\n", words[r->outcome], r->name, r->outcome == PASSED ? "" : ": ",
             r->outcome == PASSED ? "" : r->text);
    }
    free(names[i]);
  }
  if (found > 0) free(names);
  return n;
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  const char *part = argc > 2 ? argv[2] : NULL;
  struct result *results = calloc(CASES_MOST, sizeof *results);
  size_t n = 0;
  if (!results) return 2;
  for (size_t g = 0; g < GROUPS; g++) n += run_group(argv[1], g, part, results + n, CASES_MOST - n);
  bool good = print_table(results, n, !part);
  free(results);
  return good ? 0 : 1;
}
