/* scan_dump SCAN VOXELS.npy LABELS [GEOMETRY]: what the scan reader sees, its affine, whether it is
 * known how the scan lies, and the note on standard output, and a label map (voxel index modulo 7)
 * from the writer, for run_nifti.py and run_formats.py to compare with other libraries' view. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "npy.h"
#include "vnet_scan.h"

int main(int argc, char **argv) {
  cli_start("scan_dump");
  if (argc != 4 && argc != 5)
    cli_fatal(VN_E_ARGUMENT, "usage: scan_dump SCAN VOXELS.npy LABELS [GEOMETRY]");
  struct vn_diag diag;
  struct vn_scan *scan;
  struct vn_image image = {.size = sizeof image};
  cli_check(vn_scan_open(argv[1], &scan, &diag), &diag);
  if (argc == 5) cli_check(vn_scan_set_geometry(scan, argv[4], &diag), &diag);
  cli_check(vn_scan_load(scan, NULL, &diag), &diag);
  vn_scan_image(scan, &image);
  for (int i = 0; i < 12; i++) printf("%.17g%c", image.affine[i / 4][i % 4], i < 11 ? ' ' : '\n');
  const char *unoriented = vn_scan_unoriented(scan), *note = vn_scan_note(scan);
  printf("%s\n%s\n", unoriented ? unoriented : "", note ? note : "");
  const size_t elems = image.dim[0] * image.dim[1] * image.dim[2];
  struct npy voxels = {
      .type = VN_TYPE_F32, .rank = 3, .elems = elems, .data = (void *)(uintptr_t)image.voxels};
  for (int i = 0; i < 3; i++) voxels.dim[i] = image.dim[2 - i];
  struct cli_output output;
  cli_output_open(&output, argv[2]);
  cli_check(npy_write(output.fd, &voxels, &diag), &diag);
  cli_output_commit(&output);

  uint8_t *data = malloc(elems);
  if (!data) cli_fatal(VN_E_MEMORY, "out of memory");
  for (size_t i = 0; i < elems; i++) data[i] = (uint8_t)(i % 7);
  const struct vn_label_map map = {.size = sizeof map, .data = data, .elem_bytes = 1};
  cli_output_open(&output, argv[3]);
  struct vn_label_info label[7];
  for (size_t i = 0; i < 7; i++)
    label[i] = (struct vn_label_info){i, i ? "piece, of \"it\"" : "background", {255, 0, 51}};
  const struct vn_scan_result result = {.size = sizeof result,
                                        .like = scan,
                                        .map = &map,
                                        .labels = 7,
                                        .label = label,
                                        .description = "scan_dump"};
  cli_check(vn_scan_write_labels(output.fd, argv[3], &result, &diag), &diag);
  cli_output_commit(&output);
  free(data);
  vn_scan_close(&scan);
  return VN_OK;
}
