/*
 * The dedicated mode of a connection: a thread that blocks for one socket, calls JavaScript for what comes and sends
 * what that leaves, without going back to JavaScript in between.
 */
#include <sys/socket.h>

#include "arguments.h"
#include "channel.h"

/* False: it threw, or the thread is being ended. */
static bool call(napi_env env, napi_value callback, const int32_t *argument) {
  napi_handle_scope scope;
  napi_value receiver, value;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return false;
  napi_get_undefined(env, &receiver);
  if (argument) napi_create_int32(env, *argument, &value);
  napi_status status = napi_call_function(env, receiver, callback, argument ? 1 : 0, &value, NULL);
  napi_close_handle_scope(env, scope);
  return status == napi_ok;
}

static int32_t await_message(const struct channel *channel, int wait) {
  int32_t result = -EAGAIN;
  if (wait != 0 && channel_may_spin(channel)) result = channel_spin(channel, INT64_MAX);
  if (result != -EAGAIN) return result;
  result = channel_receive(channel, wait < 0 ? 0 : MSG_DONTWAIT);
  if (result != -EAGAIN || wait <= 0) return result;
  int ready = wait_readable(channel->fd, wait);
  return ready > 0 ? channel_receive(channel, MSG_DONTWAIT) : ready < 0 ? -errno : -EAGAIN;
}

struct exchange {
  struct channel channel;
  napi_value on_receive, on_writable;
};

/* Handles one result; false when an exception is to be passed on. */
static bool deliver(napi_env env, const struct exchange *exchange, int32_t result) {
  return call(env, exchange->on_receive, &result) &&
         (channel_send(&exchange->channel) || call(env, exchange->on_writable, NULL));
}

static napi_value exchange_messages(napi_env env, napi_callback_info info) {
  napi_value argv[CHANNEL_ARGUMENTS + 4];
  struct exchange exchange;
  int wait, limit, count = 0;
  arguments(env, info, CHANNEL_ARGUMENTS + 4, argv);
  if (!channel_arguments(env, argv, &exchange.channel) || !callable(env, argv[5]) || !callable(env, argv[6]) ||
      !int32(env, argv[7], &wait) || !int32(env, argv[8], &limit))
    return NULL;
  exchange.on_receive = argv[5];
  exchange.on_writable = argv[6];
  const int32_t *control = exchange.channel.control;
  int64_t end = 0;
  while (count < limit && control[RX_LENGTH] != 0) {
    int32_t result = await_message(&exchange.channel, wait);
    if (result == -EAGAIN) break;
    if (count++ == 0) end = now_ns() + control[BUDGET_US] * INT64_C(1000);
    if (!deliver(env, &exchange, result)) return NULL;
    if (result <= 0 || now_ns() >= end) break;
  }
  return number(env, count);
}

const struct function exchange_functions[] = {{"exchange", exchange_messages}};
const size_t exchange_function_count = sizeof exchange_functions / sizeof *exchange_functions;
