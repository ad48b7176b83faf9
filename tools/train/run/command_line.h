/* The command line of vnet-train. */
#ifndef VNET_TRAIN_COMMAND_LINE_H
#define VNET_TRAIN_COMMAND_LINE_H

#include "options.h"

/* Reads it to complete options; --help, --version and mistakes end the program. Strings are argv's
 * or live as long as the program. */
struct vnt_options vnt_command_line(int argc, char **argv);

#endif
