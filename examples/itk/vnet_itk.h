/* itk::Image and vnet_segment.h: an image as a view of its buffer, and label maps to match.
 *
 * For any host in C++11 or later that has its scans in ITK, whatever read them; main.cxx shows it
 * at work. Copies no voxel. Knows neither files nor pipelines, and keeps nothing. */
#ifndef VNET_ITK_H
#define VNET_ITK_H

#include <itkImage.h>
#include <vnet_segment.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace vnet_itk {

/* A status that is not VN_OK, with its sentence. */
struct Error : std::runtime_error {
  Error(enum vn_status status_, const vn_diag &diag)
      : std::runtime_error(std::string(vn_status_text(status_)) + ": " + diag.text),
        status(status_) {}
  enum vn_status status;
};

inline void check(enum vn_status status, const vn_diag &diag) {
  if (status != VN_OK) throw Error(status, diag);
}

/* The vn_voxel of a pixel type; ITK's long differs in size between platforms, so size decides. */
template <typename TPixel> vn_voxel voxel_type() {
  static_assert(std::is_arithmetic<TPixel>::value && sizeof(TPixel) <= 8,
                "one number of at most 8 bytes for each voxel");
  static_assert(!std::is_same<TPixel, bool>::value, "bool has no place in vn_voxel");
  if (std::is_floating_point<TPixel>::value)
    return sizeof(TPixel) == 4 ? VN_VOXEL_F32 : VN_VOXEL_F64;
  const bool is_signed = std::is_signed<TPixel>::value;
  switch (sizeof(TPixel)) {
  case 1:
    return is_signed ? VN_VOXEL_I8 : VN_VOXEL_U8;
  case 2:
    return is_signed ? VN_VOXEL_I16 : VN_VOXEL_U16;
  case 4:
    return is_signed ? VN_VOXEL_I32 : VN_VOXEL_U32;
  default:
    return is_signed ? VN_VOXEL_I64 : VN_VOXEL_U64;
  }
}

/* A view of what the image holds in memory: its buffered region, wherever its index begins. Borrows
 * the buffer: the image must live, and not be changed, while the view is in use. */
template <typename TPixel> vn_image view(const itk::Image<TPixel, 3> *image) {
  const auto &region = image->GetBufferedRegion();
  const auto *offsets = image->GetOffsetTable(); /* voxels between neighbours along each axis */
  vn_image out = vn_image();
  out.size = sizeof out;
  out.voxels = image->GetBufferPointer();
  out.type = voxel_type<TPixel>();
  out.world = VN_WORLD_LPS;
  typename itk::Image<TPixel, 3>::PointType origin; /* of the buffer, not of index 0 */
  image->TransformIndexToPhysicalPoint(region.GetIndex(), origin);
  for (unsigned axis = 0; axis < 3; axis++) {
    out.dim[axis] = region.GetSize()[axis];
    out.stride[axis] =
        static_cast<std::ptrdiff_t>(offsets[axis]) * static_cast<int>(sizeof(TPixel));
    for (unsigned row = 0; row < 3; row++)
      out.affine[row][axis] = image->GetDirection()(row, axis) * image->GetSpacing()[axis];
    out.affine[axis][3] = origin[axis];
  }
  return out;
}

/* A new label map on the image's grid and buffered region. */
template <typename TLabel, typename TPixel>
typename itk::Image<TLabel, 3>::Pointer labels_like(const itk::Image<TPixel, 3> *image) {
  auto labels = itk::Image<TLabel, 3>::New();
  labels->CopyInformation(image);
  labels->SetBufferedRegion(image->GetBufferedRegion());
  labels->SetRequestedRegion(image->GetBufferedRegion());
  labels->Allocate();
  return labels;
}

/* The label map's buffer, for vn_segment to fill. */
template <typename TLabel> vn_label_map view_labels(itk::Image<TLabel, 3> *labels) {
  static_assert(std::is_same<TLabel, std::uint8_t>::value ||
                    std::is_same<TLabel, std::uint16_t>::value,
                "labels are of 8 or 16 bits, without a sign");
  vn_label_map out = vn_label_map();
  out.size = sizeof out;
  out.data = labels->GetBufferPointer();
  out.elem_bytes = sizeof(TLabel);
  for (unsigned axis = 0; axis < 3; axis++)
    out.stride[axis] = static_cast<std::ptrdiff_t>(labels->GetOffsetTable()[axis]) *
                       static_cast<int>(sizeof(TLabel));
  return out;
}

} // namespace vnet_itk

#endif
