/* Asks for a file: a scan or a model to open, a name to save labels under. Used by window.c.
 *
 * Opens and writes nothing itself: it hands the name over. */
#ifndef CHOOSER_H
#define CHOOSER_H

#include "document.h"

#include <gtk/gtk.h>

struct chooser;

typedef void chooser_fn(void *context, enum work work, const char *path);

struct chooser *chooser_new(GtkWindow *parent, chooser_fn *chosen, void *context);
/* Takes a question that is still open from the screen. */
void chooser_free(struct chooser *chooser);

/* WORK_PLAN, WORK_SCAN or WORK_SAVE. `scan` (NULL: none) says where to begin. One at a time: while
 * a question is open another one is not asked. */
void chooser_ask(struct chooser *chooser, enum work work, const struct scan *scan);

#endif
