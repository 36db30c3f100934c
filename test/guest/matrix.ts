import type { Devices } from './devices.ts';
import { eduTests } from './edu.ts';
import { gpioDriverTests, gpioRegisterTests } from './gpio.ts';
import type { Guest, Machine } from './harness/guest.ts';
import type { Flavour } from './harness/kernels.ts';
import { memoryTests } from './memory.ts';
import { nvmeTests } from './nvme.ts';
import { msixSerialTests, serialTests } from './serial.ts';

const KiB = 1024;
const BOTH: readonly Flavour[] = ['full', 'cloud'];
const MACHINES: readonly Machine[] = ['q35', 'pc'];

/** What tests have to do with, once the guest has been booted. */
export interface Now {
  readonly guest: () => Guest;
  readonly devices: () => Devices;
}

/** A device that is tried in guests. */
export interface Tried {
  readonly device: string;
  /** What drives it in the guest. */
  readonly driver: string;
  /** The flavours of Linux that have that driver. */
  readonly kernels: readonly Flavour[];
  readonly interrupts: string;
  /** Declares what is tried; also where the driver is missing, as far as that is possible. */
  readonly tests: (now: Now, driven: boolean) => void;
}

/** What QEMU gives devices of the guest's memory, on each machine. */
export const MEMORY: Readonly<Record<Machine, 'shared' | 'private'>> = { q35: 'shared', pc: 'private' };

/**
 * The machines of tests that need not be made on all: one for each flavour of Linux, or all of them if
 * $FERRY_GUEST_ALL is set.
 */
export function machinesOf(flavour: Flavour): readonly Machine[] {
  if (process.env['FERRY_GUEST_ALL'] !== undefined) return MACHINES;
  return flavour === 'full' ? ['q35'] : ['pc'];
}

/**
 * Every device, on each machine with each flavour of Linux that has its driver. The README shows it. `gpio` comes first,
 * while nobody else has an interrupt that its driver could not share.
 */
export const MATRIX: readonly Tried[] = [
  {
    device: '`gpio`',
    driver: 'gpio-pci-idio-16',
    kernels: ['full'],
    interrupts: 'INTx',
    tests: ({ guest, devices }, driven) => {
      gpioRegisterTests(guest, devices);
      if (driven) gpioDriverTests(guest, devices);
    },
  },
  {
    device: '`edu`',
    driver: 'uio_pci_generic, `programs/edu.c`',
    kernels: BOTH,
    interrupts: 'INTx',
    tests: ({ guest }) => eduTests(guest),
  },
  {
    device: '`memory`',
    driver: '`programs/memory.c`',
    kernels: BOTH,
    interrupts: 'MSI-X',
    tests: ({ guest, devices }) => memoryTests(guest, devices),
  },
  {
    device: '`serial`',
    driver: '8250_pci',
    kernels: BOTH,
    interrupts: 'INTx',
    tests: ({ guest, devices }) => serialTests(guest, devices, 4 * KiB),
  },
  {
    device: '`serial` with another id',
    driver: '8250_pci',
    kernels: BOTH,
    interrupts: 'MSI-X',
    tests: ({ guest, devices }) => msixSerialTests(guest, devices),
  },
  {
    device: '`nvme --ram`',
    driver: 'nvme',
    kernels: BOTH,
    interrupts: 'MSI-X, INTx',
    tests: ({ guest, devices }) => nvmeTests(guest, devices, 'ram'),
  },
  {
    device: '`nvme --backend`',
    driver: 'nvme',
    kernels: BOTH,
    interrupts: 'MSI-X, INTx',
    tests: ({ guest, devices }) => nvmeTests(guest, devices, 'file'),
  },
];

/** The matrix as the README shows it. */
export function matrixTable(): string {
  const combinations = MACHINES.flatMap((machine) => BOTH.map((flavour) => ({ machine, flavour })));
  const head = [
    'device',
    'driver',
    'interrupts',
    ...combinations.map((at) => `${at.machine}, ${at.flavour}`),
  ];
  const rows = MATRIX.map(({ device, driver, interrupts, kernels }) => [
    device,
    driver,
    interrupts,
    ...combinations.map(({ flavour }) => (kernels.includes(flavour) ? 'yes' : 'without driver')),
  ]);
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
