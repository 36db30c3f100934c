import { Errno } from '../../errors/index.ts';
import { littleEndian, readU64AsNumber, V1MigrationInfo } from '../../protocol/index.ts';
import {
  ArcError,
  isValidV1,
  MigrationFlag,
  MigrationState,
  parseV1State,
  type RuleSet,
  sessionKind,
  V1State,
  v1Name,
} from '../../states/index.ts';
import type { MigrationSession } from '../migration-session.ts';
import { ServerError } from '../server-error.ts';
import { V1_DATA_OFFSET } from './data-section.ts';
import { otherwise } from './in-turn.ts';
import { V1Saving } from './saving.ts';
import { changeState, type SetState, v1StateOf, v2Targets } from './state-change.ts';

/** What {@link V1Migration} is made of. */
export interface V1MigrationOptions<Party extends object> {
  readonly session: MigrationSession<Party>;
  /** The data section, which clients may have mapped. */
  readonly section: Uint8Array;
  /** Which changes of device_state are taken: all that these rules do not refuse. */
  readonly rules: RuleSet;
  readonly setState: SetState<Party>;
}

const AT = V1MigrationInfo.at;

/** A register: where it is, and how wide. Any other access to the registers is an error (linux/vfio.h). */
const WIDTHS: ReadonlyMap<number, number> = new Map(
  V1MigrationInfo.fields.map(({ offset, field }) => [offset, field.size]),
);

/**
 * A device's v2 migration as the registers and the data section of v1 (docs/v1.md). Knows no sockets: a `Party` is
 * whoever asks, and one at a time may drive, which is the session's concern.
 */
export class V1Migration<Party extends object> {
  readonly rules: RuleSet;
  readonly #session: MigrationSession<Party>;
  readonly #section: Uint8Array;
  readonly #setState: SetState<Party>;
  readonly #saving: V1Saving<Party>;
  /** The device has no PRE_COPY, was sent there, and just runs. */
  #posing = false;

  constructor(options: V1MigrationOptions<Party>) {
    this.rules = options.rules;
    this.#session = options.session;
    this.#section = options.section;
    this.#setState = options.setState;
    this.#saving = new V1Saving(options.session, options.section);
  }

  /** What device_state shows: where the device is. */
  get state(): V1State {
    return this.#inPose ? V1State.PRE_COPY : v1StateOf(this.#session.state);
  }

  /** Bytes of the piece that waits in the data section to be read or acknowledged. */
  get staged(): number {
    return this.#saving.staged;
  }

  /** Reads a register, or from the data section. @throws ServerError, and what the device throws */
  read(offset: number, target: Uint8Array, at: number, length: number, by: Party): void {
    if (offset >= V1_DATA_OFFSET) return this.#readData(offset - V1_DATA_OFFSET, target, at, length, by);
    requireRegister(offset, length);
    const view = new DataView(target.buffer, target.byteOffset + at, length);
    if (length === 4) view.setUint32(0, this.#readNarrow(offset, by), littleEndian);
    else view.setBigUint64(0, this.#readWide(offset, by), littleEndian);
  }

  /** Writes a register, or to the data section; a change of state may take time. Throws like {@link read}. */
  write(offset: number, source: Uint8Array, at: number, length: number, by: Party): void | Promise<void> {
    if (offset >= V1_DATA_OFFSET) return this.#writeData(offset - V1_DATA_OFFSET, source, at, length, by);
    requireRegister(offset, length);
    const view = new DataView(source.buffer, source.byteOffset + at, length);
    if (offset === AT.deviceState) return this.#change(view.getUint32(0, littleEndian), by);
    if (offset === AT.dataSize) return this.#consume(readU64AsNumber(view, 0), by);
    if (offset !== AT.reserved) throw wrong('this register of the migration region is read-only', { offset });
  }

  /** The device has changed its state: a piece does not outlive its saving session. */
  arc(from: MigrationState, to: MigrationState): void {
    if (sessionKind(from) !== sessionKind(to)) this.#saving.drop();
  }

  /** The device has been reset. */
  wasReset(): void {
    this.#saving.drop();
    this.#posing = false;
  }

  get #inPose(): boolean {
    return this.#posing && this.#session.state === MigrationState.RUNNING;
  }

  #readNarrow(offset: number, by: Party): number {
    if (offset === AT.reserved) return 0;
    this.#session.report(by);
    return this.state;
  }

  #readWide(offset: number, by: Party): bigint {
    const saving = sessionKind(this.#session.state) === 'saving';
    if (offset === AT.dataOffset) {
      if (saving) this.#saving.place(by);
      return BigInt(V1_DATA_OFFSET);
    }
    if (!saving) return 0n;
    return offset === AT.pendingBytes ? this.#saving.pendingBytes(by) : this.#saving.size(by);
  }

  #readData(from: number, target: Uint8Array, at: number, length: number, by: Party): void {
    this.#session.requireSession('saving', by);
    if (from + length > this.#saving.staged) {
      throw wrong(`the piece in the data section has ${this.#saving.staged} bytes`, { offset: from, length });
    }
    target.set(this.#section.subarray(from, from + length), at);
  }

  #writeData(to: number, source: Uint8Array, at: number, length: number, by: Party): void {
    this.#session.requireSession('resuming', by);
    this.#section.set(source.subarray(at, at + length), to);
  }

  /** data_size was written: a piece lies in the data section. The device gets a copy, which nobody else changes. */
  #consume(size: number, by: Party): void {
    this.#session.requireSession('resuming', by);
    if (size < 0 || size > this.#section.length) {
      throw wrong(`a piece has at most ${this.#section.length} bytes here`, { size });
    }
    if (size > 0) this.#session.write(this.#section.slice(0, size), by);
  }

  #change(value: number, by: Party): void | Promise<void> {
    const to = this.#requireState(value);
    this.#requireTurn(by);
    const { machine, state } = this.#session;
    const judgement = this.rules.judge(this.state, to);
    if (judgement.verdict === 'refused') {
      const change = `${v1Name(this.state)} to ${v1Name(to)}`;
      throw wrong(`${change} is refused: ${judgement.reason ?? this.rules.title}`, { rule: this.rules.id });
    }
    const flags = machine?.flags ?? 0;
    const targets = v2Targets(flags, state, to);
    const changing = otherwise(
      () => changeState(this.#session, this.#setState, targets, by),
      (error) => this.#failed(error, by),
    );
    if (changing === undefined) return this.#arrived(to, flags, by);
    return changing.then(() => this.#arrived(to, flags, by));
  }

  #arrived(to: V1State, flags: number, by: Party): void {
    this.#posing = to === V1State.PRE_COPY && (flags & MigrationFlag.PRE_COPY) === 0;
    if (this.#posing) this.#session.drivers.take(by);
  }

  /** A device that was not got out of its pose is still somebody's. */
  #failed(error: unknown, by: Party): never {
    if (this.#inPose && error instanceof ArcError) this.#session.drivers.take(by);
    throw error;
  }

  /** Reserved bits are for others to keep: they are not looked at, and read as 0. */
  #requireState(value: number): V1State {
    const to = parseV1State(value);
    if (to !== null && isValidV1(value)) return to;
    throw wrong(`0x${value.toString(16)} can't be written to device_state: ${v1Name(value)}`, { value });
  }

  #requireTurn(by: Party): void {
    const { owner } = this.#session;
    if (owner === null || owner === by) return;
    throw new ServerError('ERR_BUSY', 'another connection drives the migration of this device', {
      state: v1Name(this.state),
    });
  }
}

function requireRegister(offset: number, length: number): void {
  if (WIDTHS.get(offset) === length) return;
  const message = 'the registers of the migration region are accessed one by one, at their own width';
  throw wrong(message, { offset, length });
}

function wrong(message: string, context: Readonly<Record<string, string | number>>): ServerError {
  return new ServerError('ERR_WRONG_STATE', message, context, { errno: Errno.EINVAL });
}
