/* vnet-run as 3D Slicer calls it: a command line module of the Slicer Execution Model
 * (https://www.slicer.org/w/index.php/Documentation/Nightly/Developers/SlicerExecutionModel). */
#ifndef VNET_RUN_SLICER_H
#define VNET_RUN_SLICER_H

#include <stddef.h>
#include <stdio.h>

struct run_result;

/* The module's description in XML. */
void slicer_describe(FILE *out);

/* What the description promises as output parameters: "name = value" lines. */
void slicer_return(FILE *out, const struct run_result *result);

/* <filter-progress> on standard output. */
void slicer_progress(void *context, size_t done, size_t total);

#endif
