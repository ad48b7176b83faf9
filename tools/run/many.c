/* Scan after scan; see many.h.
 *
 * Each scan leaves NAME.seg.nii.gz (.nrrd, .mgz: in its own format) and, before it, NAME.seg.csv:
 * its rows of the summary, or the one row of its failure. A scan is finished when all its files are
 * there, the rows are of the same plans, version, ISA and options, and the report is of scan files
 * of these sizes and times of change; so --resume needs no state of its own, and the summary is
 * made of these files alone, the same for any number of ranks. What fails leaves its row and
 * nothing else, for what an earlier run left would pass for this one's. While a scan computes, a
 * thread reads the next one (not under --memory-limit, which is the figure for one). Where memory
 * is short for both they take turns: what fits alone is done. */
#include "many.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "case_read.h"
#include "cli.h"
#include "comm.h"
#include "names.h"
#include "os.h"
#include "part.h"
#include "report.h"
#include "printed.h"

/* One scan between being handed out and being finished. */
struct slot {
  struct run_session *session;
  const struct run_entry *entry;
  struct run_files files;
  struct run_input input;
  pthread_t reader;
  bool reading; /* the thread runs */
  size_t index; /* SIZE_MAX: no more */
  enum vn_status status;
  struct vn_diag diag;
};

static char *joined(const char *name, const char *ending) {
  char *path;
  if (asprintf(&path, "%s%s", name, ending) < 0) cli_fatal(VN_E_MEMORY, "out of memory");
  return path;
}

/* ---- one case ---- */

static void files_make(struct run_files *files, const struct run_options *o,
                       const struct run_entry *entry) {
  *files = (struct run_files){
      .scan = run_words_copy(entry->word, entry->words),
      .scans = entry->words,
      .labels = joined(entry->name, run_labels_ending(entry->scan)),
      .regions = o->region_maps ? joined(entry->name, ".regions.nii.gz") : NULL,
      .csv = joined(entry->name, ".seg.csv"),
      .report = joined(entry->name, ".seg.json"),
      .picture = o->pictures ? joined(entry->name, ".seg.png") : NULL,
  };
}

/* All that is read and all that will be written, before any of it is. */
static void files_check(const struct run_session *session, const struct run_list *list,
                        const char *summary) {
  struct cli_files all = {0};
  for (size_t i = 0; i < list->count; i++) {
    struct run_files files;
    files_make(&files, session->options, &list->entry[i]);
    run_files_add(&all, session, &files);
    run_files_free(&files);
  }
  run_models_add(&all, session->models);
  cli_files_add(&all, session->options->list, false);
  cli_files_add(&all, summary, true);
  cli_files_check(&all);
}

/* The folders that lead to a result, from the folder of results on. */
static void folders_make(const struct run_options *o, char *path) {
  if (!o->output_dir) return;
  for (char *slash = path + strlen(o->output_dir); (slash = strchr(slash, '/')); slash++) {
    *slash = '\0';
    mkdir(path, 0777); /* what is wrong with it shows when the result is opened */
    *slash = '/';
  }
}

static bool exists(const char *path) {
  struct stat there;
  return stat(path, &there) == 0;
}

/* Has a table these columns? */
static bool head_same(const char *line) {
  struct vn_printed head;
  FILE *out = vn_printed_open(&head);
  if (out) report_csv_header(out);
  if (!vn_printed_close(out, &head)) cli_fatal(VN_E_MEMORY, "out of memory");
  const bool same = strcmp(line, head.text) == 0;
  free(head.text);
  return same;
}

/* Do the rows there come from these plans, this version, ISA and options, and from a run that wrote
 * these files? */
static bool rows_same(const struct run_session *session, const char *line, bool regions,
                      bool picture) {
  struct vn_printed mark;
  FILE *out = vn_printed_open(&mark);
  if (out) report_csv_end(out, session, regions, picture);
  if (!vn_printed_close(out, &mark)) cli_fatal(VN_E_MEMORY, "out of memory");
  const bool same = cli_ends(line, mark.text);
  free(mark.text);
  return same;
}

/* More files than are wanted do no harm. */
static bool rows_finished(const struct run_session *session, const struct run_files *files) {
  char *line = NULL;
  size_t room = 0;
  FILE *file = fopen(files->csv, "r");
  const bool whole = file && getline(&line, &room, file) >= 0 && head_same(line) &&
                     getline(&line, &room, file) >= 0;
  bool same = false;
  for (int more = 0; more < 4 && whole && !same; more++)
    same = rows_same(session, line, files->regions || more & 1, files->picture || more & 2);
  free(line);
  if (file) fclose(file);
  return same;
}

/* Is the report of the files that are there now? */
static bool scan_same(const struct run_files *files) {
  char mark[REPORT_MARK], *text = NULL;
  size_t room = 0;
  FILE *file = fopen(files->report, "r");
  report_mark(files, mark);
  bool same = false;
  while (file && !same && getline(&text, &room, file) >= 0) same = strstr(text, mark);
  free(text);
  if (file) fclose(file);
  return same;
}

static bool finished(const struct run_session *session, const struct run_files *files) {
  struct vn_diag diag;
  char *tables[2];
  bool tabled = true;
  cli_check(run_tables_name(session, files, tables, &diag), &diag);
  for (size_t i = 0; i < 2; i++) {
    tabled = tabled && (!tables[i] || exists(tables[i]));
    free(tables[i]);
  }
  return tabled && exists(files->labels) && (!files->regions || exists(files->regions)) &&
         (!files->picture || exists(files->picture)) && rows_finished(session, files) &&
         scan_same(files);
}

static void *slot_read(void *context) {
  struct slot *slot = context;
  slot->status = run_read(slot->session, &slot->files, &slot->input, &slot->diag);
  return NULL;
}

/* The next case that is not finished, being read. */
static void slot_fill(struct slot *slot, struct run_session *session, const struct run_list *list,
                      size_t *skipped) {
  const struct run_options *o = session->options;
  *slot = (struct slot){.session = session};
  while ((slot->index = comm_next(list->count)) < list->count) {
    slot->entry = &list->entry[slot->index];
    files_make(&slot->files, o, slot->entry);
    if (!o->resume || !finished(session, &slot->files)) break;
    ++*skipped;
    run_files_free(&slot->files);
  }
  if (slot->index >= list->count) return;
  slot->reading = vn_os_thread_start(&slot->reader, 0, slot_read, slot) == 0;
  if (!slot->reading) slot_read(slot);
}

static void slot_wait(struct slot *slot) {
  if (slot->reading) pthread_join(slot->reader, NULL);
  slot->reading = false;
}

static void failure_write(const struct slot *slot) {
  static const char *const endings[] = {".seg.csv", ".seg.json", ".seg.png", ".regions.nii.gz"};
  struct cli_output output;
  struct vn_diag diag;
  char *tables[2];
  remove(slot->files.labels);
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) { /* of whatever was asked for */
    char *path = joined(slot->entry->name, endings[i]);
    remove(path);
    free(path);
  }
  cli_check(run_tables_name(slot->session, &slot->files, tables, &diag), &diag);
  for (size_t i = 0; i < 2; i++) {
    if (tables[i]) remove(tables[i]);
    free(tables[i]);
  }
  if (cli_output_create(&output, slot->files.csv, &diag)) return; /* then the folder failed it */
  FILE *file = fdopen(vn_os_dup(output.fd), "w");
  if (file) {
    report_csv_header(file);
    report_csv_failure(file, slot->session, run_word_file(slot->files.scan[0]), slot->diag.text);
  }
  if (file && fclose(file) == 0)
    cli_output_publish(&output, &diag);
  else
    cli_output_drop(&output);
}

/* What is held of a case makes room; it is read again, soon or when its turn comes. */
static void slot_yield(struct slot *slot) {
  slot_wait(slot);
  run_input_close(&slot->input);
  run_files_free(&slot->files); /* whose scans are in the network's order already */
  files_make(&slot->files, slot->session->options, slot->entry);
  slot->status = VN_E_MEMORY;
}

/* `next`: what is read meanwhile, or NULL. */
static void slot_run(struct slot *slot, struct slot *next) {
  const bool resume = slot->session->options->resume;
  if (resume && finished(slot->session, &slot->files)) { /* by another process, meanwhile */
    slot->status = VN_OK;
    run_input_close(&slot->input);
    run_files_free(&slot->files);
    return;
  }
  folders_make(slot->session->options, slot->files.labels);
  remove(slot->files.labels); /* or they would be taken for those of rows that come before theirs */
  const bool read = slot->status == VN_OK;
  if (read) slot->status = run_case(slot->session, &slot->files, &slot->input, &slot->diag);
  if (read && slot->status == VN_E_MEMORY && next) {
    slot_yield(next);
    slot->status = run_case(slot->session, &slot->files, &slot->input, &slot->diag);
  }
  cli_check_interrupt();
  if (slot->status) {
    cli_line(stderr, "vnet-run: %s", slot->diag.text);
    failure_write(slot);
  }
  run_input_close(&slot->input);
  run_files_free(&slot->files);
}

/* ---- the summary ---- */

/* The rows of one scan's csv, without its header; what the first of them says. */
static bool rows_copy(const char *path, FILE *out, bool *failed, bool *warned) {
  char *line = NULL;
  size_t room = 0, lines = 0;
  FILE *file = fopen(path, "r");
  if (!file && errno != ENOMEM) return false;
  while (file && getline(&line, &room, file) >= 0) {
    if (lines++ == 0) continue;
    fputs(line, out);
    if (lines != 2) continue;
    *warned = report_csv_says(line, "warning");
    *failed = !*warned && !report_csv_says(line, "ok");
  }
  if (!file || !feof(file)) cli_fatal(vn_io_status(errno), "%s: %s", path, strerror(errno));
  free(line);
  fclose(file);
  return lines > 1;
}

static void summary_save(const char *path, const char *text, size_t size) {
  struct cli_output output;
  struct vn_diag diag;
  cli_output_open(&output, path);
  if (vn_part_write(output.fd, text, size, &diag)) cli_fatal(VN_E_IO, "%s: %s", path, diag.text);
  cli_output_commit(&output);
}

/* `path` NULL: what is said is all. Returns how many scans have a warning. */
static size_t summary_write(const struct run_session *session, const struct run_list *list,
                            const char *path) {
  const struct run_options *o = session->options;
  size_t failed = 0, warnings = 0;
  struct vn_printed text;
  FILE *out = vn_printed_open(&text);
  if (!out) cli_fatal(VN_E_MEMORY, "out of memory");
  report_csv_header(out);
  for (size_t i = 0; i < list->count; i++) {
    const struct run_entry *entry = &list->entry[i];
    char *rows = joined(entry->name, ".seg.csv");
    bool bad = true, warning = false;
    if (!rows_copy(rows, out, &bad, &warning))
      report_csv_failure(out, session, entry->scan, "its results cannot be read");
    failed += bad;
    warnings += warning;
    if (!o->quiet)
      cli_line(stdout, "%-8s %s", bad ? "FAILED" : warning ? "warning" : "ok", entry->scan);
    free(rows);
  }
  if (!vn_printed_close(out, &text)) cli_fatal(VN_E_MEMORY, "out of memory");
  if (path) summary_save(path, text.text, text.bytes);
  free(text.text);
  char warned[48] = "";
  if (warnings) snprintf(warned, sizeof warned, ", %zu with a warning", warnings);
  if (!o->quiet)
    cli_line(stdout, "%zu scan%s, %zu failed%s%s%s", list->count, list->count == 1 ? "" : "s",
             failed, warned, path ? "; every label of every scan is in " : "", path ? path : "");
  cli_finish_stdout();
  return warnings;
}

enum vn_status many_run(struct run_session *session, const struct run_list *list) {
  const struct run_options *o = session->options;
  const uint64_t limit = o->exec.memory_limit_bytes;
  const bool ahead = limit == 0 || limit == UINT64_MAX;
  enum vn_status first = VN_OK;
  size_t skipped = 0;
  struct slot slots[2];
  const char *name = o->output_dir && cli_ends(o->output_dir, "/") ? "summary.csv" : "/summary.csv";
  char *summary = o->output_dir ? joined(o->output_dir, name) : NULL;
  files_check(session, list, summary);
  slot_fill(&slots[0], session, list, &skipped);
  for (size_t turn = 0; slots[turn % 2].index < list->count; turn++) {
    struct slot *now = &slots[turn % 2], *next = &slots[(turn + 1) % 2];
    slot_wait(now);
    if (now->status == VN_E_MEMORY) slot_yield(now), slot_read(now);
    if (ahead) slot_fill(next, session, list, &skipped);
    slot_run(now, ahead && next->index < list->count ? next : NULL);
    if (now->status && !first) first = now->status;
    if (!ahead) slot_fill(next, session, list, &skipped);
  }
  size_t failures = comm_finish(first != VN_OK), warnings = 0;
  if (comm_rank() == 0) warnings = summary_write(session, list, summary);
  free(summary);
  if (!first && failures) first = VN_E_FORMAT;
  return !first && warnings && o->strict ? VN_E_UNSUPPORTED : first;
}
