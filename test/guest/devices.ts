import { expect } from 'vitest';
import type { Bars } from '../../src/device/index.ts';
import { Edu, Gpio, MemoryDevice, Serial, type SerialOptions } from '../../src/devices/index.ts';
import { SerialBench } from '../devices/serial-bench.ts';
import { Disk } from './disks.ts';
import type { AttachedDevice, Guest } from './harness/guest.ts';
import type { Lab, Served } from './harness/lab.ts';

/**
 * A 16550A with an id to which Linux's 8250_pci gives MSI-X where it can (pci_use_msi in drivers/tty/serial/8250):
 * there it stands for an AX99100.
 */
export class MsixSerial extends Serial {
  override readonly identity = {
    kind: 'serial',
    vendor: 0x9710,
    device: 0x9900,
    revision: 0,
    classCode: 0x070002,
    subsystemVendor: 0xa000,
    subsystemDevice: 0x1000,
  };
  override readonly interrupts = { intx: true, msix: 1 };
  /** Linux complains of entries in its tables for what it could have guessed; two I/O BARs it can not guess. */
  declare readonly bars: Bars;

  constructor(options: SerialOptions) {
    super(options);
    const { bars } = this;
    this.bars = { ...bars, 5: this.registers(8, {}, { space: 'io' }) };
  }
}

/** Where edu is; the others follow. */
export const EDU_SLOT = 0x10;

/** One of each device, served, and what is at their other ends. */
export class Devices {
  readonly edu: Edu;
  readonly memory: MemoryDevice;
  /** Each output is wired to the input of the same number. */
  readonly gpio: Gpio = new Gpio({ onOutputs: (outputs) => this.#wire(outputs) });
  readonly bench = new SerialBench();
  readonly serial = new Serial({ backend: this.bench });
  readonly msixBench = new SerialBench();
  readonly msixSerial = new MsixSerial({ backend: this.msixBench });
  readonly disks: Readonly<Record<'ram' | 'file', Disk>>;
  readonly served: Readonly<
    Record<'edu' | 'memory' | 'gpio' | 'serial' | 'msixSerial' | 'nvmeRam' | 'nvmeFile', Served>
  >;

  /** `mapped`: they reach no memory of the guest but what QEMU has given as fds. */
  constructor(lab: Lab, dma: 'mapped' | 'message') {
    const asynchronous = dma === 'message';
    this.edu = new Edu({ asynchronous });
    this.memory = new MemoryDevice({ size: 16 * 2 ** 20, asynchronous });
    this.disks = { ram: new Disk(lab, 'ram'), file: new Disk(lab, 'file') };
    this.served = {
      edu: lab.serve('edu', this.edu),
      memory: lab.serve('memory', this.memory),
      gpio: lab.serve('gpio', this.gpio),
      serial: lab.serve('serial', this.serial),
      msixSerial: lab.serve('msix-serial', this.msixSerial),
      nvmeRam: this.disks.ram.served,
      nvmeFile: this.disks.file.served,
    };
  }

  /** All of them for one guest; `port` puts edu behind a port of its own. */
  attached(port: boolean): readonly AttachedDevice[] {
    return Object.entries(this.served).map(([id, { socketPath }], i) => ({
      id,
      socketPath,
      slot: EDU_SLOT + i,
      port: port && id === 'edu',
    }));
  }

  /** Nothing went wrong that no client could be told. */
  expectNoReports(): void {
    for (const [name, { reported }] of Object.entries(this.served)) expect(reported, name).toEqual([]);
  }

  #wire(outputs: number): void {
    this.gpio.inputs = outputs;
  }
}

/** Ids as sysfs prints them. */
export const Ids = {
  edu: '1234:11e8',
  memory: '1234:4652',
  gpio: '494f:0dc8',
  serial: '1b36:0002',
  msixSerial: '9710:9900',
} as const;

/** The address of a device in a guest, such as 0000:00:10.0. */
export async function addressOf(guest: Guest, id: string): Promise<string> {
  const { output } = await guest.attempt(`grep -il PCI_ID=${id} /sys/bus/pci/devices/*/uevent`);
  const addresses = [...output.matchAll(/devices\/([^/]+)\/uevent/g)].map(([, address]) => address);
  expect(addresses, `${id} is there once`).toHaveLength(1);
  return addresses[0] ?? '';
}

/** The name of the driver that a device is bound to; empty without one. */
export async function driverOf(guest: Guest, address: string): Promise<string> {
  return guest.run(`basename "$(readlink /sys/bus/pci/devices/${address}/driver)"`);
}
