/** A process, as /proc shows it. */
export interface ProcessFacts {
  readonly pid: number;
  /** The name of its program (comm, at most 15 characters); the pid as text where /proc does not tell. */
  readonly name: string;
  /** Its command line; empty where it can't be read. */
  readonly args: readonly string[];
  /** The state letter of /proc/<pid>/stat; null where it can't be read. */
  readonly state: string | null;
}

/** A process for people: `qemu-system-x86 (process 123)`. */
export function processText({ name, pid }: ProcessFacts): string {
  return `${name} (process ${pid})`;
}

/** Whether a process is stopped, by a signal or by a debugger (proc(5): T, t). */
export function isStopped({ state }: ProcessFacts): boolean {
  return state === 'T' || state === 't';
}

/** Whether it is a QEMU system emulator; one that is started through a loader has its own name further on. */
export function isQemu({ name, args }: ProcessFacts): boolean {
  return [name, ...args.slice(0, 5)].some((word) => /(?:^|\/)qemu-(?:system-|kvm)/.test(word));
}
