/* The panel beside the planes: the model, the run and its progress, the labels and their volumes.
 *
 * A dumb view: window.c tells it what to show. It changes nothing but which labels are shown and
 * how opaque they are, and says so. */
#ifndef PANEL_H
#define PANEL_H

#include "document.h"

#include <gtk/gtk.h>

struct panel_host {
  void (*restyled)(void *context); /* a label was hidden, opacity changed */
  void (*picked)(void *context, const struct label *label); /* go there */
  void *context;
};

struct panel;

/* Dies with its widget, which belongs to the parent that it is put into. */
struct panel *panel_new(const struct panel_host *host);
GtkWidget *panel_widget(struct panel *panel);

double panel_opacity(const struct panel *panel);
void panel_opacity_set(struct panel *panel, double opacity);
bool panel_largest(const struct panel *panel);

void panel_model(struct panel *panel, const char *name, const char *description);
/* A sentence on what is going on; `fraction` below 0: no bar. */
void panel_progress(struct panel *panel, const char *text, double fraction);
/* NULL: none. The labels are borrowed until the next call. */
void panel_labels(struct panel *panel, struct labelling *labelling);

#endif
