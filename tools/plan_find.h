/* What a person may write where a program wants a plan: a file; the name of a model that is
 * installed; an ONNX model, which is compiled first. Used by vnet-run, vnet-plan and vnet-bench. */
#ifndef VNET_PLAN_FIND_H
#define VNET_PLAN_FIND_H

#include <stdbool.h>
#include <stdio.h>

/* The path of a plan; the caller frees it. Ends the program where there is none.
 *
 * A word without a slash that names no file is a model's: NAME.plan or NAME.onnx in the folders of
 * $VNET_MODELS (separated by colons), then in the data folder that belongs to the program.
 *
 * MODEL.onnx becomes MODEL.plan beside it, or, where that cannot be written or is a plan of
 * something else, a file in the user's cache ($XDG_CACHE_HOME/vnet). A plan that is there already
 * is taken if this version made it from these very bytes. vnetc does the work, from the folder of
 * this program or from $PATH. With `notes` a line on standard error says what was compiled. */
char *plan_find(const char *word, bool notes);

/* A line for each model that has a name: it, and where it is. */
void plan_names_print(FILE *out);

#endif
