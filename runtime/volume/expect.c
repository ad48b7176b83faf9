/* A reader for vnet.expect, and its comparisons; see expect.h. */
#include "expect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "elementary.h"
#include "intensity.h"

static const struct {
  const char *name;
  size_t numbers;
  bool label; /* the first number is one */
} kinds[] = {{"extent", 6, false},
             {"ml", 3, true},
             {"share", 3, true},
             {"pieces", 2, true},
             {"surface", 2, true}};

enum { CLAUSES_MOST = 4096 };

/* ---- reading ---- */

static bool numbers_take(struct vn_expect_clause *c, size_t labels, double *number) {
  if (kinds[c->kind].label) {
    c->label = number[0] >= 1 && number[0] < (double)labels ? (size_t)number[0] : 0;
    if (!c->label || (double)c->label != number[0]) return false;
  }
  const size_t rest = kinds[c->kind].numbers - kinds[c->kind].label;
  memcpy(c->number, number + kinds[c->kind].label, rest * sizeof *number);
  if (rest == 1) c->number[1] = c->number[0], c->number[0] = 0;
  for (size_t i = 0; i < rest; i += 2)
    if (!(c->number[i] >= 0 && c->number[i] <= c->number[i + 1])) return false;
  return true;
}

static bool clause_read(char *text, size_t labels, struct vn_expect *expect) {
  text += strspn(text, " \t");
  const size_t word = strcspn(text, " \t");
  struct vn_expect_clause c = {0};
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    double number[6];
    if (strlen(kinds[k].name) != word || strncmp(text, kinds[k].name, word)) continue;
    c.kind = (enum vn_expect_kind)k;
    if (vn_numbers_parse(text + word, number, 6) != kinds[k].numbers ||
        !numbers_take(&c, labels, number))
      return false;
    for (size_t i = 0; i < expect->count; i++)
      if (expect->clauses[i].kind == c.kind && expect->clauses[i].label == c.label) return false;
    expect->clauses[expect->count++] = c;
    return true;
  }
  return false;
}

enum vn_status vn_expect_parse(const char *text, size_t labels, struct vn_expect *expect,
                               struct vn_diag *diag) {
  size_t most = 1;
  *expect = (struct vn_expect){0};
  if (!text) return VN_OK;
  for (const char *c = text; *c; c++) most += *c == ';';
  if (most > 5 * labels || most > CLAUSES_MOST) /* five kinds; each is compared with all */
    return vn_fail(diag, VN_E_FORMAT, "the model's vnet.expect has %zu clauses for %zu labels",
                   most, labels);
  char *copy = strdup(text);
  expect->clauses = calloc(most, sizeof *expect->clauses);
  bool good = copy && expect->clauses;
  if (!good) {
    free(copy);
    return vn_fail(diag, VN_E_MEMORY, "out of memory");
  }
  for (char *clause = copy, *next; good && clause; clause = next) {
    next = strchr(clause, ';');
    if (next) *next++ = '\0';
    good = clause_read(clause, labels, expect);
    if (!good)
      vn_fail(diag, VN_E_FORMAT,
              "the model's vnet.expect holds '%.60s', not extent (6 numbers), ml LABEL LEAST MOST, "
              "share LABEL LEAST MOST, pieces LABEL MOST or surface LABEL MOST, each once",
              clause);
  }
  free(copy);
  return good ? VN_OK : VN_E_FORMAT;
}

void vn_expect_close(struct vn_expect *expect) {
  free(expect->clauses);
  *expect = (struct vn_expect){0};
}

bool vn_expect_has(const struct vn_expect *expect, enum vn_expect_kind kind) {
  for (size_t i = 0; i < expect->count; i++)
    if (expect->clauses[i].kind == kind) return true;
  return false;
}

/* ---- comparing ---- */

void vn_expect_extent(const struct vn_expect *expect, const struct vn_view *view, char *warning,
                      size_t size) {
  for (size_t n = 0; n < expect->count; n++) {
    const double *want = expect->clauses[n].number;
    double mm[3];
    bool good = true;
    if (expect->clauses[n].kind != VN_EXPECT_EXTENT) continue;
    for (int i = 0; i < 3; i++) {
      mm[i] = (double)view->dim[2 - i] * view->spacing_mm[2 - i];
      good = good && mm[i] >= want[2 * i] && mm[i] <= want[2 * i + 1];
    }
    if (!good)
      vn_say(warning, size,
             "the scan shows %.0f x %.0f x %.0f mm, and the model is for %g to %g x %g to %g x %g "
             "to %g mm",
             mm[0], mm[1], mm[2], want[0], want[1], want[2], want[3], want[4], want[5]);
  }
}

static void label_compare(const struct vn_expect_clause *c, const struct vn_expect_facts *facts,
                          const char *name, char *warning, size_t size) {
  const double *want = c->number, vox = (double)facts->voxels[c->label], ml = vox * facts->voxel_ml;
  if (c->kind == VN_EXPECT_ML) {
    if (!(ml >= want[0] && ml <= want[1]))
      vn_say(warning, size, "%.40s has %.4g ml, and %g to %g are plausible", name, ml, want[0],
             want[1]);
  } else if (c->kind == VN_EXPECT_SHARE) {
    const double share = facts->lit ? vox / (double)facts->lit : 0;
    if (!(share >= want[0] && share <= want[1]))
      vn_say(warning, size, "%.40s is %.2g of what the scan shows, and %g to %g are plausible",
             name, share, want[0], want[1]);
  } else if (c->kind == VN_EXPECT_PIECES) {
    if ((double)facts->pieces[c->label] > want[1])
      vn_say(warning, size, "%.40s is in %llu pieces, and %g are plausible", name,
             (unsigned long long)facts->pieces[c->label], want[1]);
  } else if (c->kind == VN_EXPECT_SURFACE && vox > 0) {
    const double surface = facts->faces_mm2[c->label] / vn_pow(1000 * ml, 2.0 / 3);
    if (surface > want[1])
      vn_say(warning, size,
             "%.40s is ragged: a surface of %.3g volumes^(2/3), and %g are plausible", name,
             surface, want[1]);
  }
}

void vn_expect_labels(const struct vn_expect *expect, const struct vn_expect_facts *facts,
                      const char *(*name)(const void *context, size_t label), const void *context,
                      char *warning, size_t size) {
  for (size_t n = 0; n < expect->count; n++) {
    const struct vn_expect_clause *c = &expect->clauses[n];
    if (c->kind != VN_EXPECT_EXTENT)
      label_compare(c, facts, name(context, c->label), warning, size);
  }
}
