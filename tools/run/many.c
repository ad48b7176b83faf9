/* Lists of scans; see many.h.
 *
 * Each scan leaves NAME.seg.nii.gz and, before it, NAME.seg.csv: its rows of the summary, or the
 * one row of its failure. A scan is finished when both are there and the rows are of the same plan,
 * version and ISA; so --resume needs no state of its own, and the summary is made of these files
 * alone, the same for any number of ranks. While a scan computes, a thread reads the next one
 * (not under --memory-limit, which is the figure for one). */
#include "many.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "comm.h"
#include "fail.h"
#include "report.h"

struct list {
  char **scan;
  size_t count, room;
};

enum outcome { OUTCOME_DONE, OUTCOME_SKIPPED, OUTCOME_FAILED };

/* One scan between being handed out and being finished. */
struct slot {
  struct run_session *session;
  struct run_files files;
  struct run_input input;
  pthread_t reader;
  bool reading; /* the thread runs */
  size_t index; /* SIZE_MAX: no more */
  enum vn_status status;
  struct vn_diag diag;
};

/* ---- the list ---- */

static void list_add(struct list *list, const char *scan) {
  if (list->count == list->room) {
    list->room = list->room ? 2 * list->room : 64;
    char **more = realloc(list->scan, list->room * sizeof *list->scan);
    if (!more) cli_fatal(VN_E_MEMORY, "out of memory for the list of scans");
    list->scan = more;
  }
  char *copy = strdup(scan);
  if (!copy) cli_fatal(VN_E_MEMORY, "out of memory for the list of scans");
  list->scan[list->count++] = copy;
}

/* A scan on each line, relative to the present folder; empty lines and lines that begin with # are
 * passed over. */
static void list_read(struct list *list, const char *path) {
  FILE *file = fopen(path, "r");
  char *line = NULL;
  size_t room = 0;
  if (!file) cli_fatal(vn_io_status(errno), "%s: %s", path, strerror(errno));
  for (ssize_t length; (length = getline(&line, &room, file)) >= 0;) {
    if (strlen(line) != (size_t)length)
      cli_fatal(VN_E_FORMAT, "%s: line %zu holds a zero byte: not a list of files", path,
                list->count + 1);
    while (length > 0 && strchr("\r\n \t", line[length - 1])) line[--length] = '\0';
    if (length > 0 && line[0] != '#') list_add(list, line);
  }
  if (!feof(file)) cli_fatal(vn_io_status(errno), "%s: %s", path, strerror(errno));
  free(line);
  fclose(file);
}

static int is_scan(const struct dirent *entry) {
  const char *name = entry->d_name;
  bool image = cli_ends(name, ".nii") || cli_ends(name, ".nii.gz") || cli_ends(name, ".hdr") ||
               cli_ends(name, ".hdr.gz");
  return image && name[0] != '.' && !cli_ends(name, ".seg.nii.gz") && !cli_ends(name, ".seg.nii");
}

static void folder_read(struct list *list, const char *folder) {
  struct dirent **entries;
  int count = scandir(folder, &entries, is_scan, alphasort);
  if (count < 0) cli_fatal(vn_io_status(errno), "%s: %s", folder, strerror(errno));
  for (int i = 0; i < count; i++) {
    char *path;
    if (asprintf(&path, "%s/%s", folder, entries[i]->d_name) < 0)
      cli_fatal(VN_E_MEMORY, "out of memory for the list of scans");
    list_add(list, path);
    free(path);
    free(entries[i]);
  }
  free(entries);
}

static int by_text(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Two scans of one name would overwrite each other's results. */
static void names_check(const struct list *list, const char *folder) {
  char **names = calloc(list->count, sizeof *names);
  for (size_t i = 0; names && i < list->count; i++)
    if (!(names[i] = run_name(list->scan[i], folder, ""))) cli_fatal(VN_E_MEMORY, "out of memory");
  if (!names) cli_fatal(VN_E_MEMORY, "out of memory");
  qsort(names, list->count, sizeof *names, by_text);
  for (size_t i = 1; i < list->count; i++)
    if (strcmp(names[i - 1], names[i]) == 0)
      cli_fatal(VN_E_ARGUMENT, "two scans would both be written to %s.seg.nii.gz", names[i]);
  for (size_t i = 0; i < list->count; i++) free(names[i]);
  free(names);
}

static struct list list_make(const struct run_options *o) {
  struct list list = {0};
  if (o->list)
    list_read(&list, o->list);
  else
    folder_read(&list, o->scan);
  if (!list.count)
    cli_fatal(VN_E_ARGUMENT, "%s: there is no scan in it", o->list ? o->list : o->scan);
  names_check(&list, o->output_dir);
  if (mkdir(o->output_dir, 0777) && errno != EEXIST)
    cli_fatal(vn_io_status(errno), "%s: %s", o->output_dir, strerror(errno));
  return list;
}

/* ---- one case ---- */

static void files_make(struct run_files *files, const struct run_options *o, const char *scan) {
  *files = (struct run_files){
      .scan = strdup(scan),
      .labels = run_name(scan, o->output_dir, ".seg.nii.gz"),
      .csv = run_name(scan, o->output_dir, ".seg.csv"),
      .report = run_name(scan, o->output_dir, ".seg.json"),
      .picture = o->pictures ? run_name(scan, o->output_dir, ".seg.png") : NULL,
  };
  if (!files->scan || !files->labels || !files->csv || !files->report ||
      (o->pictures && !files->picture))
    cli_fatal(VN_E_MEMORY, "out of memory");
}

static bool exists(const char *path) {
  struct stat there;
  return stat(path, &there) == 0;
}

/* Do the rows there come from this plan, version and ISA? */
static bool finished(const struct run_session *session, const struct run_files *files) {
  char mark[64], *line = NULL;
  size_t room = 0;
  bool same = false;
  snprintf(mark, sizeof mark, ",%s,%016" PRIx64 ",%s\n", vn_version(),
           vn_plan_checksum(session->plan),
           vn_exec_info(vn_segmenter_exec(session->segmenter)).isa);
  FILE *file = exists(files->labels) ? fopen(files->csv, "r") : NULL;
  if (!file) return false;
  for (size_t lines = 0; lines < 2 && getline(&line, &room, file) >= 0; lines++)
    same = lines == 1 && cli_ends(line, mark);
  free(line);
  fclose(file);
  return same;
}

/* What a killed run left of this scan under hidden names. */
static void leftovers_remove(const struct run_files *files, const char *folder) {
  const char *name = strrchr(files->labels, '/') + 1;
  size_t stem = strlen(name) - strlen("nii.gz");
  DIR *dir = opendir(folder);
  for (struct dirent *entry; dir && (entry = readdir(dir));) {
    const char *left = entry->d_name;
    if (left[0] != '.' || strncmp(left + 1, name, stem) || !cli_ends(left, ".part")) continue;
    unlinkat(dirfd(dir), left, 0);
  }
  if (dir) closedir(dir);
}

static void *slot_read(void *context) {
  struct slot *slot = context;
  slot->status = run_read(slot->session, slot->files.scan, &slot->input, &slot->diag);
  return NULL;
}

/* The next case that is not finished, being read. */
static void slot_fill(struct slot *slot, struct run_session *session, const struct list *list,
                      size_t *skipped) {
  const struct run_options *o = session->options;
  *slot = (struct slot){.session = session};
  while ((slot->index = comm_next(list->count)) < list->count) {
    files_make(&slot->files, o, list->scan[slot->index]);
    if (!o->resume || !finished(session, &slot->files)) break;
    ++*skipped;
    run_files_free(&slot->files);
  }
  if (slot->index >= list->count) return;
  if (o->resume) leftovers_remove(&slot->files, o->output_dir);
  slot->reading = pthread_create(&slot->reader, NULL, slot_read, slot) == 0;
  if (!slot->reading) slot_read(slot);
}

static void slot_wait(struct slot *slot) {
  if (slot->reading) pthread_join(slot->reader, NULL);
  slot->reading = false;
}

/* What is left of an earlier run must not pass for this one's. */
static void failure_write(const struct slot *slot) {
  struct cli_output output;
  struct vn_diag diag;
  remove(slot->files.labels);
  if (cli_output_create(&output, slot->files.csv, &diag)) return; /* then the folder failed it */
  FILE *file = fdopen(dup(output.fd), "w");
  if (file) {
    report_csv_header(file);
    report_csv_failure(file, slot->session, slot->files.scan, slot->status, slot->diag.text);
  }
  if (file && fclose(file) == 0)
    cli_output_publish(&output, &diag);
  else
    cli_output_drop(&output);
}

static void slot_run(struct slot *slot) {
  if (slot->status == VN_OK)
    slot->status = run_case(slot->session, &slot->files, &slot->input, &slot->diag);
  cli_check_interrupt();
  if (slot->status) {
    fprintf(stderr, "vnet-run: %s\n", slot->diag.text);
    failure_write(slot);
  }
  run_input_close(&slot->input);
  run_files_free(&slot->files);
}

/* ---- the summary ---- */

/* The rows of one scan's csv, without its header. */
static bool rows_copy(const char *path, FILE *out, char **failure) {
  char *line = NULL;
  size_t room = 0, lines = 0;
  *failure = NULL;
  FILE *file = fopen(path, "r");
  if (!file && errno != ENOMEM) return false;
  while (file && getline(&line, &room, file) >= 0) {
    if (lines++ == 0) continue;
    fputs(line, out);
    if (lines == 2 && !strstr(line, ",ok,0,") && !(*failure = strdup(line)))
      cli_fatal(VN_E_MEMORY, "out of memory");
  }
  if (!file || !feof(file)) cli_fatal(vn_io_status(errno), "%s: %s", path, strerror(errno));
  free(line);
  fclose(file);
  return lines > 1;
}

static void summary_write(const struct run_session *session, const struct list *list) {
  const struct run_options *o = session->options;
  struct cli_output output;
  char *path, *failure;
  if (asprintf(&path, "%s/summary.csv", o->output_dir) < 0) cli_fatal(VN_E_MEMORY, "out of memory");
  cli_output_open(&output, path);
  FILE *out = fdopen(dup(output.fd), "w");
  if (!out) cli_fatal(vn_io_status(errno), "%s: %s", path, strerror(errno));
  report_csv_header(out);
  size_t failed = 0;
  for (size_t i = 0; i < list->count; i++) {
    char *rows = run_name(list->scan[i], o->output_dir, ".seg.csv");
    if (!rows) cli_fatal(VN_E_MEMORY, "out of memory");
    bool there = rows_copy(rows, out, &failure);
    if (!there)
      report_csv_failure(out, session, list->scan[i], VN_E_IO, "its results cannot be read");
    bool bad = !there || failure;
    failed += bad;
    if (!o->quiet) printf("%-8s %s\n", bad ? "FAILED" : "ok", list->scan[i]);
    if (there) free(failure);
    free(rows);
  }
  if (fclose(out)) cli_fatal(vn_io_status(errno), "%s: cannot write: %s", path, strerror(errno));
  cli_output_commit(&output);
  if (!o->quiet)
    printf("%zu scans, %zu failed; every label of every scan is in %s\n", list->count, failed,
           path);
  cli_finish_stdout();
  free(path);
}

enum vn_status many_run(struct run_session *session) {
  struct list list = list_make(session->options);
  bool ahead = session->options->exec.memory_limit_bytes == 0;
  enum vn_status first = VN_OK;
  size_t skipped = 0;
  struct slot slots[2];
  slot_fill(&slots[0], session, &list, &skipped);
  for (size_t turn = 0; slots[turn % 2].index < list.count; turn++) {
    struct slot *now = &slots[turn % 2], *next = &slots[(turn + 1) % 2];
    slot_wait(now);
    if (ahead) slot_fill(next, session, &list, &skipped);
    slot_run(now);
    if (now->status && !first) first = now->status;
    if (!ahead) slot_fill(next, session, &list, &skipped);
  }
  size_t failures = comm_finish(first != VN_OK);
  if (comm_rank() == 0) summary_write(session, &list);
  for (size_t i = 0; i < list.count; i++) free(list.scan[i]);
  free(list.scan);
  return first || !failures ? first : VN_E_FORMAT;
}
