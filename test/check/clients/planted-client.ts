import { loadNative } from '../../../src/native/index.ts';
import {
  fields,
  QEMU_VERSION_JSON,
  RawClient,
  type RawMessage,
  rawMessage,
  versionPayload,
} from '../../helpers/raw-client.ts';

const native = loadNative();

const GET = 0x1_0000;
const SET = 0x2_0000;
const PRE_COPY = 6;
const STOP_COPY = 3;
const STOP = 1;
const RESUMING = 4;
const RUNNING = 2;
const NO_REPLY = 0x10;
const MEMORY = 0x10_0000n;
const MEMORY_SIZE = 0x1_0000n;
const REPLY_MS = 400;

/** Thrown inside to give up in an orderly way. */
class GivenUp extends Error {}

/**
 * A client that knows only bytes and does everything that a VMM and a controller do; with a fault, it makes the one
 * mistake that the rule of that name is about.
 */
export class PlantedClient {
  readonly #raw: RawClient;
  readonly #fault: string | null;
  readonly #memory = native.memfd('planted', Number(MEMORY_SIZE), false);
  readonly #eventfds = [native.eventfd(0), native.eventfd(0)];
  #maxFds = 1;
  #maxData = 1 << 20;
  #nextId = 100;

  constructor(path: string, fault: string | null) {
    this.#raw = RawClient.connect(path);
    this.#fault = fault;
  }

  /** Says everything, and leaves: at the end, or as soon as the server refuses or errs. */
  async play(): Promise<void> {
    try {
      await this.#converse();
    } catch (error) {
      // What a server does is no failure of this client's test.
      if (!(error instanceof GivenUp) && !isEnd(error)) throw error;
    } finally {
      this.#raw.close();
      for (const fd of [this.#memory, ...this.#eventfds]) native.close(fd);
    }
  }

  async #converse(): Promise<void> {
    await this.#greet();
    await this.#mapMemory();
    await this.#askAboutDevice();
    await this.#setInterrupts();
    await this.#useRegions();
    await this.#answerServer();
    await this.#move();
    await this.#unmapMemory();
    this.#lastWords();
    await this.#ask(13);
  }

  async #greet(): Promise<void> {
    const f = this.#is;
    if (f('negotiation.version-first')) this.#post(4, fields(16, 0, 0, 0));
    if (f('header.size')) return this.#endlessHeader();
    const json = f('negotiation.form') ? '{"capabilities": 7}' : QEMU_VERSION_JSON;
    const id = this.#post(
      1,
      versionPayload(0, 0, json),
      f('negotiation.no-fds') ? this.#eventfds.slice(0, 1) : null,
    );
    if (f('negotiation.waits')) this.#post(4, fields(16, 0, 0, 0));
    const reply = await this.#reply(id);
    const [major, minor] = [u16(reply, 0), u16(reply, 2)];
    if (reply.error !== 0 && !f('negotiation.refused') && !f('reaction.leaves')) throw new GivenUp();
    if (reply.error !== 0 && f('reaction.leaves')) await this.#raw.waitClosed(10_000);
    if (reply.error === 0 && (major !== 0 || minor > 0) && !f('negotiation.disagreement'))
      throw new GivenUp();
    const named = /"max_msg_fds": ?(\d+).*"max_data_xfer_size": ?(\d+)/.exec(
      Buffer.from(reply.payload).toString(),
    );
    this.#maxFds = Number(named?.[1] ?? 1);
    this.#maxData = Number(named?.[2] ?? 1 << 20);
    if (f('negotiation.once')) await this.#ask(1, versionPayload(0, 0, QEMU_VERSION_JSON));
  }

  async #mapMemory(): Promise<void> {
    const f = this.#is;
    const flags = f('dma.map-form') ? 0x103 : 3;
    const size = f('dma.map-aligned') ? MEMORY_SIZE - 512n : MEMORY_SIZE;
    const offset = f('dma.map-fd') ? 4096n : 0n;
    const map = fields(32, flags, offset, MEMORY, size);
    const reply = await this.#ask(2, map, [this.#memory], true);
    if (reply.error !== 0) await this.#bringBack();
    if (f('dma.no-overlap')) await this.#ask(2, fields(32, 3, 0n, MEMORY + 4096n, 4096n));
  }

  /** A refusal of what every device takes: it may have been left in a state in which it does not. */
  async #bringBack(): Promise<void> {
    if (this.#is('migration.recovery')) throw new GivenUp();
    if (this.#is('dma.unmap-refused')) return;
    const state = await this.#ask(16, fields(16, GET | 2));
    if (u32(state, 8) !== STOP_COPY) throw new GivenUp();
    await this.#setState(RUNNING);
    await this.#mapMemory();
  }

  async #askAboutDevice(): Promise<void> {
    const f = this.#is;
    const argsz = f('info.argsz') ? 12 : 16;
    const id = this.#post(4, fields(argsz, 0, 0, 0));
    const info = await this.#info(id);
    const [regions, irqs] = [Math.min(9, u32(info, 8)), Math.min(5, u32(info, 12))];
    const most = f('reaction.endless') ? Math.min(2000, u32(info, 8)) : regions + (f('info.index') ? 1 : 0);
    for (let index = 0; index < most; index += 1)
      await this.#ask(5, fields(32, 0, index, 0, 0n, 0n), null, f('reaction.endless') || f('info.index'));
    for (let index = 0; index < irqs; index += 1) await this.#ask(7, fields(16, 0, index, 0));
  }

  /** The answer to DEVICE_GET_INFO, unless the server errs there, or the fault is to believe it all the same. */
  async #info(id: number): Promise<RawMessage> {
    const f = this.#is;
    const believes = f('reaction.wrong-id') || f('reaction.short-reply');
    const fits = (message: RawMessage): boolean => believes || message.id === id;
    const info = await this.#raw.next(fits, REPLY_MS);
    if (info.error !== 0) throw new GivenUp();
    if (info.payload.length !== 16 && !believes) throw new GivenUp();
    return believes
      ? {
          ...info,
          payload: Buffer.concat([info.payload, Buffer.alloc(16)])
            .subarray(0, 16)
            .fill(5, 8, 9)
            .fill(5, 12, 13),
        }
      : info;
  }

  async #setInterrupts(): Promise<void> {
    const f = this.#is;
    const flags = f('irq.form') ? 0x2c : 0x24;
    await this.#ask(8, fields(20, flags, 0, 0, 1), this.#eventfds.slice(0, 1));
    await this.#ask(8, fields(20, 0x11, f('irq.maskable') ? 2 : 0, 0, 1));
    const vectors = this.#maxFds >= 2 || f('header.fds') ? [[0, 1]] : [[0], [1]];
    for (const [first = 0, ...rest] of vectors) {
      const fds = [first, ...rest].map((index) => this.#eventfds[index] ?? -1);
      await this.#ask(
        8,
        fields(20, 0x24, 2, first, fds.length),
        f('irq.data') ? [this.#memory, this.#memory] : fds,
      );
    }
    if (f('irq.range')) await this.#ask(8, fields(20, 0x24, 2, 2, 1), this.#eventfds.slice(0, 1), true);
    await this.#ask(8, fields(20, 0x21, 2, 0, 0));
  }

  async #useRegions(): Promise<void> {
    const f = this.#is;
    await this.#ask(9, fields(0n, 7, 64));
    await this.#ask(9, fields(f('region.aligned') ? 2n : 0n, 0, 4));
    await this.#ask(10, fields(8n, 0, 4, 0x1234), null);
    if (f('region.inside')) await this.#ask(9, fields(8192n, 0, 4), null, true);
    if (f('region.count')) await this.#ask(10, fields(8n, 0, 2, 0x1234), null, true);
    const large = f('region.limit') ? 8192 : Math.min(8192, this.#maxData);
    await this.#ask(9, fields(0n, 0, large), null, true);
    this.#post(10, fields(16n, 0, 4, 1), null, NO_REPLY);
  }

  /** DMA messages of the server are answered when they are there; the last question makes sure that they are. */
  async #answerServer(): Promise<void> {
    await this.#ask(9, fields(0n, 0, 4));
    for (let asked = await this.#command(); asked !== null; asked = await this.#command()) {
      if (this.#is('dma.answers')) continue;
      const { id, command, payload } = asked;
      const inside = Buffer.from(payload).readBigUInt64LE(0) === MEMORY;
      const data = command === 11 ? Buffer.alloc(64) : Buffer.alloc(0);
      const known = inside && (command === 11 || command === 12);
      this.#raw.send(
        rawMessage(
          id,
          command,
          known ? Buffer.concat([payload.subarray(0, 16), data]) : Buffer.alloc(0),
          known ? 1 : 0x21,
          known ? 0 : 19,
        ),
      );
    }
    if (this.#is('header.replies')) this.#raw.send(rawMessage(77, 11, Buffer.alloc(16), 1));
  }

  async #command(): Promise<RawMessage | null> {
    return await this.#raw.next(({ flags }) => (flags & 0xf) === 0, 30).catch(() => null);
  }

  async #move(): Promise<void> {
    const f = this.#is;
    await this.#ask(16, fields(f('feature.form') ? 4 : 16, GET | 1));
    await this.#ask(16, fields(24, SET | 6, f('feature.logging') ? 4097n : 4096n, 0, 0));
    await this.#ask(16, fields(64, GET | 8, MEMORY, MEMORY_SIZE, 4096n));
    await this.#ask(16, fields(8, SET | 7));
    await this.#setState(PRE_COPY);
    await this.#readData(1);
    await this.#setState(STOP_COPY);
    if (f('migration.arcs')) await this.#setState(PRE_COPY, true);
    if (f('migration.untouched')) await this.#ask(9, fields(0n, 0, 4), null, true);
    await this.#readData(f('migration.reads-all') ? 1 : 100);
    await this.#setState(STOP);
    if (f('migration.read-states')) await this.#ask(17, fields(1032, 1024), null, true);
    if (f('migration.write-states')) await this.#writeData();
    await this.#setState(RESUMING);
    await this.#writeData();
    await this.#setState(STOP);
    await this.#setState(RUNNING);
  }

  #setState(state: number, refused = false): Promise<RawMessage> {
    return this.#ask(16, fields(16, SET | 2, state, 0xffff_ffff), null, refused);
  }

  async #readData(times: number): Promise<void> {
    const size = Math.min(4096, this.#maxData);
    const argsz = this.#is('migration.data-form') ? 8 : 8 + size;
    for (let again = 0; again < times; again += 1) {
      const reply = await this.#ask(17, fields(argsz, size));
      if (u32(reply, 4) === 0) return;
    }
  }

  async #writeData(): Promise<void> {
    await this.#ask(18, fields(8 + 64, 64, Buffer.alloc(64)), null, this.#is('migration.write-states'));
  }

  async #unmapMemory(): Promise<void> {
    const f = this.#is;
    const flags = f('dma.unmap-form') ? 8 : 0;
    await this.#ask(
      3,
      fields(
        24,
        flags,
        MEMORY,
        f('dma.unmap-known') ? MEMORY_SIZE / 2n : f('dma.map-aligned') ? MEMORY_SIZE - 512n : MEMORY_SIZE,
      ),
    );
  }

  /** Mistakes that fit anywhere. */
  #lastWords(): void {
    const f = this.#is;
    const read = fields(0n, 0, 4);
    if (f('header.flags')) this.#raw.send(rawMessage(this.#id(), 9, read, 0x40));
    if (f('header.known-commands')) this.#raw.send(rawMessage(this.#id(), 11, fields(0n, 4n)));
    if (f('header.no-reply')) this.#raw.send(rawMessage(this.#id(), 9, read, NO_REPLY));
    if (f('header.ids')) this.#raw.send(Buffer.concat([rawMessage(7, 9, read), rawMessage(7, 9, read)]));
  }

  #endlessHeader(): void {
    const message = rawMessage(1, 1, versionPayload(0, 0, QEMU_VERSION_JSON));
    message.writeUInt32LE(3, 4);
    this.#raw.send(message);
    throw new GivenUp();
  }

  readonly #is = (rule: string): boolean => this.#fault === rule;

  #id(): number {
    this.#nextId += 1;
    return this.#nextId;
  }

  #post(command: number, payload: Uint8Array, fds: readonly number[] | null = null, flags = 0): number {
    const id = this.#id();
    this.#raw.send(rawMessage(id, command, payload, flags), fds);
    return id;
  }

  /** Asks and waits; a refusal is the end, unless it is expected. */
  async #ask(
    command: number,
    payload: Uint8Array = Buffer.alloc(0),
    fds: readonly number[] | null = null,
    mayBeRefused = false,
  ): Promise<RawMessage> {
    const reply = await this.#reply(this.#post(command, payload, fds));
    if (reply.error !== 0 && !mayBeRefused && this.#fault === null) throw new GivenUp();
    return reply;
  }

  #reply(id: number): Promise<RawMessage> {
    return this.#raw.next((message) => message.id === id && (message.flags & 0xf) === 1, REPLY_MS);
  }
}

/** Whether an error is only that the server has gone, or does not answer. */
function isEnd(error: unknown): boolean {
  return (
    error instanceof Error && /closed the connection|no message in time|send took -|errno/.test(error.message)
  );
}

function u16({ payload }: RawMessage, at: number): number {
  return payload.length >= at + 2 ? Buffer.from(payload).readUInt16LE(at) : 0;
}

function u32({ payload }: RawMessage, at: number): number {
  return payload.length >= at + 4 ? Buffer.from(payload).readUInt32LE(at) : 0;
}
