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
 * ArrayBuffer.prototype.transfer() can move to another object. The record lives until both are gone.
 */
struct mapping {
  struct ferry *ferry; /* NULL when the environment ended first */
  struct mapping *next, *previous;
  struct range *range;
  void *address;
  size_t length;
  napi_ref buffer; /* weak */
  enum {
    MAPPED,
    REPLACED, /* anonymous pages: a transferred buffer may still point here */
    GONE,
  } state;
  int owners;
};

static const napi_type_tag mapping_tag = {0x6d2a4c5e8f1b4d3aULL, 0x9c7e5f3b1a2d4068ULL};

static void link_mapping(struct ferry *ferry, struct mapping *mapping) {
  mapping->ferry = ferry;
  mapping->previous = NULL;
  mapping->next = ferry->mappings;
  if (mapping->next) mapping->next->previous = mapping;
  ferry->mappings = mapping;
}

static void unlink_mapping(struct mapping *mapping) {
  if (!mapping->ferry) return;
  if (mapping->next) mapping->next->previous = mapping->previous;
  if (mapping->previous)
    mapping->previous->next = mapping->next;
  else
    mapping->ferry->mappings = mapping->next;
  mapping->ferry = NULL;
}

static void disown(struct mapping *mapping) {
  if (--mapping->owners > 0) return;
  unlink_mapping(mapping);
  free(mapping);
}

static void release_range(struct mapping *mapping) {
  /* Before the address can be given to somebody else. */
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

/* V8 freed the memory behind a buffer: nobody can point there any more. */
static void memory_collected(napi_env env, void *data, void *hint) {
  struct mapping *mapping = hint;
  (void)env;
  (void)data;
  if (mapping->state != GONE) unmap_now(mapping);
  disown(mapping);
}

static void buffer_collected(napi_env env, void *data, void *hint) {
  struct mapping *mapping = data;
  (void)hint;
  if (mapping->buffer) napi_delete_reference(env, mapping->buffer);
  mapping->buffer = NULL;
  disown(mapping);
}

/* True when `buffer` still owns its memory. */
static bool attached(napi_env env, napi_value buffer) {
  bool detached = true;
  return buffer && napi_is_detached_arraybuffer(env, buffer, &detached) == napi_ok && !detached;
}

static int unmap_buffer(napi_env env, struct mapping *mapping, napi_value buffer) {
  if (mapping->state != MAPPED) return 0;
  if (!attached(env, buffer)) return replace_now(mapping);
  if (napi_detach_arraybuffer(env, buffer) != napi_ok) return -EBUSY;
  return unmap_now(mapping);
}

/* An environment ends: no JavaScript runs here any more, but a transferred buffer may live on another thread. */
static void end_mapping(napi_env env, struct mapping *mapping) {
  napi_value buffer = NULL;
  if (mapping->buffer) napi_get_reference_value(env, mapping->buffer, &buffer);
  unmap_buffer(env, mapping, buffer);
  mapping->state = GONE;
}

void mappings_end(struct ferry *ferry) {
  napi_handle_scope scope;
  if (napi_open_handle_scope(ferry->env, &scope) != napi_ok) return;
  while (ferry->mappings) {
    struct mapping *mapping = ferry->mappings;
    end_mapping(ferry->env, mapping);
    unlink_mapping(mapping);
  }
  napi_close_handle_scope(ferry->env, scope);
}

static void on_environment_end(void *data) { mappings_end(data); }

/*
 * Node detaches external buffers in cleanup hooks of its own, newest first; ours must come before them to see which
 * buffers were transferred. So each new mapping moves it to the front.
 */
static void hook_first(struct ferry *ferry) {
  napi_remove_env_cleanup_hook(ferry->env, on_environment_end, ferry);
  napi_add_env_cleanup_hook(ferry->env, on_environment_end, ferry);
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
static napi_value expose(struct ferry *ferry, struct mapping *mapping, size_t length) {
  napi_env env = ferry->env;
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
  napi_create_reference(env, buffer, 0, &mapping->buffer);
  napi_wrap(env, buffer, mapping, buffer_collected, NULL, NULL);
  hook_first(ferry);
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
  struct ferry *ferry = arguments(env, info, 4, argv);
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
  link_mapping(ferry, mapping);
  return expose(ferry, mapping, length);
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

/* memfd_create(2): the name has at most 249 bytes. */
enum { MEMFD_NAME = 250 };

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
         integer(env, argv[4], 0, MAX_SAFE_INTEGER, &span->position);
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
