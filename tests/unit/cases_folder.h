/* The folder that tests/e2e/run_cases.py writes, and how the tests of cases and samples read it:
 * test_train_cases.c and test_train_samples.c. Failures end the test. */
#ifndef VNET_CASES_FOLDER_H
#define VNET_CASES_FOLDER_H

#include <stdbool.h>

#include "cases.h"

/* Five classes in RAS at the scans' own spacing, between percentiles 0.5 and 99.5; once a folder is
 * open. */
extern struct vnt_cases_spec plain;

/* False: no memory. The text stays the caller's. */
bool cases_folder_open(const char *path);
/* In static storage, until the next call. */
const char *path_of(const char *name);
struct vnt_cases cases_open(const char *csv, const struct vnt_cases_spec *spec);
/* A file of just so many bytes; to be freed. */
void *file_read(const char *name, size_t bytes);
size_t product(const size_t n[3]);

#endif
