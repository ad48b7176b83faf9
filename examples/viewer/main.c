/* vnet-viewer: looks at a scan in three planes and segments it with a plan that vnetc has written.
 *
 * This file reads the command line. window.c is the widgets, document.c the work (and all that
 * there is to see of the library), plane.c the geometry. */
#include "window.h"

#include <vnet.h>

#include <stdio.h>
#include <stdlib.h>

static gboolean version_show(const gchar *name, const gchar *value, gpointer data, GError **error) {
  (void)name, (void)value, (void)data, (void)error;
  printf("vnet-viewer with vnet %s\n", vn_version());
  exit(EXIT_SUCCESS);
}

/* False after a message. */
static bool options_parse(int *argc, char ***argv, struct window_options *options) {
  char **rest = NULL;
  const GOptionEntry entries[] = {
      {"plan", 'p', 0, G_OPTION_ARG_FILENAME, &options->plan, "The model, as vnetc wrote it",
       "FILE"},
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &options->output,
       "Save labels to FILE, without asking", "FILE"},
      {"version", 0, G_OPTION_FLAG_NO_ARG, G_OPTION_ARG_CALLBACK, (gpointer)version_show,
       "Show the library's version", NULL},
      {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &rest, NULL, "[SCAN]"},
      G_OPTION_ENTRY_NULL};
  GOptionContext *context = g_option_context_new(NULL);
  g_option_context_set_summary(context, "Shows a scan in three planes and segments it.");
  g_option_context_add_main_entries(context, entries, NULL);
  GError *error = NULL;
  bool good = g_option_context_parse(context, argc, argv, &error);
  if (!good)
    fprintf(stderr, "vnet-viewer: %s\n", error->message);
  else if (rest && rest[0] && rest[1]) {
    fprintf(stderr, "vnet-viewer: one scan at a time, please\n");
    good = false;
  } else if (rest)
    options->scan = g_strdup(rest[0]);
  g_clear_error(&error);
  g_strfreev(rest);
  g_option_context_free(context);
  return good;
}

static void activate(GtkApplication *application, gpointer options) {
  window_open(application, options);
}

int main(int argc, char **argv) {
  struct window_options options = {0};
  if (!options_parse(&argc, &argv, &options)) return VN_E_ARGUMENT;
  /* Each start has a scan of its own: no instance takes over another's command line. */
  GtkApplication *application = gtk_application_new("vnet.viewer", G_APPLICATION_NON_UNIQUE);
  g_signal_connect(application, "activate", G_CALLBACK(activate), &options);
  int status = g_application_run(G_APPLICATION(application), 1, argv);
  g_object_unref(application);
  g_free(options.plan);
  g_free(options.scan);
  g_free(options.output);
  return status;
}
