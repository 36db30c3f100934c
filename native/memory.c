/* Shared memory: memfds, mappings as ArrayBuffers, and positioned file access. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "arguments.h"

/*
 * A mapping has two ends in JavaScript: the ArrayBuffer object, and the memory behind it (V8's backing store), which
 * ArrayBuffer.prototype.transfer() can move to another object and from there to another thread. The record lives
 * until both are gone.
 */
struct mapping {
  struct range *range;
  void *address;
  size_t length;
  enum {
    MAPPED,
    REPLACED, /* zero pages, because a transferred buffer may still point here */
    GONE,
  } state;
  int owners;
};

static const napi_type_tag mapping_tag = {0x6d2a4c5e8f1b4d3aULL, 0x9c7e5f3b1a2d4068ULL};

static void disown(struct mapping *mapping) {
  if (--mapping->owners == 0) free(mapping);
}

/* Before the addresses can be given to somebody else. */
static void release_range(struct mapping *mapping) {
  if (mapping->range) guard_remove(mapping->range);
  mapping->range = NULL;
}

static int unmap_now(struct mapping *mapping) {
  release_range(mapping);
  mapping->state = GONE;
  return munmap(mapping->address, mapping->length) ? -errno : 0;
}

/* Takes the file away but leaves the addresses valid. */
static int replace_now(struct mapping *mapping) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
  release_range(mapping);
  mapping->state = REPLACED;
  return mmap(mapping->address, mapping->length, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED ? -errno : 0;
}

/* True when an environment can't run JavaScript any more: Node refuses every call that might. */
static bool is_ending(napi_env env) {
  napi_value global, ignored;
  return napi_get_global(env, &global) != napi_ok ||
         napi_get_named_property(env, global, "Object", &ignored) != napi_ok;
}

/*
 * The finalizer of the memory. Usually V8 freed it and nobody can point there any more. But it also runs when the
 * environment ends, and then the buffer may live on in another thread: its addresses are given up, with no memory
 * behind them.
 */
static void memory_collected(napi_env env, void *data, void *hint) {
  struct mapping *mapping = hint;
  (void)data;
  if (is_ending(env)) {
    if (mapping->state == MAPPED) replace_now(mapping);
  } else if (mapping->state != GONE) {
    unmap_now(mapping);
  }
  disown(mapping);
}

static void buffer_collected(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  disown(data);
}

static int unmap_buffer(napi_env env, struct mapping *mapping, napi_value buffer) {
  bool detached;
  if (mapping->state != MAPPED) return 0;
  if (napi_is_detached_arraybuffer(env, buffer, &detached) != napi_ok || detached) return replace_now(mapping);
  if (napi_detach_arraybuffer(env, buffer) != napi_ok) return -EBUSY;
  return unmap_now(mapping);
}

static napi_value clear_exception(napi_env env, int error) {
  napi_value ignored;
  napi_get_and_clear_last_exception(env, &ignored);
  return number(env, error);
}

/*
 * Makes the buffer of `length` bytes; takes over `mapping`. It fails for what is longer than the runtime's largest
 * Buffer (4 GiB in Node 20), after calling the finalizer, or where external buffers do not exist, without.
 */
static napi_value expose(napi_env env, struct mapping *mapping, size_t length) {
  napi_value buffer;
  mapping->owners = 2;
  napi_status status =
      napi_create_external_arraybuffer(env, mapping->address, length, memory_collected, mapping, &buffer);
  if (status != napi_ok) {
    if (status == napi_no_external_buffers_allowed) memory_collected(env, NULL, mapping);
    disown(mapping);
    return clear_exception(env, -EFBIG);
  }
  napi_type_tag_object(env, buffer, &mapping_tag);
  napi_wrap(env, buffer, mapping, buffer_collected, NULL, NULL);
  return buffer;
}

/* statfs(2); the kernel's own headers are no part of a C library. */
static const uint32_t HUGETLBFS = 0x958458f6;

/* The unit in which the kernel maps the file: hugetlbfs reports its page size as the block size. */
static size_t page_size(int fd) {
  struct statfs about;
  if (fstatfs(fd, &about) == 0 && (uint32_t)about.f_type == HUGETLBFS) return (size_t)about.f_bsize;
  return (size_t)sysconf(_SC_PAGESIZE);
}

static struct mapping *map_file(int fd, off_t offset, size_t length, int protection) {
  struct mapping *mapping = calloc(1, sizeof *mapping);
  if (!mapping) return NULL;
  size_t page = page_size(fd);
  mapping->address = mmap(NULL, length, protection, MAP_SHARED, fd, offset);
  if (mapping->address == MAP_FAILED) {
    free(mapping);
    return NULL;
  }
  /* munmap of huge pages takes whole ones only. */
  mapping->length = (length + page - 1) & ~(page - 1);
  mapping->range = guard_add((uintptr_t)mapping->address, mapping->length, protection, page);
  if (mapping->range) return mapping;
  munmap(mapping->address, mapping->length);
  free(mapping);
  errno = ENOMEM;
  return NULL;
}

static napi_value map(napi_env env, napi_callback_info info) {
  napi_value argv[4];
  int fd, access;
  int64_t offset;
  size_t length;
  arguments(env, info, 4, argv);
  if (!int32(env, argv[0], &fd) || !integer(env, argv[1], 0, MAX_SAFE_INTEGER, &offset) ||
      !size(env, argv[2], &length) || !int32(env, argv[3], &access))
    return NULL;
  if (access < 1 || access > 3) {
    throw_range(env, "protection is 1 (read), 2 (write) or 3 (both)");
    return NULL;
  }
  int protection = (access & 1 ? PROT_READ : 0) | (access & 2 ? PROT_WRITE : 0);
  struct mapping *mapping = map_file(fd, offset, length, protection);
  if (!mapping) return outcome(env, -1);
  return expose(env, mapping, length);
}

static napi_value unmap(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  bool is_buffer = false, ours = false;
  void *mapping;
  arguments(env, info, 1, argv);
  if (napi_is_arraybuffer(env, argv[0], &is_buffer) != napi_ok || !is_buffer) {
    throw_type(env, "expected an ArrayBuffer");
    return NULL;
  }
  napi_check_object_type_tag(env, argv[0], &mapping_tag, &ours);
  if (!ours || napi_unwrap(env, argv[0], &mapping) != napi_ok) return number(env, -EINVAL);
  return number(env, unmap_buffer(env, mapping, argv[0]));
}

static int create_memfd(const char *name, int64_t size, bool seal) {
  int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return -errno;
  if (ftruncate(fd, size) || (seal && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))) {
    int error = errno;
    close(fd);
    return -error;
  }
  return fd;
}

/* memfd_create(2) takes 249 bytes; what is cut here is still too long for it. */
enum { MEMFD_NAME = 256 };

static napi_value memfd(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  char name[MEMFD_NAME];
  size_t length;
  int64_t size;
  bool seal;
  arguments(env, info, 3, argv);
  if (napi_get_value_string_utf8(env, argv[0], name, sizeof name, &length) != napi_ok) {
    throw_type(env, "expected a name");
    return NULL;
  }
  if (!integer(env, argv[1], 0, MAX_SAFE_INTEGER, &size) || !boolean(env, argv[2], &seal)) return NULL;
  return number(env, create_memfd(name, size, seal));
}

static napi_value seal_shrink(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  int fd;
  arguments(env, info, 1, argv);
  if (!int32(env, argv[0], &fd)) return NULL;
  return outcome(env, fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
}

static napi_value guard_mappings(napi_env env, napi_callback_info info) {
  (void)info;
  return number(env, guard_install());
}

static napi_value guarded_faults(napi_env env, napi_callback_info info) {
  (void)info;
  return number(env, guard_faults());
}

struct span {
  int fd;
  uint8_t *data;
  size_t length;
  int64_t position;
};

static bool span_arguments(napi_env env, napi_callback_info info, struct span *span) {
  napi_value argv[5];
  arguments(env, info, 5, argv);
  return int32(env, argv[0], &span->fd) && bytes(env, argv[1], argv[2], argv[3], &span->data, &span->length) &&
         position(env, argv[4], &span->position);
}

static napi_value pread_fd(napi_env env, napi_callback_info info) {
  struct span span;
  ssize_t result;
  if (!span_arguments(env, info, &span)) return NULL;
  RETRY(result, pread(span.fd, span.data, span.length, span.position));
  return outcome(env, result);
}

static napi_value pwrite_fd(napi_env env, napi_callback_info info) {
  struct span span;
  ssize_t result;
  if (!span_arguments(env, info, &span)) return NULL;
  RETRY(result, pwrite(span.fd, span.data, span.length, span.position));
  return outcome(env, result);
}

const struct function memory_functions[] = {
    {"memfd", memfd},
    {"sealShrink", seal_shrink},
    {"map", map},
    {"unmap", unmap},
    {"guardMappings", guard_mappings},
    {"guardedFaults", guarded_faults},
    {"pread", pread_fd},
    {"pwrite", pwrite_fd},
};
const size_t memory_function_count = sizeof memory_functions / sizeof *memory_functions;
