/*
 * What the kernel's VFIO devices need beside file access: ioctls whose argument points at other memory, calls that may
 * take long, and memory for DMA. Addresses never reach JavaScript.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arguments.h"

/*
 * Memory that a device may reach. Its address stays reserved until it is given up by name: when the record is merely
 * collected, or the environment ends, the mapping stays for as long as the process lives, because the IOMMU (or, for
 * a mediated device, the kernel on its behalf) may still use the address, whoever has it by then.
 */
struct dma_memory {
  void *address; /* NULL: given up */
  size_t length;
};

static const napi_type_tag dma_memory_tag = {0x51c83f0d2b7e4a96ULL, 0x8e14d76b3fa2c059ULL};

static void dma_memory_collected(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  free(data);
}

/* NULL when `value` is no such memory. */
static struct dma_memory *dma_memory_of(napi_env env, napi_value value) {
  bool ours = false;
  void *memory = NULL;
  if (napi_check_object_type_tag(env, value, &dma_memory_tag, &ours) != napi_ok || !ours ||
      napi_unwrap(env, value, &memory) != napi_ok)
    return NULL;
  return memory;
}

static napi_value dma_memory_object(napi_env env, struct dma_memory *memory) {
  napi_value object;
  if (napi_create_object(env, &object) == napi_ok && napi_type_tag_object(env, object, &dma_memory_tag) == napi_ok &&
      napi_wrap(env, object, memory, dma_memory_collected, NULL, NULL) == napi_ok)
    return object;
  munmap(memory->address, memory->length);
  free(memory);
  return NULL;
}

static napi_value map_for_dma(napi_env env, napi_callback_info info) {
  napi_value argv[4];
  int fd, access;
  int64_t offset;
  size_t length;
  arguments(env, info, 4, argv);
  if (!int32(env, argv[0], &fd) || !position(env, argv[1], &offset) || !size(env, argv[2], &length) ||
      !int32(env, argv[3], &access))
    return NULL;
  if (access < 1 || access > 3) {
    throw_range(env, "access is 1 (read), 2 (write) or 3 (both)");
    return NULL;
  }
  struct dma_memory *memory = calloc(1, sizeof *memory);
  if (!memory) return number(env, -ENOMEM);
  int protection = (access & 1 ? PROT_READ : 0) | (access & 2 ? PROT_WRITE : 0);
  memory->length = length;
  memory->address = mmap(NULL, length, protection, MAP_SHARED, fd, offset);
  if (memory->address == MAP_FAILED) {
    napi_value failed = outcome(env, -1);
    free(memory);
    return failed;
  }
  return dma_memory_object(env, memory);
}

static napi_value unmap_for_dma(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  arguments(env, info, 1, argv);
  struct dma_memory *memory = dma_memory_of(env, argv[0]);
  if (!memory) {
    throw_type(env, "expected memory for DMA");
    return NULL;
  }
  if (!memory->address) return number(env, 0);
  if (munmap(memory->address, memory->length)) return outcome(env, -1);
  memory->address = NULL;
  return number(env, 0);
}

/* One system call that may take long. */
struct call {
  enum { IOCTL, READ, WRITE } kind;
  int fd;
  unsigned long request;
  void *data; /* what it reads or writes; for an ioctl the argument itself or its address */
  size_t length;
  long result; /* negative: a negated errno */
  napi_ref kept[2];
  unsigned kept_count;
  napi_deferred deferred;
  napi_async_work work;
};

static void carry_out(struct call *call) {
  long result;
  switch (call->kind) {
    case IOCTL:
      RETRY(result, ioctl(call->fd, call->request, call->data));
      break;
    case READ:
      RETRY(result, read(call->fd, call->data, call->length));
      break;
    default:
      RETRY(result, write(call->fd, call->data, call->length));
  }
  call->result = result < 0 ? -errno : result;
}

/* Puts the address of `pointee` at `at` of the argument: a pointer in a structure of the kernel has 64 bits always. */
static bool point(napi_env env, struct call *call, napi_value pointee, napi_value at) {
  napi_valuetype type;
  size_t offset, length;
  void *target;
  if (napi_typeof(env, pointee, &type) != napi_ok || type == napi_null) return true;
  struct dma_memory *memory = dma_memory_of(env, pointee);
  if (memory)
    target = memory->address;
  else if (!typed_array(env, pointee, napi_uint8_array, &target, &length))
    return false;
  if (!size(env, at, &offset)) return false;
  if (!target || call->length < sizeof(uint64_t) || offset > call->length - sizeof(uint64_t))
    return throw_range(env, "the pointer lies outside of the argument, or the memory was given up");
  uint64_t address = (uintptr_t)target;
  memcpy((uint8_t *)call->data + offset, &address, sizeof address);
  return true;
}

/* fd, request, argument (a number, or an array), pointee (null, an array, or memory for DMA), at */
static bool ioctl_arguments(napi_env env, const napi_value *argv, struct call *call) {
  napi_valuetype type;
  int64_t request, value;
  call->kind = IOCTL;
  if (!int32(env, argv[0], &call->fd) || !integer(env, argv[1], 0, UINT32_MAX, &request)) return false;
  call->request = (unsigned long)request;
  if (napi_typeof(env, argv[2], &type) == napi_ok && type == napi_number) {
    if (!integer(env, argv[2], 0, MAX_SAFE_INTEGER, &value)) return false;
    call->data = (void *)(uintptr_t)value;
    return true;
  }
  return typed_array(env, argv[2], napi_uint8_array, &call->data, &call->length) &&
         point(env, call, argv[3], argv[4]);
}

static napi_value ioctl_now(napi_env env, napi_callback_info info) {
  napi_value argv[5];
  struct call call = {.kind = IOCTL};
  arguments(env, info, 5, argv);
  if (!ioctl_arguments(env, argv, &call)) return NULL;
  carry_out(&call);
  return number(env, call.result);
}

static void execute(napi_env env, void *data) {
  (void)env;
  carry_out(data);
}

static void dispose(napi_env env, struct call *call) {
  for (unsigned i = 0; i < call->kept_count; i++) napi_delete_reference(env, call->kept[i]);
  if (call->work) napi_delete_async_work(env, call->work);
  free(call);
}

static void complete(napi_env env, napi_status status, void *data) {
  struct call *call = data;
  napi_resolve_deferred(env, call->deferred, number(env, status == napi_ok ? call->result : -ECANCELED));
  dispose(env, call);
}

static void keep(napi_env env, struct call *call, napi_value value) {
  napi_valuetype type;
  if (napi_typeof(env, value, &type) != napi_ok || type != napi_object) return;
  if (napi_create_reference(env, value, 1, &call->kept[call->kept_count]) == napi_ok) call->kept_count++;
}

/* Carries `wanted` out on another thread; what it uses is kept until then. */
static napi_value later(napi_env env, const struct call *wanted, napi_value first, napi_value second) {
  napi_value name, promise = NULL;
  struct call *call = malloc(sizeof *call);
  if (!call) {
    throw_range(env, "out of memory");
    return NULL;
  }
  *call = *wanted;
  keep(env, call, first);
  keep(env, call, second);
  napi_create_string_utf8(env, "FerryKernelCall", NAPI_AUTO_LENGTH, &name);
  if (napi_create_promise(env, &call->deferred, &promise) == napi_ok &&
      napi_create_async_work(env, NULL, name, execute, complete, call, &call->work) == napi_ok &&
      napi_queue_async_work(env, call->work) == napi_ok)
    return promise;
  dispose(env, call);
  napi_throw_error(env, "ERR_NATIVE", "no call can be made on another thread");
  return NULL;
}

static napi_value ioctl_later(napi_env env, napi_callback_info info) {
  napi_value argv[5];
  struct call call = {.kind = IOCTL};
  arguments(env, info, 5, argv);
  return ioctl_arguments(env, argv, &call) ? later(env, &call, argv[2], argv[3]) : NULL;
}

/* fd, array: at the file's own position */
static napi_value transfer_later(napi_env env, napi_callback_info info, int kind) {
  napi_value argv[2];
  struct call call = {.kind = READ};
  call.kind = kind;
  arguments(env, info, 2, argv);
  if (!int32(env, argv[0], &call.fd) || !typed_array(env, argv[1], napi_uint8_array, &call.data, &call.length))
    return NULL;
  return later(env, &call, argv[1], argv[1]);
}

static napi_value read_later(napi_env env, napi_callback_info info) {
  return transfer_later(env, info, READ);
}

static napi_value write_later(napi_env env, napi_callback_info info) {
  return transfer_later(env, info, WRITE);
}

const struct function kernel_functions[] = {
    {"ioctl", ioctl_now},           {"ioctlLater", ioctl_later},     {"readLater", read_later},
    {"writeLater", write_later},    {"mapForDma", map_for_dma},      {"unmapForDma", unmap_for_dma},
};
const size_t kernel_function_count = sizeof kernel_functions / sizeof *kernel_functions;
