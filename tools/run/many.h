/* Many scans in one run: finished ones skipped, bad ones passed over. Which they are and what their
 * results are called is in list.h. */
#ifndef VNET_RUN_MANY_H
#define VNET_RUN_MANY_H

#include "case.h"
#include "list.h"

/* Runs every case of a settled list, prints a summary (rank 0), writes DIR/summary.csv. VN_OK, or
 * the status of the first scan that failed. Ends the program when results would overwrite scans or
 * each other. */
enum vn_status many_run(struct run_session *session, const struct run_list *list);

#endif
