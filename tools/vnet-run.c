/* vnet-run: a plan and scans in, label maps out; or, with --tensor, arrays in and arrays out. What
 * is done with one scan is in run/case.c, with many in run/many.c; the network's part of it in
 * runtime/volume/segment.h. */
#include <stdlib.h>
#include <string.h>

#include "case.h"
#include "cli.h"
#include "comm.h"
#include "many.h"
#include "options.h"
#include "slicer.h"
#include "tensor.h"

static void exec_cancel(void *exec) {
  vn_exec_cancel(exec);
}

static void progress(void *context, size_t done, size_t total) {
  (void)context;
  cli_progress("segmenting", done, total);
}

static void progress_and_serve(void *context, size_t done, size_t total) {
  if (comm_ranks() == 1) progress(context, done, total);
  comm_serve();
}

static void serve(void *context, size_t done, size_t total) {
  (void)context, (void)done, (void)total;
  comm_serve();
}

static void session_open(struct run_session *session, const struct run_options *o,
                         const struct vn_plan *plan) {
  struct vn_diag diag;
  *session = (struct run_session){.options = o, .plan = plan};
  cli_check(vn_exec_open(plan, &o->exec, &session->exec, &diag), &diag);
  const char *labels = vn_plan_meta(plan, "vnet.labels");
  session->named = labels != NULL;
  cli_check(
      vn_palette_parse(labels, vn_segment_classes(plan, session->exec), &session->palette, &diag),
      &diag);
  if (o->slicer)
    session->progress = slicer_progress;
  else if (run_options_many(o))
    session->progress = o->quiet ? serve : progress_and_serve;
  else if (!o->quiet)
    session->progress = progress;
  cli_on_interrupt(exec_cancel, session->exec);
}

static void session_close(struct run_session *session) {
  cli_on_interrupt(NULL, NULL);
  vn_palette_close(&session->palette);
  vn_exec_close(&session->exec);
}

static void note_intensity(const struct vn_plan *plan) {
  if (!vn_plan_meta(plan, "vnet.intensity"))
    fputs("vnet-run: note: the model has no vnet.intensity: voxels go in as they are\n", stderr);
}

static char *copy_of(const char *text) {
  char *copy = text ? strdup(text) : NULL;
  if (text && !copy) cli_fatal(VN_E_MEMORY, "out of memory");
  return copy;
}

static void scan_run(struct run_session *session) {
  const struct run_options *o = session->options;
  struct vn_diag diag;
  struct run_input input;
  struct run_files files = {.scan = copy_of(o->scan),
                            .labels = o->outputs ? copy_of(o->output[0])
                                                 : run_name(o->scan, NULL, ".seg.nii.gz"),
                            .scores = copy_of(o->scores),
                            .report = copy_of(o->report),
                            .csv = copy_of(o->csv),
                            .picture = copy_of(o->picture)};
  if (!files.labels) cli_fatal(VN_E_MEMORY, "out of memory");
  const char *images[2] = {files.labels, files.scores};
  for (int i = 0; i < 2; i++)
    if (images[i] && !cli_ends(images[i], ".nii") && !cli_ends(images[i], ".nii.gz"))
      cli_fatal(VN_E_ARGUMENT, "%s: the output's name must end in .nii or .nii.gz", images[i]);
  enum vn_status status = run_read(session, o->scan, &input, &diag);
  if (status == VN_OK && !o->quiet) note_intensity(session->plan);
  if (status == VN_OK && input.scan.replaced && !o->quiet)
    fprintf(stderr, "vnet-run: note: %zu voxels were not finite and took the smallest value\n",
            input.scan.replaced);
  if (status == VN_OK) status = run_case(session, &files, &input, &diag);
  cli_check_interrupt();
  cli_check(status, &diag);
  run_input_close(&input);
  run_files_free(&files);
  cli_finish_stdout();
}

int main(int argc, char **argv) {
  cli_start("vnet-run");
  comm_open(&argc, &argv);
  struct run_options o = run_options_parse(argc, argv);
  struct vn_diag diag;
  struct vn_plan *plan;
  enum vn_status status = VN_OK;
  cli_check(vn_plan_open(o.plan, &plan, &diag), &diag);
  if (o.tensors) {
    tensors_run(&o, plan);
  } else {
    struct run_session session;
    session_open(&session, &o, plan);
    if (run_options_many(&o)) {
      if (!o.quiet && comm_rank() == 0) note_intensity(plan);
      status = many_run(&session);
    } else {
      scan_run(&session);
    }
    session_close(&session);
  }
  vn_plan_close(&plan);
  comm_close();
  return (int)status;
}
