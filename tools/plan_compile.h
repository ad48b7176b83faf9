/* A plan for an ONNX model that was given in a plan's place; called by plan_find.c alone. */
#ifndef VNET_PLAN_COMPILE_H
#define VNET_PLAN_COMPILE_H

#include <stdbool.h>

/* The path of the plan of the model at `model`, whose name ends in .onnx: one that is there, or one
 * that vnetc makes now, as plan_find.h says. The caller frees it. Ends the program on failure. */
char *plan_compile(const char *model, bool notes);

#endif
