/* The compiler's text form of a graph: what parses is printed, and that parses to the same text. */
#include "fuzz.h"

#include "graph.h"

#include <stdlib.h>
#include <string.h>

static char *print(const struct vnc_graph *g) {
  char *text = NULL;
  size_t size;
  FILE *out = open_memstream(&text, &size);
  if (!out || vnc_graph_print(g, out) || fclose(out)) fuzz_broken("a graph cannot be printed");
  return text;
}

static void print_again(const struct vnc_graph *g) {
  struct vnc_graph again;
  struct vn_diag diag = {""};
  char *text = print(g);
  if (vnc_graph_parse(text, &again, &diag)) fuzz_broken("'%s' from\n%s", diag.text, text);
  char *twice = print(&again);
  if (strcmp(text, twice)) fuzz_broken("another graph:\n%s\n%s", text, twice);
  vnc_graph_free(&again);
  free(text);
  free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = malloc(size + 1);
  struct vnc_graph g;
  struct vn_diag diag = {""};
  if (!text) return 0;
  memcpy(text, data, size);
  text[size] = '\0';
  enum vn_status status = vnc_graph_parse(text, &g, &diag);
  fuzz_judge(status, &diag);
  if (!status) print_again(&g);
  vnc_graph_free(&g);
  free(text);
  return 0;
}
