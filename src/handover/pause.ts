/** How long nobody served the clients of a device, and with what that was spent. All in milliseconds. */
export interface Pause {
  readonly totalMs: number;
  /** The old process stopped the device, and put together what was left of its state and everything else. */
  readonly saveMs: number;
  /** It was on its way: sent, the new process woken up, received. */
  readonly passMs: number;
  /** The new process read it, loaded the state, took connections and interrupts over, and then the device. */
  readonly loadMs: number;
  /** It set the device running, and its clients were served. */
  readonly runMs: number;
  /** CPU time that both processes took meanwhile, in all their threads. The rest of the pause they waited, for a CPU mostly. */
  readonly cpuMs: number;
}

/** A moment of a hand-over. */
export interface Moment {
  /** Nanoseconds of CLOCK_MONOTONIC, which all processes of a host share. */
  readonly at: bigint;
  /** CPU time of this process so far, in microseconds. */
  readonly cpu: bigint;
}

/** What the other process tells of its part (STATE in layout.ts). */
export interface Saving {
  readonly stoppedAt: bigint;
  readonly savedAt: bigint;
  readonly savingCpu: bigint;
}

/** This moment. */
export function moment(): Moment {
  const { user, system } = process.cpuUsage();
  return { at: process.hrtime.bigint(), cpu: BigInt(user + system) };
}

/** What became of the time in both processes. */
export function pauseOf(saving: Saving, arrived: Moment, taken: Moment, served: Moment): Pause {
  return {
    totalMs: ms(served.at - saving.stoppedAt),
    saveMs: ms(saving.savedAt - saving.stoppedAt),
    passMs: ms(arrived.at - saving.savedAt),
    loadMs: ms(taken.at - arrived.at),
    runMs: ms(served.at - taken.at),
    cpuMs: ms((saving.savingCpu + served.cpu - arrived.cpu) * 1000n),
  };
}

function ms(nanoseconds: bigint): number {
  return Number(nanoseconds) / 1e6;
}
