import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, it } from 'vitest';
import type { BindableDevice } from '../../../src/device/index.ts';
import type { FerryError } from '../../../src/errors/index.ts';
import { type RunningServer, serveDevice } from '../../../src/server/index.ts';
import { Guest, type GuestOptions, type GuestParts } from './guest.ts';
import { buildInitramfs, type Initramfs } from './initramfs.ts';
import { findKernels, type Kernel } from './kernels.ts';
import { compilePrograms, missingTool } from './programs.ts';
import { findQemu, type Qemu } from './qemu.ts';

/** A device that guests can be given. */
export interface Served {
  readonly socketPath: string;
  /** Errors that no client could be told. */
  readonly reported: readonly FerryError[];
  close(): void;
}

/** Where guests with one kernel are tried: serves devices, boots guests, and cleans up after both. */
export class Lab {
  readonly kernel: Kernel;
  readonly #qemu: Qemu;
  #folder = '';
  #initramfs: Initramfs | null = null;
  readonly #servers = new Set<RunningServer>();
  readonly #guests = new Set<Guest>();
  readonly #whenClosed: (() => Promise<void>)[] = [];

  constructor(qemu: Qemu, kernel: Kernel) {
    this.#qemu = qemu;
    this.kernel = kernel;
  }

  open(): void {
    this.#folder = mkdtempSync(join(tmpdir(), 'ferry-guest-'));
    const programs = join(this.#folder, 'programs');
    mkdirSync(programs);
    this.#initramfs = buildInitramfs(this.kernel, compilePrograms(programs), this.#folder);
  }

  /** Where a file of the test may be; it is removed with everything else. */
  path(name: string): string {
    return join(this.#folder, name);
  }

  /** Has something done after the servers were closed. */
  onClose(act: () => Promise<void>): void {
    this.#whenClosed.push(act);
  }

  /** Serves a device in this process. */
  serve(name: string, device: BindableDevice): Served {
    const socketPath = this.path(name);
    const reported: FerryError[] = [];
    const server = serveDevice(device, { socketPath, report: (error) => reported.push(error) });
    this.#servers.add(server);
    return {
      socketPath,
      reported,
      close: () => {
        this.#servers.delete(server);
        server.close();
      },
    };
  }

  /** Boots a guest. */
  async boot(options: GuestOptions): Promise<Guest> {
    const guest = await Guest.boot(this.#parts(), options);
    this.#guests.add(guest);
    return guest;
  }

  #parts(): GuestParts {
    if (this.#initramfs === null) throw new Error('the lab is not open');
    return {
      qemu: this.#qemu,
      kernel: this.kernel,
      initramfs: this.#initramfs,
      folder: this.#folder,
    };
  }

  /** Starts a QEMU that has no monitor before it was given a VM. */
  start(options: GuestOptions): Guest {
    const guest = Guest.start(this.#parts(), options);
    this.#guests.add(guest);
    return guest;
  }

  /** Starts a QEMU that waits for a VM. */
  async expect(options: GuestOptions): Promise<Guest> {
    const guest = await Guest.expect(this.#parts(), options);
    this.#guests.add(guest);
    return guest;
  }

  async close(): Promise<void> {
    for (const guest of this.#guests) await guest.close();
    for (const server of this.#servers) server.close();
    for (const act of this.#whenClosed) await act();
    if (this.#folder !== '') rmSync(this.#folder, { recursive: true, force: true });
  }
}

/**
 * Declares tests that run once for each flavour of Linux. Where no guest can be had they are skipped with the reason,
 * or fail if $FERRY_GUEST_REQUIRED is set.
 */
export function describeInGuests(title: string, tests: (lab: Lab) => void): void {
  const qemu = findQemu();
  const kernels = findKernels();
  const missing = [qemu, kernels, missingTool()].find((found) => typeof found === 'string');
  if (typeof qemu === 'string' || typeof kernels === 'string' || missing !== undefined) {
    return declareMissing(title, `no guest: ${missing}`);
  }
  describe.each(kernels)(`${title}, Linux $release`, (kernel) => {
    const lab = new Lab(qemu, kernel);
    beforeAll(() => lab.open());
    afterAll(() => lab.close());
    tests(lab);
  });
}

function declareMissing(title: string, reason: string): void {
  if (process.env['FERRY_GUEST_REQUIRED'] !== undefined) {
    it(title, () => {
      throw new Error(reason);
    });
    return;
  }
  console.warn(`${title}: skipped, ${reason}`);
  it.skip(`${title}: ${reason}`, () => {});
}
