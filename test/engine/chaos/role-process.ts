import type { Channel } from '../../../src/channel/index.ts';
import { DEFAULT_LIMITS, MigrationControl, type MigrationHooks } from '../../../src/engine/index.ts';
import { receiver } from '../../../src/engine/receiver/receiver.ts';
import { ReceiverPerformer } from '../../../src/engine/receiver/receiver-performer.ts';
import { sender } from '../../../src/engine/sender/sender.ts';
import { SenderPerformer } from '../../../src/engine/sender/sender-performer.ts';
import { sideOptions, sidePlan } from '../../../src/engine/side-options.ts';
import type { SidePerformer } from '../../../src/engine/side-performer.ts';
import { conduct, type Reply, type Sequence, type Step } from '../../../src/engine/step.ts';
import { type JournalRole, Journals } from '../../../src/journal/index.ts';
import type { Handle } from './handle.ts';
import type { Stage } from './stage.ts';

/** How a process ended: with a result, with an error, or killed. */
export type Ending =
  | { readonly is: 'done' }
  | { readonly is: 'failed'; readonly error: unknown }
  | { readonly is: 'killed' };

/** The process of one role. It can be killed between any two steps, and put to sleep and woken. */
export class RoleProcess {
  readonly role: JournalRole;
  readonly handles: readonly Handle[];
  readonly #stage: Stage;
  readonly #channel: Channel;
  #killed: (ending: Ending) => void = () => {};
  #isKilled = false;
  #sleep: Promise<void> | null = null;
  #wake: () => void = () => {};
  #steps = 0;
  ending: Ending | null = null;

  constructor(role: JournalRole, stage: Stage, handles: readonly Handle[], channel: Channel) {
    this.role = role;
    this.handles = handles;
    this.#stage = stage;
    this.#channel = channel;
  }

  /** How many steps it has come to. */
  get steps(): number {
    return this.#steps;
  }

  get isAsleep(): boolean {
    return this.#sleep !== null;
  }

  async start(): Promise<void> {
    const killed = new Promise<Ending>((resolve) => {
      this.#killed = resolve;
    });
    // It may have been killed before it began.
    this.ending = this.#isKilled ? { is: 'killed' } : await Promise.race([this.#run(), killed]);
  }

  kill(): void {
    this.#isKilled = true;
    for (const handle of this.handles) handle.dead = true;
    this.#killed({ is: 'killed' });
  }

  /** SIGSTOP. */
  sleep(): void {
    this.#sleep = new Promise((resolve) => {
      this.#wake = () => {
        this.#sleep = null;
        resolve();
      };
    });
  }

  /** SIGCONT. */
  wake(): void {
    this.#wake();
  }

  async #run(): Promise<Ending> {
    const performer = this.#performer();
    const sequence: Sequence<unknown> = this.#sequence();
    try {
      await conduct(sequence, (step) => this.#perform(performer, step));
      return { is: 'done' };
    } catch (error) {
      return { is: 'failed', error };
    } finally {
      if (!this.#isKilled) await performer.close();
    }
  }

  async #perform(performer: SidePerformer, step: Step): Promise<Reply> {
    const { role } = this;
    const index = this.#steps;
    this.#steps += 1;
    this.#stage.step({ role, index, when: 'before' }, step);
    await this.#goOn();
    const reply = await settled(performer.perform(step));
    await this.#goOn();
    this.#stage.step({ role, index, when: 'after' }, step);
    await this.#goOn();
    if ('error' in reply) throw reply.error;
    return reply.value;
  }

  /** Sleeps as long as it is told to; never returns when it has been killed. */
  async #goOn(): Promise<void> {
    if (this.#isKilled) await new Promise(() => {});
    await this.#sleep;
    if (this.#isKilled) await new Promise(() => {});
  }

  #sequence(): Sequence<unknown> {
    const plan = this.#plan();
    if (this.role === 'receiver') return receiver(plan);
    return sender({ ...plan, preCopy: true, paused: this.#stage.paused, force: false, dryRun: false });
  }

  #plan() {
    return sidePlan(this.#options(), []);
  }

  #options() {
    return {
      devices: this.handles,
      channel: this.#channel,
      journals: new Journals(this.#stage.files[this.role]),
      reconnect: (signal: AbortSignal) => this.#stage.reconnect(this.role, signal),
      peer: { devices: null, recover: 'ferry recover' },
      hooks: this.#hooks(),
      clock: this.#stage.clock,
      window: 2,
    };
  }

  /** What the VMM of this side does around the blackout. */
  #hooks(): MigrationHooks {
    const call = async (): Promise<void> => {
      if (this.#stage.deadVmms.has(this.role)) await new Promise(() => {});
    };
    return { beforeStop: call, resume: call, beforeRun: call, armInterrupts: call, afterRun: call };
  }

  #performer(): SidePerformer {
    const side = sideOptions(
      this.role === 'sender' ? 'source' : 'destination',
      this.#options(),
      this.#plan(),
    );
    const { signal } = this.#stage.cancelling[this.role];
    if (this.role === 'receiver')
      return new ReceiverPerformer({
        ...side,
        window: 2,
        memory: null,
        keep: this.#stage.keep,
        kept: null,
        signal,
      });
    const control = new MigrationControl();
    const more = {
      control,
      signal,
      limits: DEFAULT_LIMITS,
      chunkBytes: 8,
      window: 2,
      memory: null,
    };
    return new SenderPerformer({ ...side, ...more });
  }
}

async function settled<T>(work: Promise<T>): Promise<{ value: T } | { error: unknown }> {
  try {
    return { value: await work };
  } catch (error) {
    return { error };
  }
}
