import { type ClientOptions, DeviceClient, SyncDeviceClient } from '../../src/client/index.ts';
import type { Native } from '../../src/native/index.ts';
import { loadNative } from '../../src/native/index.ts';
import type { DedicatedReactor } from '../../src/transport/index.ts';
import { RawClient, type RawMessage, rawMessage, versionPayload } from '../helpers/raw-client.ts';

export const native = loadNative();

export const REPLY = 1;
export const ERROR_REPLY = 0x21;
export const VERSION = 1;

/** What libvfio-user answers, byte for byte. */
export const LIBVFIO_USER_JSON =
  '{ "capabilities": { "max_msg_fds": 8, "max_data_xfer_size": 1048576, "migration": { "pgsize": 4096 } } }';

/** What a server of ours with everything answers. */
export const FERRY_JSON = JSON.stringify({
  capabilities: {
    max_msg_fds: 16,
    max_data_xfer_size: 1048576,
    write_multiple: true,
    ferry: { precopy_info: true, inspect: true },
  },
});

/** A server that does what the test tells it, in bytes: nothing of the protocol's declarations is used. */
export class FakeServer {
  readonly raw: RawClient;

  constructor(fd: number) {
    this.raw = new RawClient(fd);
  }

  /** The next message of the client; its fds are the test's. */
  next(): Promise<RawMessage> {
    return this.raw.next();
  }

  /** Answers a request with a payload. */
  answer(
    request: Pick<RawMessage, 'id' | 'command'>,
    payload: Uint8Array = Buffer.alloc(0),
    fds: readonly number[] | null = null,
  ): void {
    this.raw.send(rawMessage(request.id, request.command, payload, REPLY), fds);
  }

  /** Refuses a request; libvfio-user sends a payload with some refusals. */
  refuse(
    request: Pick<RawMessage, 'id' | 'command'>,
    errno: number,
    payload: Uint8Array = Buffer.alloc(0),
  ): void {
    this.raw.send(rawMessage(request.id, request.command, payload, ERROR_REPLY, errno));
  }

  /** Takes the next request and answers it. */
  async serve(payload?: Uint8Array, fds: readonly number[] | null = null): Promise<RawMessage> {
    const request = await this.next();
    this.answer(request, payload, fds);
    return request;
  }

  close(): void {
    if (this.raw.closed) native.close(this.raw.fd);
    else this.raw.close();
  }
}

/** The native layer, but connecting gives the near end of a socketpair. */
export function paired(): { face: Native; peer: number } {
  const out = new Int32Array(2);
  native.socketpair(out);
  const [near = -1, peer = -1] = out;
  return { face: { ...native, connect: () => near }, peer };
}

/** What a test opened last is closed first. */
export class Cleanup {
  readonly #steps: (() => void)[] = [];

  add(step: () => void): void {
    this.#steps.push(step);
  }

  run(): void {
    for (const step of this.#steps.splice(0).toReversed()) step();
  }
}

/** An asynchronous client with a fake server that has answered VERSION with `json`. */
export async function connectFake(
  cleanup: Cleanup,
  json = LIBVFIO_USER_JSON,
  options: ClientOptions = {},
  replaced: Partial<Native> = {},
) {
  const { face, peer } = paired();
  const server = new FakeServer(peer);
  cleanup.add(() => server.close());
  // The answer lies ready, so that the client's time-outs concern only what comes afterwards.
  server.answer({ id: 1, command: VERSION }, versionPayload(0, 2, json));
  const client = await DeviceClient.connect('fake', { native: { ...face, ...replaced }, ...options });
  const version = await server.next();
  cleanup.add(() => client.close());
  return { client, server, version };
}

/** One thing that the server of {@link connectScripted} has already sent when the client is made. */
export interface Scripted {
  readonly bytes: Uint8Array;
  readonly fds?: readonly number[];
}

/** A reply, ready before its request: ids count from 1, and VERSION has the first. */
export function scriptedReply(id: number, command: number, payload: Uint8Array = Buffer.alloc(0)): Scripted {
  return { bytes: rawMessage(id, command, payload, REPLY) };
}

/**
 * A synchronous client whose server's messages lie ready in the socket: a thread that waits can't play the server. What
 * the client has sent is read afterwards. `eventfds` are those that the client makes.
 */
export function connectScripted(
  cleanup: Cleanup,
  options: ClientOptions<DedicatedReactor> = {},
  script: { readonly json?: string; readonly fds?: readonly number[] } = {},
) {
  const { face, peer } = paired();
  const eventfds: number[] = [];
  const keeping: Native = { ...face, eventfd: (initial) => keep(native.eventfd(initial), eventfds) };
  const version = rawMessage(1, VERSION, versionPayload(0, 2, script.json ?? LIBVFIO_USER_JSON), REPLY);
  const send = ({ bytes, fds }: Scripted): void => {
    const sent = native.send(peer, bytes, 0, bytes.length, null, 0, 0, fds ?? null);
    if (sent !== bytes.length) throw new Error(`send took ${sent}`);
  };
  send({ bytes: version, ...(script.fds === undefined ? {} : { fds: script.fds }) });
  for (const fd of script.fds ?? []) native.close(fd);
  const client = SyncDeviceClient.connect('fake', { native: keeping, ...options });
  cleanup.add(() => {
    for (const fd of [peer, ...eventfds]) native.close(fd);
  });
  cleanup.add(() => client.close());
  const reader = new MessageReader(peer);
  const sent = (): RawMessage[] => reader.read();
  sent();
  return { client, peer, send, sent, eventfds };
}

/** Notes the server's end of an eventfd. */
function keep(eventfd: number, eventfds: number[]): number {
  eventfds.push(native.dup(eventfd));
  return eventfd;
}

/** Cuts what lies in a socket into messages. Their fds are closed at once; `fds` has as many entries as there were. */
export class MessageReader {
  readonly #fd: number;
  readonly #chunk = Buffer.alloc(1 << 20);
  readonly #fds = new Int32Array(254);
  #rest = Buffer.alloc(0);

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Every message that is complete. */
  read(): RawMessage[] {
    const messages: RawMessage[] = [];
    for (let count = this.#receive(); count > 0; count = this.#receive()) {
      this.#rest = Buffer.concat([this.#rest, this.#chunk.subarray(0, count)]);
      const fds = [...this.#fds.subarray(1, 1 + (this.#fds[0] ?? 0))];
      for (const fd of fds) native.close(fd);
      for (let raw = this.#cut(); raw !== null; raw = this.#cut())
        messages.push(parse(raw, this.#rest.length === 0 ? fds : []));
    }
    return messages;
  }

  #cut(): Buffer | null {
    const size = this.#rest.length < 16 ? Number.POSITIVE_INFINITY : this.#rest.readUInt32LE(4);
    if (this.#rest.length < size) return null;
    const raw = this.#rest.subarray(0, size);
    this.#rest = this.#rest.subarray(size);
    return raw;
  }

  #receive(): number {
    return native.receive(this.#fd, this.#chunk, 0, this.#chunk.length, this.#fds, 0);
  }
}

function parse(raw: Buffer, fds: readonly number[]): RawMessage {
  return {
    id: raw.readUInt16LE(0),
    command: raw.readUInt16LE(2),
    flags: raw.readUInt32LE(8),
    error: raw.readUInt32LE(12),
    payload: Uint8Array.from(raw.subarray(16)),
    fds,
  };
}

/** A temporary file of the kernel. */
export function memfd(size: number, seal = true): number {
  const fd = native.memfd('fake-server', size, seal);
  if (fd < 0) throw new Error(`memfd: ${fd}`);
  return fd;
}

/** The outcome of a call, also when it throws. */
export function outcomeOf(run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    return error;
  }
}
