/* A table that grows by rows as a run goes on: CSV whose first column is the step. */
#ifndef VNET_TRAIN_LOG_H
#define VNET_TRAIN_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Opens `path` to append to: a new table of that head or, with `resume`, what is there of the rows
 * up to `step` (the run will write the later ones again). Ends the program where it cannot. */
FILE *vnt_log_open(const char *path, const char *head, bool resume, uint64_t step);

/* Every row is to outlive a kill of the process. Ends the program where it cannot. */
void vnt_log_flush(FILE *log, const char *path);
/* … and, before a checkpoint that relies on them, of the machine. */
void vnt_log_sync(FILE *log, const char *path);

#endif
