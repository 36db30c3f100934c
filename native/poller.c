#include "poller.h"

#include <stdlib.h>

#include "arguments.h"

static const napi_type_tag poller_tag = {0x2f9b1c7d4e6a4851ULL, 0xb3d80a6c5e9f1724ULL};

static void disown(struct poller *poller) {
  if (--poller->owners == 0) free(poller);
}

static void object_collected(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  disown(data);
}

static void link_poller(struct ferry *ferry, struct poller *poller) {
  poller->next = ferry->pollers;
  if (poller->next) poller->next->previous = poller;
  ferry->pollers = poller;
}

static void unlink_poller(struct poller *poller) {
  if (poller->next) poller->next->previous = poller->previous;
  if (poller->previous)
    poller->previous->next = poller->next;
  else
    poller->ferry->pollers = poller->next;
}

static void release(struct poller *poller) {
  napi_env env = poller->ferry->env;
  for (unsigned i = 0; i < poller->kept_count; i++) napi_delete_reference(env, poller->kept[i]);
  poller->kept_count = 0;
  if (poller->context) napi_async_destroy(env, poller->context);
  poller->context = NULL;
}

static void on_events(uv_poll_t *handle, int status, int events) {
  struct poller *poller = uv_handle_get_data((uv_handle_t *)handle);
  if (status < 0) {
    /* libuv stops polling when the kernel reports POLLERR; which call fails, and how, is found by making it. */
    poller->polled = 0;
    events = UV_READABLE | UV_WRITABLE;
  }
  poller->busy = true;
  poller->ready(poller, events);
  poller->busy = false;
  if (poller->closed) release(poller);
}

static void create_object(struct poller *poller, const char *name, napi_value *object) {
  napi_env env = poller->ferry->env;
  napi_value resource;
  napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &resource);
  napi_create_object(env, object);
  napi_type_tag_object(env, *object, &poller_tag);
  napi_wrap(env, *object, poller, object_collected, NULL, NULL);
  napi_async_init(env, *object, resource, &poller->context);
}

int poller_open(struct ferry *ferry, struct poller *poller, int fd, const char *name, napi_value *object) {
  poller->ferry = ferry;
  poller->handle = malloc(uv_handle_size(UV_POLL));
  int result = poller->handle ? uv_poll_init(ferry->loop, poller->handle, fd) : -ENOMEM;
  if (result < 0) {
    free(poller->handle);
    free(poller);
    return result;
  }
  uv_handle_set_data((uv_handle_t *)poller->handle, poller);
  ferry->open_handles++;
  poller->owners = 2;
  link_poller(ferry, poller);
  create_object(poller, name, object);
  return 0;
}

napi_ref poller_keep(struct poller *poller, napi_value value) {
  napi_ref reference = NULL;
  if (napi_create_reference(poller->ferry->env, value, 1, &reference) == napi_ok)
    poller->kept[poller->kept_count++] = reference;
  return reference;
}

int poller_want(struct poller *poller, int events) {
  if (poller->closed || poller->polled == events) return 0;
  poller->polled = events;
  return events ? uv_poll_start(poller->handle, events, on_events) : uv_poll_stop(poller->handle);
}

/* An exception becomes an 'uncaughtException'. One that ends the environment is no exception. */
static void surface_exception(napi_env env) {
  napi_value exception;
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) != napi_ok || !pending) return;
  if (napi_get_and_clear_last_exception(env, &exception) == napi_ok) napi_fatal_exception(env, exception);
}

static bool make_callback(struct poller *poller, napi_ref callback, const int32_t *argument) {
  napi_env env = poller->ferry->env;
  napi_value function, receiver, value;
  if (napi_get_reference_value(env, callback, &function) != napi_ok || napi_get_global(env, &receiver) != napi_ok)
    return false;
  if (argument) napi_create_int32(env, *argument, &value);
  if (napi_make_callback(env, poller->context, receiver, function, argument ? 1 : 0, &value, NULL) == napi_ok)
    return true;
  surface_exception(env);
  return false;
}

bool poller_call(struct poller *poller, napi_ref callback, const int32_t *argument) {
  napi_env env = poller->ferry->env;
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return false;
  bool returned = make_callback(poller, callback, argument);
  napi_close_handle_scope(env, scope);
  return returned && !poller->closed;
}

struct poller *poller_of(napi_env env, napi_value object) {
  bool ours = false;
  void *poller = NULL;
  if (napi_check_object_type_tag(env, object, &poller_tag, &ours) != napi_ok || !ours ||
      napi_unwrap(env, object, &poller) != napi_ok)
    throw_type(env, "expected a pump or a watch");
  return poller;
}

static void on_closed(uv_handle_t *handle) {
  struct poller *poller = uv_handle_get_data(handle);
  struct ferry *ferry = poller->ferry;
  free(handle);
  disown(poller);
  ferry_handle_closed(ferry);
}

void poller_close(struct poller *poller) {
  if (poller->closed) return;
  poller->closed = true;
  unlink_poller(poller);
  uv_close((uv_handle_t *)poller->handle, on_closed);
  /* Inside a callback the references are still in use. */
  if (!poller->busy) release(poller);
}

void pollers_end(struct ferry *ferry) {
  napi_handle_scope scope;
  if (napi_open_handle_scope(ferry->env, &scope) != napi_ok) return;
  while (ferry->pollers) poller_close(ferry->pollers);
  napi_close_handle_scope(ferry->env, scope);
}
