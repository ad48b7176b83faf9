/* vnet-run as 3D Slicer calls it: a command line module of the Slicer Execution Model
 * (https://www.slicer.org/w/index.php/Documentation/Nightly/Developers/SlicerExecutionModel). */
#ifndef VNET_RUN_SLICER_H
#define VNET_RUN_SLICER_H

#include <stdio.h>

struct run_result;
struct run_session;

/* The module's description in XML. */
void slicer_describe(FILE *out);

/* What the description promises as output parameters: "name = value" lines. */
void slicer_return(FILE *out, const struct run_session *session, const struct run_result *result);

/* <filter-progress> on standard output: a vn_progress_fn. */
int slicer_progress(void *context, double fraction);

#endif
