/* See pane.h. Used by window.c; draws nothing itself (plane.c does). */
#include "pane.h"

#include <math.h>

struct pane {
  struct pane_host host;
  enum plane_kind kind;
  struct plane plane;
  GtkWidget *area;
  double scroll;     /* of a touchpad, less than a slice yet */
  double pointer[2]; /* latest place */
  double start[3];   /* at the beginning of a drag: its place, the view's center or window */
};

static struct pane *pane_of(GtkWidget *area) {
  return g_object_get_data(G_OBJECT(area), "pane");
}

static struct plane_fit pane_fit(const struct pane *pane) {
  return plane_fit(&pane->plane, pane->host.view, gtk_widget_get_width(pane->area),
                   gtk_widget_get_height(pane->area));
}

static void changed(struct pane *pane) {
  pane->host.changed(pane->host.context);
}

static void hover(struct pane *pane, const size_t *vox) {
  pane->host.hover(pane->host.context, vox);
}

static void area_draw(GtkDrawingArea *area, cairo_t *cairo, int width, int height,
                      gpointer context) {
  (void)area;
  struct pane *pane = context;
  plane_draw(&pane->plane, pane->host.view, cairo, width, height);
}

/* ---- crosshair, slices ---- */

/* False: outside of the scan. `clamp`: the nearest voxel then. */
static bool voxel_at(const struct pane *pane, double x, double y, bool clamp, size_t vox[3]) {
  const struct view *view = pane->host.view;
  if (!view->scan) return false;
  struct plane_fit fit = pane_fit(pane);
  double at[3] = {(double)view->cursor[0], (double)view->cursor[1], (double)view->cursor[2]};
  plane_at(&pane->plane, &fit, x, y, at);
  for (int i = 0; i < 3; i++) {
    double last = (double)view->scan->image.dim[i] - 1, index = round(at[i]);
    if (!clamp && !(index >= 0 && index <= last)) return false;
    vox[i] = (size_t)fmin(fmax(index, 0), last);
  }
  return true;
}

static void cursor_set(struct pane *pane, double x, double y) {
  if (voxel_at(pane, x, y, true, pane->host.view->cursor)) changed(pane);
}

static void cursor_step(struct pane *pane, int along, double steps) {
  struct view *view = pane->host.view;
  if (!view->scan) return;
  size_t axis = pane->plane.axis[along];
  double at = (double)view->cursor[axis] + (pane->plane.flip[along] ? -steps : steps);
  view->cursor[axis] = (size_t)fmin(fmax(at, 0), (double)view->scan->image.dim[axis] - 1);
  changed(pane);
}

static void cursor_begin(GtkGestureDrag *drag, double x, double y, gpointer context) {
  struct pane *pane = context;
  (void)drag;
  gtk_widget_grab_focus(pane->area);
  pane->start[0] = x;
  pane->start[1] = y;
  cursor_set(pane, x, y);
}

static void cursor_drag(GtkGestureDrag *drag, double x, double y, gpointer context) {
  struct pane *pane = context;
  (void)drag;
  cursor_set(pane, pane->start[0] + x, pane->start[1] + y);
}

/* ---- window and level ---- */

static void window_begin(GtkGestureDrag *drag, double x, double y, gpointer context) {
  struct pane *pane = context;
  (void)drag, (void)x, (void)y;
  pane->start[0] = pane->host.view->low;
  pane->start[1] = pane->host.view->high;
}

/* 200 pixels to the right double the width; downwards it gets brighter, as level falls. */
static void window_drag(GtkGestureDrag *drag, double x, double y, gpointer context) {
  struct pane *pane = context;
  struct view *view = pane->host.view;
  (void)drag;
  if (!view->scan) return;
  double width = pane->start[1] - pane->start[0], level = (pane->start[0] + pane->start[1]) / 2;
  level -= y / 400 * width;
  width *= exp2(x / 200);
  if (!(width > 1e-30 && isfinite(width) && level - width / 2 < level + width / 2)) return;
  view->low = level - width / 2;
  view->high = level + width / 2;
  changed(pane);
}

/* ---- zoom, moving ---- */

static void zoom_at(struct pane *pane, double x, double y, double factor) {
  struct view *view = pane->host.view;
  if (!view->scan) return;
  struct plane_fit fit = pane_fit(pane);
  double before[3], after[3];
  plane_at(&pane->plane, &fit, x, y, before);
  view->zoom = fmin(fmax(view->zoom * factor, 1), 32);
  fit = pane_fit(pane);
  plane_at(&pane->plane, &fit, x, y, after);
  for (int i = 0; i < 3; i++) {
    size_t axis = pane->plane.axis[i];
    if (view->zoom <= 1)
      view->center[axis] = ((double)pane->plane.vox[i] - 1) / 2;
    else if (i != THROUGH)
      view->center[axis] += before[axis] - after[axis];
  }
  changed(pane);
}

static void move_begin(GtkGestureDrag *drag, double x, double y, gpointer context) {
  struct pane *pane = context;
  (void)drag, (void)x, (void)y;
  for (int i = 0; i < 3; i++) pane->start[i] = pane->host.view->center[i];
}

static void move_drag(GtkGestureDrag *drag, double x, double y, gpointer context) {
  struct pane *pane = context;
  struct view *view = pane->host.view;
  (void)drag;
  if (!view->scan || view->zoom <= 1) return;
  struct plane_fit fit = pane_fit(pane);
  double by[2] = {x, y};
  for (int i = 0; i < 2; i++) {
    size_t axis = pane->plane.axis[i];
    double voxels = by[i] / fit.scale[i];
    double at = pane->start[axis] + (pane->plane.flip[i] ? voxels : -voxels);
    view->center[axis] = fmin(fmax(at, 0), (double)pane->plane.vox[i] - 1);
  }
  changed(pane);
}

static void pointer_tell(struct pane *pane) {
  size_t vox[3];
  hover(pane, voxel_at(pane, pane->pointer[0], pane->pointer[1], false, vox) ? vox : NULL);
}

static gboolean wheel(GtkEventControllerScroll *controller, double x, double y, gpointer context) {
  struct pane *pane = context;
  (void)x;
  GdkModifierType held =
      gtk_event_controller_get_current_event_state(GTK_EVENT_CONTROLLER(controller));
  if (held & GDK_CONTROL_MASK) {
    zoom_at(pane, pane->pointer[0], pane->pointer[1], exp2(-y / 4));
    return TRUE;
  }
  pane->scroll -= y;
  double steps = trunc(pane->scroll);
  pane->scroll -= steps;
  if (steps == 0) return TRUE;
  cursor_step(pane, THROUGH, steps);
  pointer_tell(pane); /* it did not move, but the slice did */
  return TRUE;
}

/* ---- pointer, keys ---- */

static void pointer_move(GtkEventControllerMotion *controller, double x, double y,
                         gpointer context) {
  struct pane *pane = context;
  (void)controller;
  pane->pointer[0] = x;
  pane->pointer[1] = y;
  pointer_tell(pane);
}

static void pointer_leave(GtkEventControllerMotion *controller, gpointer context) {
  (void)controller;
  hover(context, NULL);
}

static gboolean key_press(GtkEventControllerKey *controller, guint key, guint code,
                          GdkModifierType held, gpointer context) {
  static const struct {
    guint key;
    int along;
    double steps;
  } keys[] = {{GDK_KEY_Left, ACROSS, -1},    {GDK_KEY_Right, ACROSS, 1},
              {GDK_KEY_Up, DOWN, -1},        {GDK_KEY_Down, DOWN, 1},
              {GDK_KEY_Page_Up, THROUGH, 1}, {GDK_KEY_Page_Down, THROUGH, -1},
              {GDK_KEY_Home, THROUGH, 1e9},  {GDK_KEY_End, THROUGH, -1e9}};
  (void)controller, (void)code;
  if (held & (GDK_CONTROL_MASK | GDK_ALT_MASK)) return FALSE;
  for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
    if (keys[i].key == key) {
      cursor_step(context, keys[i].along, keys[i].steps);
      hover(context, NULL); /* the keys' crosshair is what is looked at */
      return TRUE;
    }
  return FALSE;
}

/* ---- building ---- */

static void drag_add(struct pane *pane, guint button, GCallback begin, GCallback update) {
  GtkGesture *drag = gtk_gesture_drag_new();
  gtk_gesture_single_set_button(GTK_GESTURE_SINGLE(drag), button);
  g_signal_connect(drag, "drag-begin", begin, pane);
  g_signal_connect(drag, "drag-update", update, pane);
  gtk_widget_add_controller(pane->area, GTK_EVENT_CONTROLLER(drag));
}

GtkWidget *pane_new(enum plane_kind kind, const struct pane_host *host) {
  static const char *const names[] = {"Axial plane", "Coronal plane", "Sagittal plane"};
  struct pane *pane = g_new0(struct pane, 1);
  pane->host = *host;
  pane->kind = kind;
  pane->area =
      g_object_new(GTK_TYPE_DRAWING_AREA, "accessible-role", GTK_ACCESSIBLE_ROLE_IMG, NULL);
  gtk_accessible_update_property(GTK_ACCESSIBLE(pane->area), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                 names[kind], -1);
  g_object_set_data_full(G_OBJECT(pane->area), "pane", pane, g_free);
  gtk_drawing_area_set_draw_func(GTK_DRAWING_AREA(pane->area), area_draw, pane, NULL);
  gtk_widget_set_focusable(pane->area, TRUE);
  gtk_widget_set_hexpand(pane->area, TRUE);
  gtk_widget_set_vexpand(pane->area, TRUE);
  gtk_widget_set_cursor_from_name(pane->area, "crosshair");

  drag_add(pane, GDK_BUTTON_PRIMARY, G_CALLBACK(cursor_begin), G_CALLBACK(cursor_drag));
  drag_add(pane, GDK_BUTTON_MIDDLE, G_CALLBACK(move_begin), G_CALLBACK(move_drag));
  drag_add(pane, GDK_BUTTON_SECONDARY, G_CALLBACK(window_begin), G_CALLBACK(window_drag));
  GtkEventController *scroll =
      gtk_event_controller_scroll_new(GTK_EVENT_CONTROLLER_SCROLL_VERTICAL);
  g_signal_connect(scroll, "scroll", G_CALLBACK(wheel), pane);
  gtk_widget_add_controller(pane->area, scroll);
  GtkEventController *motion = gtk_event_controller_motion_new();
  g_signal_connect(motion, "motion", G_CALLBACK(pointer_move), pane);
  g_signal_connect(motion, "leave", G_CALLBACK(pointer_leave), pane);
  gtk_widget_add_controller(pane->area, motion);
  GtkEventController *key = gtk_event_controller_key_new();
  g_signal_connect(key, "key-pressed", G_CALLBACK(key_press), pane);
  gtk_widget_add_controller(pane->area, key);
  return pane->area;
}

void pane_layout(GtkWidget *area) {
  struct pane *pane = pane_of(area);
  if (pane->host.view->scan) plane_layout(pane->host.view->scan, pane->kind, &pane->plane);
}
