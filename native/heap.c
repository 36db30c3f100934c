/* The C library's heap. */
#include <malloc.h>

#include "ferry.h"

/* V8 lets young buffers grow to 32 MiB before it collects them: all of them may be freed at once. */
enum { KEPT = 64 << 20, MAPPED_FROM = 4 << 20 };

/*
 * Once a program sets one of the two, glibc adapts neither any more (mallopt(3)); and at its own 128 KiB for
 * M_MMAP_THRESHOLD every larger buffer would be mapped, faulted in and unmapped again.
 */
static napi_value keep_heap(napi_env env, napi_callback_info info) {
  (void)env;
  (void)info;
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, MAPPED_FROM);
  mallopt(M_TRIM_THRESHOLD, KEPT);
#endif
  return NULL;
}

const struct function heap_functions[] = {{"keepHeap", keep_heap}};
const size_t heap_function_count = sizeof heap_functions / sizeof *heap_functions;
