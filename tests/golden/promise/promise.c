/* The promise: the bits of results, on every platform that can run this.
 *
 *   promise TABLE FOLDER ISA...
 *
 * For each row of the table (table.txt says what the columns are) it hashes FOLDER/NAME.plan and
 * what comes out of it on each instruction set, and prints `NAME ISA HASH same|differs`. A network
 * gets numbers from a seed; one that says how scans are prepared (vnet.intensity) gets scans of
 * such numbers, one for each channel on a grid of its own, and labels and probabilities count;
 * where FOLDER/NAME.nii exists, that scan is segmented and its labels count. Exit status 1:
 * something differs or cannot be done; 77: this machine has none of the instruction sets.
 * promise.sh makes the folder.
 *
 * C11 and libvnet-segment alone, so that it is compiled for whatever they are compiled for. */
#include <vnet_segment.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
  COLUMNS = 5, /* name, how the plan is made, its hash, those of results: plain, fma */
  CHANNELS_MOST = 3
};

struct bytes {
  unsigned char *data;
  size_t size;
};

struct promise {
  const char *folder, *isa;
  unsigned ran, bad;
};

static void *need(void *memory) {
  if (memory) return memory;
  fprintf(stderr, "promise: out of memory\n");
  exit(1);
}

/* data NULL: there is no such file. */
static struct bytes file_read(const char *folder, const char *name, const char *end) {
  char path[1024];
  snprintf(path, sizeof path, "%s/%s%s", folder, name, end);
  struct bytes file = {NULL, 0};
  FILE *f = fopen(path, "rb");
  if (!f || fseek(f, 0, SEEK_END)) return file;
  const long size = ftell(f);
  rewind(f);
  file.size = size > 0 ? (size_t)size : 0;
  file.data = need(malloc(file.size + 1));
  if (fread(file.data, 1, file.size, f) != file.size) file.size = 0;
  fclose(f);
  return file;
}

/* ---- results ---- */

/* In [-1, 1), the same on every machine. */
static void noise_fill(float *to, size_t elems) {
  uint64_t state = 1;
  for (size_t i = 0; i < elems; i++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    to[i] = (float)(state >> 40) * 0x1p-23f - 1;
  }
}

static enum vn_status network_hash(const struct vn_plan *plan,
                                   const struct vn_exec_options *options, uint64_t *hash,
                                   struct vn_diag *diag) {
  struct vn_exec *exec = NULL;
  enum vn_status status = vn_exec_open(plan, options, &exec, diag);
  if (status) return status;
  const struct vn_port in = vn_plan_input(plan, 0), out = vn_plan_output(plan, 0);
  float *from = need(malloc(in.elems * sizeof *from)), *to = need(malloc(out.elems * sizeof *to));
  noise_fill(from, in.elems);
  status = vn_exec_run(exec, (const void *const[]){from}, (void *const[]){to}, diag);
  *hash = XXH64(to, out.elems * sizeof *to, 0);
  free(from);
  free(to);
  vn_exec_close(&exec);
  return status;
}

/* A NIfTI-1 file of bytes with an sform, as mricron's ch2 is. */
static struct vn_image image_of(const struct bytes *file) {
  struct vn_image image = {
      .size = sizeof image, .type = VN_VOXEL_U8, .world = VN_WORLD_RAS, .voxels = file->data + 352};
  int16_t dim[4], type;
  float row[3][4];
  if (file->size < 352) return image;
  memcpy(dim, file->data + 40, sizeof dim);
  memcpy(&type, file->data + 70, sizeof type);
  memcpy(row, file->data + 280, sizeof row);
  for (int i = 0; type == 2 && i < 3; i++) image.dim[i] = (size_t)dim[1 + i];
  for (int i = 0; i < 12; i++) image.affine[i / 4][i % 4] = (double)row[i / 4][i % 4];
  if (image.dim[0] * image.dim[1] * image.dim[2] != file->size - 352) image.dim[0] = 0;
  return image;
}

static enum vn_status labels_hash(const struct vn_plan *plan, const struct vn_exec_options *options,
                                  const struct bytes *scan, uint64_t *hash, struct vn_diag *diag) {
  struct vn_segmenter *segmenter = NULL;
  enum vn_status status = vn_segmenter_open(plan, options, &segmenter, diag);
  if (status) return status;
  const struct vn_image image = image_of(scan), *images[] = {&image};
  const size_t voxels = image.dim[0] * image.dim[1] * image.dim[2];
  const struct vn_label_map labels = {
      .size = sizeof labels, .data = need(malloc(voxels + 1)), .elem_bytes = 1};
  status = vn_segment(segmenter, images, 1, NULL, &labels, NULL, diag);
  *hash = XXH64(labels.data, voxels, 0);
  free(labels.data);
  vn_segmenter_close(&segmenter);
  return status;
}

/* Scan `channel` of a head's size in small, turned by nothing, stretched and moved by its number.
 */
static struct vn_image image_make(size_t channel) {
  struct vn_image image = {.size = sizeof image,
                           .type = VN_VOXEL_F32,
                           .world = VN_WORLD_RAS,
                           .dim = {44 - 3 * channel, 38 + channel, 31 + 5 * channel}};
  const size_t voxels = image.dim[0] * image.dim[1] * image.dim[2];
  float *noise = need(malloc(voxels * sizeof *noise));
  noise_fill(noise, voxels);
  image.voxels = noise;
  for (int i = 0; i < 3; i++) {
    image.affine[i][i] = 1.25 + 0.125 * (double)channel;
    image.affine[i][3] = -20 + 1.5 * (double)channel;
  }
  return image;
}

static enum vn_status channels_hash(const struct vn_plan *plan,
                                    const struct vn_exec_options *options, uint64_t *hash,
                                    struct vn_diag *diag) {
  struct vn_segmenter *segmenter = NULL;
  enum vn_status status = vn_segmenter_open(plan, options, &segmenter, diag);
  if (status) return status;
  struct vn_segmenter_info info = {.size = sizeof info};
  const struct vn_segment_options match = {.size = sizeof match, .match_grids = true};
  struct vn_image image[CHANNELS_MOST];
  const struct vn_image *images[CHANNELS_MOST];
  status = vn_segmenter_info(segmenter, &info, diag);
  for (size_t i = 0; i < CHANNELS_MOST; i++) image[i] = image_make(i), images[i] = &image[i];
  const size_t voxels = image[0].dim[0] * image[0].dim[1] * image[0].dim[2];
  const size_t bytes = voxels * (1 + info.labels * sizeof(float));
  float *scores = need(malloc(bytes));
  const struct vn_label_map labels = {.size = sizeof labels,
                                      .data = scores + voxels * info.labels,
                                      .elem_bytes = 1,
                                      .probabilities = scores,
                                      .probability = VN_PROBABILITY_F32};
  if (!status) status = vn_segment(segmenter, images, info.channels, &match, &labels, NULL, diag);
  *hash = status ? 0 : XXH64(scores, bytes, 0);
  for (size_t i = 0; i < CHANNELS_MOST; i++) free((void *)(uintptr_t)image[i].voxels);
  free(scores);
  vn_segmenter_close(&segmenter);
  return status;
}

static enum vn_status result_hash(const struct promise *p, const char *name,
                                  const struct bytes *file, uint64_t *hash, struct vn_diag *diag) {
  const struct vn_exec_options options = {.size = sizeof options, .isa = p->isa};
  struct bytes scan = file_read(p->folder, name, ".nii");
  struct vn_plan *plan = NULL;
  enum vn_status status = vn_plan_open_memory(file->data, file->size, &plan, diag);
  if (!status && scan.data)
    status = labels_hash(plan, &options, &scan, hash, diag);
  else if (!status && vn_plan_meta(plan, "vnet.intensity"))
    status = channels_hash(plan, &options, hash, diag);
  else if (!status)
    status = network_hash(plan, &options, hash, diag);
  vn_plan_close(&plan);
  free(scan.data);
  return status;
}

/* ---- the table ---- */

static bool has_fma(const char *isa) {
  return !strcmp(isa, "avx2") || !strcmp(isa, "avx512") || !strcmp(isa, "neon");
}

static void compare(struct promise *p, const char *name, const char *what, uint64_t hash,
                    const char *expected) {
  char text[20];
  snprintf(text, sizeof text, "%016llx", (unsigned long long)hash);
  const bool same = !strcmp(text, expected);
  printf("%-24s %-8s %s %s\n", name, what, text, same ? "same" : "differs");
  fflush(stdout);
  p->bad += !same;
}

static void row_check(struct promise *p, char *const column[COLUMNS], bool with_plan) {
  struct vn_diag diag = {""};
  uint64_t hash = 0;
  struct bytes file = file_read(p->folder, column[0], ".plan");
  if (!file.data) {
    printf("%s: no %s.plan in the folder\n", column[0], column[0]);
    p->bad++;
    return;
  }
  if (with_plan) compare(p, column[0], "plan", XXH64(file.data, file.size, 0), column[2]);
  const enum vn_status status = result_hash(p, column[0], &file, &hash, &diag);
  if (!status)
    compare(p, column[0], p->isa, hash, column[has_fma(p->isa) ? 4 : 3]);
  else
    printf("%s on %s: %s\n", column[0], p->isa, diag.text);
  p->ran += status != VN_E_UNSUPPORTED;
  p->bad += status && status != VN_E_UNSUPPORTED;
  free(file.data);
}

/* Cuts a row at its bars, without the spaces around them. False: a comment, or no row. */
static bool row_cut(char *line, char *column[COLUMNS]) {
  if (*line == '#') return false;
  for (int i = 0; i < COLUMNS; i++) {
    char *end = line ? strpbrk(line, "|\r\n") : NULL, *next = end && *end == '|' ? end + 1 : NULL;
    if (!line || !end) return false;
    while (*line == ' ') line++;
    while (end > line && end[-1] == ' ') end--;
    *end = '\0';
    column[i] = line;
    line = next;
  }
  return true;
}

static bool table_check(struct promise *p, const char *path, bool with_plans) {
  char line[512], *column[COLUMNS];
  FILE *table = fopen(path, "r");
  if (!table) return false;
  bool any = false;
  while (fgets(line, sizeof line, table)) {
    if (!row_cut(line, column)) continue;
    row_check(p, column, with_plans);
    any = true;
  }
  fclose(table);
  return any;
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: promise TABLE FOLDER ISA...\n");
    return 1;
  }
  struct promise p = {.folder = argv[2]};
  for (int i = 3; i < argc; i++) {
    p.isa = argv[i];
    if (table_check(&p, argv[1], i == 3)) continue;
    fprintf(stderr, "promise: no table in %s\n", argv[1]);
    return 1;
  }
  if (p.bad) printf("%u results are not the promised ones\n", p.bad);
  return p.bad ? 1 : p.ran ? 0 : 77;
}
