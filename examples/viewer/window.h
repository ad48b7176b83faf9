/* The viewer's window. main.c opens one; all else is in window.c. */
#ifndef WINDOW_H
#define WINDOW_H

#include <gtk/gtk.h>

/* NULL: not given. */
struct window_options {
  char *plan, *scan;
  char *output; /* what saving writes to; else it asks */
};

/* The application owns the window; `options` may go after the call. */
void window_open(GtkApplication *application, const struct window_options *options);

#endif
