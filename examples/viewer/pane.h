/* The widget of one plane: shows it, and turns mouse and keys into changes of the shared view.
 *
 * Left button and drag: crosshair. Wheel: slices; with Ctrl: zoom. Middle drag: move. Right drag:
 * window and level. Arrows move the crosshair, Page Up and Down the slice. */
#ifndef PANE_H
#define PANE_H

#include "plane.h"

#include <gtk/gtk.h>

struct pane_host {
  struct view *view;
  void (*changed)(void *context); /* the view is another one: draw all panes again */
  /* The voxel under the pointer; NULL: none. Valid during the call. */
  void (*hover)(void *context, const size_t *vox);
  void *context;
};

/* Belongs to the parent that it is put into. The host's view has to outlive it. */
GtkWidget *pane_new(enum plane_kind kind, const struct pane_host *host);

/* After view->scan has changed. */
void pane_layout(GtkWidget *pane);

#endif
