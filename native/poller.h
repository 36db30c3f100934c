/*
 * A file descriptor that the event loop watches, with JavaScript callbacks. pump.c and watch.c begin their records
 * with it.
 *
 * A poller is gone when both its owners are: the uv handle (after its close callback) and the handle object in
 * JavaScript (after its collection). An open poller keeps working without the latter.
 */
#ifndef FERRY_POLLER_H
#define FERRY_POLLER_H

#include "ferry.h"

enum { MAX_KEPT = 6 };

struct poller {
  struct ferry *ferry;
  struct poller *next, *previous;
  uv_poll_t *handle;
  napi_async_context context;
  napi_ref kept[MAX_KEPT]; /* callbacks and arrays */
  unsigned kept_count;
  void (*ready)(struct poller *poller, int events);
  int polled; /* the events that libuv waits for */
  bool busy;  /* inside `ready` */
  bool closed;
  int owners;
};

/*
 * Opens `poller`, allocated with calloc and taken over, on `fd`. Returns 0 or a negated errno, `poller` then being
 * freed. `*object` becomes the handle for JavaScript.
 */
int poller_open(struct ferry *ferry, struct poller *poller, int fd, const char *name, napi_value *object);
/* Keeps a value alive until the poller closes. */
napi_ref poller_keep(struct poller *poller, napi_value value);
/* Waits for `events`, 0 being none. Does nothing when that is so already or when the poller is closed. */
int poller_want(struct poller *poller, int events);
/*
 * Calls `callback` with `argument` (NULL: none). Promise jobs and ticks run before it returns. False when the caller
 * must return to the loop: the callback threw, closed the poller, or the environment is being stopped.
 */
bool poller_call(struct poller *poller, napi_ref callback, const int32_t *argument);
/* The poller behind a handle object, whatever its kind; throws and returns NULL for anything else. */
struct poller *poller_of(napi_env env, napi_value object);
void poller_close(struct poller *poller);

#endif
