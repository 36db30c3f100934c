import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { Console, type Result } from '../../guest/harness/console.ts';
import type { Qemu } from '../../guest/harness/qemu.ts';
import { HOST } from './initramfs.ts';
import type { DriverKernel } from './kernels.ts';

const ROOT = resolve(import.meta.dirname, '../../..');
/** For a handful of commands at a time, and a QEMU. */
const MEMORY_MIB = 1024;
/** Emulated, on a machine that has other things to do. */
const BOOT_TIMEOUT = 200_000;
const COMMAND_TIMEOUT = 200_000;

/** The UUIDs of the two mediated devices that every guest has. */
export const MTTY = ['83b8f4f2-509f-382f-3c1e-e6bfe0fa1001', '83b8f4f2-509f-382f-3c1e-e6bfe0fa1002'] as const;
/** Where QEMU's devices edu are, which vfio-pci has: one with an IOMMU group of its own, and two in one group. */
export const EDU = '0000:00:05.0';
export const EDU_PAIR = ['0000:00:06.0', '0000:00:06.1'] as const;

/** A guest whose kernel has two devices of mtty, and three of edu behind an IOMMU. It sees the files of this machine, to read. */
export class KernelGuest {
  readonly #process: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #console: Console;
  #complaints = '';

  private constructor(qemu: Qemu, kernel: DriverKernel, initramfs: string) {
    const [program, ...first] = qemu.command;
    const args = [...first, ...argumentsOf(kernel, initramfs)];
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#process = child;
    this.#console = new Console(child.stdin, child.stdout);
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#complaints += text;
    });
    // A test run that is ended early leaves nothing behind either.
    process.once('exit', this.#kill);
    child.on('error', (error) => this.#console.end(error.message));
    child.on('close', (status, signal) =>
      this.#console.end(`QEMU ended (${signal ?? status}) ${this.#complaints}`),
    );
  }

  /** Starts QEMU, waits for the guest, and prepares its devices. */
  static async boot(qemu: Qemu, kernel: DriverKernel, initramfs: string): Promise<KernelGuest> {
    const guest = new KernelGuest(qemu, kernel, initramfs);
    try {
      await guest.#console.ready(BOOT_TIMEOUT);
      await guest.#prepare();
      return guest;
    } catch (error) {
      await guest.close();
      throw error;
    }
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

  /** Runs a program of programs/ in the file system of this machine; what it printed. */
  node(program: string, ...args: readonly string[]): Promise<string> {
    return this.run(inHost(process.execPath, resolve(ROOT, 'test', program), ...args));
  }

  /** Runs the command `ferry`. */
  ferry(...args: readonly string[]): Promise<Result> {
    return this.attempt(inHost(process.execPath, resolve(ROOT, 'dist/cli/main.js'), ...args));
  }

  /** Ends QEMU at once. Idempotent. */
  async close(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = once(this.#process, 'close');
    this.#kill();
    await ended;
  }

  async #prepare(): Promise<void> {
    for (const uuid of MTTY) {
      await this.run(
        `f=$(ls -d /sys/devices/virtual/mtty/mtty/mdev_supported_types/mtty-2); echo ${uuid} > $f/create`,
      );
    }
    await this.run('echo 1234 11e8 > /sys/bus/pci/drivers/vfio-pci/new_id');
  }

  readonly #kill = (): void => {
    process.off('exit', this.#kill);
    this.#process.kill('SIGKILL');
  };
}

/** A command line for a shell, to be run with this machine's files as its own; only /run can be written. */
export function inHost(...words: readonly string[]): string {
  const quoted = words.map((word) => `'${word.replaceAll("'", "'\\''")}'`);
  return `cd / && TMPDIR=/run HOME=/run NO_COLOR=1 chroot ${HOST} ${quoted.join(' ')}`;
}

function argumentsOf(kernel: DriverKernel, initramfs: string): readonly string[] {
  // Whether the timer ticks is measured otherwise, and on a machine that is busy it seems not to.
  const append = 'console=ttyS0 quiet intel_iommu=on no_timer_check';
  return [
    ['-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio'],
    ['-accel', 'tcg', '-cpu', 'max', '-smp', '1', '-m', `${MEMORY_MIB}`, '-machine', 'q35'],
    ['-device', 'intel-iommu', '-device', 'edu,addr=05.0'],
    // Functions of one device can reach each other.
    ['-device', 'edu,addr=06.0,multifunction=on', '-device', 'edu,addr=06.1'],
    ['-fsdev', 'local,id=host,path=/,security_model=none,readonly=on,multidevs=remap'],
    ['-device', 'virtio-9p-pci,fsdev=host,mount_tag=host'],
    ['-kernel', kernel.image, '-initrd', initramfs, '-append', append],
  ].flat();
}
