/* vnet-run: a plan and scans in, label maps out; or, with --tensor, arrays in and arrays out. What
 * is done with one scan is in run/case.c, with many in run/many.c; the network's part of it in
 * vnet_segment.h. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "comm.h"
#include "case_read.h"
#include "list.h"
#include "many.h"
#include "models.h"
#include "names.h"
#include "options.h"
#include "os.h"
#include "slicer.h"
#include "tensor.h"

static void press(void *cancel) {
  vn_cancel_press(cancel);
}

static int progress(void *context, double fraction) {
  (void)context;
  cli_progress("segmenting", fraction);
  return 0;
}

static int reading(void *context, double fraction) {
  (void)context;
  cli_progress("reading", fraction);
  return 0;
}

static int serve(void *context, double fraction) {
  (void)context, (void)fraction;
  comm_serve();
  return 0;
}

static int progress_and_serve(void *context, double fraction) {
  if (comm_ranks() == 1) progress(context, fraction);
  return serve(context, fraction);
}

/* A limit of threads, or of address space, is no reason to fail, nor to be silent. */
static void note_threads(const struct run_session *session) {
  const struct run_options *o = session->options;
  const size_t threads = vn_exec_info(vn_segmenter_exec(session->segmenter)).threads;
  if (o->quiet || o->exec.threads || threads >= vn_os_cores()) return;
  cli_note("only %zu of %zu threads could be started", threads, vn_os_cores());
}

/* Results lie beside the first file, unless they are told to lie elsewhere. */
static void entry_allow(struct sandbox *box, const struct run_options *o,
                        const struct run_entry *entry) {
  for (size_t i = 0; i < entry->words; i++) run_allow(box, run_word_file(entry->word[i]));
  if (!o->outputs && !o->output_dir) sandbox_write_beside(box, entry->scan);
}

/* Before the first byte of a plan or a scan: what is named may be read, where results go may be
 * written, and that is all. */
static void rights_give_up(struct sandbox *box, const struct run_options *o,
                           const struct run_models *models, const struct run_list *list) {
  sandbox_open(box);
  run_models_allow(box, models);
  for (size_t i = 0; i < list->count; i++) entry_allow(box, o, &list->entry[i]);
  for (size_t i = 0; i < o->tensors; i++) sandbox_read(box, o->tensor[i]);
  for (size_t i = 0; i < o->outputs; i++) sandbox_write_beside(box, o->output[i]);
  const char *const files[] = {o->scores, o->regions, o->report,
                               o->csv,    o->picture, o->slicer_result};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) sandbox_write_beside(box, files[i]);
  sandbox_write(box, o->output_dir);
  sandbox_enter(box);
}

/* MPI goes on needing sockets and files of its own. */
static bool rights_kept(struct sandbox *box, const struct run_options *o) {
  bool ranks = comm_in_use();
  if (ranks && !o->no_sandbox && !o->quiet && comm_rank() == 0)
    cli_note("ranks run without the sandbox");
  if (ranks || o->no_sandbox) snprintf(box->text, sizeof box->text, "none");
  return ranks || o->no_sandbox;
}

static void session_tells(struct run_session *session, bool many) {
  const struct run_options *o = session->options;
  if (o->slicer)
    session->progress = slicer_progress;
  else if (many)
    session->progress = o->quiet ? serve : progress_and_serve;
  else if (!o->quiet)
    session->progress = progress, session->reading = reading;
  session->tell = !o->slicer && !o->quiet && !many;
}

static void channels_name(struct run_session *session) {
  const size_t count = session->info.channels;
  const char **name = calloc(count, sizeof *name);
  if (!name) cli_fatal(VN_E_MEMORY, "out of memory");
  for (size_t i = 0; i < count; i++) name[i] = vn_segmenter_channel(session->segmenter, i).name;
  session->channels = (struct run_channels){.count = count, .name = name};
}

static void session_open(struct run_session *session, const struct run_options *o,
                         const struct run_models *models, struct vn_cancel *cancel) {
  struct vn_diag diag;
  *session = (struct run_session){.options = o, .models = models, .cancel = cancel};
  session->segmenter = run_models_segmenter(models, &o->exec);
  session->info.size = sizeof session->info;
  cli_check(vn_segmenter_info(session->segmenter, &session->info, &diag), &diag);
  session->labels = calloc(session->info.labels, sizeof *session->labels);
  if (!session->labels) cli_fatal(VN_E_MEMORY, "out of memory");
  for (size_t i = 0; i < session->info.labels; i++)
    session->labels[i] = vn_segmenter_label(session->segmenter, i);
  channels_name(session);
  if (comm_rank() == 0) note_threads(session);
}

static void session_close(struct run_session *session) {
  free((void *)(uintptr_t)session->channels.name);
  free(session->labels);
  vn_segmenter_close(&session->segmenter);
}

static char *copy_of(const char *text) {
  char *copy = text ? strdup(text) : NULL;
  if (text && !copy) cli_fatal(VN_E_MEMORY, "out of memory");
  return copy;
}

/* `input`: what has been opened, or NULL; then only names are known, and not where a header has its
 * voxels. */
static void files_check(const struct run_session *session, const struct run_files *files,
                        const struct run_input *input) {
  struct cli_files all = {0};
  run_files_add(&all, session, files);
  for (size_t i = 0; input && i < input->files; i++)
    cli_files_add(&all, vn_scan_voxel_path(input->file[i]), false);
  run_models_add(&all, session->models);
  cli_files_add(&all, session->options->slicer_result, true);
  cli_files_check(&all);
}

static void names_check(const struct run_files *files) {
  const char *images[] = {files->labels, files->scores, files->regions};
  for (size_t i = 0; i < sizeof images / sizeof *images; i++)
    if (images[i] && !vn_scan_writable(images[i]))
      cli_fatal(VN_E_ARGUMENT,
                "%s: the output's name must end in .nii, .nii.gz, .nrrd, .mgz or .mgh", images[i]);
}

static enum vn_status scan_run(struct run_session *session, const struct run_entry *entry) {
  const struct run_options *o = session->options;
  struct vn_diag diag;
  struct run_input input;
  const char *called = entry->called ? entry->called : entry->scan;
  struct run_files files = {.scan = run_words_copy(entry->word, entry->words),
                            .scans = entry->words,
                            .labels = o->outputs ? copy_of(o->output[0])
                                                 : run_name(called, run_labels_ending(called)),
                            .scores = copy_of(o->scores),
                            .regions = copy_of(o->regions),
                            .report = copy_of(o->report),
                            .csv = copy_of(o->csv),
                            .picture = copy_of(o->picture)};
  if (!files.labels) cli_fatal(VN_E_MEMORY, "out of memory");
  names_check(&files);
  files_check(session, &files, NULL);
  enum vn_status status = run_read(session, &files, &input, &diag);
  if (status == VN_OK) files_check(session, &files, &input);
  if (status == VN_OK && !o->quiet) run_models_note(session->models);
  if (status == VN_OK) status = run_case(session, &files, &input, &diag);
  cli_check_interrupt();
  cli_check(status, &diag);
  const bool warned = input.warned;
  run_input_close(&input);
  run_files_free(&files);
  cli_finish_stdout();
  return o->strict && warned ? VN_E_UNSUPPORTED : VN_OK;
}

static enum vn_status scans_run(struct run_session *session, struct run_list *list) {
  const struct run_options *o = session->options;
  if (session->channels.count == 1 && o->joined)
    cli_fatal(VN_E_ARGUMENT, "--second, --third and --fourth are further channels, and the network "
                             "takes one");
  if (session->channels.count == 1) run_options_check(o, run_options_many(o));
  run_list_settle(list, o, &session->channels);
  run_options_check(o, !list->single);
  if ((o->regions || o->region_maps) && !session->info.regions)
    cli_fatal(VN_E_UNSUPPORTED,
              "%s: the network's labels exclude each other: it has no regions that may overlap",
              o->regions ? o->regions : "--region-maps");
  session_tells(session, !list->single);
  if (list->single) return scan_run(session, &list->entry[0]);
  if (!o->quiet && comm_rank() == 0) run_models_note(session->models);
  return many_run(session, list);
}

int main(int argc, char **argv) {
  cli_start("vnet-run");
  comm_open(&argc, &argv);
  struct run_options o = run_options_parse(argc, argv);
  struct run_list list = {0};
  struct sandbox box;
  struct vn_diag diag;
  struct vn_cancel *cancel;
  enum vn_status status = VN_OK;
  struct run_models models = run_models_find(o.plan, !o.quiet && comm_rank() == 0);
  cli_check(vn_cancel_create(&cancel, &diag), &diag);
  o.exec.cancel = cancel;
  cli_on_interrupt(press, cancel);
  if (!o.tensors) list = run_list_open(&o);
  if (!rights_kept(&box, &o)) rights_give_up(&box, &o, &models, &list);
  run_models_open(&models, cancel);
  if (o.tensors) {
    tensors_run(&o, &models, cancel);
  } else {
    struct run_session session;
    session_open(&session, &o, &models, cancel);
    session.sandbox = box.text;
    status = scans_run(&session, &list);
    session_close(&session);
  }
  cli_on_interrupt(NULL, NULL);
  run_list_close(&list);
  run_models_close(&models);
  vn_cancel_close(&cancel);
  run_options_close(&o);
  comm_close();
  return (int)status;
}
