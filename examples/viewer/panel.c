/* See panel.h. Used by window.c. */
#include "panel.h"

#include <math.h>

struct panel {
  struct panel_host host;
  GtkWidget *box, *model, *description, *progress, *state, *opacity, *largest, *list;
};

/* ---- the list of labels ---- */

static struct label *label_of(gpointer widget) {
  return g_object_get_data(widget, "label");
}

static void swatch_draw(GtkDrawingArea *area, cairo_t *cairo, int width, int height,
                        gpointer context) {
  const struct label *label = label_of(area);
  (void)context;
  if (!label) return;
  cairo_set_source_rgb(cairo, label->rgb[0] / 255.0, label->rgb[1] / 255.0, label->rgb[2] / 255.0);
  cairo_arc(cairo, width / 2.0, height / 2.0, fmin(width, height) / 2.0, 0, 2 * G_PI);
  cairo_fill(cairo);
}

static void check_toggle(GtkCheckButton *check, gpointer context) {
  struct panel *panel = context;
  label_of(check)->shown = gtk_check_button_get_active(check);
  panel->host.restyled(panel->host.context);
}

static GtkWidget *row_new(struct panel *panel, struct label *label) {
  GtkWidget *box = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 8);
  GtkWidget *check = gtk_check_button_new();
  gtk_widget_set_tooltip_text(check, "Show");
  gtk_check_button_set_active(GTK_CHECK_BUTTON(check), label->shown);
  g_object_set_data(G_OBJECT(check), "label", label);
  g_signal_connect(check, "toggled", G_CALLBACK(check_toggle), panel);

  GtkWidget *swatch = gtk_drawing_area_new();
  gtk_drawing_area_set_content_width(GTK_DRAWING_AREA(swatch), 14);
  gtk_drawing_area_set_content_height(GTK_DRAWING_AREA(swatch), 14);
  gtk_widget_set_valign(swatch, GTK_ALIGN_CENTER);
  g_object_set_data(G_OBJECT(swatch), "label", label);
  gtk_drawing_area_set_draw_func(GTK_DRAWING_AREA(swatch), swatch_draw, NULL, NULL);

  GtkWidget *name = gtk_label_new(label->name);
  gtk_label_set_xalign(GTK_LABEL(name), 0);
  gtk_label_set_ellipsize(GTK_LABEL(name), PANGO_ELLIPSIZE_END);
  gtk_widget_set_hexpand(name, TRUE);
  char *text = g_strdup_printf("%.1f ml", label->measure.ml);
  GtkWidget *volume = gtk_label_new(text);
  gtk_widget_add_css_class(volume, "numeric");
  g_free(text);

  GtkWidget *children[] = {check, swatch, name, volume};
  for (size_t i = 0; i < G_N_ELEMENTS(children); i++) gtk_box_append(GTK_BOX(box), children[i]);
  GtkWidget *row = gtk_list_box_row_new();
  gtk_list_box_row_set_child(GTK_LIST_BOX_ROW(row), box);
  gtk_widget_set_tooltip_text(row, "Go to its centre");
  g_object_set_data(G_OBJECT(row), "label", label);
  return row;
}

static void row_activate(GtkListBox *list, GtkListBoxRow *row, gpointer context) {
  struct panel *panel = context;
  (void)list;
  panel->host.picked(panel->host.context, label_of(row));
}

void panel_labels(struct panel *panel, struct labelling *labelling) {
  GtkListBoxRow *row;
  while ((row = gtk_list_box_get_row_at_index(GTK_LIST_BOX(panel->list), 0)))
    gtk_list_box_remove(GTK_LIST_BOX(panel->list), GTK_WIDGET(row));
  for (size_t i = 1; labelling && i < labelling->count; i++)
    gtk_list_box_append(GTK_LIST_BOX(panel->list), row_new(panel, &labelling->label[i]));
}

/* ---- the rest ---- */

static void opacity_change(GtkRange *range, gpointer context) {
  struct panel *panel = context;
  (void)range;
  panel->host.restyled(panel->host.context);
}

double panel_opacity(const struct panel *panel) {
  return gtk_range_get_value(GTK_RANGE(panel->opacity)) / 100;
}

void panel_opacity_set(struct panel *panel, double opacity) {
  gtk_range_set_value(GTK_RANGE(panel->opacity), opacity * 100);
}

bool panel_largest(const struct panel *panel) {
  return gtk_check_button_get_active(GTK_CHECK_BUTTON(panel->largest));
}

void panel_model(struct panel *panel, const char *name, const char *description) {
  gtk_label_set_text(GTK_LABEL(panel->model), name ? name : "No model");
  gtk_label_set_text(GTK_LABEL(panel->description),
                     description ? description : "A plan that vnetc has written (Ctrl+M).");
}

void panel_progress(struct panel *panel, const char *text, double fraction) {
  gtk_label_set_text(GTK_LABEL(panel->state), text);
  gtk_widget_set_tooltip_text(panel->state, *text ? text : NULL); /* all of it, where it is cut */
  gtk_progress_bar_set_fraction(GTK_PROGRESS_BAR(panel->progress), fraction > 0 ? fraction : 0);
  gtk_widget_set_opacity(panel->progress, fraction >= 0); /* keeps its place */
}

static GtkWidget *text_new(const char *text, const char *css) {
  GtkWidget *label = gtk_label_new(text);
  gtk_label_set_xalign(GTK_LABEL(label), 0);
  gtk_label_set_ellipsize(GTK_LABEL(label), PANGO_ELLIPSIZE_END);
  gtk_widget_add_css_class(label, css);
  return label;
}

static GtkWidget *list_new(struct panel *panel) {
  panel->list = gtk_list_box_new();
  gtk_list_box_set_selection_mode(GTK_LIST_BOX(panel->list), GTK_SELECTION_NONE);
  GtkWidget *empty = text_new("No labels yet", "dim-label");
  gtk_widget_add_css_class(empty, "no-labels");
  gtk_widget_set_valign(empty, GTK_ALIGN_START);
  gtk_list_box_set_placeholder(GTK_LIST_BOX(panel->list), empty);
  g_signal_connect(panel->list, "row-activated", G_CALLBACK(row_activate), panel);
  GtkWidget *scrolled = gtk_scrolled_window_new();
  gtk_scrolled_window_set_child(GTK_SCROLLED_WINDOW(scrolled), panel->list);
  gtk_scrolled_window_set_has_frame(GTK_SCROLLED_WINDOW(scrolled), TRUE);
  gtk_scrolled_window_set_policy(GTK_SCROLLED_WINDOW(scrolled), GTK_POLICY_NEVER,
                                 GTK_POLICY_AUTOMATIC);
  gtk_widget_set_vexpand(scrolled, TRUE);
  return scrolled;
}

static GtkWidget *opacity_new(struct panel *panel) {
  GtkWidget *box = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 8);
  panel->opacity = gtk_scale_new_with_range(GTK_ORIENTATION_HORIZONTAL, 0, 100, 5);
  gtk_range_set_value(GTK_RANGE(panel->opacity), 50);
  gtk_widget_set_hexpand(panel->opacity, TRUE);
  gtk_accessible_update_property(GTK_ACCESSIBLE(panel->opacity), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                 "Opacity of the labels", -1);
  g_signal_connect(panel->opacity, "value-changed", G_CALLBACK(opacity_change), panel);
  gtk_box_append(GTK_BOX(box), text_new("Opacity", "caption"));
  gtk_box_append(GTK_BOX(box), panel->opacity);
  return box;
}

struct panel *panel_new(const struct panel_host *host) {
  struct panel *panel = g_new0(struct panel, 1);
  panel->host = *host;
  panel->box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 8);
  gtk_widget_add_css_class(panel->box, "panel");
  g_object_set_data_full(G_OBJECT(panel->box), "panel", panel, g_free);
  panel->model = text_new("", "heading");
  panel->description = text_new("", "dim-label");
  panel->progress = gtk_progress_bar_new();
  panel->state = text_new("", "caption");
  panel->largest = gtk_check_button_new_with_label("Only the largest piece of each label");
  gtk_widget_set_tooltip_text(panel->largest, "From the next segmentation on");
  GtkWidget *children[] = {panel->model, panel->description, panel->largest,    panel->progress,
                           panel->state, list_new(panel),    opacity_new(panel)};
  for (size_t i = 0; i < G_N_ELEMENTS(children); i++)
    gtk_box_append(GTK_BOX(panel->box), children[i]);
  panel_model(panel, NULL, NULL);
  panel_progress(panel, "", -1);
  return panel;
}

GtkWidget *panel_widget(struct panel *panel) {
  return panel->box;
}
