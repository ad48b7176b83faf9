/* The window: three panes, the panel, actions and their keys, dialogs, and what the document tells.
 *
 * main.c opens it. It waits for nothing: all work is document.c's. */
#include "window.h"

#include "chooser.h"
#include "document.h"
#include "pane.h"
#include "panel.h"

#include <math.h>

struct window {
  GtkWindow *widget;
  GtkWidget *pane[PLANE_KINDS], *status, *bar, *message;
  struct panel *panel;
  struct chooser *chooser;
  struct document *document;
  struct view view;
  char *output;
  gint64 start_us; /* of the work under way */
  double opacity;  /* to come back to after hiding the labels */
  bool closing, closed;
};

/* ---- what is shown ---- */

static void title_show(struct window *window, const char *before) {
  const struct scan *scan = document_scan(window->document);
  char *title =
      g_strdup_printf("%s%s%svnet viewer", before, scan ? scan->name : "", scan ? " — " : "");
  gtk_window_set_title(window->widget, title);
  g_free(title);
}

static void status_show(struct window *window, const size_t vox[3]) {
  const struct scan *scan = window->view.scan;
  const struct labelling *labelling = window->view.labelling;
  if (!scan) {
    gtk_label_set_text(GTK_LABEL(window->status), "Open a scan (Ctrl+O) or drop one here");
    return;
  }
  double mm[3];
  scan_world(scan, vox, mm);
  GString *text = g_string_new(NULL);
  g_string_printf(text, "%.1f, %.1f, %.1f mm   voxel %zu, %zu, %zu   value %.6g", mm[0], mm[1],
                  mm[2], vox[0], vox[1], vox[2], (double)scan_value(scan, vox));
  size_t value = labelling ? labelling_at(labelling, scan, vox) : 0;
  if (value) g_string_append_printf(text, "   %s", labelling->label[value].name);
  g_string_append_printf(text, "      window %.5g, level %.5g",
                         window->view.high - window->view.low,
                         (window->view.high + window->view.low) / 2);
  if (window->view.zoom > 1) g_string_append_printf(text, ", zoom %.1f", window->view.zoom);
  const char *unoriented = vn_scan_unoriented(scan->file);
  const char *note = vn_scan_note(scan->file);
  if (unoriented) g_string_append_printf(text, "      the scan %s", unoriented);
  if (note) g_string_append_printf(text, "      note: %s", note);
  gtk_label_set_text(GTK_LABEL(window->status), text->str);
  g_string_free(text, TRUE);
}

static void panes_draw(struct window *window) {
  for (int i = 0; i < PLANE_KINDS; i++) gtk_widget_queue_draw(window->pane[i]);
}

static void view_changed(void *context) {
  struct window *window = context;
  panes_draw(window);
  status_show(window, window->view.cursor);
}

static void view_hover(void *context, const size_t *vox) {
  struct window *window = context;
  if (!window->closed) status_show(window, vox ? vox : window->view.cursor);
}

static void labels_restyled(void *context) {
  struct window *window = context;
  window->view.opacity = panel_opacity(window->panel);
  panes_draw(window);
}

static void label_picked(void *context, const struct label *label) {
  struct window *window = context;
  if (window->view.scan &&
      scan_voxel(window->view.scan, label->measure.centroid_mm, window->view.cursor))
    view_changed(window);
}

static void view_fit(struct window *window) {
  window->view.zoom = 1;
  for (int i = 0; window->view.scan && i < 3; i++)
    window->view.center[i] = ((double)window->view.scan->image.dim[i] - 1) / 2;
}

static void view_window(struct window *window) {
  if (!window->view.scan) return;
  window->view.low = window->view.scan->low;
  window->view.high = window->view.scan->high;
}

static void scan_take(struct window *window) {
  struct view *view = &window->view;
  view->scan = document_scan(window->document);
  for (int i = 0; i < 3; i++) view->cursor[i] = view->scan->image.dim[i] / 2;
  view_fit(window);
  view_window(window);
  for (int i = 0; i < PLANE_KINDS; i++) pane_layout(window->pane[i]);
}

static void labels_take(struct window *window) {
  struct labelling *labelling = document_labelling(window->document);
  window->view.labelling = labelling;
  panel_labels(window->panel, labelling);
  view_changed(window);
}

static void model_take(struct window *window) {
  char *description = document_plan_describe(window->document);
  panel_model(window->panel, document_plan(window->document), description);
  g_free(description);
}

/* Goes when the user does something else. At the start the model's may join the scan's. */
static void message_show(struct window *window, const char *text) {
  bool shown = gtk_info_bar_get_revealed(GTK_INFO_BAR(window->bar));
  char *both = g_strconcat(shown ? gtk_label_get_text(GTK_LABEL(window->message)) : "",
                           shown ? "\n" : "", text, NULL);
  gtk_label_set_text(GTK_LABEL(window->message), both);
  g_free(both);
  gtk_info_bar_set_revealed(GTK_INFO_BAR(window->bar), TRUE);
}

static void message_hide(struct window *window) {
  gtk_info_bar_set_revealed(GTK_INFO_BAR(window->bar), FALSE);
}

/* ---- what the document tells ---- */

static void actions_update(struct window *window) {
  bool busy = document_busy(window->document);
  bool scan = document_scan(window->document), labels = document_labelling(window->document);
  const struct {
    const char *name;
    bool enabled;
  } states[] = {{"open", !busy},
                {"model", !busy},
                {"segment", !busy && scan && document_plan(window->document)},
                {"stop", busy},
                {"save", !busy && labels},
                {"save-as", !busy && labels}};
  for (size_t i = 0; i < G_N_ELEMENTS(states); i++) {
    GAction *action = g_action_map_lookup_action(G_ACTION_MAP(window->widget), states[i].name);
    g_simple_action_set_enabled(G_SIMPLE_ACTION(action), states[i].enabled);
  }
}

static void start_tell(struct window *window, enum work work, const char *path) {
  static const char *const verbs[] = {"Opening", "Opening", "Segmenting", "Saving"};
  char *name = path ? g_path_get_basename(path) : g_strdup("");
  char *text = g_strdup_printf("%s %s…", verbs[work], name);
  window->start_us = g_get_monotonic_time();
  panel_progress(window->panel, path ? text : "Segmenting…", work == WORK_SAVE ? -1 : 0);
  g_free(text);
  g_free(name);
}

static void progress_tell(struct window *window, enum work work, double fraction) {
  double seconds = (double)(g_get_monotonic_time() - window->start_us) / G_USEC_PER_SEC;
  GString *text = g_string_new(NULL);
  g_string_printf(text, "%s: %.0f %%", work == WORK_SEGMENT ? "Segmenting" : "Opening",
                  floor(100 * fraction));
  if (fraction > 0.05 && seconds > 1)
    g_string_append_printf(text, ", %.0f s left", ceil(seconds * (1 - fraction) / fraction));
  panel_progress(window->panel, text->str, fraction);
  g_string_printf(text, "%.0f %% — ", floor(100 * fraction));
  title_show(window, work == WORK_SEGMENT ? text->str : "");
  g_string_free(text, TRUE);
}

static char *segmented_text(const struct labelling *labelling) {
  return *labelling->warning ? g_strdup_printf("Segmented in %.1f s. Warning: %s",
                                               labelling->seconds, labelling->warning)
                             : g_strdup_printf("Segmented in %.1f s", labelling->seconds);
}

static void done_tell(struct window *window, enum work work, const char *path) {
  char *name = path ? g_path_get_basename(path) : NULL, *text = NULL;
  if (work == WORK_PLAN) model_take(window);
  if (work == WORK_SCAN) scan_take(window);
  if (work == WORK_SCAN || work == WORK_SEGMENT) labels_take(window);
  if (work == WORK_SEGMENT)
    text = segmented_text(document_labelling(window->document));
  else
    text = g_strdup_printf("%s %s", work == WORK_SAVE ? "Saved" : "Opened", name);
  panel_progress(window->panel, text, -1);
  g_free(text);
  g_free(name);
}

static void failure_tell(struct window *window, enum work work, const char *sentence) {
  static const char *const what[] = {"The model could not be opened",
                                     "The scan could not be opened", "The segmentation failed",
                                     "The labels could not be saved"};
  char *text = g_strdup_printf("%s: %s", what[work], sentence);
  message_show(window, text);
  g_free(text);
  panel_progress(window->panel, what[work], -1);
}

static void document_tell(void *context, enum event event, enum work work, double fraction,
                          const char *text) {
  struct window *window = context;
  bool ended = event != EVENT_START && event != EVENT_PROGRESS;
  if (window->closing) {
    if (event == EVENT_DONE) done_tell(window, work, text); /* what was shown is gone */
    if (ended && !document_busy(window->document)) gtk_window_destroy(window->widget);
    return;
  }
  if (event == EVENT_START) start_tell(window, work, text);
  if (event == EVENT_PROGRESS) progress_tell(window, work, fraction);
  if (event == EVENT_DONE) done_tell(window, work, text);
  if (event == EVENT_FAILED) failure_tell(window, work, text);
  if (event == EVENT_CANCELLED) panel_progress(window->panel, "Cancelled", -1);
  if (ended) title_show(window, "");
  actions_update(window);
}

/* ---- files ---- */

static void file_take(void *context, enum work work, const char *path) {
  struct window *window = context;
  message_hide(window);
  if (work == WORK_PLAN) document_plan_open(window->document, path);
  if (work == WORK_SCAN) document_scan_open(window->document, path);
  if (work == WORK_SAVE) document_save(window->document, path);
}

static void file_ask(struct window *window, enum work work) {
  chooser_ask(window->chooser, work, document_scan(window->document));
}

static gboolean file_drop(GtkDropTarget *target, const GValue *value, double x, double y,
                          gpointer context) {
  struct window *window = context;
  char *path = g_file_get_path(g_value_get_object(value));
  (void)target, (void)x, (void)y;
  if (!path || document_busy(window->document)) {
    g_free(path);
    return FALSE;
  }
  bool plan = g_str_has_suffix(path, ".plan") || g_str_has_suffix(path, ".bin");
  file_take(window, plan ? WORK_PLAN : WORK_SCAN, path);
  g_free(path);
  return TRUE;
}

/* ---- actions ---- */

static void on_open(GSimpleAction *action, GVariant *none, gpointer context) {
  (void)action, (void)none;
  file_ask(context, WORK_SCAN);
}

static void on_model(GSimpleAction *action, GVariant *none, gpointer context) {
  (void)action, (void)none;
  file_ask(context, WORK_PLAN);
}

static void on_segment(GSimpleAction *action, GVariant *none, gpointer context) {
  struct window *window = context;
  (void)action, (void)none;
  message_hide(window);
  document_segment(window->document, panel_largest(window->panel));
}

/* "stop", a button's, is there when something is under way; "cancel", the key's, always. */
static void on_cancel(GSimpleAction *action, GVariant *none, gpointer context) {
  struct window *window = context;
  (void)action, (void)none;
  if (document_busy(window->document))
    document_cancel(window->document);
  else
    message_hide(window);
}

static void on_save_as(GSimpleAction *action, GVariant *none, gpointer context) {
  (void)action, (void)none;
  file_ask(context, WORK_SAVE);
}

static void on_save(GSimpleAction *action, GVariant *none, gpointer context) {
  struct window *window = context;
  if (window->output)
    file_take(window, WORK_SAVE, window->output);
  else
    on_save_as(action, none, context);
}

static void on_fit(GSimpleAction *action, GVariant *none, gpointer context) {
  (void)action, (void)none;
  view_fit(context);
  view_window(context);
  view_changed(context);
}

static void on_overlay(GSimpleAction *action, GVariant *none, gpointer context) {
  struct window *window = context;
  (void)action, (void)none;
  double opacity = panel_opacity(window->panel);
  if (opacity > 0) window->opacity = opacity;
  panel_opacity_set(window->panel, opacity > 0 ? 0 : window->opacity);
}

static void on_close(GSimpleAction *action, GVariant *none, gpointer context) {
  struct window *window = context;
  (void)action, (void)none;
  gtk_window_close(window->widget);
}

static void actions_add(struct window *window, GtkApplication *application) {
  static const GActionEntry entries[] = {
      {.name = "open", .activate = on_open},       {.name = "model", .activate = on_model},
      {.name = "segment", .activate = on_segment}, {.name = "cancel", .activate = on_cancel},
      {.name = "save", .activate = on_save},       {.name = "save-as", .activate = on_save_as},
      {.name = "fit", .activate = on_fit},         {.name = "overlay", .activate = on_overlay},
      {.name = "stop", .activate = on_cancel},     {.name = "close", .activate = on_close}};
  static const char *const keys[][2] = {
      {"win.open", "<Ctrl>o"},  {"win.model", "<Ctrl>m"}, {"win.segment", "<Ctrl>r"},
      {"win.cancel", "Escape"}, {"win.save", "<Ctrl>s"},  {"win.save-as", "<Ctrl><Shift>s"},
      {"win.fit", "f"},         {"win.overlay", "o"},     {"win.close", "<Ctrl>q"}};
  g_action_map_add_action_entries(G_ACTION_MAP(window->widget), entries, G_N_ELEMENTS(entries),
                                  window);
  for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
    gtk_application_set_accels_for_action(application, keys[i][0],
                                          (const char *[]){keys[i][1], NULL});
}

/* ---- building, closing ---- */

static GtkWidget *help_new(void) {
  GtkWidget *text = gtk_label_new("Left button\tcrosshair\nWheel\t\tslices\nCtrl + wheel\tzoom\n"
                                  "Middle drag\tmove the zoomed planes\n"
                                  "Right drag\twindow and level\nArrows, Page Up, Page Down\n"
                                  "F\t\twhole scan, first window\nO\t\tlabels on and off\n"
                                  "Ctrl+O, Ctrl+M\topen scan, model\nCtrl+R, Esc\tsegment, cancel\n"
                                  "Ctrl+S\t\tsave labels");
  GtkWidget *popover = gtk_popover_new(), *button = gtk_menu_button_new();
  gtk_popover_set_child(GTK_POPOVER(popover), text);
  gtk_menu_button_set_popover(GTK_MENU_BUTTON(button), popover);
  gtk_menu_button_set_label(GTK_MENU_BUTTON(button), "?");
  gtk_widget_set_tooltip_text(button, "Mouse and keys");
  return button;
}

static GtkWidget *header_new(void) {
  static const struct {
    const char *label, *action, *tip;
    bool end;
  } buttons[] = {{"Open", "win.open", "Open a scan (Ctrl+O)", false},
                 {"Model", "win.model", "Open a model (Ctrl+M)", false},
                 {"Segment", "win.segment", "Find the labels (Ctrl+R)", false},
                 {"Cancel", "win.stop", "Stop what is under way (Esc)", false},
                 {"Save", "win.save", "Save the labels (Ctrl+S)", false}};
  GtkWidget *header = gtk_header_bar_new();
  for (size_t i = 0; i < G_N_ELEMENTS(buttons); i++) {
    GtkWidget *button = gtk_button_new_with_label(buttons[i].label);
    gtk_actionable_set_action_name(GTK_ACTIONABLE(button), buttons[i].action);
    gtk_widget_set_tooltip_text(button, buttons[i].tip);
    gtk_widget_set_focus_on_click(button, FALSE);
    if (i == 2) gtk_widget_add_css_class(button, "suggested-action");
    gtk_header_bar_pack_start(GTK_HEADER_BAR(header), button);
  }
  gtk_header_bar_pack_end(GTK_HEADER_BAR(header), help_new());
  return header;
}

static void bar_response(GtkInfoBar *bar, int response, gpointer context) {
  (void)response, (void)context;
  gtk_info_bar_set_revealed(bar, FALSE);
}

/* Lies over the planes, so that they keep their places. */
static GtkWidget *bar_new(struct window *window) {
  window->bar = gtk_info_bar_new();
  window->message = gtk_label_new("");
  gtk_label_set_wrap(GTK_LABEL(window->message), TRUE);
  gtk_label_set_selectable(GTK_LABEL(window->message), TRUE);
  gtk_label_set_xalign(GTK_LABEL(window->message), 0);
  gtk_info_bar_add_child(GTK_INFO_BAR(window->bar), window->message);
  gtk_info_bar_set_message_type(GTK_INFO_BAR(window->bar), GTK_MESSAGE_ERROR);
  gtk_info_bar_set_show_close_button(GTK_INFO_BAR(window->bar), TRUE);
  gtk_info_bar_set_revealed(GTK_INFO_BAR(window->bar), FALSE);
  gtk_widget_set_valign(window->bar, GTK_ALIGN_START);
  g_signal_connect(window->bar, "response", G_CALLBACK(bar_response), NULL);
  return window->bar;
}

static GtkWidget *content_new(struct window *window) {
  struct pane_host host = {&window->view, view_changed, view_hover, window};
  struct panel_host panel_host = {labels_restyled, label_picked, window};
  GtkWidget *grid = gtk_grid_new();
  gtk_grid_set_row_homogeneous(GTK_GRID(grid), TRUE);
  gtk_grid_set_column_homogeneous(GTK_GRID(grid), TRUE);
  gtk_grid_set_row_spacing(GTK_GRID(grid), 2);
  gtk_grid_set_column_spacing(GTK_GRID(grid), 2);
  for (int i = 0; i < PLANE_KINDS; i++) {
    window->pane[i] = pane_new(i, &host);
    gtk_grid_attach(GTK_GRID(grid), window->pane[i], i == PLANE_SAGITTAL, i == PLANE_CORONAL, 1, 1);
  }
  window->panel = panel_new(&panel_host);
  gtk_grid_attach(GTK_GRID(grid), panel_widget(window->panel), 1, 1, 1, 1);
  GtkWidget *overlay = gtk_overlay_new();
  gtk_overlay_set_child(GTK_OVERLAY(overlay), grid);
  gtk_overlay_add_overlay(GTK_OVERLAY(overlay), bar_new(window));

  window->status = gtk_label_new("");
  gtk_label_set_xalign(GTK_LABEL(window->status), 0);
  gtk_label_set_ellipsize(GTK_LABEL(window->status), PANGO_ELLIPSIZE_END);
  gtk_widget_add_css_class(window->status, "status");
  GtkWidget *box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 0);
  gtk_box_append(GTK_BOX(box), overlay);
  gtk_box_append(GTK_BOX(box), window->status);
  return box;
}

static void style_add(void) {
  GtkCssProvider *css = gtk_css_provider_new();
  gtk_css_provider_load_from_data(
      css,
      ".panel { padding: 12px; } .panel row, .panel .no-labels { padding: 6px; }"
      ".numeric { font-feature-settings: \"tnum\"; }"
      ".status { padding: 4px 8px; }"
      "infobar.error box { background: #a02020; color: white; }",
      -1);
  gtk_style_context_add_provider_for_display(gdk_display_get_default(), GTK_STYLE_PROVIDER(css),
                                             GTK_STYLE_PROVIDER_PRIORITY_APPLICATION);
  g_object_unref(css);
  g_object_set(gtk_settings_get_default(), "gtk-application-prefer-dark-theme", TRUE, NULL);
}

/* A run under way is stopped first; document_tell then closes. */
static gboolean close_request(GtkWindow *widget, gpointer context) {
  struct window *window = context;
  if (!document_busy(window->document)) return FALSE;
  window->closing = true;
  gtk_widget_set_sensitive(GTK_WIDGET(widget), FALSE);
  document_cancel(window->document);
  return TRUE;
}

static void window_end(GtkWidget *widget, gpointer context) {
  struct window *window = context;
  (void)widget;
  window->closed = true;
  window->view.scan = NULL;
  window->view.labelling = NULL;
  chooser_free(window->chooser);
  document_free(window->document);
  window->document = NULL;
}

static void window_free(gpointer context) {
  struct window *window = context;
  g_free(window->output);
  g_free(window);
}

void window_open(GtkApplication *application, const struct window_options *options) {
  struct window *window = g_new0(struct window, 1);
  window->widget = GTK_WINDOW(gtk_application_window_new(application));
  window->document = document_new(document_tell, window);
  window->chooser = chooser_new(window->widget, file_take, window);
  window->output = g_strdup(options->output);
  window->opacity = 0.5;
  window->view.zoom = 1;
  style_add();
  actions_add(window, application);
  gtk_window_set_default_size(window->widget, 1120, 900);
  gtk_window_set_titlebar(window->widget, header_new());
  gtk_window_set_child(window->widget, content_new(window));
  window->view.opacity = panel_opacity(window->panel);
  GtkDropTarget *drop = gtk_drop_target_new(G_TYPE_FILE, GDK_ACTION_COPY);
  g_signal_connect(drop, "drop", G_CALLBACK(file_drop), window);
  gtk_widget_add_controller(GTK_WIDGET(window->widget), GTK_EVENT_CONTROLLER(drop));
  g_object_set_data_full(G_OBJECT(window->widget), "window", window, window_free);
  g_signal_connect(window->widget, "close-request", G_CALLBACK(close_request), window);
  g_signal_connect(window->widget, "destroy", G_CALLBACK(window_end), window);
  title_show(window, "");
  status_show(window, NULL);
  actions_update(window);
  gtk_widget_grab_focus(window->pane[PLANE_AXIAL]);
  gtk_window_present(window->widget);
  if (options->scan) document_scan_open(window->document, options->scan);
  if (options->plan) document_plan_open(window->document, options->plan);
}
