import type { Channel } from '../channel/index.ts';
import type { Journal, Journals, WithheldConfiguration } from '../journal/index.ts';
import { JournalError } from '../journal/index.ts';
import type { Clock } from './clock.ts';
import { Conversation, type Stream } from './conversation.ts';
import { DeviceCalls } from './ends/device-calls.ts';
import type { ClaimTicket, MigrationEnd } from './migration-end.ts';
import type { SidePlan } from './plan.ts';
import type { Recorder } from './recorder.ts';
import type { Decision, DecisionFacts, EndName, HookName, Reply, Step } from './step.ts';
import { messageOf, StepError } from './step-error.ts';
import { within } from './within.ts';

/** What the caller does around the blackout. A hook that throws fails the migration. */
export type MigrationHooks = Readonly<Partial<Record<HookName, () => void | Promise<void>>>>;

/** What both sides need to carry out their steps. */
export interface SideOptions {
  readonly clock: Clock;
  readonly end: EndName;
  readonly plan: SidePlan;
  readonly devices: readonly MigrationEnd[];
  readonly channel: Channel;
  readonly journals: Journals;
  readonly token: Uint8Array;
  readonly hooks: MigrationHooks;
  readonly timeoutMs: number;
  readonly hookTimeoutMs: number;
  readonly answerTimeoutMs: number;
  /** How long the other side is looked for when the way to it is lost, in milliseconds. */
  readonly reconnectMs: number;
  /** Makes a new channel to the other side, or waits for it to come; null: that is not possible. */
  readonly reconnect: ((signal: AbortSignal) => Promise<Channel>) | null;
  readonly recorder: Recorder;
  /** The journal that this side goes on with; null: it begins one. */
  readonly journal: Journal | null;
  /** Who decides against a doubt, and why; null: nobody does. */
  readonly forced: { readonly who: string; readonly why: string } | null;
}

export const DONE: Reply = { kind: 'done' };

/** Carries out the steps that both sides have. */
export class SidePerformer {
  protected readonly side: SideOptions;
  protected readonly calls: DeviceCalls;
  protected readonly conversation: Conversation;
  protected readonly recorder: Recorder;
  readonly #instances = new Map<number, bigint>();
  #journal: Journal | null;
  #lostAt: number | null = null;

  constructor(options: SideOptions, stream: Stream) {
    const { clock, end, devices, timeoutMs, token, plan, recorder } = options;
    this.side = options;
    this.recorder = recorder;
    this.#journal = options.journal;
    const ticket: ClaimTicket = { token, epoch: plan.epoch };
    this.calls = new DeviceCalls({
      ...{ clock, end, devices, timeoutMs, ticket },
      changed: (device, state, ms) => this.stateChanged(device, state, ms),
    });
    this.conversation = new Conversation(options.channel, {
      clock,
      peer: end === 'source' ? 'destination' : 'source',
      answerMs: options.answerTimeoutMs,
      stream,
      told: (direction, kind) => recorder.message(direction, kind),
    });
  }

  /** Gives up what the side holds, and ends the conversation in order: what was said last is still delivered. */
  async close(): Promise<void> {
    await this.#journal?.close();
    await this.conversation.channel.close();
  }

  /** Carries out one step in bounded time. Rejects with a StepError. */
  async perform(step: Step): Promise<Reply> {
    switch (step.do) {
      case 'phase':
        this.recorder.begin(step.phase);
        return DONE;
      case 'ask':
        return this.#ask(step.requests);
      case 'hook':
        return this.#callHook(step.hook);
      case 'journal':
        return this.#decide(step.decision, step.facts);
      case 'send':
        await this.conversation.say(step.message);
        return DONE;
      case 'expect':
        return { kind: 'message', message: await this.conversation.hear(step.kinds, step) };
      case 'reconnect':
        return this.#reconnect();
      default:
        throw new TypeError(`the ${this.side.end} does not know how to ${step.do}`);
    }
  }

  protected stateChanged(device: number, state: number, _ms: number): void {
    this.recorder.state(this.side.end, device, state);
  }

  /** A record has been made durable; how long that took. */
  protected madeDurable(_decision: Decision, _ms: number): void {}

  async #ask(requests: Extract<Step, { do: 'ask' }>['requests']): Promise<Reply> {
    const answers = await this.calls.ask(requests);
    answers.forEach((answer, i) => {
      const device = requests[i]?.device ?? 0;
      if (requests[i]?.ask === 'state')
        this.recorder.seen(device, answer.is === 'state' ? answer.state : null);
      if (answer.is === 'inspection') this.#instances.set(device, answer.inspection.instance ?? 0n);
    });
    return { kind: 'answers', answers };
  }

  async #callHook(name: HookName): Promise<Reply> {
    const { clock, hooks, hookTimeoutMs } = this.side;
    const late = new StepError(
      'ERR_STEP_TIMEOUT',
      'hook',
      `the hook ${name} took more than ${hookTimeoutMs} ms`,
    );
    if (hooks[name] === undefined) return DONE;
    const call = async (): Promise<void> => hooks[name]?.();
    try {
      await within(clock, hookTimeoutMs, call(), () => late);
    } catch (error) {
      if (error === late) throw error;
      throw new StepError('ERR_STEP_FAILED', 'hook', `the hook ${name} failed: ${messageOf(error)}`, error);
    }
    return DONE;
  }

  /** What of the configuration that was set up has not had its effects yet. */
  protected withheld(_actions: readonly number[]): readonly WithheldConfiguration[] {
    return [];
  }

  async #decide(decision: Decision, facts: DecisionFacts): Promise<Reply> {
    const { clock } = this.side;
    const started = clock.now();
    try {
      if (decision === 'BEGIN') this.#journal = await this.#begin(facts.paused ?? []);
      else await this.#append(decision, facts.actions ?? []);
    } catch (error) {
      throw new StepError(
        'ERR_JOURNAL',
        'journal',
        `the journal of the ${this.side.end}: ${messageOf(error)}`,
        error,
      );
    }
    this.madeDurable(decision, clock.now() - started);
    this.recorder.decision(this.side.end, decision);
    return DONE;
  }

  #begin(paused: readonly boolean[]): Promise<Journal> {
    const { journals, plan, token, end, devices, channel } = this.side;
    return journals.begin({
      kind: 'BEGIN',
      group: plan.group,
      epoch: plan.epoch,
      role: end === 'source' ? 'sender' : 'receiver',
      token: Buffer.from(token).toString('hex'),
      devices: devices.map(({ name: path }, i) => ({
        ...{ path, instance: this.#instances.get(i) ?? 0n },
        ...(paused[i] === true ? { paused: true } : {}),
      })),
      peer: channel.peer.address,
    });
  }

  #append(decision: Exclude<Decision, 'BEGIN'>, actions: readonly number[]): Promise<void> {
    const { epoch } = this.side.plan;
    const { forced, end } = this.side;
    if (this.#journal === null) throw new JournalError('ERR_JOURNAL_ORDER', `${decision} comes before BEGIN`);
    if (decision === 'ABORT')
      return this.#journal.append({ kind: decision, epoch, reason: this.recorder.phase });
    if (decision === 'READY')
      return this.#journal.append({ kind: decision, epoch, withheld: this.withheld(actions) });
    if (decision !== 'RECOVERED') return this.#journal.append({ kind: decision, epoch });
    if (forced === null) throw new JournalError('ERR_JOURNAL_ORDER', 'nobody has decided');
    return this.#journal.append({ kind: decision, epoch, owner: end, ...forced });
  }

  /** All attempts together are bounded, from the first time that the way was lost. */
  async #reconnect(): Promise<Reply> {
    const { clock, reconnect, reconnectMs } = this.side;
    this.#lostAt ??= clock.now();
    const left = this.#lostAt + reconnectMs - clock.now();
    if (reconnect === null || left <= 0) throw this.#unreachable();
    const controller = new AbortController();
    try {
      const channel = await within(clock, left, reconnect(controller.signal), () => this.#unreachable());
      this.conversation.replace(channel);
      this.recorder.reconnected();
    } catch (error) {
      controller.abort();
      throw error instanceof StepError ? error : this.#unreachable(error);
    }
    return DONE;
  }

  #unreachable(cause?: unknown): StepError {
    const why = cause === undefined ? '' : `: ${messageOf(cause)}`;
    return new StepError('ERR_CHANNEL_LOST', 'channel', `the way to the other side is lost${why}`, cause);
  }
}
