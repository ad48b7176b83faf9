/* Many scans in one run: a list or a folder, results in one folder, finished ones skipped, bad ones
 * passed over. */
#ifndef VNET_RUN_MANY_H
#define VNET_RUN_MANY_H

#include "case.h"

struct run_list {
  char **scan;
  size_t count, room;
};

/* The scans that are asked for; makes the folder of their results. Ends the program when the list
 * or the folders cannot be used. */
struct run_list many_list(const struct run_options *options);

/* Runs every case, prints a summary (rank 0), writes DIR/summary.csv. VN_OK, or the status of the
 * first scan that failed. Frees the list. */
enum vn_status many_run(struct run_session *session, struct run_list *list);

#endif
