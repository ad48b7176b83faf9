/* Threads of systems whose threads get no signals: Windows, and a web page, where they are workers
 * that the page has made. See os.h. */
#include "os.h"

int vn_os_thread_start(pthread_t *thread, size_t stack_bytes, void *(*run)(void *context),
                       void *context) {
  pthread_attr_t attributes;
  int reason = pthread_attr_init(&attributes);
  if (reason) return reason;
  if (stack_bytes) pthread_attr_setstacksize(&attributes, stack_bytes);
  reason = pthread_create(thread, &attributes, run, context);
  pthread_attr_destroy(&attributes);
  return reason;
}
