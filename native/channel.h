/*
 * A connected socket with its buffers, as both modes use it: pump.c on the event loop, exchange.c on a thread that
 * blocks. JavaScript sees the buffers and steers by `control`.
 */
#ifndef FERRY_CHANNEL_H
#define FERRY_CHANNEL_H

#include "ferry.h"

/* The elements of `control`; see Control in src/native/control.ts. The last four are ours. */
enum { RX_OFFSET, RX_LENGTH, SPIN_US, BUDGET_US, TX_START, TX_END, MISSES, REST, RESTING, SWITCHES, CONTROL_LENGTH };

struct channel {
  int fd;
  uint8_t *rx, *tx;
  size_t rx_length, tx_length;
  int32_t *fds;
  size_t capacity;
  int32_t *control;
};

/* A system call takes about a microsecond; with the two task switches of one that lets the peer run, longer than this. */
enum { PEER_RAN_NS = 2500 };

enum { CHANNEL_ARGUMENTS = 5 };

/* Reads the arguments fd, rx, tx, fds and control; throws and returns false when they do not fit. */
bool channel_arguments(napi_env env, const napi_value *argv, struct channel *channel);
/* One receive where `control` says; -EINVAL when that is outside of the buffer. */
int32_t channel_receive(const struct channel *channel, int flags);
/* Sends what `control` says, with one call; false when something is left. */
bool channel_send(const struct channel *channel);
/* Whether a spin is worth trying now. */
bool channel_may_spin(const struct channel *channel);
/* Receives without sleeping until something comes (for as long as control[SPIN_US], at most until `limit`). */
int32_t channel_spin(const struct channel *channel, int64_t limit);
int64_t now_ns(void);

#endif
