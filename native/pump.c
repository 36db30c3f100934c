/*
 * The event-loop mode of a connection: receives when the loop says so, calls JavaScript, sends what that leaves, and
 * goes on receiving while that pays.
 *
 * Going back to the loop costs more than a message does. On two cores the peer's next message comes within a short
 * spin; spins that bring nothing are followed by growing rests. On a shared core the peer runs only while we sleep,
 * or inside our send, when the scheduler prefers it: then the send takes long, and the next message is there already.
 */
#include <stdlib.h>
#include <sys/socket.h>

#include "arguments.h"
#include "channel.h"
#include "poller.h"

struct pump {
  struct poller poller;
  struct channel channel;
  napi_ref on_receive, on_writable;
  bool readable, writable; /* what pumpArm asked for */
  bool ended;              /* end of file or an error was reported */
  bool likely;             /* the next message is probably there already */
  int64_t now, budget_end; /* when the last answer was sent; when others get a turn */
  bool paused;             /* the loop woke us up while control[RX_LENGTH] was 0 */
};

static int update(struct pump *pump) {
  bool readable = pump->readable && !pump->ended && !pump->paused;
  return poller_want(&pump->poller, (readable ? UV_READABLE : 0) | (pump->writable ? UV_WRITABLE : 0));
}

static bool wants_input(const struct pump *pump) {
  return pump->readable && !pump->ended && pump->channel.control[RX_LENGTH] != 0;
}

/* Whether a spin is worth trying, and would hold up nothing that the loop could do now. */
static bool may_spin(const struct pump *pump) {
  return uv_backend_timeout(pump->poller.ferry->loop) != 0 && channel_may_spin(&pump->channel);
}

/* Sends what the callback left; false when there is nothing more to do before the next wake-up. */
static bool answer(struct pump *pump) {
  const struct channel *channel = &pump->channel;
  bool silent = channel->control[TX_START] >= channel->control[TX_END];
  int64_t start = now_ns();
  bool sent = channel_send(channel);
  pump->now = silent ? start : now_ns();
  pump->likely = silent || pump->now - start > PEER_RAN_NS;
  if (pump->budget_end == 0) pump->budget_end = start + channel->control[BUDGET_US] * INT64_C(1000);
  return sent || poller_call(&pump->poller, pump->on_writable, NULL);
}

/* Reports one result. False when there is nothing more to do before the next wake-up. */
static bool deliver(struct pump *pump, int32_t result) {
  if (result <= 0) pump->ended = true;
  return poller_call(&pump->poller, pump->on_receive, &result) && answer(pump) && wants_input(pump);
}

/* The next message, if it can be had without sleeping. */
static int32_t next(const struct pump *pump) {
  int32_t result = pump->likely ? channel_receive(&pump->channel, MSG_DONTWAIT) : -EAGAIN;
  return result == -EAGAIN && may_spin(pump) ? channel_spin(&pump->channel, pump->budget_end) : result;
}

static void drain(struct pump *pump) {
  int32_t result = channel_receive(&pump->channel, MSG_DONTWAIT);
  pump->budget_end = 0; /* it begins with the first answer */
  while (result != -EAGAIN && deliver(pump, result) && pump->now < pump->budget_end) result = next(pump);
}

static void pump_ready(struct poller *poller, int events) {
  struct pump *pump = (struct pump *)poller;
  bool go_on = true;
  if (events & UV_WRITABLE && pump->writable) go_on = poller_call(poller, pump->on_writable, NULL);
  if (go_on && events & UV_READABLE) {
    if (wants_input(pump))
      drain(pump);
    else
      pump->paused = true;
  }
  update(pump);
}

static napi_value pump_start(napi_env env, napi_callback_info info) {
  napi_value argv[CHANNEL_ARGUMENTS + 2], object;
  struct ferry *ferry = ferry_of(env, info);
  arguments(env, info, CHANNEL_ARGUMENTS + 2, argv);
  struct pump *pump = calloc(1, sizeof *pump);
  if (!pump) return number(env, -ENOMEM);
  if (!channel_arguments(env, argv, &pump->channel) || !callable(env, argv[5]) || !callable(env, argv[6])) {
    free(pump);
    return NULL;
  }
  int result = poller_open(ferry, &pump->poller, pump->channel.fd, "FerryPump", &object);
  if (result < 0) return number(env, result);
  pump->poller.ready = pump_ready;
  for (int i = 1; i < CHANNEL_ARGUMENTS; i++) poller_keep(&pump->poller, argv[i]);
  pump->on_receive = poller_keep(&pump->poller, argv[5]);
  pump->on_writable = poller_keep(&pump->poller, argv[6]);
  pump->readable = true;
  update(pump);
  return object;
}

static napi_value pump_arm(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  bool readable, writable;
  arguments(env, info, 3, argv);
  struct poller *poller = poller_of(env, argv[0]);
  if (!poller || !boolean(env, argv[1], &readable) || !boolean(env, argv[2], &writable)) return NULL;
  if (poller->ready != pump_ready) {
    throw_type(env, "expected a pump");
    return NULL;
  }
  struct pump *pump = (struct pump *)poller;
  pump->readable = readable;
  pump->writable = writable;
  pump->paused = false;
  /* A callback of this pump ends with an update of its own. */
  return number(env, poller->busy ? 0 : update(pump));
}

const struct function pump_functions[] = {{"pumpStart", pump_start}, {"pumpArm", pump_arm}};
const size_t pump_function_count = sizeof pump_functions / sizeof *pump_functions;
