/* scan_dump SCAN VOXELS.npy LABELS.nii[.gz]: what the scan reader sees, and a label map (voxel
 * index modulo 7) from the writer, for run_nifti.py to compare with another library's view. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "nifti.h"
#include "npy.h"

int main(int argc, char **argv) {
  cli_start("scan_dump");
  if (argc != 4) cli_fatal(VN_E_ARGUMENT, "usage: scan_dump SCAN VOXELS.npy LABELS.nii");
  struct vn_diag diag;
  struct vn_scan scan;
  cli_check(vn_scan_open(argv[1], &scan, &diag), &diag);
  cli_check(vn_scan_load(&scan, false, &diag), &diag);
  struct npy voxels = {.type = VN_TYPE_F32, .rank = 3, .elems = scan.elems, .data = scan.voxels};
  for (int i = 0; i < 3; i++) voxels.dim[i] = scan.dim[2 - i];
  struct cli_output output;
  cli_output_open(&output, argv[2]);
  cli_check(npy_write(output.fd, &voxels, &diag), &diag);
  cli_output_commit(&output);

  uint8_t *data = malloc(scan.elems);
  if (!data) cli_fatal(VN_E_MEMORY, "out of memory");
  for (size_t i = 0; i < scan.elems; i++) data[i] = (uint8_t)(i % 7);
  struct vn_labels labels = {data, 1, scan.elems, 7};
  cli_output_open(&output, argv[3]);
  cli_check(
      vn_labels_write(output.fd, cli_ends(argv[3], ".gz"), &scan, &labels, "scan_dump", &diag),
      &diag);
  cli_output_commit(&output);
  free(data);
  vn_scan_close(&scan);
  return VN_OK;
}
