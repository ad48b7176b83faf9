/* Hostile ONNX: import and compile, written to a file as a user would have it. */
#include "fuzz.h"

#include "compile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int compile_bytes(uint8_t *bytes, size_t size, const char *folder, char sentence[512]) {
  char path[64];
  snprintf(path, sizeof path, "%s/model.onnx", folder);
  FILE *f = fopen(path, "wb");
  if (!f || fwrite(bytes, 1, size, f) != size || fclose(f)) exit(2);

  struct vnc_options options = {.topology = "any"};
  struct vn_diag diag = {""};
  struct vnc_graph g;
  void *plan = NULL;
  size_t plan_bytes = 0;
  vnc_graph_init(&g);
  enum vn_status status = vnc_onnx_import(path, &options.import, &g, &diag);
  if (status == VN_E_ARGUMENT) { /* no grid of its own */
    for (size_t i = 0; i < 3; i++) options.import.patch[i] = 8;
    vnc_graph_free(&g);
    status = vnc_onnx_import(path, &options.import, &g, &diag);
  }
  if (!status) status = vnc_compile_graph(&g, &options, &plan, &plan_bytes, NULL, &diag);
  free(plan);
  vnc_graph_free(&g);
  unlink(path);
  memcpy(sentence, diag.text, sizeof diag.text);
  return (int)status;
}

int main(int argc, char **argv) {
  return fuzz_main(argc, argv, compile_bytes);
}
