import { truncateSync, writeFileSync } from 'node:fs';
import { FileNamespace } from '../../src/cli/serve/backends/file-namespace.ts';
import { NvmeDevice } from '../../src/devices/index.ts';
import type { AttachedDevice, Guest } from './harness/guest.ts';
import type { Lab, Served } from './harness/lab.ts';

const MiB = 2 ** 20;
const SIZE = 32 * MiB;
/** How a guest tells which of its disks is which. */
const SERIALS = { ram: 'FERRYRAM', file: 'FERRYFILE' } as const;

/** Where the namespace of a disk is. */
export type Storage = keyof typeof SERIALS;

/** How many requests a block device has carried out. */
export interface Requests {
  readonly reads: number;
  readonly writes: number;
}

/** An nvme that is served, as its guest and its host see it. */
export class Disk {
  readonly storage: Storage;
  readonly bytes = SIZE;
  readonly device: NvmeDevice;
  readonly served: Served;

  constructor(lab: Lab, storage: Storage) {
    const serial = SERIALS[storage];
    this.storage = storage;
    this.device =
      storage === 'ram'
        ? new NvmeDevice({ serial, ram: SIZE })
        : new NvmeDevice({ serial, backend: fileIn(lab) });
    this.served = lab.serve(`nvme-${storage}`, this.device);
  }

  /** Whether what was written is durable only after a flush. */
  get cached(): boolean {
    return this.storage === 'file';
  }

  /** How a guest gets it. */
  attached(slot: number): AttachedDevice {
    return { id: `nvme-${this.storage}`, socketPath: this.served.socketPath, slot };
  }

  /** The block device that a guest has made of it, such as nvme0n1. It appears after its driver is loaded. */
  async nameIn(guest: Guest): Promise<string> {
    const find = `grep -lw ${SERIALS[this.storage]} /sys/class/nvme/nvme*/serial 2>/dev/null`;
    await guest.until(`${find} >/dev/null && test -b /dev/$(basename $(dirname $(${find})))n1`);
    return guest.run(`echo $(basename $(dirname $(${find})))n1`);
  }

  /** The address of its PCI function in a guest. */
  async addressIn(guest: Guest): Promise<string> {
    return guest.run(`basename $(readlink -f /sys/block/${await this.nameIn(guest)}/device/device)`);
  }

  /** What the device has counted since it was made. */
  get requests(): Requests {
    const { commandsRead, commandsWritten } = this.device.state;
    return { reads: Number(commandsRead), writes: Number(commandsWritten) };
  }

  /** What the guest has counted since it found the disk (Documentation/block/stat.rst). */
  async requestsIn(guest: Guest): Promise<Requests> {
    const fields = (await guest.run(`cat /sys/block/${await this.nameIn(guest)}/stat`)).trim().split(/\s+/);
    return { reads: Number(fields[0]), writes: Number(fields[4]) };
  }

  /** Puts garbage in place of what a reset keeps of the device, which has to come back with its state. */
  destroyContents(): void {
    this.device.state.ram?.bytes.fill(0xa5);
  }
}

function fileIn(lab: Lab): FileNamespace {
  const path = lab.path('disk.img');
  writeFileSync(path, '');
  truncateSync(path, SIZE);
  const file = new FileNamespace(path);
  lab.onClose(() => file.quiesce());
  return file;
}
