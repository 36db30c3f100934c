import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BindableDevice } from '../../src/device/index.ts';
import type { FerryError } from '../../src/errors/index.ts';
import { type OfferOptions, offerHandover, takeOver } from '../../src/handover/index.ts';
import { loadNative } from '../../src/native/index.ts';
import { type RunningServer, type ServeOptions, serveDevice } from '../../src/server/index.ts';
import { fields, RawClient } from '../helpers/raw-client.ts';

export const native = loadNative();

/** Commands, as numbers. */
export const Cmd = { DMA_MAP: 2, REGION_INFO: 5, SET_IRQS: 8, READ: 9, WRITE: 10, RESET: 13 } as const;

/** A server that hands over, in this process, and those that take over from it. */
export class World {
  readonly folder = mkdtempSync(join(tmpdir(), 'ferry-handover-'));
  readonly socketPath = join(this.folder, 'device.sock');
  readonly controlPath = `${this.socketPath}.control`;
  /** What could be told to no client. */
  readonly reported: FerryError[] = [];
  /** Why hand-overs did not take place. */
  readonly kept: FerryError[] = [];
  running: RunningServer;
  handedOver: Promise<void>;
  readonly #offer: OfferOptions;
  readonly #clients: RawClient[] = [];
  readonly #servers: RunningServer[] = [];

  constructor(device: BindableDevice, options: ServeOptions = {}, offer: OfferOptions = {}) {
    this.#offer = { kept: (why) => this.kept.push(why), ...offer };
    const report = (error: FerryError): void => void this.reported.push(error);
    this.running = serveDevice(device, { socketPath: this.socketPath, report, ...options });
    this.#servers.push(this.running);
    this.handedOver = offerHandover(this.running, this.#offer).handedOver;
  }

  /** Another server takes the device over; the one before has let go of everything then. */
  async handOver(device: BindableDevice): Promise<RunningServer> {
    const before = this.handedOver;
    const { controlPath } = this;
    const report = (error: FerryError): void => void this.reported.push(error);
    const next = await takeOver(device, { controlPath, report });
    this.#servers.push(next);
    await before;
    this.running = next;
    this.handedOver = offerHandover(next, this.#offer).handedOver;
    return next;
  }

  /** A client that has negotiated on the main socket. */
  async vmm(): Promise<RawClient> {
    return this.track(await RawClient.open(this.socketPath));
  }

  track(client: RawClient): RawClient {
    this.#clients.push(client);
    return client;
  }

  close(): void {
    for (const client of this.#clients) client.close();
    for (const server of this.#servers) server.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Reads a register of BAR 0. */
export async function readRegister(client: RawClient, offset: number): Promise<number> {
  const reply = await client.request(Cmd.READ, fields(BigInt(offset), 0, 4));
  return Buffer.from(reply.payload).readUInt32LE(16);
}

/** The payload of a write of a register of BAR 0. */
export function registerWrite(offset: number, value: number): Buffer {
  return fields(BigInt(offset), 0, 4, value);
}

/** Gives vectors of MSI-X their eventfds. */
export async function giveVectors(client: RawClient, count: number): Promise<number[]> {
  const events = Array.from({ length: count }, () => native.eventfd(0));
  const reply = await client.request(Cmd.SET_IRQS, fields(20, 0x24, 2, 0, count), events);
  if (reply.error !== 0) throw new Error(`SET_IRQS: ${reply.error}`);
  return events;
}

/** Maps guest memory at `iova`, read and written through the mapping that is returned. */
export async function mapGuest(
  client: RawClient,
  iova: bigint,
  size: number,
): Promise<{ fd: number; bytes: Uint8Array; close(): void }> {
  const fd = native.memfd('guest', size, true);
  const buffer = native.map(fd, 0, size, 3);
  if (typeof buffer === 'number') throw new Error(`mmap: ${buffer}`);
  const reply = await client.request(Cmd.DMA_MAP, fields(32, 3, 0n, iova, BigInt(size)), [fd]);
  if (reply.error !== 0) throw new Error(`DMA_MAP: ${reply.error}`);
  const close = (): void => {
    native.unmap(buffer);
    native.close(fd);
  };
  return { fd, bytes: new Uint8Array(buffer), close };
}
