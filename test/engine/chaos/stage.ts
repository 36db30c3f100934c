import { randomBytes } from 'node:crypto';
import { vi } from 'vitest';
import { type Channel, type MemoryPair, memoryPair, saveTo } from '../../../src/channel/index.ts';
import { absentEnd, type MigrationEnd, type Recovery, recover } from '../../../src/engine/index.ts';
import type { Step } from '../../../src/engine/step.ts';
import {
  type FaultPlan,
  type JournalReading,
  type JournalRole,
  Journals,
  MemoryJournalFiles,
} from '../../../src/journal/index.ts';
import { MigrationState } from '../../../src/states/index.ts';
import { MemorySink, memorySource } from '../../channel/memory-file.ts';
import { FakeClock } from '../fake-clock.ts';
import type { FakeEnd } from '../fake-end.ts';
import { type Call, World, type WorldOptions } from '../fake-world.ts';
import { type Bundle, bundle } from './bundle.ts';
import { FaultyChannel } from './faulty-channel.ts';
import { Handle } from './handle.ts';
import { RoleProcess } from './role-process.ts';

/** A moment of a side: its so-many-th step, before or after it is carried out. */
export interface Moment {
  readonly role: JournalRole;
  readonly index: number;
  readonly when: 'before' | 'after';
}

/** What a stage is set up with. */
export interface StageOptions extends Pick<WorldOptions, 'sourceFlags' | 'destinationFlags' | 'estimates'> {
  readonly devices?: number;
  /** What happens when a side comes to a step. */
  readonly onStep?: (stage: Stage, moment: Moment, step: Step) => void;
  /** What arrives at the destination is kept besides its devices. */
  readonly keeps?: boolean;
  readonly faults?: Partial<Readonly<Record<JournalRole, FaultPlan>>>;
  /** The way is a real channel over so many connections; without it, the one within a process. */
  readonly connections?: number;
  /** The guest does not run: its devices are moved stopped, and stay so. */
  readonly paused?: boolean;
}

/** How long a channel takes to notice that nothing comes. */
const SILENCE_MS = 10_000;
/** Turns of the event loop without anything happening after which time passes. */
const QUIET_TURNS = 3;

/**
 * Two hosts in memory: devices, journals, the processes of both roles, and the way between them. Everything can be
 * killed, cut and put to sleep at every step, and what must never be is looked at after every change.
 */
export class Stage {
  readonly clock = new FakeClock();
  readonly calls: Call[] = [];
  readonly worlds: readonly World[];
  readonly group = randomBytes(16).toString('hex');
  readonly files: Readonly<Record<JournalRole, MemoryJournalFiles>>;
  readonly processes: Readonly<Record<JournalRole, RoleProcess>>;
  /** Where what arrives is kept; null: only in the devices. */
  readonly keep: Channel | null;
  readonly #kept = new MemorySink();
  readonly #pairs: MemoryPair[] = [];
  /** The last way, if it has several connections. */
  #bundle: Bundle | null = null;
  readonly #ends = new Map<JournalRole, FaultyChannel>();
  readonly #options: StageOptions;
  #offer: ((channel: Channel) => void) | null = null;
  #activity = 0;
  violation: string | null = null;
  /** By which the operators of both sides cancel. */
  readonly cancelling: Readonly<Record<JournalRole, AbortController>> = {
    sender: new AbortController(),
    receiver: new AbortController(),
  };
  /** Roles whose VMM is gone: nobody answers their hooks. */
  readonly deadVmms = new Set<JournalRole>();
  /** Somebody has been put to sleep once. */
  hasSlept = false;
  #playing: Promise<unknown> = Promise.resolve();

  constructor(options: StageOptions = {}) {
    this.#options = options;
    const { sourceFlags, destinationFlags, estimates } = options;
    const count = options.devices ?? 1;
    this.worlds = Array.from({ length: count }, (_, i) => {
      const world = new World(this.clock, {
        ...(sourceFlags === undefined ? {} : { sourceFlags }),
        ...(destinationFlags === undefined ? {} : { destinationFlags }),
        ...(estimates === undefined ? {} : { estimates }),
        calls: this.calls,
        suffix: count === 1 ? '' : String(i),
      });
      if (options.paused === true) world.source.deviceState = MigrationState.STOP;
      world.onCheck = () => this.#look();
      return world;
    });
    this.files = {
      sender: new MemoryJournalFiles(options.faults?.sender),
      receiver: new MemoryJournalFiles(options.faults?.receiver),
    };
    this.keep = options.keeps === true ? saveTo(this.#kept, { group: this.group, epoch: 1n }) : null;
    const [sender, receiver] = this.#connect();
    this.processes = {
      sender: new RoleProcess('sender', this, this.handles('sender'), sender),
      receiver: new RoleProcess('receiver', this, this.handles('receiver'), receiver),
    };
  }

  get paused(): boolean {
    return this.#options.paused === true;
  }

  /** Runs both sides until both have ended, one way or another. */
  async play(): Promise<void> {
    const { sender, receiver } = this.processes;
    this.#playing = Promise.all([sender.start(), receiver.start()]);
    await this.#passing(this.#playing);
  }

  /** Until those have ended, too, who slept. */
  async finish(): Promise<void> {
    await this.#passing(this.#playing);
  }

  /** An operator gives the source back to its guest: claims it anew, releases it, and sets it running. */
  async takeSourceBack(): Promise<boolean> {
    const token = randomBytes(16);
    try {
      for (const handle of this.handles('sender')) {
        await handle.claim({ token, epoch: 9n });
        await handle.setState(MigrationState.RUNNING);
      }
      return true;
    } catch {
      return false;
    }
  }

  /** Lets somebody do something, and time pass as far as it takes. */
  async #passing<T>(work: Promise<T>): Promise<T | undefined> {
    let ended = false;
    void work
      .catch(() => {})
      .finally(() => {
        ended = true;
      });
    let quiet = 0;
    let seen = this.#activity;
    while (!ended) {
      await new Promise((resolve) => setImmediate(resolve));
      quiet = seen === this.#activity + this.calls.length ? quiet + 1 : 0;
      seen = this.#activity + this.calls.length;
      if (quiet < QUIET_TURNS || ended) continue;
      quiet = 0;
      if (this.clock.step()) continue;
      if (Object.values(this.processes).some(({ isAsleep }) => isAsleep)) return undefined;
      throw new Error(`at rest, and somebody still waits: ${this.#stuck()}`);
    }
    return work;
  }

  #stuck(): string {
    return Object.values(this.processes)
      .map(({ role, steps, ending }) => `${role} at step ${steps}, ${ending?.is ?? 'going on'}`)
      .join('; ');
  }

  /** A side comes to a step. */
  step(moment: Moment, step: Step): void {
    this.#activity += 1;
    this.#options.onStep?.(this, moment, step);
  }

  device(role: JournalRole, index = 0): FakeEnd {
    const world = this.worlds[index];
    if (world === undefined) throw new Error(`there is no device ${index}`);
    return role === 'sender' ? world.source : world.destination;
  }

  /** New connections to the devices of a side; what was killed is absent. */
  handles(role: JournalRole): Handle[] {
    return this.worlds.map((_, i) => new Handle(this.device(role, i)));
  }

  /** The process of a device is killed. */
  killDevice(role: JournalRole, index = 0): void {
    const device = this.device(role, index);
    device.alive = false;
    device.connected = false;
  }

  /** Servers are started in the place of those that were killed. */
  restartDevices(): void {
    for (const { source, destination } of this.worlds) {
      for (const device of [source, destination]) if (!device.alive) device.restart();
    }
  }

  /** The process of a role is killed: its connections end, its journal is no longer locked. */
  kill(role: JournalRole): void {
    this.processes[role].kill();
    if (role === 'receiver') this.#offer = null;
    try {
      this.files[role].die({ group: this.group, role });
    } catch {
      // It had not begun one.
    }
    this.cut();
  }

  /** Every connection between the two sides is cut. */
  cut(): void {
    for (const pair of this.#pairs) pair.cut();
  }

  /** Nothing arrives any more, which is noticed after a while. */
  stall(...directions: JournalRole[]): void {
    for (const from of directions) {
      const end = this.#ends.get(from);
      if (end !== undefined) end.mute = true;
    }
    this.clock.after(SILENCE_MS, () => this.cut());
  }

  /** One of several connections is cut. */
  cutOne(index: number): void {
    this.#severalConnections().cutOne(index);
  }

  /** One of several connections carries nothing more, which is noticed after a while: its tick tells. */
  stallOne(index: number): void {
    const stalled = this.#severalConnections();
    stalled.stallOne(index);
    this.clock.after(SILENCE_MS, () => {
      vi.advanceTimersByTime(2 * SILENCE_MS);
    });
  }

  /** A byte that comes to a side over one of several connections is changed. */
  corruptOne(index: number, towards: JournalRole): void {
    this.#severalConnections().corruptOne(index, towards);
  }

  #severalConnections(): Bundle {
    if (this.#bundle === null) throw new Error('there is but one connection');
    return this.#bundle;
  }

  /** The present channel of a side. */
  channel(role: JournalRole): FaultyChannel {
    const end = this.#ends.get(role);
    if (end === undefined) throw new Error('there is no channel');
    return end;
  }

  /** The way made anew, if the other side still listens. */
  async reconnect(role: JournalRole, signal: AbortSignal): Promise<Channel> {
    if (role === 'receiver') {
      return new Promise((resolve) => {
        this.#offer = resolve;
        signal.addEventListener('abort', () => {
          this.#offer = null;
        });
      });
    }
    while (this.#offer === null) {
      await new Promise<void>((resolve) => this.clock.after(1000, resolve));
      if (signal.aborted) throw new Error('given up');
    }
    const [sender, receiver] = this.#connect();
    this.#offer(receiver);
    this.#offer = null;
    return sender;
  }

  /** What an operator does: `ferry recover` at one side, with the other's journal if it can be read. */
  async recover(role: JournalRole, peer = true, force = false): Promise<Recovery | null> {
    const other = role === 'sender' ? 'receiver' : 'sender';
    const journals = new Journals(this.files[role]);
    const known = await journals.list();
    if (known.length === 0) return null;
    const recovery = await this.#passing(
      recover({
        ...{ group: this.group, role, journals, clock: this.clock },
        devices: this.handles(role).map((handle) => present(handle)),
        peerJournal: peer ? await this.#read(other) : null,
        kept: this.#kept.state === 'finished' ? memorySource(this.#kept.bytes) : null,
        force: force ? { who: 'operator', why: 'the other side is fenced' } : null,
        peer: { devices: null, recover: 'ferry recover' },
      }),
    );
    return recovery ?? null;
  }

  async #read(role: JournalRole): Promise<JournalReading | null> {
    try {
      return await new Journals(this.files[role]).read({ group: this.group, role });
    } catch {
      return null;
    }
  }

  #connect(): [FaultyChannel, FaultyChannel] {
    const about = { group: this.group, epoch: 1n };
    const { connections } = this.#options;
    this.#bundle = connections === undefined ? null : bundle(about, connections);
    const pair = this.#bundle ?? memoryPair(about);
    const [sender, receiver] = [new FaultyChannel(pair.sender), new FaultyChannel(pair.receiver)];
    for (const end of [sender, receiver]) end.onLoss = () => this.clock.after(SILENCE_MS, () => pair.cut());
    this.#pairs.push(pair);
    this.#ends.set('sender', sender).set('receiver', receiver);
    return [sender, receiver];
  }

  /** Of the group, nothing runs on both sides: not even two different devices. */
  #look(): void {
    const here = this.worlds.some(({ source }) => source.runsGuest);
    const there = this.worlds.some(({ destination }) => destination.runsGuest);
    if (here && there) this.violation ??= `both sides run after ${this.calls.length} calls`;
  }
}

function present(handle: Handle): MigrationEnd {
  return handle.device.alive ? handle : absentEnd(handle.name, new Error('there is nobody'));
}
