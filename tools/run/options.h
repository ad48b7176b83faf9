/* What vnet-run was asked to do: read from the command line by options.c, used by everything else
 * in this folder. Slicer's module description (slicer.c), the man page and the completion list the
 * same options: keep them in step (a test compares their names). */
#ifndef VNET_RUN_OPTIONS_H
#define VNET_RUN_OPTIONS_H

#include "vnet_segment.h"

enum { RUN_TENSORS_MOST = 8, RUN_EXCLUDES_MOST = 64, RUN_MORE = 3 };

struct run_options {
  const char *plan;  /* what stands in its place (models.h) */
  char *const *scan; /* [scans]: files and folders */
  size_t scans;
  char **joined;        /* NULL, or the memory of `scan` */
  char *more[RUN_MORE]; /* --second, --third, --fourth: the last of `scan`, too */
  const char *tensor[RUN_TENSORS_MOST], *output[RUN_TENSORS_MOST];
  size_t tensors, outputs;
  const char *list, *output_dir; /* many scans */
  bool recursive, resume;
  bool region_maps;                       /* many scans: each one's regions, too */
  const char *geometry;                   /* how a scan lies; see vn_scan_set_geometry */
  const char *exclude[RUN_EXCLUDES_MOST]; /* patterns of names and paths */
  size_t excludes;
  const char *scores, *regions, *report, *csv, *picture; /* files of one scan */
  bool csv_printed;                                      /* on standard output */
  bool pictures; /* many scans: --picture without a name to each */
  enum vn_probability scores_kind;
  struct vn_segment_options segment;
  bool json, quiet, no_sandbox;
  bool strict; /* a warning ends the program with VN_E_UNSUPPORTED, its results written */
  struct vn_exec_options exec;
  const char *slicer_state;  /* --processinformationaddress is accepted, and nothing is at it */
  const char *slicer_result; /* --returnparameterfile */
  bool slicer;               /* progress as Slicer reads it, on standard output */
};

/* Ends the program on --help, --version, --xml and on wrong arguments. */
struct run_options run_options_parse(int argc, char **argv);
void run_options_close(struct run_options *options);

/* Many scans, not one? Several words may still be the channels of one (list.h). */
bool run_options_many(const struct run_options *options);

/* Ends the program where options for one case and for many are mixed up, once it is known which it
 * is. */
void run_options_check(const struct run_options *options, bool many);

#endif
