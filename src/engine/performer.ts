import { FerryError } from '../errors/index.ts';
import { stateName } from '../states/index.ts';
import type { Clock } from './clock.ts';
import type { MigrationEnd } from './migration-end.ts';
import { isCancellable } from './phase.ts';
import { copyData } from './pipe.ts';
import type { Recorder } from './recorder.ts';
import type { EndName, HookName, Reply, Step } from './step.ts';
import { StepError } from './step-error.ts';

/** What the caller does around the blackout. A hook that throws fails the migration. */
export type MigrationHooks = Readonly<Partial<Record<HookName, () => void | Promise<void>>>>;

/** How steps are carried out. */
export interface PerformerOptions {
  readonly clock: Clock;
  readonly ends: Readonly<Record<EndName, MigrationEnd>>;
  readonly hooks: MigrationHooks;
  readonly timeoutMs: number;
  readonly hookTimeoutMs: number;
  readonly chunkBytes: number;
  readonly window: number;
  readonly bytesPerSecond: number | null;
  readonly signal: AbortSignal | undefined;
}

const DONE: Reply = { kind: 'done' };

/** Carries out the steps of a sequence: the only part of the engine that waits. */
export class Performer {
  readonly #options: PerformerOptions;
  readonly #recorder: Recorder;

  constructor(options: PerformerOptions, recorder: Recorder) {
    this.#options = options;
    this.#recorder = recorder;
  }

  /** Carries out one step in bounded time. Rejects with a StepError. */
  async perform(step: Step): Promise<Reply> {
    this.#checkCancelled(step);
    switch (step.do) {
      case 'phase':
        this.#recorder.begin(step.phase);
        return DONE;
      case 'hook':
        return this.#callHook(step.hook);
      case 'copy':
        return this.#copy(step);
      default:
        return this.#callEnd(step);
    }
  }

  #checkCancelled(step: Step): void {
    const rollsBack = step.do === 'phase' && step.phase === 'roll-back';
    if (rollsBack || !isCancellable(this.#recorder.phase)) return;
    if (this.#options.signal?.aborted)
      throw new StepError('ERR_STEP_CANCELLED', 'caller', 'it was cancelled');
  }

  async #callHook(name: HookName): Promise<Reply> {
    const { clock, hooks, hookTimeoutMs } = this.#options;
    const late = new StepError(
      'ERR_STEP_TIMEOUT',
      'hook',
      `the hook ${name} took more than ${hookTimeoutMs} ms`,
    );
    const call = async (): Promise<void> => hooks[name]?.();
    try {
      await within(clock, hookTimeoutMs, call(), late);
    } catch (error) {
      if (error === late) throw error;
      throw new StepError('ERR_STEP_FAILED', 'hook', `the hook ${name} failed: ${messageOf(error)}`, error);
    }
    return DONE;
  }

  async #copy(step: Extract<Step, { do: 'copy' }>): Promise<Reply> {
    const { ends, ...options } = this.#options;
    this.#recorder.beginCopy(step.iteration, step.remaining);
    const copied = await copyData(ends.source, ends.destination, {
      ...options,
      limit: step.limit,
      moved: (bytes) => this.#recorder.moved(bytes),
      failed: (end, cause) =>
        endError(end, end === 'source' ? 'could not deliver data' : 'refused data', cause),
    });
    return { kind: 'copied', copied };
  }

  async #callEnd(step: EndStep): Promise<Reply> {
    const { clock, ends, timeoutMs } = this.#options;
    const what = describe(step);
    const late = new StepError(
      'ERR_STEP_TIMEOUT',
      step.end,
      `the ${step.end} ${what}: no answer in ${timeoutMs} ms`,
    );
    try {
      return await within(clock, timeoutMs, request(ends[step.end], step), late);
    } catch (error) {
      throw error === late ? error : endError(step.end, what, error);
    }
  }
}

type EndStep = Extract<Step, { readonly end: EndName }>;

async function request(end: MigrationEnd, step: EndStep): Promise<Reply> {
  switch (step.do) {
    case 'flags':
      return { kind: 'flags', flags: await end.flags() };
    case 'inspect':
      return { kind: 'inspection', inspection: await end.inspect() };
    case 'state':
      return { kind: 'state', state: await end.state() };
    case 'setState':
      await end.setState(step.state);
      return DONE;
    case 'reset':
      await end.reset();
      return DONE;
    case 'dataSize':
      return { kind: 'size', size: await end.dataSize() };
    case 'precopyInfo':
      return { kind: 'estimate', estimate: await end.precopyInfo() };
  }
}

/** What the end failed to do, after "the source ...". */
function describe(step: EndStep): string {
  switch (step.do) {
    case 'setState':
      return `did not go to ${stateName(step.state)}`;
    case 'state':
      return 'did not tell its state';
    case 'reset':
      return 'was not reset';
    case 'precopyInfo':
      return 'did not tell what is left';
    default:
      return 'could not be inspected';
  }
}

function endError(end: EndName, what: string, cause: unknown): StepError {
  const aborted = cause instanceof FerryError && cause.code === 'ERR_SESSION_ABORTED';
  const why = aborted ? 'somebody else has reset it' : messageOf(cause);
  return new StepError(
    aborted ? 'ERR_SESSION_ABORTED' : 'ERR_STEP_FAILED',
    end,
    `the ${end} ${what}: ${why}`,
    cause,
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** `work`, or `late` when it takes too long. What it does afterwards is ignored. */
function within<T>(clock: Clock, ms: number, work: Promise<T>, late: Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(ms, () => reject(late));
    work.then(resolve, reject).finally(() => timer.close());
  });
}
