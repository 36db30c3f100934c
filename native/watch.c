/* A callback whenever a descriptor is readable; and what pumps and watches have in common. */
#include <stdlib.h>

#include "arguments.h"
#include "poller.h"

struct watch {
  struct poller poller;
  napi_ref on_readable;
};

static void watch_ready(struct poller *poller, int events) {
  (void)events;
  poller_call(poller, ((struct watch *)poller)->on_readable, NULL);
  poller_want(poller, UV_READABLE);
}

static napi_value watch_start(napi_env env, napi_callback_info info) {
  napi_value argv[2], object;
  int fd;
  struct ferry *ferry = ferry_of(env, info);
  arguments(env, info, 2, argv);
  if (!int32(env, argv[0], &fd) || !callable(env, argv[1])) return NULL;
  struct watch *watch = calloc(1, sizeof *watch);
  if (!watch) return number(env, -ENOMEM);
  int result = poller_open(ferry, &watch->poller, fd, "FerryWatch", &object);
  if (result < 0) return number(env, result);
  watch->poller.ready = watch_ready;
  watch->on_readable = poller_keep(&watch->poller, argv[1]);
  poller_want(&watch->poller, UV_READABLE);
  return object;
}

static napi_value close_poller(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  arguments(env, info, 1, argv);
  struct poller *poller = poller_of(env, argv[0]);
  if (poller) poller_close(poller);
  return NULL;
}

static napi_value set_referenced(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  bool referenced;
  arguments(env, info, 2, argv);
  struct poller *poller = poller_of(env, argv[0]);
  if (!poller || !boolean(env, argv[1], &referenced) || poller->closed) return NULL;
  if (referenced)
    uv_ref((uv_handle_t *)poller->handle);
  else
    uv_unref((uv_handle_t *)poller->handle);
  return NULL;
}

const struct function watch_functions[] = {
    {"watchStart", watch_start},
    {"watchClose", close_poller},
    {"pumpClose", close_poller},
    {"setReferenced", set_referenced},
};
const size_t watch_function_count = sizeof watch_functions / sizeof *watch_functions;
