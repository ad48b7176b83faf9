/* Segments a scan that ITK reads, and writes the label map with ITK, on the scan's own grid.
 *
 *   segment_itk PLAN SCAN LABELS      files of any format that ITK knows: NIfTI, NRRD, MetaImage …
 *
 * The voxels stay where itk::ImageFileReader has put them: vnet_itk.h makes vn_segment look at
 * them. Exits with the status, as vnet's own programs do. */
#include "vnet_itk.h"

#include <itkImageFileReader.h>
#include <itkImageFileWriter.h>
#include <itkImageIOFactory.h>

#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <vector>

namespace {

using Labels = itk::Image<std::uint8_t, 3>;

/* What is open gets closed, whatever is thrown. */
struct Close {
  void operator()(vn_plan *plan) const { vn_plan_close(&plan); }
  void operator()(vn_segmenter *segmenter) const { vn_segmenter_close(&segmenter); }
};
using Plan = std::unique_ptr<vn_plan, Close>;
using Segmenter = std::unique_ptr<vn_segmenter, Close>;

Plan plan_open(const char *path) {
  vn_plan *plan = nullptr;
  vn_diag diag;
  vnet_itk::check(vn_plan_open(path, &plan, &diag), diag);
  return Plan(plan);
}

Segmenter segmenter_open(const vn_plan *plan) {
  vn_segmenter *segmenter = nullptr;
  vn_diag diag;
  vnet_itk::check(vn_segmenter_open(plan, nullptr, &segmenter, &diag), diag);
  return Segmenter(segmenter);
}

/* An exception must not pass through C: noexcept. To cancel, return anything but 0. */
int progress_print(void *, double fraction) noexcept {
  std::fprintf(stderr, "\r%3.0f %%%s", 100 * fraction, fraction >= 1 ? "\n" : "");
  return 0;
}

void volumes_print(const vn_segmenter *segmenter, const vn_image &image, const vn_label_map &map) {
  vn_diag diag;
  struct vn_segmenter_info info = {}; /* `struct`: a function has the same name */
  info.size = sizeof info;
  vnet_itk::check(vn_segmenter_info(segmenter, &info, &diag), diag);
  std::vector<vn_measure> measures(info.labels);
  vnet_itk::check(vn_measure_labels(&image, &map, info.labels, measures.data(), &diag), diag);
  for (std::size_t n = 0; n < info.labels; n++)
    std::printf("%zu %s: %.3f ml\n", n, vn_segmenter_label(segmenter, n).name, measures[n].ml);
}

template <typename TPixel>
Labels::Pointer segment(vn_segmenter *segmenter, const itk::Image<TPixel, 3> *scan) {
  const vn_image image = vnet_itk::view(scan);
  const vn_image *const images[] = {&image};
  vn_diag diag;
  vn_segment_options options = vn_segment_options();
  options.size = sizeof options;
  options.progress = progress_print;
  std::uint64_t bytes = 0;
  vnet_itk::check(vn_segmenter_memory(segmenter, images, 1, &options, &bytes, &diag), diag);
  std::printf("%.0f MiB beside the scan\n", static_cast<double>(bytes) / (1 << 20));

  Labels::Pointer labels = vnet_itk::labels_like<std::uint8_t>(scan);
  const vn_label_map map = vnet_itk::view_labels(labels.GetPointer());
  vnet_itk::check(vn_segment(segmenter, images, 1, &options, &map, nullptr, &diag), diag);
  volumes_print(segmenter, image, map);
  return labels;
}

template <typename TPixel>
Labels::Pointer read_and_segment(vn_segmenter *segmenter, const char *path) {
  auto reader = itk::ImageFileReader<itk::Image<TPixel, 3>>::New();
  reader->SetFileName(path);
  reader->Update();
  return segment<TPixel>(segmenter, reader->GetOutput());
}

/* Whether short holds the scan's values, slope and intercept included, as most scanners' do. */
bool fits_short(const char *path) {
  auto io = itk::ImageIOFactory::CreateImageIO(path, itk::IOFileModeEnum::ReadMode);
  if (!io) return false; /* the reader says why */
  io->SetFileName(path);
  io->ReadImageInformation();
  const auto type = io->GetComponentType();
  return type == itk::IOComponentEnum::UCHAR || type == itk::IOComponentEnum::CHAR ||
         type == itk::IOComponentEnum::SHORT;
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: segment_itk PLAN SCAN LABELS\n");
    return VN_E_ARGUMENT;
  }
  try {
    const Plan plan = plan_open(argv[1]); /* declared first, closed last */
    const Segmenter segmenter = segmenter_open(plan.get());
    auto writer = itk::ImageFileWriter<Labels>::New();
    writer->SetInput(fits_short(argv[2]) ? read_and_segment<short>(segmenter.get(), argv[2])
                                         : read_and_segment<float>(segmenter.get(), argv[2]));
    writer->SetFileName(argv[3]);
    writer->UseCompressionOn();
    writer->Update();
    return VN_OK;
  } catch (const vnet_itk::Error &error) {
    std::fprintf(stderr, "segment_itk: %s\n", error.what());
    return error.status;
  } catch (const std::exception &error) { /* ITK's are of this kind, too */
    std::fprintf(stderr, "segment_itk: %s\n", error.what());
    return VN_E_IO;
  }
}
