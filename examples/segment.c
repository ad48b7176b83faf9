/* A host that segments an image of its own: int16 voxels on an oblique grid in, labels out.
 *
 *   cc segment.c $(pkg-config --cflags --libs vnet-segment) -pthread -o segment
 *   ./segment brain.plan [--labels OUT.raw] [--cancel-after MS]
 *
 * Shows what a viewer needs: the memory asked for beforehand, progress, a button that cancels from
 * another thread, and volumes. The image is a noisy head; a viewer would hand over its own voxels.
 * embed.c runs the bare network; files are vnet_scan.h's, which this does not use. */
#define _POSIX_C_SOURCE 200809L /* nanosleep, for the thread that cancels */
#include <vnet_segment.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NX = 128, NY = 144, NZ = 64, VOXELS = NX * NY * NZ };

/* As a scanner with a tilted head coil gives it: 1.5625 x 1.5625 x 3.125 mm, i to the patient's
 * left, the slices leaning by 16 degrees; the centre of the volume is the world's origin. */
static void geometry_fill(struct vn_image *image) {
  const double axis[3][3] = {{1.5625, 0, 0}, {0, 1.5, -0.875}, {0, 0.4375, 3}};
  image->dim[0] = NX, image->dim[1] = NY, image->dim[2] = NZ;
  image->world = VN_WORLD_LPS;
  for (int row = 0; row < 3; row++) {
    image->affine[row][3] = 0;
    for (int column = 0; column < 3; column++) {
      image->affine[row][column] = axis[row][column];
      image->affine[row][3] -= axis[row][column] * (double)(image->dim[column] - 1) / 2;
    }
  }
}

/* Air, a bright scalp and a brain within, all noisy; noise is a hash of the voxel's number. */
static void head_draw(int16_t *voxels) {
  for (uint32_t n = 0; n < VOXELS; n++) {
    double x = ((double)(n % NX) - (NX - 1) / 2.) / (0.40 * NX);
    double y = ((double)(n / NX % NY) - (NY - 1) / 2.) / (0.42 * NY);
    double z = ((double)(n / NX / NY) - (NZ - 1) / 2.) / (0.40 * NZ);
    double r = x * x + y * y + z * z;
    uint32_t hash = (n ^ n >> 15) * 2246822519u;
    hash = (hash ^ hash >> 13) * 3266489917u;
    voxels[n] = (int16_t)((r > 1 ? 0 : r > 0.8 ? 900 : 600) + (int)(hash >> 25) - 64);
  }
}

/* The button's finger. A viewer presses where its user clicks, without such a thread. */
struct finger {
  struct vn_cancel *cancel;
  long after_ms;
  atomic_bool leave; /* the run has ended by itself */
};

static void *finger_wait(void *context) {
  struct finger *finger = context;
  for (long ms = 0; ms < finger->after_ms && !atomic_load(&finger->leave); ms++)
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  if (!atomic_load(&finger->leave)) vn_cancel_press(finger->cancel);
  return NULL;
}

/* Called on the thread that called vn_segment; a viewer tells the thread that draws. */
static int progress_print(void *context, double fraction) {
  fprintf(context, "\r%3.0f %%%s", 100 * fraction, fraction >= 1 ? "\n" : "");
  fflush(context);
  return 0;
}

/* Segments, with the finger over the button meanwhile where after_ms is not negative. */
static enum vn_status segment(struct vn_segmenter *segmenter, const struct vn_image *image,
                              const struct vn_segment_options *options, long after_ms,
                              const struct vn_label_map *labels, struct vn_diag *diag) {
  struct finger finger = {.cancel = options->cancel, .after_ms = after_ms};
  pthread_t thread;
  if (after_ms >= 0 && pthread_create(&thread, NULL, finger_wait, &finger)) {
    snprintf(diag->text, sizeof diag->text, "no thread to cancel from");
    return VN_E_MEMORY;
  }
  enum vn_status status = vn_segment(segmenter, &image, 1, options, labels, NULL, diag);
  atomic_store(&finger.leave, true);
  if (after_ms >= 0) pthread_join(thread, NULL);
  return status;
}

static enum vn_status volumes_print(const struct vn_segmenter *segmenter, size_t count,
                                    const struct vn_image *image, const struct vn_label_map *labels,
                                    struct vn_diag *diag) {
  struct vn_measure *measure = calloc(count, sizeof *measure);
  if (!measure) {
    snprintf(diag->text, sizeof diag->text, "out of memory");
    return VN_E_MEMORY;
  }
  enum vn_status status = vn_measure_labels(image, labels, count, measure, diag);
  for (size_t n = 0; !status && n < count; n++) {
    struct vn_label_info label = vn_segmenter_label(segmenter, n);
    printf("%zu %s: %llu voxels, %.3f ml, mean %.1f\n", label.value, label.name,
           (unsigned long long)measure[n].voxels, measure[n].ml, measure[n].mean);
  }
  free(measure);
  return status;
}

static enum vn_status labels_write(const char *path, const uint8_t *labels, struct vn_diag *diag) {
  FILE *file = fopen(path, "wb");
  bool whole = file && fwrite(labels, 1, VOXELS, file) == VOXELS;
  if (file && fclose(file)) whole = false;
  if (whole) return VN_OK;
  snprintf(diag->text, sizeof diag->text, "%.400s: cannot be written", path);
  return VN_E_IO;
}

int main(int argc, char **argv) {
  const char *labels_path = NULL;
  long after_ms = -1; /* never */
  for (int n = 2; n + 1 < argc; n += 2) {
    if (!strcmp(argv[n], "--labels")) labels_path = argv[n + 1];
    if (!strcmp(argv[n], "--cancel-after")) after_ms = strtol(argv[n + 1], NULL, 10);
  }
  if (argc < 2 || argc % 2) {
    fprintf(stderr, "usage: segment PLAN [--labels OUT.raw] [--cancel-after MS]\n");
    return VN_E_ARGUMENT;
  }

  struct vn_plan *plan = NULL;
  struct vn_segmenter *segmenter = NULL;
  struct vn_cancel *cancel = NULL;
  int16_t *voxels = NULL;
  uint8_t *labels = NULL;
  struct vn_diag diag = {""};
  struct vn_segmenter_info info = {.size = sizeof info};
  enum vn_status status = vn_plan_open(argv[1], &plan, &diag);
  if (!status) status = vn_segmenter_open(plan, NULL, &segmenter, &diag); /* NULL: every core */
  if (!status) status = vn_segmenter_info(segmenter, &info, &diag);
  if (!status) status = vn_cancel_create(&cancel, &diag);
  if (status) goto fail;

  /* What a run would take is known without a voxel: the time to ask the user, or to say no. */
  struct vn_image image = {.size = sizeof image, .type = VN_VOXEL_I16};
  const struct vn_image *images[] = {&image};
  struct vn_segment_options options = {.size = sizeof options, .cancel = cancel};
  uint64_t bytes = 0;
  geometry_fill(&image);
  status = vn_segmenter_memory(segmenter, images, 1, &options, &bytes, &diag);
  if (status) goto fail;
  printf("%zu labels, windows of %zux%zux%zu, %.0f MiB\n", info.labels, info.patch[0],
         info.patch[1], info.patch[2], (double)bytes / (1 << 20));

  voxels = malloc(VOXELS * sizeof *voxels);
  labels = malloc(VOXELS);
  if (!voxels || !labels) {
    status = VN_E_MEMORY;
    snprintf(diag.text, sizeof diag.text, "out of memory");
    goto fail;
  }
  head_draw(voxels);
  image.voxels = voxels;
  options.progress = progress_print, options.progress_context = stderr;
  struct vn_label_map map = {.size = sizeof map, .data = labels, .elem_bytes = 1};
  status = segment(segmenter, &image, &options, after_ms, &map, &diag);
  if (!status) status = volumes_print(segmenter, info.labels, &image, &map, &diag);
  if (!status && labels_path) status = labels_write(labels_path, labels, &diag);

fail:
  if (status) fprintf(stderr, "segment: %s: %s\n", vn_status_text(status), diag.text);
  free(voxels);
  free(labels);
  vn_cancel_close(&cancel);
  vn_segmenter_close(&segmenter);
  vn_plan_close(&plan);
  return status;
}
