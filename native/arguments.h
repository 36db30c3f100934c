/*
 * Reading JavaScript arguments. Each helper returns false after throwing: a TypeError for a wrong type, a RangeError
 * for a number that is no integer or out of bounds. None allocates.
 */
#ifndef FERRY_ARGUMENTS_H
#define FERRY_ARGUMENTS_H

#include "ferry.h"

#define MAX_SAFE_INTEGER 9007199254740991.0

static inline bool throw_type(napi_env env, const char *message) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  return false;
}

static inline bool throw_range(napi_env env, const char *message) {
  napi_throw_range_error(env, "ERR_OUT_OF_RANGE", message);
  return false;
}

/* Fetches exactly `count` arguments; missing ones are undefined. */
static inline void arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values) {
  napi_get_cb_info(env, info, &count, values, NULL, NULL);
}

/* The environment's record. */
static inline struct ferry *ferry_of(napi_env env, napi_callback_info info) {
  void *data = NULL;
  napi_get_cb_info(env, info, NULL, NULL, NULL, &data);
  return data;
}

static inline bool integer(napi_env env, napi_value value, double min, double max, int64_t *out) {
  double number;
  if (napi_get_value_double(env, value, &number) != napi_ok) return throw_type(env, "expected a number");
  /* The comparison also refuses NaN; it comes first because converting such a double would be undefined. */
  if (!(number >= min && number <= max) || (double)(int64_t)number != number)
    return throw_range(env, "expected an integer in range");
  *out = (int64_t)number;
  return true;
}

static inline bool int32(napi_env env, napi_value value, int *out) {
  int64_t wide;
  if (!integer(env, value, INT32_MIN, INT32_MAX, &wide)) return false;
  *out = (int)wide;
  return true;
}

static inline bool size(napi_env env, napi_value value, size_t *out) {
  int64_t wide;
  if (!integer(env, value, 0, MAX_SAFE_INTEGER, &wide)) return false;
  *out = (size_t)wide;
  return true;
}

/* Where in a file: a number, or a bigint for what a number can't hold exactly. */
static inline bool position(napi_env env, napi_value value, int64_t *out) {
  napi_valuetype type;
  bool lossless = false;
  if (napi_typeof(env, value, &type) != napi_ok || type != napi_bigint)
    return integer(env, value, 0, MAX_SAFE_INTEGER, out);
  if (napi_get_value_bigint_int64(env, value, out, &lossless) == napi_ok && lossless && *out >= 0) return true;
  return throw_range(env, "expected a file position");
}

static inline bool boolean(napi_env env, napi_value value, bool *out) {
  return napi_get_value_bool(env, value, out) == napi_ok || throw_type(env, "expected a boolean");
}

static inline bool callable(napi_env env, napi_value value) {
  napi_valuetype type;
  return (napi_typeof(env, value, &type) == napi_ok && type == napi_function) || throw_type(env, "expected a function");
}

/* The memory of a typed array. V8 gives small arrays a stable address once somebody asks for it here. */
static inline bool typed_array(napi_env env, napi_value value, napi_typedarray_type wanted, void **data,
                               size_t *count) {
  napi_typedarray_type type;
  if (napi_get_typedarray_info(env, value, &type, count, data, NULL, NULL) != napi_ok || type != wanted)
    return throw_type(env, wanted == napi_int32_array ? "expected an Int32Array" : "expected a Uint8Array");
  return true;
}

static inline bool int32_array(napi_env env, napi_value value, int32_t **data, size_t *count) {
  return typed_array(env, value, napi_int32_array, (void **)data, count);
}

/* `length` bytes at `offset` of a Uint8Array. */
static inline bool bytes(napi_env env, napi_value array, napi_value offset, napi_value length, uint8_t **data,
                         size_t *count) {
  size_t total, at;
  if (!typed_array(env, array, napi_uint8_array, (void **)data, &total)) return false;
  if (!size(env, offset, &at) || !size(env, length, count)) return false;
  if (at > total || *count > total - at) return throw_range(env, "offset and length are outside of the array");
  *data += at;
  return true;
}

/* The array that receives fds: its first element is their number. */
static inline bool fd_array(napi_env env, napi_value value, int32_t **fds, size_t *capacity) {
  size_t count;
  if (!int32_array(env, value, fds, &count)) return false;
  if (count < 1) return throw_range(env, "the array of fds needs an element for their number");
  *capacity = count - 1;
  return true;
}

static inline napi_value number(napi_env env, int64_t value) {
  napi_value result = NULL;
  if (value >= INT32_MIN && value <= INT32_MAX)
    napi_create_int32(env, (int32_t)value, &result);
  else
    napi_create_int64(env, value, &result);
  return result;
}

/* What a system call returned, as a count or a negated errno. */
static inline napi_value outcome(napi_env env, long result) {
  return number(env, result < 0 ? -errno : result);
}

#endif
