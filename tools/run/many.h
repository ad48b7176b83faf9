/* Many scans in one run: a list or a folder, results in one folder, finished ones skipped, bad ones
 * passed over. */
#ifndef VNET_RUN_MANY_H
#define VNET_RUN_MANY_H

#include "case.h"

/* Runs every case, prints a summary (rank 0), writes DIR/summary.csv. VN_OK, or the status of the
 * first scan that failed. Ends the program when the list or the folder cannot be used. */
enum vn_status many_run(struct run_session *session);

#endif
