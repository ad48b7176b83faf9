/* What a model's metadata says of the network's input channels, one image each. Called by
 * segment.c.
 *
 *   vnet.channels   T1; T1ce; T2; FLAIR         a name for each channel, in the network's order
 *   vnet.intensity  zscore                      a rule (intensity.h) for each image by itself, or
 *                   window -160 240; zscore     a rule for each channel
 *
 * Names differ in more than the case of their letters, are well-formed UTF-8 of at most 63 bytes
 * and hold no control character, no '=' and no '/'. A network with an input for each channel and
 * without vnet.channels calls them as its inputs are called, where these are such names. */
#ifndef VNET_CHANNELS_H
#define VNET_CHANNELS_H

#include "intensity.h"

enum { VN_CHANNELS_MOST = 256, VN_CHANNEL_NAME_MOST = 63 };

struct vn_channel_rule {
  const char *name;      /* NULL: nobody says */
  const char *intensity; /* the rule as the metadata has it */
  struct vn_intensity_rule rule;
};

struct vn_channels {
  size_t count;
  struct vn_channel_rule *of;
  char *names, *intensities; /* owned: what `of` points into */
};

/* `names` and `intensity` as in the metadata, NULL where absent; `inputs[count]`, or NULL: what the
 * network calls them. To be closed in any case. VN_E_FORMAT, VN_E_MEMORY. */
enum vn_status vn_channels_parse(const char *names, const char *intensity,
                                 const char *const inputs[], size_t count,
                                 struct vn_channels *channels, struct vn_diag *diag);
void vn_channels_close(struct vn_channels *channels);

/* "t1, t1ce, t2" for a sentence, cut where it has no room; "" where they have no names. */
void vn_channels_list(const struct vn_channels *channels, char *text, size_t size);

#endif
