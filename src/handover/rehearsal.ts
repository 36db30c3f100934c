import { field, memory, PciDevice, u32 } from '../device/index.ts';
import { check, type Native } from '../native/index.ts';
import {
  Command,
  DmaMap,
  DmaMapFlag,
  deviceSetIrqs,
  dmaMap,
  IrqIndex,
  IrqSet,
  IrqSetFlag,
  OUR_CAPABILITIES,
  PROTOCOL_MAJOR,
  PROTOCOL_MINOR,
  regionRead,
  regionWrite,
  version,
} from '../protocol/index.ts';
import { DeviceServer } from '../server/index.ts';
import { Connection, type Reactor } from '../transport/index.ts';
import { Giver } from './giver.ts';
import { asFerryError, HandoverError } from './handover-error.ts';
import { request } from './request.ts';
import { Taker } from './taker.ts';
import type { Takeover } from './taker-parts.ts';

/** The first time compiles, the others find out what the code deals with. */
const TIMES = 5;
const PAGE = 4096;
/** Small buffers again: what is thrown away would have the collector run just when it matters. */
const MAX_BODY = 8 * PAGE;
/** How long each step may take, in milliseconds; nobody waits for it. */
const LIMIT_MS = 10_000;
/** Small buffers: three of them are made for each connection. */
const CAPABILITIES = { ...OUR_CAPABILITIES, maxDataXferSize: PAGE };
const VALUE = 0x5a;
/** So long nothing is forgotten: the runtime throws compiled code away that has not run for a while. */
const FRESH_MS = 10_000;
let freshUntil = 0;

/** A device of one register, with something of everything that passes on. */
class Understudy extends PciDevice {
  override readonly identity = { kind: 'rehearsal', vendor: 0x1af4, device: 0x10ff, classCode: 0xff0000 };
  readonly state = this.migratable({ value: u32(), own: memory(PAGE), shared: memory(PAGE) });
  override readonly bars = {
    0: this.registers(PAGE, { 0: field(this.state, 'value') }),
    2: this.memoryBar(this.state.shared, { mmap: true }),
  };
  override readonly interrupts = { intx: true, msix: 64 };

  constructor() {
    super();
    this.every(LIMIT_MS, () => {});
  }

  override async work(): Promise<void> {}
}

/**
 * Hands a small device over, with a client that talks to it, from this process to itself. What runs for the first time is
 * slow, because it is compiled then; a hand-over keeps a VMM waiting, and is once in the life of a process. So everything
 * has run before the device is stopped. It also finds out whether this process can do it at all.
 * @throws FerryError
 */
export async function rehearse(native: Native, reactor: Reactor): Promise<void> {
  if (performance.now() < freshUntil) return;
  for (let time = 0; time < TIMES; time += 1) {
    const stage = new Stage(native, reactor);
    try {
      await stage.play();
    } catch (error) {
      throw asFerryError(error, 'handed over, not even in rehearsal');
    } finally {
      stage.close();
    }
  }
  freshUntil = performance.now() + FRESH_MS;
}

/** Both processes and the client, for one time. */
class Stage {
  readonly #native: Native;
  readonly #reactor: Reactor;
  readonly #servers: DeviceServer[] = [];
  readonly #fds: number[] = [];
  #client: Connection | null = null;

  constructor(native: Native, reactor: Reactor) {
    this.#native = native;
    this.#reactor = reactor;
  }

  async play(): Promise<void> {
    const giving = this.#serve();
    const client = this.#connect(giving);
    await this.#setUp(client);
    const taking = this.#serve();
    await this.#handOver(giving, taking);
    if ((await this.#read(client)) !== VALUE) throw unfaithful();
  }

  close(): void {
    this.#client?.close();
    for (const server of this.#servers) server.close();
    for (const fd of this.#fds) this.#native.close(fd);
  }

  #serve(): DeviceServer {
    const parts = { native: this.#native, reactor: this.#reactor, capabilities: CAPABILITIES };
    const server = new DeviceServer(new Understudy(), parts);
    this.#servers.push(server);
    return server;
  }

  #connect(server: DeviceServer): Connection {
    const [theirs, ours] = this.#pair();
    server.accept(theirs, 'main');
    this.#client = new Connection({
      ...{ native: this.#native, reactor: this.#reactor, fd: ours, maxMessage: 4 * PAGE },
      handler: { command: () => true, closed: () => {}, report: () => {} },
    });
    return this.#client;
  }

  async #setUp(client: Connection): Promise<void> {
    const { twinSocket: _, ...capabilities } = CAPABILITIES;
    const proposal = { major: PROTOCOL_MAJOR, minor: PROTOCOL_MINOR, capabilities };
    await this.#say(client, Command.VERSION, version.request.encode(proposal));
    const memfd = this.#keep(check(this.#native.memfd('ferry-rehearsal', PAGE, true), 'memfd'));
    const flags = DmaMapFlag.READ | DmaMapFlag.WRITE;
    const map = { argsz: DmaMap.size, flags, offset: 0n, address: 0n, size: BigInt(PAGE) };
    await this.#say(client, Command.DMA_MAP, dmaMap.request.encode(map, 1), [memfd]);
    const eventfd = this.#keep(check(this.#native.eventfd(0), 'eventfd'));
    const trigger = IrqSetFlag.DATA_EVENTFD | IrqSetFlag.ACTION_TRIGGER;
    const vector = { argsz: IrqSet.size, flags: trigger, index: IrqIndex.MSIX, start: 0, count: 1 };
    const irqs = deviceSetIrqs.request.encode({ ...vector, data: new Uint8Array(0) }, 1);
    await this.#say(client, Command.DEVICE_SET_IRQS, irqs, [eventfd]);
    const data = Uint8Array.of(VALUE, 0, 0, 0);
    await this.#say(
      client,
      Command.REGION_WRITE,
      regionWrite.request.encode({ offset: 0n, region: 0, count: 4, data }),
    );
    await this.#read(client);
  }

  async #handOver(from: DeviceServer, to: DeviceServer): Promise<void> {
    const [talk, answer] = this.#pair();
    const [control, spare] = this.#pair();
    this.#keep(spare);
    const by = from.accept(control, 'control');
    const gone = new Promise<void>((resolve, reject) => {
      const over = (kept: Error | null): void => (kept === null ? resolve() : reject(kept));
      const rehearsed = Promise.resolve();
      const limits = { answerMs: LIMIT_MS, restMs: LIMIT_MS, frozenMs: LIMIT_MS };
      new Giver({
        ...{ server: from, listeners: [], by, fd: talk, limits, obstacle: null },
        ...{ rehearsed, maxBody: MAX_BODY, over },
      });
    });
    const taken = new Promise<Takeover>((resolve, reject) => {
      const fdRoom = (): number => Number.POSITIVE_INFINITY;
      const parts = { server: to, fd: answer, answerMs: LIMIT_MS, fdRoom, maxBody: MAX_BODY, report: reject };
      new Taker(parts, { resolve, reject });
    });
    await Promise.all([gone, taken]);
  }

  #read(client: Connection): Promise<number> {
    const payload = regionRead.request.encode({ offset: 0n, region: 0, count: 4 });
    return request(client, { command: Command.REGION_READ, payload, timeoutMs: LIMIT_MS }, (reply) => {
      return regionRead.reply.decode(reply.payload()).data[0] ?? 0;
    });
  }

  #say(client: Connection, command: number, payload: Uint8Array, fds: readonly number[] = []): Promise<void> {
    return request(client, { command, payload, fds, timeoutMs: LIMIT_MS }, (reply) => {
      if (reply.failed) throw unfaithful();
    });
  }

  #pair(): readonly [number, number] {
    const pair = new Int32Array(2);
    check(this.#native.socketpair(pair), 'socketpair');
    const [one = -1, other = -1] = pair;
    return [one, other];
  }

  #keep(fd: number): number {
    this.#fds.push(fd);
    return fd;
  }
}

function unfaithful(): HandoverError {
  return new HandoverError('ERR_HANDOVER_FAILED', 'a rehearsal of the hand-over went wrong');
}
