/** How long a process waits for the other, in milliseconds. */
export interface HandoverLimits {
  /** For the answer to each message while nothing is stopped; 10000 by default. */
  readonly answerMs?: number;
  /** For the device to come to rest, while it is still served; 2000 by default. */
  readonly restMs?: number;
  /** For the new process to take the device, while that stands still; 1000 by default, far below what a VMM waits. */
  readonly frozenMs?: number;
}

/** The same, with what holds where nothing was said. */
export function effectiveLimits(limits: HandoverLimits): Required<HandoverLimits> {
  // QEMU gives up on a request after 5 s.
  return { answerMs: 10_000, restMs: 2_000, frozenMs: 1_000, ...limits };
}
