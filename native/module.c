/* Registration, once per environment, and an environment's end. */
#include <stdlib.h>
#include <string.h>

#include "ferry.h"

bool ferry_export(struct ferry *ferry, napi_value exports, const struct function *functions, size_t count) {
  for (size_t i = 0; i < count; i++) {
    napi_value function;
    const char *name = functions[i].name;
    if (napi_create_function(ferry->env, name, NAPI_AUTO_LENGTH, functions[i].call, ferry, &function) != napi_ok ||
        napi_set_named_property(ferry->env, exports, name, function) != napi_ok)
      return false;
  }
  return true;
}

static void let_go(struct ferry *ferry) {
  napi_async_cleanup_hook_handle ending = ferry->ending;
  free(ferry);
  napi_remove_async_cleanup_hook(ending);
}

/*
 * uv handles close asynchronously, and a worker's loop must have none left when its thread ends; so the environment
 * waits for the last one (an asynchronous cleanup hook).
 */
static void on_end(napi_async_cleanup_hook_handle handle, void *data) {
  struct ferry *ferry = data;
  ferry->ending = handle;
  ferry->open_handles++; /* so that the last close does not come before all were asked */
  pollers_end(ferry);
  ferry_handle_closed(ferry);
}

void ferry_handle_closed(struct ferry *ferry) {
  if (--ferry->open_handles == 0 && ferry->ending) let_go(ferry);
}

static bool libuv_is_as_declared(void) {
  const char *name = uv_handle_type_name(UV_POLL);
  return name && strcmp(name, "poll") == 0;
}

static bool start(struct ferry *ferry, napi_value exports) {
  return libuv_is_as_declared() && napi_get_uv_event_loop(ferry->env, &ferry->loop) == napi_ok &&
         ferry_export(ferry, exports, socket_functions, socket_function_count) &&
         ferry_export(ferry, exports, memory_functions, memory_function_count) &&
         ferry_export(ferry, exports, descriptor_functions, descriptor_function_count) &&
         ferry_export(ferry, exports, pump_functions, pump_function_count) &&
         ferry_export(ferry, exports, exchange_functions, exchange_function_count) &&
         ferry_export(ferry, exports, watch_functions, watch_function_count) &&
         ferry_export(ferry, exports, crc32_functions, crc32_function_count) &&
         ferry_export(ferry, exports, terminal_functions, terminal_function_count) &&
         ferry_export(ferry, exports, kernel_functions, kernel_function_count) &&
         ferry_export(ferry, exports, heap_functions, heap_function_count) &&
         napi_add_async_cleanup_hook(ferry->env, on_end, ferry, NULL) == napi_ok;
}

NAPI_MODULE_INIT() {
  struct ferry *ferry = calloc(1, sizeof *ferry);
  if (ferry) ferry->env = env;
  if (!ferry || !start(ferry, exports)) {
    free(ferry);
    napi_throw_error(env, "ERR_NATIVE", "this runtime lacks what Ferry's addon needs (Node-API 8 and libuv 1.x)");
    return NULL;
  }
  return exports;
}
