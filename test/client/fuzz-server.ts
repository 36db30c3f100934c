import { ModelServer } from '../../src/check/clients/model/model-server.ts';
import { Errno } from '../../src/errors/index.ts';
import { loadNative } from '../../src/native/index.ts';
import { fields, rawMessage, versionPayload } from '../helpers/raw-client.ts';
import { mutate, type Random, seeds, spoiltJson } from '../server/fuzz-messages.ts';

const native = loadNative();

const REPLY = 1;
const NO_REPLY = 0x10;
const ERROR = 0x21;

const FERRY =
  '"ferry":{"precopy_info":true,"inspect":true,"claim":true,"configuration":0,"reconnection":true,"switchover":true}';
/** What a read brings; messages are copied out of it. */
const into = new Uint8Array(256 * 1024);
const received = new Int32Array(254);

const greetings: readonly string[] = [
  `{"capabilities":{"max_msg_fds":16,"max_data_xfer_size":1048576,"write_multiple":true,${FERRY}}}`,
  `{"capabilities":{"max_msg_fds":16,"write_multiple":true,${FERRY}}}`,
  '{ "capabilities": { "max_msg_fds": 8, "max_data_xfer_size": 1048576, "migration": { "pgsize": 4096 } } }',
  '{"capabilities":{"max_msg_fds":1,"max_data_xfer_size":64}}',
  '{"capabilities":{"max_msg_fds":0,"twin_socket":{"supported":true,"fd_index":0}}}',
  `{"capabilities":{"twin_socket":{"supported":true,"fd_index":0},${FERRY}}}`,
];
const V1_REGION = 9;
/** Numbers for the registers of v1: of states, of offsets, of sizes. */
const registers = [0n, 1n, 2n, 4n, 64n, 4096n, 4160n, 0x1_0000n, 1n << 40n, (1n << 64n) - 1n];

/** Sparse areas and a type, in a chain. */
const sparseRegion = (index: number): Buffer =>
  fields(
    104,
    0xf,
    index,
    32,
    0x1_0000n,
    0n,
    0x1_0001,
    72,
    2,
    0,
    0n,
    0x1000n,
    0x2000n,
    0x1000n,
    0x1_0002,
    0,
    ...(index === V1_REGION ? [3, 1] : [0x8000_10de, 1]),
  );
const doorbells = (index: number): Buffer =>
  fields(112, 0, index, 2, 0n, 4n, 0, 0, 1, 0xffff_ffff, 0n, 7n, 0x10n, 4n, 1, 2, 0, 1, 0n, 0n);

/** Answers that the model does not have, by command: as good ones, to be spoilt. */
const more = new Map<number, (payload: Buffer, random: Random) => Buffer>([
  [4, (_, random) => fields(16, 3, random.pick([9, 10]), 5)],
  [9, anyData],
  [3, (payload) => Buffer.concat([payload.subarray(0, 40), Buffer.alloc(64, 0xff)])],
  [5, (payload) => sparseRegion(payload.length >= 12 ? payload.readUInt32LE(8) : 0)],
  [6, (payload) => doorbells(payload.length >= 12 ? payload.readUInt32LE(8) : 0)],
  [15, (payload) => payload.subarray(0, 8)],
  [0xfe01, () => fields(24, 0, 4096n, 4096n)],
  [
    0xfe02,
    () =>
      Buffer.concat([
        fields(64, 0),
        Buffer.from('{"identity":{"kind":"x"},"main":{"connected":true,"pid":1}}'),
      ]),
  ],
  [0xfe03, () => fields(56, 3, 2, 0, 1n, 7n, 1n, 9n, 0n)],
  [0xfe04, (_, random) => fields(280, random.below(8), 2, 1, 7n, Buffer.alloc(random.pick([0, 256])))],
  [0xfe05, (_, random) => fields(16, random.below(16), 2n)],
]);

/** REGION_READ that has worked: a number, in as many bytes as were wanted. */
function anyData(payload: Buffer, random: Random): Buffer {
  if (payload.length < 16) return payload;
  const data = Buffer.alloc(Math.min(payload.readUInt32LE(12), 0x1_0000), random.below(256));
  if (data.length === 8) data.writeBigUInt64LE(random.pick(registers));
  return Buffer.concat([payload.subarray(0, 16), data]);
}

/** A server that answers nearly right. Sends whatever else comes to its mind, with fds of every kind. */
export class FuzzServer {
  readonly fd: number;
  readonly #random: Random;
  readonly #pool: readonly number[];
  readonly #model = new ModelServer();
  /** Answers that are late. */
  readonly #held: Buffer[] = [];
  #rest = Buffer.alloc(0);
  #twin = -1;
  #ended = false;
  /** Messages that were sent. */
  sent = 0;
  /** Called before the socket is closed. */
  onClose: () => void = () => {};

  constructor(fd: number, random: Random, pool: readonly number[]) {
    this.fd = fd;
    this.#random = random;
    this.#pool = pool;
  }

  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.onClose();
    native.close(this.fd);
    if (this.#twin >= 0) native.close(this.#twin);
  }

  /** Reads what has come, and answers it; says whether anything was sent. */
  work(): boolean {
    if (this.#ended) return false;
    const before = this.sent;
    this.#drainTwin();
    this.#read();
    this.#sayLate();
    return this.sent > before;
  }

  #read(): void {
    const count = native.receive(this.fd, into, 0, into.length, received, 0);
    if (count === -Errno.EAGAIN) return;
    for (const fd of received.subarray(1, 1 + (received[0] ?? 0))) native.close(fd);
    if (count <= 0) return this.close();
    const came = into.subarray(0, count);
    this.#rest = Buffer.concat([this.#rest, came]);
    while (!this.#ended && this.#rest.length >= 16) {
      const size = this.#rest.readUInt32LE(4);
      if (size < 16) throw new Error(`the client sent a header of ${size} bytes`);
      if (this.#rest.length < size) return;
      this.#handle(this.#rest.subarray(0, size));
      this.#rest = this.#rest.subarray(size);
    }
  }

  /** What the client says on the twin socket is thrown away. */
  #drainTwin(): void {
    if (this.#twin < 0) return;
    native.receive(this.#twin, into, 0, into.length, received, 0);
    for (const fd of received.subarray(1, 1 + (received[0] ?? 0))) native.close(fd);
  }

  /** Answers that were held back, in any order. */
  #sayLate(): void {
    while (this.#held.length > 0 && !this.#ended && !this.#random.once(3)) {
      const [late] = this.#held.splice(this.#random.below(this.#held.length), 1);
      if (late !== undefined) this.#send(late);
    }
  }

  #handle(message: Buffer): void {
    const random = this.#random;
    if (random.once(2000)) return this.close();
    if (random.once(6)) this.#sayUnasked();
    const flags = message.readUInt32LE(8);
    if ((flags & NO_REPLY) !== 0 || (flags & 0xf) === 1 || random.once(1500)) return;
    const command = message.readUInt16LE(2);
    let answer = this.#answer(message);
    const changes = command === 1 ? random.pick([0, 0, 0, 0, 1]) : random.pick([0, 0, 1, 1, 2, 4]);
    for (let again = changes; again > 0; again -= 1) answer = mutate(random, answer);
    if (command !== 1 && random.once(8)) this.#held.push(answer);
    else this.#send(answer);
    if (random.once(300)) this.#send(answer);
  }

  #answer(message: Buffer): Buffer {
    const random = this.#random;
    const [id, command] = [message.readUInt16LE(0), message.readUInt16LE(2)];
    const payload = message.subarray(16);
    if (command === 1) return this.#greeting(id);
    if (random.once(20))
      return rawMessage(id, command, Buffer.alloc(0), ERROR, random.pick([0, 5, 16, 22, 25, 116, 5000]));
    const own = more.get(command);
    if (own !== undefined && !random.once(4)) return rawMessage(id, command, own(payload, random), REPLY);
    const { error, payload: body } = this.#model.answer(command, payload);
    return rawMessage(id, command, body, error === 0 ? REPLY : ERROR, error);
  }

  #greeting(id: number): Buffer {
    const random = this.#random;
    const json = random.pick(greetings);
    const spoilt = random.once(6) ? spoiltJson(random, json) : json;
    return rawMessage(id, 1, versionPayload(0, random.pick([0, 0, 1, 2]), spoilt), REPLY);
  }

  /** A row of messages that nobody waits for. */
  #sayUnasked(): void {
    const random = this.#random;
    for (let left = random.pick([1, 2, 4, 12]); left > 0 && !this.#ended; left -= 1)
      this.#send(this.#unasked(), this.#twin >= 0 && random.once(2) ? this.#twin : this.fd);
  }

  /** A command, a reply that nobody asked for, or noise. */
  #unasked(): Buffer {
    const random = this.#random;
    const [command, payload] = random.pick(seeds);
    const dma = random.pick([11, 12]);
    const range = fields(
      random.pick([0x10_0000n, 0x10_8000n, 0xffff_ffff_ffff_f000n]),
      random.pick([0n, 64n, 4096n, 1n << 40n]),
    );
    const message = random.once(3)
      ? rawMessage(random.below(0x1_0000), command, payload, random.pick([0, 1, 0x10]))
      : rawMessage(
          random.below(0x1_0000),
          dma,
          dma === 12 ? Buffer.concat([range, Buffer.alloc(64)]) : range,
        );
    return random.once(2) ? mutate(random, message) : message;
  }

  #send(message: Buffer, to = this.fd): void {
    if (this.#ended || message.length === 0) return;
    const random = this.#random;
    this.sent += 1;
    const cut = random.once(12) ? random.below(message.length) : 0;
    const twin = this.#wantsTwin(message) ? this.#makeTwin() : null;
    const fds = twin === null ? this.#anyFds() : [twin];
    for (const [piece, attached] of [
      [message.subarray(0, cut), null],
      [message.subarray(cut), fds],
    ] as const) {
      if (piece.length === 0) continue;
      // A client that does not read is left: nothing more would be learnt.
      if (native.send(to, piece, 0, piece.length, null, 0, 0, attached) !== piece.length) this.close();
      if (this.#ended) break;
    }
    if (twin !== null) native.close(twin);
  }

  /** Whether this answers VERSION with a second socket, which is not always there. */
  #wantsTwin(message: Buffer): boolean {
    const version = message.length >= 4 && message.readUInt16LE(2) === 1;
    return version && message.includes('fd_index') && this.#random.once(2);
  }

  /** Makes the second socket; the end for the client. */
  #makeTwin(): number {
    const pair = new Int32Array(2);
    native.socketpair(pair);
    const [theirs = -1, ours = -1] = pair;
    if (this.#twin >= 0) native.close(this.#twin);
    this.#twin = ours;
    return theirs;
  }

  #anyFds(): readonly number[] | null {
    const random = this.#random;
    if (!random.once(6)) return null;
    return Array.from({ length: 1 + random.below(4) }, () => random.pick(this.#pool));
  }
}
