import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { FerryError } from '../../src/errors/index.ts';
import { loadNative } from '../../src/native/index.ts';
import { DeviceProxy, type ProxyOptions } from '../../src/proxy/index.ts';
import { fields, RawClient } from '../helpers/raw-client.ts';
import { serveForTest } from '../helpers/served.ts';
import { TestDevice } from '../helpers/test-device.ts';
import { PatientReactor } from './patient-reactor.ts';
import { Saboteur } from './saboteur.ts';

const native = loadNative();

/** For whatever is waited for: long, because the machine may be busy. */
export const SOON = { timeout: 60_000, interval: 5 };
/** What an answer to the proxy may take, in milliseconds of a clock that stands still. */
const TIMEOUT_MS = 2_000;

const CONFIG = 7;
const MSIX = 2;
const IOVA = 0x10_0000;
const PAGE = 4096;
/** Registers of TestDevice in BAR 0. */
export const Register = {
  SCRATCH: 4,
  COUNTER: 8,
  DMA_ADDRESS: 0x0c,
  DMA_LENGTH: 0x10,
  DMA_DONE: 0x14,
} as const;

/** A server of a test device, with a saboteur before it. */
export class Back {
  readonly device = new TestDevice();
  readonly served = serveForTest(this.device);
  readonly saboteur: Saboteur;

  constructor(path: string) {
    this.saboteur = new Saboteur(path, this.served.socketPath);
  }

  get path(): string {
    return this.saboteur.path;
  }

  /** Nobody is connected and it has no memory of a guest. */
  async expectLeft(): Promise<void> {
    await expect.poll(() => this.served.server.main, SOON).toBeNull();
    expect(this.served.server.memory.mapCount).toBe(0);
    expect(this.served.server.eventfds.count(MSIX)).toBe(0);
  }

  close(): void {
    this.saboteur.close();
    this.served.close();
  }
}

/** `direct`: nothing between the proxy and the old server, which a flood would drown. */
type BenchOptions = Partial<ProxyOptions> & { readonly direct?: boolean };

/** A proxy with a raw client that has attached as QEMU does, and two servers. */
export class Bench {
  readonly folder = mkdtempSync(join(tmpdir(), 'ferry-proxy-'));
  readonly old = new Back(join(this.folder, 'old.sock'));
  readonly fresh = new Back(join(this.folder, 'new.sock'));
  readonly reported: FerryError[] = [];
  readonly reactor = new PatientReactor(TIMEOUT_MS);
  readonly proxy: DeviceProxy;
  readonly memory = native.memfd('guest', PAGE, true);
  readonly eventfd = native.eventfd(0);
  client: RawClient;

  private constructor({ direct = false, ...options }: BenchOptions) {
    const path = join(this.folder, 'vm.sock');
    this.proxy = new DeviceProxy({
      listen: path,
      backend: direct ? this.old.served.socketPath : this.old.path,
      timeoutMs: TIMEOUT_MS,
      reactor: this.reactor,
      report: (error) => this.reported.push(error),
      ...options,
    });
    this.client = RawClient.connect(path);
  }

  static async open(options: BenchOptions = {}): Promise<Bench> {
    const bench = new Bench(options);
    bench.client.close();
    bench.client = await RawClient.open(join(bench.folder, 'vm.sock'));
    await bench.attach();
    return bench;
  }

  /** What QEMU tells and asks at its start, then what a driver sets up. */
  async attach(): Promise<void> {
    await this.ask(2, fields(32, 3, 0n, BigInt(IOVA), BigInt(PAGE)), [this.memory]);
    await this.ask(2, fields(32, 3, 0n, 0x8000_0000n, BigInt(PAGE)));
    await this.ask(4, fields(16, 0, 0, 0));
    for (const region of [0, 1, 2, 3, 4, 5, 7]) await this.ask(5, fields(32, 0, region, 0, 0n, 0n));
    for (const index of [0, 2]) await this.ask(7, fields(16, 0, index, 0));
    await this.ask(9, fields(0n, CONFIG, 256));
    await this.ask(13);
    await this.ask(8, fields(20, 0x24, MSIX, 0, 1));
    await this.ask(8, fields(20, 0x24, MSIX, 1, 1), [this.eventfd]);
    await this.write(CONFIG, 0x10, 0xfeb0_0000);
    await this.write(CONFIG, 4, 6, 2);
    const control = await this.capability(0x11);
    await this.write(CONFIG, control + 2, 0x8003, 2);
  }

  async ask(command: number, payload?: Uint8Array, fds: readonly number[] | null = null): Promise<Buffer> {
    const reply = await this.client.request(command, payload, fds);
    for (const fd of reply.fds) native.close(fd);
    if (reply.error !== 0) throw new Error(`command ${command}: errno ${reply.error}`);
    return Buffer.from(reply.payload);
  }

  async write(region: number, offset: number, value: number, size = 4): Promise<void> {
    await this.ask(10, this.writeOf(region, offset, value, size));
  }

  writeOf(region: number, offset: number, value: number, size = 4): Buffer {
    const data = Buffer.alloc(size);
    data.writeUIntLE(value, 0, size);
    return fields(BigInt(offset), region, size, data);
  }

  async read(region: number, offset: number, size = 4): Promise<number> {
    return (await this.ask(9, fields(BigInt(offset), region, size))).readUIntLE(16, size);
  }

  async capability(id: number): Promise<number> {
    let at = await this.read(CONFIG, 0x34, 1);
    while (at !== 0 && (await this.read(CONFIG, at, 1)) !== id) at = await this.read(CONFIG, at + 1, 1);
    return at;
  }

  /** Has the device read guest memory and interrupt: that needs its maps, its eventfds and its configuration space. */
  async expectDma(text: string): Promise<void> {
    native.pwrite(this.memory, Buffer.from(text), 0, text.length, 0);
    const done = await this.read(0, Register.DMA_DONE);
    await this.write(0, Register.DMA_ADDRESS, IOVA);
    await this.write(0, Register.DMA_LENGTH, text.length);
    await expect.poll(() => this.read(0, Register.DMA_DONE), SOON).toBe(done + 1);
    expect(native.eventfdRead(this.eventfd)).toBe(1);
    const read = await this.ask(9, fields(0n, 2, text.length));
    expect(read.subarray(16).toString()).toBe(text);
  }

  close(): void {
    this.client.close();
    this.proxy.close();
    this.old.close();
    this.fresh.close();
    native.close(this.memory);
    native.close(this.eventfd);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
