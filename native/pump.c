/*
 * The event-loop mode of a connection: receives when the loop says so, then goes on receiving while that pays.
 *
 * A wake-up of the loop costs more than a message does. So after each message the pump receives once more at once:
 * on a shared core the peer has often run, and answered, inside our send. If nothing is there it may spin, which is
 * what pays on two cores. Spins that bring nothing are followed by growing rests.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "arguments.h"
#include "poller.h"

/* The elements of `control`; see pumpStart in native.ts. */
enum { OFFSET, LENGTH, SPIN_US, BUDGET_US, CONTROL_LENGTH };

/* After this many fruitless spins in a row the pump rests; the rest doubles up to MAX_REST wake-ups. */
enum { PATIENCE = 4, MIN_REST = 4, MAX_REST = 512 };

struct pump {
  struct poller poller;
  int fd;
  uint8_t *rx;
  size_t rx_length;
  int32_t *fds;
  size_t capacity;
  const volatile int32_t *control;
  napi_ref on_receive, on_writable;
  bool readable, writable; /* what pumpArm asked for */
  bool ended;              /* end of file or an error was reported */
  bool paused;             /* the loop woke us up while control[LENGTH] was 0 */
  unsigned misses;         /* fruitless spins in a row */
  unsigned rest;           /* how many wake-ups the last rest had */
  unsigned resting;        /* how many are left of this one */
};

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int update(struct pump *pump) {
  bool readable = pump->readable && !pump->ended && !pump->paused;
  return poller_want(&pump->poller, (readable ? UV_READABLE : 0) | (pump->writable ? UV_WRITABLE : 0));
}

static bool wants_input(const struct pump *pump) {
  return pump->readable && !pump->ended && pump->control[LENGTH] != 0;
}

static int32_t receive_once(struct pump *pump) {
  int64_t offset = pump->control[OFFSET], length = pump->control[LENGTH];
  if (offset < 0 || length < 0 || offset + length > (int64_t)pump->rx_length) return -EINVAL;
  return (int32_t)message_receive(pump->fd, pump->rx + offset, (size_t)length, pump->fds, pump->capacity, MSG_DONTWAIT);
}

/* Whether a spin is worth trying, and would hold up nothing that the loop could do now. */
static bool may_spin(struct pump *pump) {
  if (pump->control[SPIN_US] <= 0 || uv_backend_timeout(pump->poller.ferry->loop) == 0) return false;
  if (pump->resting == 0) return true;
  pump->resting--;
  return false;
}

static void spin_paid(struct pump *pump) { pump->misses = pump->rest = pump->resting = 0; }

static void spin_failed(struct pump *pump) {
  if (++pump->misses < PATIENCE) return;
  pump->rest = pump->rest == 0 ? MIN_REST : pump->rest * 2;
  if (pump->rest > MAX_REST) pump->rest = MAX_REST;
  pump->resting = pump->rest;
}

static int32_t spin(struct pump *pump, int64_t budget_end) {
  int64_t end = now_ns() + pump->control[SPIN_US] * INT64_C(1000);
  if (end > budget_end) end = budget_end;
  int32_t result;
  do {
    result = receive_once(pump);
  } while (result == -EAGAIN && now_ns() < end);
  if (result == -EAGAIN)
    spin_failed(pump);
  else
    spin_paid(pump);
  return result;
}

/* Reports one result. False when there is nothing more to do before the next wake-up. */
static bool deliver(struct pump *pump, int32_t result) {
  if (result <= 0) pump->ended = true;
  return poller_call(&pump->poller, pump->on_receive, &result) && wants_input(pump);
}

static void drain(struct pump *pump) {
  int64_t end = now_ns() + pump->control[BUDGET_US] * INT64_C(1000);
  int32_t result = receive_once(pump);
  while (result != -EAGAIN) {
    if (!deliver(pump, result) || now_ns() >= end) return;
    result = receive_once(pump);
    if (result == -EAGAIN && may_spin(pump)) result = spin(pump, end);
  }
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

static bool pump_arguments(napi_env env, napi_value *argv, struct pump *pump) {
  int32_t *control;
  size_t length;
  if (!int32(env, argv[0], &pump->fd) ||
      !typed_array(env, argv[1], napi_uint8_array, (void **)&pump->rx, &pump->rx_length) ||
      !fd_array(env, argv[2], &pump->fds, &pump->capacity) || !int32_array(env, argv[3], &control, &length) ||
      !callable(env, argv[4]) || !callable(env, argv[5]))
    return false;
  if (length < CONTROL_LENGTH) return throw_range(env, "control needs four elements");
  pump->control = control;
  return true;
}

static napi_value pump_start(napi_env env, napi_callback_info info) {
  napi_value argv[6], object;
  struct ferry *ferry = ferry_of(env, info);
  arguments(env, info, 6, argv);
  struct pump *pump = calloc(1, sizeof *pump);
  if (!pump) return number(env, -ENOMEM);
  if (!pump_arguments(env, argv, pump)) {
    free(pump);
    return NULL;
  }
  int result = poller_open(ferry, &pump->poller, pump->fd, "FerryPump", &object);
  if (result < 0) return number(env, result);
  pump->poller.ready = pump_ready;
  for (int i = 1; i <= 3; i++) poller_keep(&pump->poller, argv[i]);
  pump->on_receive = poller_keep(&pump->poller, argv[4]);
  pump->on_writable = poller_keep(&pump->poller, argv[5]);
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
