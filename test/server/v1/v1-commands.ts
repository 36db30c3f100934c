import fc from 'fast-check';
import { expect } from 'vitest';
import { errnoName } from '../../../src/errors/index.ts';
import { MigrationSession } from '../../../src/server/migration-session.ts';
import { V1Migration } from '../../../src/server/v1/v1-migration.ts';
import {
  DRIVER_ACTIONS,
  type DriverAction,
  driverActions,
  isValidV1,
  parseV1State,
  type RuleSet,
  V1State,
  v1Name,
} from '../../../src/states/index.ts';
import { errnoOf, Party } from '../migration-parties.ts';
import { ACTION_FAILED, ActingDevice } from './acting-device.ts';
import { isTrue, SECTION, type V1Model } from './v1-model.ts';

const DATA = 4096;
const FAILED = errnoName(ACTION_FAILED);
const { STOP, RUNNING, STOP_COPY, PRE_COPY, RESUMING, ERROR } = V1State;

/** The real thing: a v1 device over a session over a device that does as it is told. */
export class Real {
  readonly device: ActingDevice;
  readonly session: MigrationSession<Party>;
  readonly v1: V1Migration<Party>;
  readonly parties = [new Party('first'), new Party('second')];

  constructor(flags: number, rules: RuleSet) {
    this.device = new ActingDevice(flags);
    this.session = new MigrationSession<Party>(this.device, {
      arc: (from, to) => this.v1.arc(from, to),
      settled: () => {},
      departs: () => {},
    });
    this.v1 = new V1Migration({
      session: this.session,
      section: new Uint8Array(SECTION),
      rules,
      setState: (target, by) => this.session.set(target, by),
    });
  }

  party(number: number): Party {
    const party = this.parties[number];
    if (party === undefined) throw new RangeError(`there is no party ${number}`);
    return party;
  }

  /** A register or data; the name of the errno when that is refused. */
  read(offset: number, length: number, by: number): Buffer | string {
    const target = Buffer.alloc(length);
    try {
      this.v1.read(offset, target, 0, length, this.party(by));
      return target;
    } catch (error) {
      return errnoOf(error);
    }
  }

  async write(offset: number, data: Uint8Array, by: number): Promise<string> {
    try {
      await this.v1.write(offset, data, 0, data.length, this.party(by));
      return 'ok';
    } catch (error) {
      return errnoOf(error);
    }
  }
}

type Command = fc.AsyncCommand<V1Model, Real>;

/** After whatever: what is reported is the case. */
function expectTrue(model: V1Model, { v1, device }: Real): void {
  expect(v1Name(v1.state)).toBe(v1Name(model.state));
  expect(
    isTrue(v1.state, device.facts, model.preCopies),
    `${v1Name(v1.state)} ${JSON.stringify(device.facts)}`,
  ).toBe(true);
}

/** What is injected into one change. */
interface Injection {
  readonly once: readonly DriverAction[];
  readonly always: readonly DriverAction[];
  readonly slow: boolean;
}

class WriteState implements Command {
  readonly #value: number;
  readonly #by: number;
  readonly #injection: Injection;

  constructor(value: number, by: number, injection: Injection) {
    this.#value = value;
    this.#by = by;
    this.#injection = injection;
  }

  check(): boolean {
    return true;
  }

  async run(model: V1Model, real: Real): Promise<void> {
    const { device } = real;
    device.failOnce = [...this.#injection.once];
    device.failAlways = [...this.#injection.always];
    device.slow = this.#injection.slow;
    device.actions = [];
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(this.#value);
    const outcome = await real.write(0, bytes, this.#by);
    this.#judge(model, real, outcome);
    device.failAlways = [];
    expectTrue(model, real);
  }

  #judge(model: V1Model, real: Real, outcome: string): void {
    const refusal = this.#refusal(model, real);
    if (refusal !== null) {
      expect(outcome).toBe(refusal);
      expect(real.device.actions, 'the device was not asked').toEqual([]);
      return;
    }
    const from = model.state;
    const to = parseV1State(this.#value) ?? ERROR;
    const needed = driverActions(from, to).filter((action) => action !== 'track' || model.preCopies);
    const injected = [...this.#injection.once, ...this.#injection.always];
    const fails = needed.some((action) => injected.includes(action));
    expect(outcome, `${v1Name(from)} to ${v1Name(to)}`).toBe(fails ? FAILED : 'ok');
    if (fails) return this.#afterFailure(model, real, from);
    expect(real.device.actions.toSorted()).toEqual([...needed].toSorted());
    // Where the device begins to run and to be tracked at once, tracking may come before DMA.
    if (to !== PRE_COPY) expect(real.device.actions).toEqual(needed);
    const sameSession = from === to || (from === PRE_COPY && to === STOP_COPY && model.preCopies);
    model.arrive(to, this.#by, !sameSession);
    model.aborted.delete(this.#by);
  }

  #refusal(model: V1Model, { v1 }: Real): string | null {
    const to = parseV1State(this.#value);
    if (to === null || !isValidV1(this.#value)) return 'EINVAL';
    if (model.isBusy(this.#by)) return 'EBUSY';
    if (v1.rules.judge(model.state, to).verdict === 'refused') return 'EINVAL';
    const runs = to === RUNNING || (to === PRE_COPY && !model.preCopies);
    return model.aborted.has(this.#by) && !runs ? 'ENODEV' : null;
  }

  /**
   * Back in the old state; in ERROR where deserialization failed; stopped where it had succeeded. Where going back
   * failed as well, only the truth is asked for.
   */
  #afterFailure(model: V1Model, { v1, device }: Real, from: V1State): void {
    const { once, always } = this.#injection;
    const now = v1.state;
    if (from === RESUMING) {
      const failed = once.includes('deserialize') || always.includes('deserialize');
      if (failed) expect(now).toBe(ERROR);
      else if (once.length === 0 || always.length === 0) expect(now).toBe(STOP);
    } else if (always.length === 0 && device.failOnce.length + 1 === once.length) expect(now).toBe(from);
    model.arrive(now, this.#by, now !== from || device.given === 0);
    if (now === from && device.facts.session === 'saving') this.#continue(model, device);
  }

  /** Whether the session that goes on is the old one shows in what it has given. */
  #continue(model: V1Model, { given }: ActingDevice): void {
    if (given > 0) return;
    model.forgetPiece();
    model.acknowledged = 0;
  }

  toString(): string {
    const { once, always, slow } = this.#injection;
    const failing = [...once, ...always.map((action) => `always ${action}`)].join(', ');
    return `${this.#by} writes ${this.#value.toString(2)}${failing && ` failing: ${failing}`}${slow ? ' slow' : ''}`;
  }
}

class ReadState implements Command {
  readonly #by: number;
  constructor(by: number) {
    this.#by = by;
  }
  check(): boolean {
    return true;
  }
  async run(model: V1Model, real: Real): Promise<void> {
    const value = real.read(0, 4, this.#by);
    expect(typeof value === 'string' ? value : value.readUInt32LE()).toBe(model.state);
    model.aborted.delete(this.#by);
    expectTrue(model, real);
  }
  toString(): string {
    return `${this.#by} reads device_state`;
  }
}

type Wide = 'pending_bytes' | 'data_offset' | 'data_size';
const OFFSETS: Readonly<Record<Wide, number>> = { pending_bytes: 8, data_offset: 16, data_size: 24 };

class ReadWide implements Command {
  readonly #what: Wide;
  readonly #by: number;
  constructor(what: Wide, by: number) {
    this.#what = what;
    this.#by = by;
  }
  check(): boolean {
    return true;
  }
  async run(model: V1Model, real: Real): Promise<void> {
    const read = real.read(OFFSETS[this.#what], 8, this.#by);
    const value = typeof read === 'string' ? read : Number(read.readBigUInt64LE());
    expect(value).toBe(this.#expected(model, real));
    expectTrue(model, real);
  }
  #expected(model: V1Model, { device }: Real): number | string {
    if (!model.saving) return this.#what === 'data_offset' ? DATA : 0;
    const whyNot = model.whyNot(this.#by);
    if (whyNot !== null) return whyNot;
    model.owner = this.#by;
    if (this.#what === 'data_size') {
      model.sizeRead = (model.piece ?? 0) > 0;
      return model.piece ?? 0;
    }
    if (this.#what === 'pending_bytes' && model.placeRead && model.sizeRead) {
      model.acknowledged += model.piece ?? 0;
      model.forgetPiece();
    }
    // The device has been asked by now: what it has given beyond what was acknowledged is the piece.
    model.piece ??= device.given - model.acknowledged;
    if (model.piece === 0) model.piece = null;
    if (this.#what === 'pending_bytes') return (model.piece ?? 0) + device.available;
    model.placeRead = model.piece !== null;
    return DATA;
  }
  toString(): string {
    return `${this.#by} reads ${this.#what}`;
  }
}

class ReadData implements Command {
  readonly #by: number;
  constructor(by: number) {
    this.#by = by;
  }
  check({ piece }: Readonly<V1Model>): boolean {
    return piece !== null;
  }
  async run(model: V1Model, real: Real): Promise<void> {
    const length = model.piece ?? 0;
    const whyNot = model.whyNot(this.#by);
    const data = real.read(DATA, length, this.#by);
    if (whyNot !== null) expect(data).toBe(whyNot);
    else {
      model.owner = this.#by;
      const expected = Array.from({ length }, (_, i) => (model.acknowledged + i) % 251);
      expect(typeof data === 'string' ? data : [...data]).toEqual(expected);
      expect(real.read(DATA, length + 1, this.#by)).toBe('EINVAL');
    }
    expectTrue(model, real);
  }
  toString(): string {
    return `${this.#by} reads the piece`;
  }
}

class Give implements Command {
  readonly #data: Uint8Array;
  readonly #by: number;
  constructor(data: Uint8Array, by: number) {
    this.#data = data;
    this.#by = by;
  }
  check(): boolean {
    return true;
  }
  async run(model: V1Model, real: Real): Promise<void> {
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(this.#data.length));
    const before = real.device.received.length;
    const outcomes = [await real.write(DATA, this.#data, this.#by), await real.write(24, size, this.#by)];
    const expected = this.#expected(model);
    expect(outcomes).toEqual([expected, expected]);
    if (expected === 'ok') {
      model.owner = this.#by;
      expect(real.device.received.slice(before)).toEqual([...this.#data]);
    }
    expectTrue(model, real);
  }
  #expected(model: V1Model): string {
    return model.whyNot(this.#by) ?? (model.state === RESUMING ? 'ok' : 'EINVAL');
  }
  toString(): string {
    return `${this.#by} gives ${this.#data.length} bytes`;
  }
}

class Reset implements Command {
  readonly #by: number;
  constructor(by: number) {
    this.#by = by;
  }
  check(): boolean {
    return true;
  }
  async run(model: V1Model, real: Real): Promise<void> {
    real.session.resetBegins(real.party(this.#by));
    real.device.reset();
    real.session.wasReset();
    real.v1.wasReset();
    model.reset(this.#by);
    expectTrue(model, real);
  }
  toString(): string {
    return `${this.#by} resets`;
  }
}

class Leave implements Command {
  readonly #by: number;
  constructor(by: number) {
    this.#by = by;
  }
  check(): boolean {
    return true;
  }
  async run(model: V1Model, real: Real): Promise<void> {
    const party = real.party(this.#by);
    real.session.leave(party);
    real.parties[this.#by] = new Party('next');
    if (model.owner === this.#by) model.owner = null;
    model.aborted.delete(this.#by);
    expectTrue(model, real);
  }
  toString(): string {
    return `${this.#by} leaves`;
  }
}

// Mostly one of them: the other one is refused as long as this one drives.
const party = fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constant(1) });
const action = fc.constantFrom(...(Object.keys(DRIVER_ACTIONS) as DriverAction[]));
const injection = fc.record({
  once: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, { weight: 2, arbitrary: fc.tuple(action) }),
  always: fc.oneof({ weight: 6, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: fc.tuple(action) }),
  slow: fc.boolean(),
});
const value = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(STOP, RUNNING, STOP_COPY, PRE_COPY, RESUMING) },
  { weight: 1, arbitrary: fc.constantFrom(0b101, 0b110, 0b111, 0xf000, 0xf004, 0xf006, 0xffff_fffb) },
);
const wide = fc.constantFrom<Wide>('pending_bytes', 'data_offset', 'data_size');

/** What can happen to a v1 device. */
export const commands = fc.commands(
  [
    fc.tuple(value, party, injection).map((args) => new WriteState(...args)),
    party.map((by) => new ReadState(by)),
    fc.tuple(wide, party).map((args) => new ReadWide(...args)),
    fc.tuple(wide, party).map((args) => new ReadWide(...args)),
    party.map((by) => new ReadData(by)),
    fc.tuple(fc.uint8Array({ minLength: 1, maxLength: SECTION }), party).map((args) => new Give(...args)),
    party.map((by) => new Reset(by)),
    party.map((by) => new Leave(by)),
  ],
  { maxCommands: 60, size: 'large' },
);
