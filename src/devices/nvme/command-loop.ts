import type { Activity } from './activity.ts';
import { type AdminCommands, OUTSTANDING } from './admin-commands.ts';
import { Command } from './command.ts';
import type { CompletionQueue } from './completion-queue.ts';
import type { ErrorLog } from './error-log.ts';
import type { Events } from './events.ts';
import type { GuestMemory } from './guest-memory.ts';
import type { Interrupts } from './interrupts.ts';
import { IoCommands, noTraffic } from './io-commands.ts';
import { chain, type Later } from './later.ts';
import { SUBMISSION_ENTRY } from './limits.ts';
import type { Queues } from './queues.ts';
import type { NvmeState } from './state.ts';
import { Status } from './status.ts';
import type { SubmissionQueue } from './submission-queue.ts';

/** Commands in progress at most, which bounds memory: each may need a buffer of 2 MiB. */
const IN_PROGRESS = 32;
/** Commands of one queue before it is the next one's turn. */
const BURST = 16;
/** Commands, and bytes, before other things than commands get a turn. */
const COMMANDS = 64;
const BYTES = 16 * 1024 * 1024;

/** What is left when a run ends: nothing, more commands, or more after a lot of data was moved. */
export type Leftover = 'nothing' | 'commands' | 'data';

/** What the loop works with. */
export interface CommandLoopParts {
  readonly state: NvmeState;
  readonly guest: GuestMemory;
  readonly queues: Queues;
  readonly activity: Activity;
  readonly interrupts: Interrupts;
  readonly events: Events;
  readonly errors: ErrorLog;
  readonly io: IoCommands;
  readonly admin: AdminCommands;
  /** Whether commands may be started. */
  readonly mayStart: () => boolean;
  /** Whether the guest wants completions. */
  readonly mayComplete: () => boolean;
  /** A queue can't be reached: the controller can do nothing any more. */
  readonly fail: () => void;
}

/**
 * Fetches commands, has them carried out, and posts completions. A command is either in its queue or in progress:
 * those in progress are complete when {@link Activity.count} is 0, so nothing of them has to be saved.
 */
export class CommandLoop {
  readonly #parts: CommandLoopParts;
  readonly #free: Command[] = [];
  /** Commands that take time. */
  #inProgress = 0;

  constructor(parts: CommandLoopParts) {
    this.#parts = parts;
  }

  /** Starts what may be started, queue by queue in turn, and tells the guest what is complete. */
  run(): Leftover {
    const { queues, io, interrupts } = this.#parts;
    const before = io.bytes;
    let left = COMMANDS;
    for (let progress = true; progress && left > 0 && io.bytes - before < BYTES; ) {
      progress = false;
      for (let id = 0; id <= queues.highest && left > 0; id++) {
        const queue = queues.submission[id];
        const count = queue === undefined ? 0 : this.#serve(queue, Math.min(left, BURST));
        left -= count;
        progress ||= count > 0;
      }
    }
    this.#reportEvents();
    this.#countTraffic();
    interrupts.signal();
    if (io.bytes - before >= BYTES) return 'data';
    return left > 0 ? 'nothing' : 'commands';
  }

  /** Aborts an asynchronous event request; false when there is none with this id, or no room to say so. */
  abortRequest(commandId: number): boolean {
    const { queues, events } = this.#parts;
    const target = queues.completion[0];
    if (!target?.hasRoom || !events.withdraw(commandId)) return false;
    this.#answerRequest(target, commandId, Status.ABORT_REQUESTED, 0);
    return true;
  }

  /** Starts up to `limit` commands of a queue and returns how many. */
  #serve(queue: SubmissionQueue, limit: number): number {
    let count = 0;
    while (count < limit && !queue.empty && this.#mayStart(queue)) {
      if (!queue.mapped) return count + this.#fetch(queue);
      const command = this.#newCommand();
      queue.take(command);
      this.#start(command, queue);
      count++;
    }
    return count;
  }

  #mayStart(queue: SubmissionQueue): boolean {
    if (queue.closing || queue.fetching || !this.#parts.mayStart()) return false;
    if (this.#inProgress >= IN_PROGRESS) return false;
    const target = this.#targetOf(queue);
    if (!target.hasRoom) target.awaited = true;
    return target.hasRoom;
  }

  /** Gets commands from a queue that is not mapped; returns how many were started at once. */
  #fetch(queue: SubmissionQueue): number {
    let count = 0;
    queue.fetching = true;
    queue.started();
    const fetched = this.#orFail(() =>
      chain(queue.fetch(), (entries) => {
        queue.fetching = false;
        count = this.#startFetched(queue, entries);
      }),
    );
    const ended = chain(fetched, () => queue.ended());
    if (ended instanceof Promise) this.#parts.activity.follow(ended);
    return count;
  }

  /** What can't be started now stays in the queue and is fetched again. */
  #startFetched(queue: SubmissionQueue, entries: DataView): number {
    let count = 0;
    const available = entries.byteLength / SUBMISSION_ENTRY;
    while (count < available && this.#mayStart(queue)) {
      const command = this.#newCommand();
      queue.takeFetched(command, entries, count);
      this.#start(command, queue);
      count++;
    }
    return count;
  }

  #start(command: Command, queue: SubmissionQueue): void {
    const target = this.#targetOf(queue);
    target.reserved++;
    queue.started();
    const outcome = this.#execute(command);
    const finish = (status: number) => {
      target.reserved--;
      if (status === OUTSTANDING) this.#release(command, queue);
      else this.#complete(command, queue.head, target, status, () => queue.ended());
    };
    if (outcome instanceof Promise) this.#await(outcome, finish);
    else finish(outcome);
  }

  #await(outcome: Promise<number>, finish: (status: number) => void): void {
    this.#inProgress++;
    const finished = outcome.then((status) => {
      this.#inProgress--;
      finish(status);
    });
    this.#parts.activity.follow(finished);
  }

  #execute(command: Command): Later<number> {
    const { admin, io } = this.#parts;
    const refused = command.check();
    if (refused !== Status.SUCCESS) return refused;
    try {
      const outcome = command.queue === 0 ? admin.execute(command) : io.execute(command);
      return outcome instanceof Promise ? outcome.catch(() => Status.INTERNAL_ERROR) : outcome;
    } catch {
      return Status.INTERNAL_ERROR;
    }
  }

  /** Posts a completion, and then calls `ended`. A guest that is resetting the controller wants none. */
  #complete(
    command: Command,
    submissionHead: number,
    target: CompletionQueue,
    status: number,
    ended: () => void,
  ): void {
    if (status !== Status.SUCCESS) this.#noteError(command, status);
    const posted = this.#parts.mayComplete()
      ? this.#orFail(() => target.post(command, status, submissionHead))
      : undefined;
    this.#free.push(command);
    const done = () => {
      target.signalling = true;
      ended();
    };
    if (posted instanceof Promise) this.#parts.activity.follow(posted.then(done));
    else done();
  }

  #noteError(command: Command, status: number): void {
    const { state, errors } = this.#parts;
    const { queue } = command;
    if (status === Status.UNRECOVERED_READ || status === Status.WRITE_FAULT) state.mediaErrors += 1n;
    const block = queue === 0 ? 0n : BigInt(IoCommands.firstBlock(command));
    errors.add({ queue, command, status, block });
  }

  #reportEvents(): void {
    const { events, queues, mayStart } = this.#parts;
    const target = queues.completion[0];
    if (target === undefined || !mayStart()) return;
    while (events.due && target.hasRoom) {
      const event = events.take();
      if (event !== null) this.#answerRequest(target, event.commandId, Status.SUCCESS, event.result);
    }
    target.awaited ||= events.due;
  }

  #answerRequest(target: CompletionQueue, commandId: number, status: number, result: number): void {
    const command = this.#newCommand();
    command.id = commandId;
    command.queue = 0;
    command.result = result;
    this.#complete(command, this.#parts.queues.submission[0]?.head ?? 0, target, status, () => {});
  }

  /** Once for many commands, because the counters of the state are 64 bits wide and slow. */
  #countTraffic(): void {
    const { state, io } = this.#parts;
    const { reads, writes, unitsRead, unitsWritten } = io.traffic;
    if (reads + writes === 0) return;
    state.commandsRead += BigInt(reads);
    state.commandsWritten += BigInt(writes);
    state.unitsRead += BigInt(unitsRead);
    state.unitsWritten += BigInt(unitsWritten);
    io.traffic = noTraffic();
  }

  #orFail(act: () => Later<void>): Later<void> {
    try {
      const result = act();
      return result instanceof Promise ? result.catch(() => this.#parts.fail()) : result;
    } catch {
      this.#parts.fail();
    }
  }

  #targetOf(queue: SubmissionQueue): CompletionQueue {
    const target = this.#parts.queues.completion[queue.target];
    if (target === undefined) throw new RangeError(`submission queue ${queue.id} has no completion queue`);
    return target;
  }

  #newCommand(): Command {
    return this.#free.pop() ?? new Command(this.#parts.guest);
  }

  #release(command: Command, queue: SubmissionQueue): void {
    this.#free.push(command);
    queue.ended();
  }
}
