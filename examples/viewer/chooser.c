/* See chooser.h. The desktop's own dialog where there is one. */
#include "chooser.h"

#include <string.h>

struct chooser {
  GtkWindow *parent;
  chooser_fn *chosen;
  void *context;
  enum work work;
  GtkFileChooserNative *dialog; /* on the screen */
};

static void dialog_end(struct chooser *chooser) {
  if (chooser->dialog) gtk_native_dialog_destroy(GTK_NATIVE_DIALOG(chooser->dialog));
  g_clear_object(&chooser->dialog);
}

static void dialog_response(GtkNativeDialog *dialog, int response, gpointer context) {
  struct chooser *chooser = context;
  GFile *file = gtk_file_chooser_get_file(GTK_FILE_CHOOSER(dialog));
  char *path = file ? g_file_get_path(file) : NULL;
  g_clear_object(&file);
  dialog_end(chooser);
  if (response == GTK_RESPONSE_ACCEPT && path)
    chooser->chosen(chooser->context, chooser->work, path);
  g_free(path);
}

static void filter_add(GtkFileChooser *dialog, const char *name, const char *const globs[]) {
  GtkFileFilter *filter = gtk_file_filter_new();
  gtk_file_filter_set_name(filter, name);
  for (; *globs; globs++) gtk_file_filter_add_pattern(filter, *globs);
  gtk_file_chooser_add_filter(dialog, filter);
  g_object_unref(filter);
}

/* scan.nii: scan.seg.nii.gz, scan.nrrd: scan.seg.nrrd. */
static char *labels_name(const struct scan *scan) {
  size_t stem;
  const char *ending = vn_scan_name(scan->name, &stem);
  return g_strdup_printf("%.*s.seg%s", (int)stem, scan->name, ending ? ending : ".nii.gz");
}

static void scan_begin(GtkFileChooser *dialog, const struct scan *scan, bool save) {
  GFile *file = g_file_new_for_path(scan->path), *folder = g_file_get_parent(file);
  if (folder) gtk_file_chooser_set_current_folder(dialog, folder, NULL);
  g_clear_object(&folder);
  g_object_unref(file);
  if (!save) return;
  char *name = labels_name(scan);
  gtk_file_chooser_set_current_name(dialog, name);
  g_free(name);
}

void chooser_ask(struct chooser *chooser, enum work work, const struct scan *scan) {
  static const char *const titles[] = {"Open a model", "Open a scan", "", "Save the labels"};
  static const char *const scans[] = {"*.nii", "*.nii.gz", "*.hdr",  "*.hdr.gz",
                                      "*.img", "*.img.gz", "*.nrrd", "*.nhdr",
                                      "*.mgz", "*.mgh",    NULL};
  static const char *const plans[] = {"*.plan", "*.bin", NULL}, *const all[] = {"*", NULL};
  bool save = work == WORK_SAVE;
  if (chooser->dialog) return;
  chooser->work = work;
  chooser->dialog = gtk_file_chooser_native_new(
      titles[work], chooser->parent,
      save ? GTK_FILE_CHOOSER_ACTION_SAVE : GTK_FILE_CHOOSER_ACTION_OPEN, NULL, NULL);
  GtkFileChooser *dialog = GTK_FILE_CHOOSER(chooser->dialog);
  filter_add(dialog, work == WORK_PLAN ? "Plans" : "Scans", work == WORK_PLAN ? plans : scans);
  filter_add(dialog, "All files", all);
  if (scan && work != WORK_PLAN) scan_begin(dialog, scan, save);
  gtk_native_dialog_set_modal(GTK_NATIVE_DIALOG(dialog), TRUE);
  g_signal_connect(dialog, "response", G_CALLBACK(dialog_response), chooser);
  gtk_native_dialog_show(GTK_NATIVE_DIALOG(dialog));
}

struct chooser *chooser_new(GtkWindow *parent, chooser_fn *chosen, void *context) {
  struct chooser *chooser = g_new0(struct chooser, 1);
  chooser->parent = parent;
  chooser->chosen = chosen;
  chooser->context = context;
  return chooser;
}

void chooser_free(struct chooser *chooser) {
  if (!chooser) return;
  dialog_end(chooser);
  g_free(chooser);
}
