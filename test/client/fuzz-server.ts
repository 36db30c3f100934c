import { ModelServer } from '../../src/check/clients/model/model-server.ts';
import { Errno } from '../../src/errors/index.ts';
import { loadNative, type WatchHandle } from '../../src/native/index.ts';
import { fields, rawMessage, versionPayload } from '../helpers/raw-client.ts';
import { mutate, type Random, seeds } from '../server/fuzz-messages.ts';

const native = loadNative();

const REPLY = 1;
const NO_REPLY = 0x10;
const ERROR = 0x21;

const greetings: readonly string[] = [
  '{"capabilities":{"max_msg_fds":16,"max_data_xfer_size":1048576,"write_multiple":true,"ferry":{"precopy_info":true,"inspect":true,"claim":true,"configuration":0}}}',
  '{"capabilities":{"max_msg_fds":16,"write_multiple":true,"ferry":{"precopy_info":true,"inspect":true,"claim":true}}}',
  '{ "capabilities": { "max_msg_fds": 8, "max_data_xfer_size": 1048576, "migration": { "pgsize": 4096 } } }',
  '{"capabilities":{"max_msg_fds":1,"max_data_xfer_size":64}}',
  '{"capabilities":{"max_msg_fds":0,"twin_socket":{"supported":true,"fd_index":0}}}',
];

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
    0x8000_10de,
    1,
  );
const doorbells = (index: number): Buffer =>
  fields(112, 0, index, 2, 0n, 4n, 0, 0, 1, 0xffff_ffff, 0n, 7n, 0x10n, 4n, 1, 2, 0, 1, 0n, 0n);

/** Answers that the model does not have, by command: as good ones, to be spoilt. */
const more = new Map<number, (payload: Buffer) => Buffer>([
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
]);

/** A server that answers nearly right. Sends whatever else comes to its mind, with fds of every kind. */
export class FuzzServer {
  readonly #fd: number;
  readonly #random: Random;
  readonly #pool: readonly number[];
  readonly #watch: WatchHandle;
  readonly #model = new ModelServer();
  readonly #into = new Uint8Array(256 * 1024);
  readonly #fds = new Int32Array(254);
  #rest = Buffer.alloc(0);
  #ended = false;
  /** Messages that were sent. */
  sent = 0;

  constructor(fd: number, random: Random, pool: readonly number[]) {
    this.#fd = fd;
    this.#random = random;
    this.#pool = pool;
    const watch = native.watchStart(fd, () => this.#read());
    if (typeof watch === 'number') throw new Error(`watch: ${watch}`);
    this.#watch = watch;
  }

  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    native.watchClose(this.#watch);
    native.close(this.#fd);
  }

  #read(): void {
    const count = native.receive(this.#fd, this.#into, 0, this.#into.length, this.#fds, 0);
    if (count === -Errno.EAGAIN) return;
    for (const fd of this.#fds.subarray(1, 1 + (this.#fds[0] ?? 0))) native.close(fd);
    if (count <= 0) return this.close();
    this.#rest = Buffer.concat([this.#rest, this.#into.subarray(0, count)]);
    while (!this.#ended && this.#rest.length >= 16) {
      const size = this.#rest.readUInt32LE(4);
      if (size < 16) throw new Error(`the client sent a header of ${size} bytes`);
      if (this.#rest.length < size) return;
      this.#handle(this.#rest.subarray(0, size));
      this.#rest = this.#rest.subarray(size);
    }
  }

  #handle(message: Buffer): void {
    const random = this.#random;
    if (random.once(2000)) return this.close();
    if (random.once(25)) this.#send(this.#unasked());
    if (
      (message.readUInt32LE(8) & NO_REPLY) !== 0 ||
      (message.readUInt32LE(8) & 0xf) === 1 ||
      random.once(1500)
    )
      return;
    let answer = this.#answer(message);
    const changes =
      message.readUInt16LE(2) === 1 ? random.pick([0, 0, 0, 0, 1]) : random.pick([0, 0, 1, 1, 2, 4]);
    for (let again = changes; again > 0; again -= 1) answer = mutate(random, answer);
    this.#send(answer);
    if (random.once(300)) this.#send(answer);
  }

  #answer(message: Buffer): Buffer {
    const random = this.#random;
    const [id, command] = [message.readUInt16LE(0), message.readUInt16LE(2)];
    const payload = message.subarray(16);
    if (command === 1)
      return rawMessage(id, 1, versionPayload(0, random.below(3), random.pick(greetings)), REPLY);
    if (random.once(20))
      return rawMessage(id, command, Buffer.alloc(0), ERROR, random.pick([0, 5, 16, 22, 25, 116, 5000]));
    const own = more.get(command);
    if (own !== undefined && !random.once(4)) return rawMessage(id, command, own(payload), REPLY);
    const { error, payload: body } = this.#model.answer(command, payload);
    return rawMessage(id, command, body, error === 0 ? REPLY : ERROR, error);
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

  #send(message: Buffer): void {
    if (this.#ended || message.length === 0) return;
    const random = this.#random;
    this.sent += 1;
    const fds = random.once(6)
      ? Array.from({ length: 1 + random.below(4) }, () => random.pick(this.#pool))
      : null;
    const cut = random.once(12) ? random.below(message.length) : 0;
    for (const [piece, attached] of [
      [message.subarray(0, cut), null],
      [message.subarray(cut), fds],
    ] as const) {
      if (piece.length === 0) continue;
      // A client that does not read is left: nothing more would be learnt.
      if (native.send(this.#fd, piece, 0, piece.length, null, 0, 0, attached) !== piece.length)
        return this.close();
    }
  }
}
