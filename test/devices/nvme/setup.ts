import { afterEach } from 'vitest';
import type { ServedDevice } from '../../../src/device/index.ts';
import { NvmeDevice, type NvmeOptions } from '../../../src/devices/index.ts';
import type { FakeHost } from '../../helpers/fake-host.ts';
import { NvmeDriver } from './driver.ts';
import { Guest, type Reach } from './guest.ts';

/** How a controller is served: with mapped memory on an event loop or a dedicated thread, or by message. */
export interface Way {
  readonly name: string;
  readonly reach: Reach;
  readonly asynchronous: boolean;
}

export const MAPPED: Way = { name: 'mapped', reach: 'mapped', asynchronous: true };
export const DEDICATED: Way = { name: 'dedicated', reach: 'mapped', asynchronous: false };
export const MESSAGE: Way = { name: 'message', reach: 'message', asynchronous: true };
export const WAYS: readonly Way[] = [MAPPED, DEDICATED, MESSAGE];

/** A controller on its host with a driver. */
export interface Bench {
  readonly guest: Guest;
  readonly host: FakeHost;
  readonly device: NvmeDevice;
  readonly served: ServedDevice;
  readonly driver: NvmeDriver;
}

/** Closes at the end of each test what {@link make} and others have made. */
export function benches() {
  const closing: { close(): void }[] = [];
  afterEach(() => {
    for (const one of closing.splice(0).reverse()) one.close();
  });
  const close = <T extends { close(): void }>(one: T): T => {
    closing.push(one);
    return one;
  };

  /** A controller of this way in a guest of its own, or in one that is there already. */
  function make(way: Way, options: Partial<NvmeOptions> = {}, guest = close(new Guest(way.reach))): Bench {
    const host = close(guest.host(way.asynchronous ? 'event-loop' : 'dedicated'));
    const storage = 'backend' in options ? {} : { ram: 4 * 1024 * 1024 };
    const device = new NvmeDevice({
      serial: 'TEST',
      asynchronous: way.asynchronous,
      ...storage,
      ...options,
    } as NvmeOptions);
    const served = close(device.bind(host));
    return { guest, host, device, served, driver: new NvmeDriver(guest, served) };
  }

  return { make, close };
}
