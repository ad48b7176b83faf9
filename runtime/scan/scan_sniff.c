/* What a file is that is no scan, or none that is read here, and what would make it one: told by
 * its first bytes, as far as they tell. */
#include "scan_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os.h"

#define DICOM_WAY "dcm2niix converts a folder of such files to NIfTI"

/* Beginnings of files; the first that fits is the answer. */
static const struct {
  size_t at, size;
  const char *bytes, *answer;
} known[] = {
#define IS(at, bytes, answer)                                                                      \
  { at, sizeof bytes - 1, bytes, answer }
    IS(128, "DICM", "a DICOM file: " DICOM_WAY),
    IS(0, "NRRD", "a NRRD file inside gzip: unpack it with gunzip"),
    IS(0, "BZh", "compressed with bzip2: unpack it with bunzip2"),
    IS(0,
       "\xFD"
       "7zXZ\0",
       "compressed with xz: unpack it with unxz"),
    IS(0, "\x28\xB5\x2F\xFD", "compressed with Zstandard: unpack it with unzstd"),
    IS(0, "PK\3\4", "a zip archive: unpack it"),
    IS(0, "7z\xBC\xAF", "a 7z archive: unpack it"),
    IS(0, "Rar!", "a rar archive: unpack it"),
    IS(257, "ustar", "a tar archive: unpack it"),
    IS(0, "\x89HDF\r\n\x1A\n", "an HDF5 file: if it is MINC, mnc2nii converts it to NIfTI"),
    IS(0, "CDF\1", "a MINC file: mnc2nii converts it to NIfTI"),
    IS(0, "CDF\2", "a MINC file: mnc2nii converts it to NIfTI"),
    IS(0, "ObjectType", "a MetaImage file: 3D Slicer or ITK-SNAP saves it as NRRD or NIfTI"),
    IS(0, "NDims", "a MetaImage file: 3D Slicer or ITK-SNAP saves it as NRRD or NIfTI"),
    IS(0, "# vtk", "a VTK file: 3D Slicer saves it as NRRD or NIfTI"),
    IS(0, "\x89PNG", "a PNG picture, not a scan"),
    IS(0, "\xFF\xD8\xFF", "a JPEG picture, not a scan"),
    IS(0, "GIF8", "a GIF picture, not a scan"),
    IS(0, "II*\0", "a TIFF picture: 3D Slicer or Fiji saves a stack of them as NRRD or NIfTI"),
    IS(0, "MM\0*", "a TIFF picture: 3D Slicer or Fiji saves a stack of them as NRRD or NIfTI"),
    IS(0, "%PDF", "a PDF document, not a scan"),
    IS(0, "\x93NUMPY",
       "a numpy array, which says nothing of its voxels' size: nibabel saves one as "
       "NIfTI"),
    IS(0, "VNETPLAN", "a plan that vnetc has made, not a scan: are the two swapped?"),
#undef IS
};

static bool is_text(const unsigned char *bytes, size_t size) {
  for (size_t i = 0; i < size; i++)
    if ((bytes[i] < 0x20 && !(bytes[i] >= '\t' && bytes[i] <= '\r')) || bytes[i] == 0x7F)
      return false;
  return true;
}

/* ONNX is protobuf: the version of its format, then the name of who made it, each behind its
 * tag. */
static bool is_onnx(const unsigned char *b, size_t size) {
  return size > 8 && b[0] == 0x08 && b[1] < 0x20 && (b[2] == 0x12 || b[2] == 0x3A || b[2] == 0x42);
}

enum vn_status vn_content_refuse(const char *path, const unsigned char *bytes, size_t size,
                                 struct vn_diag *diag) {
  if (size == 0) return vn_fail(diag, VN_E_FORMAT, "an empty file");
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (size >= known[i].at + known[i].size &&
        memcmp(bytes + known[i].at, known[i].bytes, known[i].size) == 0)
      return vn_fail(diag, VN_E_UNSUPPORTED, "%s", known[i].answer);
  if (is_onnx(bytes, size))
    return vn_fail(diag, VN_E_UNSUPPORTED, "an ONNX model, not a scan: are the two swapped?");
  if (vn_name_ends(path, ".dcm") || vn_name_ends(path, ".ima"))
    return vn_fail(diag, VN_E_UNSUPPORTED, "a DICOM file without its preamble: " DICOM_WAY);
  if (vn_name_ends(path, ".lzma"))
    return vn_fail(diag, VN_E_UNSUPPORTED, "compressed with lzma: unpack it with unlzma");
  if (is_text(bytes, size)) return vn_fail(diag, VN_E_FORMAT, "a text file, not a scan");
  return vn_fail(diag, VN_E_FORMAT, "not a scan: it does not begin as NIfTI, NRRD or MGH do");
}

static bool is_dicom(const char *folder, const char *name) {
  char path[4096], mark[4];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  bool dicom = fd >= 0 && pread(fd, mark, 4, 128) == 4 && memcmp(mark, "DICM", 4) == 0;
  if (fd >= 0) close(fd);
  return dicom;
}

enum vn_status vn_folder_refuse(const char *folder, struct vn_diag *diag) {
  enum { LOOKS = 64 };
  char **names;
  bool dicom = false;
  const ptrdiff_t count = vn_os_folder_list(folder, NULL, &names);
  for (ptrdiff_t i = 0; i < count; i++) {
    if (i < LOOKS && !dicom) dicom = is_dicom(folder, names[i]);
    free(names[i]);
  }
  free(names);
  if (dicom)
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "a folder of DICOM files: dcm2niix converts it to NIfTI");
  return vn_fail(diag, VN_E_IO, "a folder, not a file");
}
