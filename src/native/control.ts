/**
 * The elements of the Int32Array by which the owner of a socket steers the addon (native/channel.h). The addon reads
 * them anew for every message.
 */
export const Control = {
  /** Where the next receive puts its bytes in `rx`. */
  RX_OFFSET: 0,
  /** How many bytes it takes at most; 0 pauses. */
  RX_LENGTH: 1,
  /** How long to look for the next message before sleeping, in microseconds; 0 never does. */
  SPIN_US: 2,
  /** How long to stay with one socket before others get a turn, in microseconds. */
  BUDGET_US: 3,
  /** What the addon is to send after a callback is tx[TX_START...TX_END]; it advances TX_START. */
  TX_START: 4,
  /** See TX_START. */
  TX_END: 5,
} as const;

/** Elements of the array; those that {@link Control} does not name are the addon's own. */
export const CONTROL_LENGTH = 10;
