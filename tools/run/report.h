/* What one run found and how it was made, as JSON and as CSV rows. Called by case.c and many.c. */
#ifndef VNET_RUN_REPORT_H
#define VNET_RUN_REPORT_H

#include <stdio.h>

#include "case.h"

struct run_result {
  struct vn_label_map map;
  struct vn_measure
      *measures; /* [labels], then [regions]: each whole, what others hide of it too */
  struct vn_segment_report report;
  uint64_t measure_ns, write_ns, picture_ns;
};

/* What a report knows the scan's files by: their sizes and times of change, in any order. */
enum { REPORT_MARK = 17 };
void report_mark(const struct run_files *files, char mark[REPORT_MARK]);

void report_json(FILE *out, const struct run_session *session, const struct run_files *files,
                 const struct run_input *input, const struct run_result *result);

/* For a person: where the labels are, how much there is of each, how long it took. */
void report_tell(FILE *out, const struct run_session *session, const struct run_files *files,
                 const struct run_result *result);

/* Names as cli_csv_text writes them: a row is a line.
 * scan,status,message,label,name,voxels,ml,soft_ml,mean,sd,x_mm,y_mm,z_mm,validation_dice,version,
 * plan,isa,options.
 * A row for each label, then one for each region that may overlap others, whole: "region 1" ...
 * Status: ok, warning (with the message) or failed (why). Nothing in it depends on threads, ranks
 * or time.
 */
void report_csv_header(FILE *out);
void report_csv_rows(FILE *out, const struct run_session *session, const char *scan,
                     const struct run_result *result);
/* The one row of a scan that failed. */
void report_csv_failure(FILE *out, const struct run_session *session, const char *scan,
                        const char *sentence);

/* What ends each row, comma and newline included: version, plans, ISA, those options that decide
 * what is found where they are not the defaults, and what was written of each scan beside its
 * labels. */
void report_csv_end(FILE *out, const struct run_session *session, bool regions, bool picture);

/* How a row of these begins: is it of a scan that failed, or of one with a warning? */
bool report_csv_says(const char *row, const char *status);

#endif
