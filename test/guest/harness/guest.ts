import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Console, type Result } from './console.ts';
import type { Initramfs } from './initramfs.ts';
import { complaintsIn } from './kernel-log.ts';
import type { Kernel } from './kernels.ts';
import type { Qemu } from './qemu.ts';
import { Qmp } from './qmp.ts';

/** A device that a guest has from the start. */
export interface AttachedDevice {
  /** What QEMU calls it. */
  readonly id: string;
  readonly socketPath: string;
  /** Slot on the first bus, 2 to 30. */
  readonly slot: number;
  /** Behind a PCI Express port of its own in that slot (q35 only), which can reset it. */
  readonly port?: boolean;
  /** How long QEMU waits for an answer, in milliseconds; 5 seconds by default. */
  readonly patienceMs?: number;
}

/** The machines that QEMU plays: one with PCI Express, one with plain PCI. */
export type Machine = 'q35' | 'pc';

/** What a guest is made of. */
export interface GuestOptions {
  readonly machine: Machine;
  /** Whether devices are given the guest's memory as fds, or reach it by message. */
  readonly memory: 'shared' | 'private';
  readonly devices: readonly AttachedDevice[];
  /** Processors, 1 by default. */
  readonly cpus?: number;
  /** It waits for a VM that is migrated to it, and its gdb stub listens here. */
  readonly incoming?: { readonly gdbPath: string };
  /** It can hand its memory over to another QEMU of this host (cpr-transfer); `incoming` gets it over these sockets. */
  readonly cpr?: { readonly main: string; readonly channel: string };
  /** Where its monitor is, if not at a place of its own. */
  readonly qmpPath?: string;
}

/** What it runs on. */
export interface GuestParts {
  readonly qemu: Qemu;
  readonly kernel: Kernel;
  readonly initramfs: Initramfs;
  /** For sockets. */
  readonly folder: string;
}

/** All memory is within the 28 bits that edu reaches. */
const MEMORY_MIB = 256;
/**
 * no_timer_check: early on Linux counts ticks of the timer while it spins by another clock. An emulated processor that the
 * host stops meanwhile gets a single tick for all that it missed, and Linux panics: "IO-APIC + timer doesn't work"
 * (timer_irq_works in arch/x86/kernel/apic/io_apic.c).
 */
const KERNEL_COMMAND_LINE = 'console=ttyS0 quiet no_timer_check';
/** Emulated, on a machine that has other things to do. */
const BOOT_TIMEOUT = 150_000;
const COMMAND_TIMEOUT = 30_000;

let count = 0;

/** A running guest, and the QEMU that runs it. */
export class Guest {
  readonly kernel: Kernel;
  /** What QEMU has complained of. */
  complaints = '';
  readonly #process: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #console: Console;
  readonly #initramfs: Initramfs;
  /** The socket of its monitor, which serves one client at a time. */
  readonly qmpPath: string;
  #qmp: Qmp | null = null;
  /** What a QEMU of the same guest is started with, if it waits for nothing. */
  readonly #command: readonly string[];

  private constructor({ qemu, kernel, initramfs, folder }: GuestParts, options: GuestOptions) {
    this.kernel = kernel;
    this.#initramfs = initramfs;
    this.qmpPath = options.qmpPath ?? join(folder, `qmp-${++count}`);
    const [program, ...first] = qemu.command;
    const { incoming, ...plain } = options;
    const common = { kernel, initramfs, qmpPath: this.qmpPath };
    const args = argumentsOf(common, options);
    this.#command = [...qemu.command, ...argumentsOf(common, plain)];
    const child = spawn(program, [...first, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#process = child;
    this.#console = new Console(child.stdin, child.stdout);
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.complaints += text;
    });
    // A test run that is ended early leaves nothing behind either.
    process.once('exit', this.#kill);
    child.on('error', (error) => this.#console.end(error.message));
    child.on('close', (status, signal) =>
      this.#console.end(`QEMU ended (${signal ?? status}) ${this.complaints}`),
    );
  }

  /** Starts QEMU and waits until the guest takes commands. */
  static async boot(parts: GuestParts, options: GuestOptions): Promise<Guest> {
    const guest = new Guest(parts, options);
    try {
      await guest.#console.ready(BOOT_TIMEOUT);
      return guest;
    } catch (error) {
      await guest.close();
      throw error;
    }
  }

  /** Starts QEMU, and waits for nothing. */
  static start(parts: GuestParts, options: GuestOptions): Guest {
    return new Guest(parts, options);
  }

  /** Starts a QEMU that waits for a VM; returns when its monitor listens. */
  static async expect(parts: GuestParts, options: GuestOptions): Promise<Guest> {
    const guest = new Guest(parts, options);
    const deadline = Date.now() + COMMAND_TIMEOUT;
    while (!existsSync(guest.qmpPath) && Date.now() < deadline) await sleep(20);
    return guest;
  }

  /** Ends the connection to its monitor, so that somebody else can have it. */
  leaveMonitor(): void {
    this.#qmp?.close();
    this.#qmp = null;
  }

  /** The command line of a QEMU with the same guest, that also has these arguments. */
  commandWith(...more: readonly string[]): readonly string[] {
    return [...this.#command, ...more];
  }

  /** Whether its QEMU has not ended. */
  get runs(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** The process of QEMU. */
  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** Runs a shell command of one line; returns what it prints. Throws when it fails. */
  async run(command: string, timeoutMs = COMMAND_TIMEOUT): Promise<string> {
    const { status, output } = await this.attempt(command, timeoutMs);
    if (status === 0) return output;
    throw new Error(`"${command}" ended with status ${status}:\n${output}`);
  }

  /** The same for a command that may fail. */
  attempt(command: string, timeoutMs = COMMAND_TIMEOUT): Promise<Result> {
    return this.#console.run(command, timeoutMs);
  }

  /** Waits until a command succeeds. */
  async until(command: string): Promise<void> {
    await this.run(`i=0; until ${command}; do i=$((i + 1)); [ $i -lt 200 ] || exit 1; usleep 50000; done`);
  }

  /** Loads a module and what it depends on. */
  async load(module: string): Promise<void> {
    for (const name of this.#initramfs.loadOrder.get(module) ?? []) {
      await this.run(`test -d /sys/module/${name} || insmod /modules/${name}.ko`);
    }
  }

  /** Restarts the guest from within; waits until it takes commands again. */
  async reboot(): Promise<void> {
    this.#console.send('reboot -f');
    await this.#console.ready(BOOT_TIMEOUT);
  }

  /** Resets the whole machine, whatever it is doing; waits until the guest takes commands again. */
  async reset(): Promise<void> {
    await (await this.qmp()).execute('system_reset');
    await this.#console.ready(BOOT_TIMEOUT);
  }

  /** What the kernel has complained of since it started, as far as it can concern devices. */
  async kernelComplaints(): Promise<readonly string[]> {
    return complaintsIn(await this.run('dmesg -r'));
  }

  /** The monitor of QEMU. */
  async qmp(): Promise<Qmp> {
    this.#qmp ??= await Qmp.connect(this.qmpPath);
    return this.#qmp;
  }

  /** Ends QEMU at once. Idempotent. */
  async close(): Promise<void> {
    this.#qmp?.close();
    if (this.#process.pid === undefined || !this.runs) return;
    const ended = once(this.#process, 'close');
    this.#kill();
    await ended;
  }

  readonly #kill = (): void => {
    process.off('exit', this.#kill);
    this.#process.kill('SIGKILL');
  };
}

function argumentsOf(
  { kernel, initramfs, qmpPath }: { kernel: Kernel; initramfs: Initramfs; qmpPath: string },
  { machine, memory, devices, cpus = 1, incoming, cpr }: GuestOptions,
): readonly string[] {
  const shared = memory === 'shared';
  return [
    ['-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio'],
    ['-accel', 'tcg', '-cpu', 'max', '-smp', `${cpus}`, '-m', `${MEMORY_MIB}`],
    ['-machine', shared ? `${machine},memory-backend=memory` : machine],
    cpr === undefined ? [] : ['-machine', 'aux-ram-share=on'],
    shared ? ['-object', `memory-backend-memfd,id=memory,size=${MEMORY_MIB}M,share=on`] : [],
    ['-qmp', `unix:${qmpPath},server=on,wait=off`],
    ['-kernel', kernel.image, '-initrd', initramfs.path, '-append', KERNEL_COMMAND_LINE],
    devices.flatMap(attach),
    incoming === undefined
      ? []
      : ['-S', ...incomingOver(cpr), '-gdb', `unix:${incoming.gdbPath},server=on,wait=off`],
  ].flat();
}

/** By cpr-transfer a QEMU takes its memory before it does anything else (docs/devel/migration/CPR.rst). */
function incomingOver(cpr: GuestOptions['cpr']): readonly string[] {
  if (cpr === undefined) return ['-incoming', 'defer'];
  const addr = { transport: 'socket', type: 'unix', path: cpr.channel };
  return ['-incoming', `unix:${cpr.main}`, '-incoming', JSON.stringify({ 'channel-type': 'cpr', addr })];
}

function attach({ id, socketPath, slot, port = false, patienceMs }: AttachedDevice): readonly string[] {
  const own = patienceMs === undefined ? { id } : { id, 'x-msg-timeout': patienceMs };
  if (!port) return ['-device', JSON.stringify(vfioUserDevice(socketPath, { ...own, ...inSlot(slot) }))];
  const bus = `port${slot}`;
  return [
    '-device',
    `pcie-root-port,id=${bus},slot=${slot},chassis=${slot},addr=${inSlot(slot).addr}`,
    '-device',
    JSON.stringify(vfioUserDevice(socketPath, { ...own, bus })),
  ];
}

/** Where a device is on its bus. */
export function inSlot(slot: number): { readonly addr: string } {
  return { addr: `0x${slot.toString(16)}` };
}

/** The description of a device for `-device` and for device_add. */
export function vfioUserDevice(socketPath: string, properties: object): object {
  if (!existsSync(socketPath)) throw new Error(`nobody listens on ${socketPath}`);
  return { driver: 'vfio-user-pci', socket: { type: 'unix', path: socketPath }, ...properties };
}
