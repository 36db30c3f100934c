import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { BindableDevice } from '../../src/device/index.ts';
import { Edu, Gpio, NvmeDevice } from '../../src/devices/index.ts';
import type { Running, Shell } from '../cli/ferry.ts';
import type { AttachedDevice, Guest } from './harness/guest.ts';
import type { Lab, Served } from './harness/lab.ts';

const MiB = 2 ** 20;
const DISK = 16 * MiB;

/** What of a device is the same in all VMs. */
export interface DeviceKind {
  readonly id: string;
  readonly slot: number;
  readonly port?: boolean;
  readonly make: () => BindableDevice;
}

/** A disk by its serial number. */
export function nvme(id: string, slot: number, port = false): DeviceKind {
  return { id, slot, port, make: () => new NvmeDevice({ serial: id.toUpperCase(), ram: DISK }) };
}

/** edu: INTx and a memory BAR. */
export function edu(slot: number): DeviceKind {
  return { id: 'edu', slot, make: () => new Edu() };
}

/** gpio: INTx and I/O ports only. Each output is wired to the input of the same number. */
export function gpio(slot: number): DeviceKind {
  const make = (): Gpio => {
    const device: Gpio = new Gpio({
      onOutputs: (outputs) => {
        device.inputs = outputs;
      },
    });
    return device;
  };
  return { id: 'gpio', slot, make };
}

/** One after the other, QEMUs that have the same devices, each served anew. */
export class VmLab {
  readonly #lab: Lab;
  readonly #kinds: readonly DeviceKind[];
  #generation = 0;

  constructor(lab: Lab, kinds: readonly DeviceKind[]) {
    this.#lab = lab;
    this.#kinds = kinds;
  }

  /** Boots the first one. */
  async boot(): Promise<Vm> {
    const served = this.#serve();
    const guest = await this.#lab.boot({ ...MACHINE, devices: this.#attached(served) });
    return new Vm(guest, served, null);
  }

  /** Another one, that waits. */
  async expect(): Promise<Vm> {
    const served = this.#serve();
    const gdbPath = this.#lab.path(`gdb-${this.#generation}`);
    const guest = await this.#lab.expect({
      ...MACHINE,
      devices: this.#attached(served),
      incoming: { gdbPath },
    });
    return new Vm(guest, served, gdbPath);
  }

  #serve(): readonly Served[] {
    this.#generation += 1;
    return this.#kinds.map(({ id, make }) => this.#lab.serve(`${id}-${this.#generation}`, make()));
  }

  #attached(served: readonly Served[]): readonly AttachedDevice[] {
    return this.#kinds.map(({ id, slot, port = false }, i) => {
      return { id, slot, port, socketPath: served[i]?.socketPath ?? '' };
    });
  }
}

const MACHINE = { machine: 'q35', memory: 'shared', cpus: 2 } as const;

/** A QEMU and the servers of its devices. */
export class Vm {
  readonly guest: Guest;
  readonly served: readonly Served[];
  readonly gdbPath: string | null;

  constructor(guest: Guest, served: readonly Served[], gdbPath: string | null) {
    this.guest = guest;
    this.served = served;
    this.gdbPath = gdbPath;
  }

  get sockets(): readonly string[] {
    return this.served.map(({ socketPath }) => socketPath);
  }

  /** Its QEMU ends, and its devices. */
  async close(): Promise<void> {
    await this.guest.close();
    for (const served of this.served) served.close();
  }
}

/** A VM of one disk, whose server is a process, as the ones that are killed. */
export async function vmWithServer(
  lab: Lab,
  shell: Shell,
  name: string,
  incoming: boolean,
): Promise<Vm & { readonly server: Running }> {
  const server = await shell.serve('nvme', name, '--ram', '8M');
  const socketPath = shell.path(name);
  const gdbPath = incoming ? lab.path(`gdb-${name}`) : null;
  const devices = [{ id: 'disk', socketPath, slot: 0x10 }];
  const guest =
    gdbPath === null
      ? await lab.boot({ ...MACHINE, devices })
      : await lab.expect({ ...MACHINE, devices, incoming: { gdbPath } });
  const served = { socketPath, reported: [], close: () => void server.kill('SIGKILL') };
  return Object.assign(new Vm(guest, [served], gdbPath), { server });
}

/** Records are made durable three times while the VM stands still: how long a busy disk takes for that is not the question. */
export function journal(): readonly string[] {
  return existsSync(SHARED_MEMORY) ? ['--journal', JOURNAL] : [];
}

/** Nothing of it is left behind. */
export function forgetJournal(): void {
  rmSync(JOURNAL, { recursive: true, force: true });
}

const SHARED_MEMORY = '/dev/shm';
const JOURNAL = join(SHARED_MEMORY, `ferry-vm-${process.pid}`);

/** Whether a busy machine can send as fast as the guest writes is not the question either. */
const PATIENT = ['--json', '--switch-anyway', '--max-iterations', '8'];

/** What `ferry vm receive` takes for a VM that waits. */
export function receiveArguments(to: Vm): readonly string[] {
  return ['vm', 'receive', '--qmp', to.guest.qmpPath, '--gdb', to.gdbPath ?? '', ...to.sockets, ...journal()];
}

/** What `ferry vm migrate --to` takes for one that is to go. */
export function sendArguments(from: Vm): readonly string[] {
  return ['vm', 'migrate', '--qmp', from.guest.qmpPath, ...from.sockets, ...PATIENT, ...journal()];
}

/** What `ferry vm migrate` takes to move one VM to the other on this host. */
export function moveArguments(from: Vm, to: Vm): readonly string[] {
  if (to.gdbPath === null || !existsSync(to.guest.qmpPath)) throw new Error('there is no VM that waits');
  const pairs = from.sockets.map((socket, i) => `${socket}=${to.sockets[i]}`);
  const own = ['--qmp', from.guest.qmpPath, '--to-qmp', to.guest.qmpPath, '--to-gdb', to.gdbPath];
  return ['vm', 'migrate', ...own, ...pairs, ...PATIENT, ...journal()];
}
