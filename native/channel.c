#include "channel.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include "arguments.h"

/* A peer that gets our processor at once has sent its next message after less than this. */
enum { TURN_NS = 12000 };

/* After this many fruitless spins in a row there is a rest, which doubles up to MAX_REST messages. */
enum { PATIENCE = 4, MIN_REST = 4, MAX_REST = 512 };

bool channel_arguments(napi_env env, const napi_value *argv, struct channel *channel) {
  size_t length;
  if (!int32(env, argv[0], &channel->fd) ||
      !typed_array(env, argv[1], napi_uint8_array, (void **)&channel->rx, &channel->rx_length) ||
      !typed_array(env, argv[2], napi_uint8_array, (void **)&channel->tx, &channel->tx_length) ||
      !fd_array(env, argv[3], &channel->fds, &channel->capacity) ||
      !int32_array(env, argv[4], &channel->control, &length))
    return false;
  return length >= CONTROL_LENGTH || throw_range(env, "control needs ten elements");
}

int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int32_t channel_receive(const struct channel *channel, int flags) {
  int64_t offset = channel->control[RX_OFFSET], length = channel->control[RX_LENGTH];
  if (offset < 0 || length < 0 || offset + length > (int64_t)channel->rx_length) return -EINVAL;
  return (int32_t)message_receive(channel->fd, channel->rx + offset, (size_t)length, channel->fds, channel->capacity,
                                  flags);
}

bool channel_send(const struct channel *channel) {
  int64_t start = channel->control[TX_START], end = channel->control[TX_END];
  if (start >= end) return true;
  if (start < 0 || end > (int64_t)channel->tx_length) return false;
  struct outgoing outgoing = {.head = channel->tx + start, .head_length = (size_t)(end - start)};
  long sent = message_send(channel->fd, &outgoing);
  if (sent > 0) channel->control[TX_START] = (int32_t)(start + sent);
  return sent == end - start;
}

bool channel_may_spin(const struct channel *channel) {
  int32_t *control = channel->control;
  if (control[SPIN_US] <= 0) return false;
  if (control[RESTING] <= 0) return true;
  control[RESTING]--;
  return false;
}

static void spin_paid(int32_t *control) { control[MISSES] = control[REST] = control[RESTING] = 0; }

static void spin_failed(int32_t *control) {
  if (control[MISSES] < PATIENCE && ++control[MISSES] < PATIENCE) return;
  int32_t rest = control[REST] < MIN_REST ? MIN_REST : control[REST] < MAX_REST ? control[REST] * 2 : MAX_REST;
  control[REST] = control[RESTING] = rest;
}

/* Whether somebody else has run on our processor since this was asked last. */
static bool was_preempted(int32_t *control) {
  struct rusage usage;
  if (getrusage(RUSAGE_THREAD, &usage)) return false;
  int32_t switches = (int32_t)(usage.ru_nivcsw & INT32_MAX), before = control[SWITCHES];
  control[SWITCHES] = switches;
  return switches != before;
}

int32_t channel_spin(const struct channel *channel, int64_t limit) {
  /* What is there already says nothing about spinning. */
  int32_t result = channel_receive(channel, MSG_DONTWAIT);
  if (result != -EAGAIN) return result;
  int64_t start = now_ns(), now = start, end = start + channel->control[SPIN_US] * INT64_C(1000);
  if (end > limit) end = limit;
  while (result == -EAGAIN && now < end) {
    result = channel_receive(channel, MSG_DONTWAIT);
    now = now_ns();
  }
  /* When the peer had to take our processor to send, and got it late, it would have been sooner without the spin. */
  bool interrupted = now - start > TURN_NS && was_preempted(channel->control);
  if (result == -EAGAIN || interrupted)
    spin_failed(channel->control);
  else
    spin_paid(channel->control);
  return result;
}
