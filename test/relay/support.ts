import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative } from '../../src/native/index.ts';
import { Relay, type RelayTap } from '../../src/relay/index.ts';
import { EventLoopReactor } from '../../src/transport/index.ts';
import { rawMessage } from '../helpers/raw-client.ts';
import { until } from '../helpers/until.ts';

export { until };

export const native = loadNative();
export const reactor = new EventLoopReactor(native, { spinMicroseconds: 0 });

/** A connected pair of sockets: ours and the relay's. */
export function pair(): readonly [number, number] {
  const out = new Int32Array(2);
  native.socketpair(out);
  return [out[0] ?? -1, out[1] ?? -1];
}

/** A relay between two sockets of the test, which are the far ends of it. */
export class Bench {
  readonly client: number;
  readonly server: number;
  readonly relay: Relay;
  /** Whether the relay has told that it is over. */
  ended = false;
  readonly #open: Set<number>;

  constructor(tap: RelayTap | null = null) {
    const [client, relayClient] = pair();
    const [server, relayServer] = pair();
    this.client = client;
    this.server = server;
    this.#open = new Set([client, server]);
    this.relay = new Relay({
      ...{ native, reactor, client: relayClient, server: relayServer, tap },
      ended: () => {
        this.ended = true;
      },
    });
  }

  /** Closes one of our ends. */
  closeEnd(fd: number): void {
    if (this.#open.delete(fd)) native.close(fd);
  }

  close(): void {
    this.relay.close();
    for (const fd of [...this.#open]) this.closeEnd(fd);
  }
}

/** One receive: bytes and fds, or the result when there are no bytes. */
export interface Received {
  readonly result: number;
  readonly bytes: Uint8Array;
  readonly fds: readonly number[];
}

export function receive(fd: number, length = 512 * 1024): Received {
  const into = new Uint8Array(length);
  const fds = new Int32Array(254);
  const result = native.receive(fd, into, 0, length, fds, 0);
  return {
    result,
    bytes: into.subarray(0, Math.max(0, result)),
    fds: Array.from(fds.subarray(1, 1 + (fds[0] ?? 0))),
  };
}

/** Receives as soon as something other than EAGAIN is there. */
export async function next(fd: number, length?: number): Promise<Received> {
  let got = receive(fd, length);
  await until(() => {
    if (got.result === -11) got = receive(fd, length);
    return got.result !== -11;
  }, 'something to receive');
  return got;
}

/** A message as whoever reads the header first, as QEMU does, sees it: a short read of a header is an error. */
export interface Seen {
  readonly id: number;
  readonly bytes: Uint8Array;
  readonly fds: readonly number[];
}

/** Reads messages the way QEMU does: 16 bytes and their fds, then the rest. */
export async function readAsQemu(fd: number): Promise<Seen> {
  const head = await next(fd, 16);
  if (head.result !== 16) throw new Error(`short read of a header: ${head.result}`);
  const header = Buffer.from(head.bytes);
  const size = header.readUInt32LE(4);
  const parts: Uint8Array[] = [header];
  const fds = [...head.fds];
  for (let have = 16; have < size; ) {
    const part = await next(fd, size - have);
    if (part.result <= 0) throw new Error(`ended inside a message: ${part.result}`);
    parts.push(part.bytes);
    fds.push(...part.fds);
    have += part.result;
  }
  return { id: header.readUInt16LE(0), bytes: Buffer.concat(parts), fds };
}

/** Sends all of `bytes`, waiting for room; the fds go with the first of them. */
export async function sendAll(
  fd: number,
  bytes: Uint8Array,
  fds: readonly number[] | null = null,
): Promise<void> {
  let attached = fds;
  for (let at = 0; at < bytes.length; ) {
    const sent = native.send(fd, bytes, at, bytes.length - at, null, 0, 0, attached);
    if (sent < 0 && sent !== -11) throw new Error(`send: ${sent}`);
    if (sent > 0) {
      at += sent;
      attached = null;
    } else {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

/** A command with a payload that tells its id in every byte. */
export function numbered(id: number, payload: number): Buffer {
  return rawMessage(id, 9, Buffer.alloc(payload, id));
}

/** A folder that is removed with everything in it. */
export function folder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'ferry-relay-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
