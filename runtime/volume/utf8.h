/* Well-formed UTF-8 (RFC 3629), character by character: names in metadata end up in files and
 * viewers. Private. */
#ifndef VNET_UTF8_H
#define VNET_UTF8_H

#include <stdbool.h>
#include <stdint.h>

/* The character at *at, which moves behind it; false: none that is well-formed. */
static inline bool vn_utf8_read(const char **at, uint32_t *code) {
  static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
  const unsigned char lead = (unsigned char)*(*at)++;
  const int more = lead < 0x80 ? 0 : lead < 0xC0 ? -1 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
  if (more < 0 || lead > 0xF4) return false;
  *code = more ? lead & (0x3Fu >> more) : lead;
  for (int i = 0; i < more; i++) {
    if (((unsigned char)**at & 0xC0) != 0x80) return false;
    *code = *code << 6 | ((unsigned char)*(*at)++ & 0x3F);
  }
  return *code >= least[more] && *code <= 0x10FFFF && (*code < 0xD800 || *code > 0xDFFF);
}

/* C0, DEL, C1. */
static inline bool vn_utf8_control(uint32_t code) {
  return code < 0x20 || (code >= 0x7F && code < 0xA0);
}

/* A text without control characters? */
static inline bool vn_utf8_plain(const char *text) {
  uint32_t code;
  while (*text)
    if (!vn_utf8_read(&text, &code) || vn_utf8_control(code)) return false;
  return true;
}

#endif
