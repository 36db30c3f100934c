import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KernelBridge, type KernelBridgeOptions } from '../../src/bridge/index.ts';
import { DeviceClient, GuestMemory } from '../../src/client/index.ts';
import { KernelDevice } from '../../src/kernel/index.ts';
import { type RunningServer, serveDevice } from '../../src/server/index.ts';
import type { FakeDriverOptions } from '../kernel/fake-driver.ts';
import { type FakeDevice, FakeKernel, type FakeKernelOptions } from '../kernel/fake-kernel.ts';
import { UUID } from '../kernel/opened.ts';

/** A device of a fake kernel behind a server. */
export interface Bridged {
  readonly kernel: FakeKernel;
  readonly fake: FakeDevice;
  readonly device: KernelDevice;
  readonly server: RunningServer;
}

/** Makes bridges and their clients, and takes all of it away again. */
export class BridgeLab {
  readonly #folder = mkdtempSync(join(tmpdir(), 'ferry-test-'));
  readonly #closers: (() => void)[] = [];
  #count = 0;

  async bridged(
    driver: FakeDriverOptions = {},
    options: FakeKernelOptions & KernelBridgeOptions = {},
  ): Promise<Bridged> {
    const kernel = new FakeKernel(options);
    const fake = kernel.add(UUID, driver);
    const device = await KernelDevice.open(UUID, { system: kernel, sysfs: kernel.sysfs });
    const bridge = await KernelBridge.over(device, options);
    this.#count += 1;
    const server = serveDevice(bridge, { socketPath: join(this.#folder, `bridge-${this.#count}`) });
    this.#closers.push(() => server.close());
    return { kernel, fake, device, server };
  }

  async connected(path: string | null, memory?: GuestMemory): Promise<DeviceClient> {
    const client = await DeviceClient.connect(path ?? '', memory === undefined ? {} : { memory });
    this.#closers.push(() => client.close());
    return client;
  }

  guestMemory(): GuestMemory {
    const memory = new GuestMemory();
    this.#closers.push(() => memory.close());
    return memory;
  }

  close(): void {
    for (const close of this.#closers.splice(0).reverse()) close();
    rmSync(this.#folder, { recursive: true });
  }
}
