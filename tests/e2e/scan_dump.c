/* scan_dump SCAN VOXELS.npy LABELS.nii[.gz]: what the scan reader sees, and a label map (voxel
 * index modulo 7) from the writer, for run_nifti.py to compare with another library's view. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "npy.h"
#include "vnet_scan.h"

int main(int argc, char **argv) {
  cli_start("scan_dump");
  if (argc != 4) cli_fatal(VN_E_ARGUMENT, "usage: scan_dump SCAN VOXELS.npy LABELS.nii");
  struct vn_diag diag;
  struct vn_scan *scan;
  struct vn_image image = {.size = sizeof image};
  cli_check(vn_scan_open(argv[1], &scan, &diag), &diag);
  cli_check(vn_scan_load(scan, NULL, &diag), &diag);
  vn_scan_image(scan, &image);
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
  cli_check(vn_scan_write_labels(output.fd, cli_ends(argv[3], ".gz"), scan, NULL, &map, 7,
                                 "scan_dump", &diag),
            &diag);
  cli_output_commit(&output);
  free(data);
  vn_scan_close(&scan);
  return VN_OK;
}
