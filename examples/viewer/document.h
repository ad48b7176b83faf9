/* What the viewer has open: a model, a scan, and the labels of the latest segmentation.
 *
 * The window asks for work here and hears of it on the main loop; all of the work is done on a
 * thread of its own, one piece after the other. Everything in this header is for the main thread.
 * No widgets here: whoever embeds the library in another toolkit can keep this file. */
#ifndef DOCUMENT_H
#define DOCUMENT_H

#include <stdbool.h>
#include <vnet_scan.h>
#include <vnet_segment.h>

struct scan {
  char *path, *name; /* name: for people */
  struct vn_scan *file;
  struct vn_image image; /* the file's own voxels, float32 and dense */
  double low, high;      /* a window that shows most of it */
};

struct label {
  char *name;
  unsigned char rgb[3];
  bool shown;
  struct vn_measure measure;
};

/* Stands alone: outlives the model that made it. */
struct labelling {
  struct vn_label_map map; /* dense */
  size_t count;            /* of labels; 0 is background */
  struct label *label;
  double seconds; /* it took */
  char *warning;  /* why it may be of no use; empty: nothing is amiss */
};

enum work { WORK_PLAN, WORK_SCAN, WORK_SEGMENT, WORK_SAVE };
enum event { EVENT_START, EVENT_PROGRESS, EVENT_DONE, EVENT_FAILED, EVENT_CANCELLED };

/* `fraction` is EVENT_PROGRESS's; `text` is EVENT_FAILED's sentence, and EVENT_DONE's path. */
typedef void document_event_fn(void *context, enum event event, enum work work, double fraction,
                               const char *text);

struct document;

struct document *document_new(document_event_fn *event, void *context);
/* Not while work is under way. Accepts NULL. */
void document_free(struct document *document);

/* All of these come back at once and are done in their order. What is open stays as it is until its
 * successor is whole: a broken file or a cancelled run takes nothing away. */
void document_plan_open(struct document *document, const char *path);
void document_scan_open(struct document *document, const char *path);
/* Needs a model and a scan. `largest`: keeps the largest piece of each label. */
void document_segment(struct document *document, bool largest);
/* Needs labels. Overwrites anything but the scan. */
void document_save(struct document *document, const char *path);
/* Ends whatever is under way or waits, but saving. */
void document_cancel(struct document *document);

bool document_busy(const struct document *document);
/* NULL: none. Belong to the document, and are valid until the next event. */
const struct scan *document_scan(const struct document *document);
struct labelling *document_labelling(const struct document *document);
const char *document_plan(const struct document *document); /* the model's name */
/* One line on what the model wants and gives; to be freed. NULL: no model. */
char *document_plan_describe(const struct document *document);

/* World mm of a voxel, and the voxel nearest to a place; false: outside, or no way back. */
void scan_world(const struct scan *scan, const size_t vox[3], double mm[3]);
bool scan_voxel(const struct scan *scan, const double mm[3], size_t vox[3]);
float scan_value(const struct scan *scan, const size_t vox[3]);
size_t labelling_at(const struct labelling *labelling, const struct scan *scan,
                    const size_t vox[3]);

#endif
