import type {
  ClaimTicket,
  ConfigurationNeed,
  EndInspection,
  MigrationEnd,
  PrecopyEstimate,
} from '../../src/engine/index.ts';
import { Errno, FerryError } from '../../src/errors/index.ts';
import {
  isRunning,
  type MigrationMachine,
  MigrationState,
  migrationMachine,
} from '../../src/states/index.ts';
import type { Fault } from './fake-faults.ts';
import type { World } from './fake-world.ts';

const { ERROR, STOP, RUNNING, STOP_COPY, RESUMING } = MigrationState;

const CHUNK = 8;

let instances = 0n;

/** One device in memory, with its state machine, and everything that may go wrong with a call. */
export class FakeEnd implements MigrationEnd {
  readonly name: string;
  readonly #world: World;
  readonly #flags: bigint | null;
  readonly #machine: MigrationMachine | null;
  readonly #chunks: { pre: number; stop: number };
  readonly #estimates: boolean;
  /** Whose state is in it. */
  content: string | null;
  deviceState: number = RUNNING;
  alive = true;
  connected = true;
  identity: EndInspection['identity'] = { vendor: 1, device: 2 };
  busy: string | null = null;
  resets = 0;
  /** Names this device, whatever it is called. */
  instance = ++instances;
  /** The connection that claimed last. */
  holder: object | null = null;
  /** Somebody else threw the guest's state away while it was stopped here. */
  discarded = false;
  /** It was told to reset while it ran the guest. */
  resetWhileRunning = false;
  /** It was told to reset while it had the only copy of the guest's state. */
  wasThrownAway = false;
  /** It must not run again. */
  retired = false;
  /** The highest epoch that was ever used here. */
  epoch = 0n;
  #owner: ClaimTicket | null = null;
  #aborted = false;
  #sent = 0;
  #received: Uint8Array[] = [];
  #late: (() => unknown) | null = null;

  constructor(
    world: World,
    name: string,
    flags: bigint | null,
    content: string | null,
    chunks: { pre: number; stop: number },
    estimates: boolean,
  ) {
    this.name = name;
    this.#world = world;
    this.#flags = flags;
    this.#machine = flags === null || (flags & 1n) === 0n ? null : migrationMachine(flags);
    this.#chunks = { ...chunks };
    this.#estimates = estimates;
    this.content = content;
  }

  /** Whether this device runs with the state that is being migrated. */
  get runsGuest(): boolean {
    return this.hasGuest && this.isRunning;
  }

  /** Whether the guest's state is in it, of use. */
  get hasGuest(): boolean {
    return this.alive && this.content === 'the guest' && this.deviceState !== ERROR;
  }

  get isRunning(): boolean {
    return isRunningState(this.deviceState);
  }

  flags(): Promise<bigint | null> {
    return this.#call('flags', () => this.#flags, 1n);
  }

  state(): Promise<number> {
    const wrong = this.isRunning ? STOP : RUNNING;
    return this.#call(
      'state',
      () => {
        this.#aborted = false;
        return this.deviceState;
      },
      wrong,
    );
  }

  async setState(state: MigrationState): Promise<void> {
    await this.#call(`setState ${state}`, () => this.#enter(state), undefined);
  }

  async read(maxBytes: number, consume: (chunk: Uint8Array) => void): Promise<number> {
    return this.#call('read', () => this.#produce(maxBytes, consume), 0);
  }

  write(bytes: Uint8Array): Promise<void> {
    const copy = bytes.slice();
    return this.#call('write', () => this.#accept(copy), undefined);
  }

  precopyInfo(): Promise<PrecopyEstimate | null> {
    const left = BigInt(Math.max(0, this.#chunks.pre - this.#sent) * CHUNK);
    const estimate = (): PrecopyEstimate | null => {
      if (this.#aborted) throw aborted();
      return this.#estimates ? { initialBytes: left, dirtyBytes: 0n } : null;
    };
    return this.#call('precopyInfo', estimate, { initialBytes: 0n, dirtyBytes: 0n });
  }

  dataSize(): Promise<bigint | null> {
    return this.#call('dataSize', () => (this.#estimates ? 100n : null), 1n);
  }

  reset(): Promise<void> {
    const obey = (): void => {
      this.resetWhileRunning ||= this.runsGuest;
      this.wasThrownAway ||= this.hasGuest && !this.#world.source.hasGuest;
      this.#reset();
    };
    return this.#call('reset', obey, undefined);
  }

  inspect(): Promise<EndInspection> {
    return this.#call('inspect', () => ({ identity: this.identity, busy: this.busy }), {
      identity: null,
      busy: null,
    });
  }

  configurationNeed?: () => Promise<ConfigurationNeed | null>;
  readConfiguration?: () => Promise<Uint8Array>;
  writeConfiguration?: (bytes: Uint8Array, withheld: number) => Promise<void>;
  performActions?: (actions: number) => Promise<void>;
  claim?: (ticket: ClaimTicket) => Promise<void>;
  retire?: (ticket: ClaimTicket) => Promise<void>;
  release?: (ticket: ClaimTicket) => Promise<void>;

  /** Another server is started in the place of one that was killed: what was in that is gone. */
  restart(): void {
    this.alive = true;
    this.connected = true;
    this.instance = ++instances;
    this.content = null;
    this.deviceState = RUNNING;
    this.retired = false;
    this.holder = null;
    this.#owner = null;
    this.#aborted = false;
  }

  /** From now on it belongs to whoever claims it. */
  knowClaims(): void {
    this.claim = (ticket) => this.#call('claim', () => this.#claimWith(ticket), undefined);
    this.retire = (ticket) => this.#call('retire', () => this.#retireWith(ticket), undefined);
    this.release = (ticket) => this.#call('release', () => this.#releaseWith(ticket), undefined);
  }

  #claimWith({ token, epoch }: ClaimTicket): void {
    if (this.#owner !== null && Buffer.compare(this.#owner.token, token) !== 0) {
      if (this.retired || epoch <= this.#owner.epoch) throw busy();
    }
    if (epoch < this.epoch) throw stale();
    this.#owner = { token, epoch };
    this.epoch = epoch;
  }

  #retireWith(ticket: ClaimTicket): void {
    this.#requireOwner(ticket);
    if (this.deviceState !== STOP && this.deviceState !== STOP_COPY) throw refused();
    this.retired = true;
  }

  #releaseWith(ticket: ClaimTicket): void {
    this.#requireOwner(ticket);
    this.#owner = null;
    this.retired = false;
  }

  #requireOwner({ token, epoch }: ClaimTicket): void {
    if (this.#owner === null || Buffer.compare(this.#owner.token, token) !== 0) throw stale();
    if (epoch < this.#owner.epoch) throw stale();
  }

  /** The VMM resets the device over its own connection. A retired device does not run again by that. */
  resetByVmm(): void {
    if (this.retired) return;
    this.#aborted = this.#isSaving() || this.deviceState === RESUMING;
    const { content } = this;
    const guestIsHere = this.isRunning || this.#isSaving();
    this.#reset();
    this.content = guestIsHere ? content : null;
    this.discarded ||= content !== this.content;
  }

  async #call<T>(what: string, effect: () => T, lie: T): Promise<T> {
    const index = this.#world.calls.length;
    this.#world.calls.push({ end: this.name, what });
    if (!this.connected) throw lost();
    this.#late?.();
    this.#late = null;
    const fault = this.#world.faults.get(index);
    try {
      return await this.#meet(fault, effect, lie, what);
    } finally {
      this.#world.check();
    }
  }

  async #meet<T>(fault: Fault | undefined, effect: () => T, lie: T, what: string): Promise<T> {
    switch (fault) {
      case undefined:
        return effect();
      case 'errno':
        throw new FerryError('ERR_REMOTE', 'EIO', { errno: Errno.EIO });
      case 'errno-after':
        effect();
        throw new FerryError('ERR_REMOTE', 'EIO', { errno: Errno.EIO });
      case 'busy':
        throw new FerryError('ERR_SESSION_BUSY', 'EBUSY', { errno: Errno.EBUSY });
      case 'hang':
        return this.#hang();
      case 'hang-after':
        effect();
        return this.#hang();
      case 'late':
        this.#late = () => {
          try {
            effect();
          } catch {}
        };
        return this.#hang();
      case 'disconnect':
        return this.#drop();
      case 'disconnect-after':
        effect();
        return this.#drop();
      case 'crash':
        this.alive = false;
        return this.#drop();
      case 'lie':
        // Nobody could notice a reset that is only claimed, since a device that runs looks like one that was reset; and
        // what a server says of its own claims is all that there is.
        return what === 'reset' || what === 'retire' ? effect() : lie;
      case 'foreign-reset':
        this.resetByVmm();
        return effect();
      case 'break':
        this.deviceState = ERROR;
        throw new FerryError('ERR_REMOTE', 'EIO', { errno: Errno.EIO });
    }
  }

  #hang(): Promise<never> {
    this.#world.check();
    this.#world.letTimePass();
    return new Promise(() => {});
  }

  #drop(): never {
    this.connected = false;
    throw lost();
  }

  #enter(state: MigrationState): void {
    if (this.#aborted && state !== RUNNING) throw aborted();
    this.#aborted = false;
    if (this.#machine === null) throw refused();
    if (this.retired && isRunningState(state)) throw refused();
    for (const next of this.#machine.path(this.deviceState, state)) this.#arc(next);
  }

  #arc(to: MigrationState): void {
    const from = this.deviceState;
    if (from === RESUMING && to === STOP) this.#load();
    if (to === RESUMING) {
      this.#received = [];
      this.content = null;
    }
    this.deviceState = to;
    this.#world.check();
  }

  #produce(maxBytes: number, consume: (chunk: Uint8Array) => void): number {
    if (this.#aborted) throw aborted();
    const { deviceState } = this;
    if (!this.#isSaving()) throw refused();
    const available = deviceState === STOP_COPY ? this.#chunks.pre + this.#chunks.stop : this.#chunks.pre;
    if (this.#sent >= available) return 0;
    this.#sent += 1;
    const chunk = new Uint8Array(Math.min(CHUNK, maxBytes)).fill(this.#sent);
    consume(chunk);
    chunk.fill(0xee);
    return chunk.length;
  }

  #isSaving(): boolean {
    const { PRE_COPY, PRE_COPY_P2P } = MigrationState;
    return (
      this.deviceState === STOP_COPY || this.deviceState === PRE_COPY || this.deviceState === PRE_COPY_P2P
    );
  }

  #accept(bytes: Uint8Array): void {
    if (this.#aborted) throw aborted();
    if (this.deviceState !== RESUMING) throw refused();
    this.#received.push(bytes);
  }

  /** Only the whole state, in order, is accepted. */
  #load(): void {
    const expected = this.#chunks.pre + this.#chunks.stop;
    const whole = this.#received.length === expected && this.#received.every((each, i) => each[0] === i + 1);
    if (!whole) throw new FerryError('ERR_REMOTE', 'the state is incomplete', { errno: Errno.EINVAL });
    this.content = 'the guest';
  }

  /** What runs after a reset is a fresh device at the destination; at the source it is the guest's own reset. */
  #reset(): void {
    if (this.retired) throw refused();
    this.resets += 1;
    this.deviceState = RUNNING;
    if (this.name.startsWith('destination')) this.content = null;
    this.#sent = 0;
  }
}

function isRunningState(state: number): boolean {
  return Object.values(MigrationState).some((each) => each === state && isRunning(each));
}

function busy(): FerryError {
  return new FerryError('ERR_CLAIMED', 'EBUSY', { errno: Errno.EBUSY });
}

function stale(): FerryError {
  return new FerryError('ERR_CLAIM_STALE', 'ESTALE', { errno: Errno.ESTALE });
}

function lost(): FerryError {
  return new FerryError('ERR_CONNECTION_LOST', 'the peer vanished', { errno: Errno.ECONNRESET });
}

function refused(): FerryError {
  return new FerryError('ERR_REMOTE', 'EINVAL', { errno: Errno.EINVAL });
}

function aborted(): FerryError {
  return new FerryError('ERR_SESSION_ABORTED', 'the session was aborted', { errno: Errno.ENODEV });
}
