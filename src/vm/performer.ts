import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DeviceClient, ReconnectionStatus, SwitchoverStatus } from '../client/index.ts';
import { RegionIndex } from '../protocol/index.ts';
import { GdbClient } from './gdb/gdb-client.ts';
import type { QmpClient } from './qmp/qmp-client.ts';
import {
  conductVm,
  type PhysicalRange,
  type PhysicalWrite,
  type ReconnectionOf,
  type SwitchoverOf,
  type VmOutcome,
  type VmReply,
  type VmSequence,
  type VmStep,
} from './step.ts';
import { VmError } from './vm-error.ts';

/** What a performer works with. */
export interface VmPerformerOptions {
  readonly monitor: QmpClient;
  /** Where the gdb stub listens; null: there is none. */
  readonly gdbPath: string | null;
  /** The devices of the VM, by their control sockets. */
  readonly clients: readonly DeviceClient[];
  /** A directory for nobody else, that the VMM can write to. */
  readonly folder: string;
  /** How long each step may take, in milliseconds. */
  readonly timeoutMs: number;
}

/** Bytes of configuration space that are looked at: the header and the conventional capabilities. */
export const CONFIG_BYTES = 256;

const DONE: VmReply = { kind: 'done' };

/** Carries out the steps of a sequence, each in bounded time. */
export class VmPerformer {
  readonly #options: VmPerformerOptions;
  #gdb: Promise<GdbClient> | null = null;
  #saved = 0;

  constructor(options: VmPerformerOptions) {
    this.#options = options;
  }

  /** Carries out a sequence. */
  run<T>(sequence: VmSequence<T>): Promise<T> {
    return conductVm(sequence, (step) => this.perform(step));
  }

  /** Carries out one step. Rejects with VmError, or with what a client rejects with. */
  async perform(step: VmStep): Promise<VmReply> {
    switch (step.do) {
      case 'qmp':
        return { kind: 'value', value: await this.#options.monitor.execute(step.command, step.args) };
      case 'save':
        return { kind: 'pieces', pieces: await settled(step.ranges.map((range) => this.#save(range))) };
      case 'read':
        return { kind: 'pieces', pieces: await this.#read(step.ranges) };
      case 'write':
        await this.#write(step.writes);
        return DONE;
      case 'detach':
        await this.#detach();
        return DONE;
      case 'switchover':
        return { kind: 'statuses', statuses: await this.#switchover(step.requests) };
      case 'configuration':
        return {
          kind: 'bytes',
          bytes: await this.#client(step.device).read(RegionIndex.CONFIG, 0, CONFIG_BYTES),
        };
      case 'reconnection':
        return { kind: 'reconnections', statuses: await this.#reconnections(step.requests) };
      case 'setState':
        await settled(step.devices.map((device) => this.#client(device).setMigrationState(step.state)));
        return DONE;
      case 'pause':
        return { kind: 'paused', ms: await this.#pause(step.ms, step.event) };
      case 'together':
        return {
          kind: 'outcomes',
          outcomes: await Promise.all(step.steps.map((each) => this.#outcome(each))),
        };
    }
  }

  async #outcome(step: VmStep): Promise<VmOutcome> {
    try {
      return { is: 'reply', reply: await this.perform(step) };
    } catch (error) {
      return { is: 'failure', error };
    }
  }

  async #pause(ms: number, event: string | null): Promise<number> {
    const started = performance.now();
    await (event === null ? sleep(ms) : this.#options.monitor.next(event, ms));
    return performance.now() - started;
  }

  /** When the monitor told of an event last, in milliseconds since 1970 by the clock of its host; null: never. */
  timeOf(event: string): number | null {
    return this.#options.monitor.timeOf(event);
  }

  /** When the monitor was last heard to tell of an event (performance.now()); null: never. */
  heardAt(event: string): number | null {
    return this.#options.monitor.heardAt(event);
  }

  /** Lets go of the gdb stub. Idempotent. */
  async close(): Promise<void> {
    await this.#detach();
  }

  /**
   * QEMU writes a file; who else could read it has no way into its directory. It is small and was written just now: to read
   * it here takes less than to have another thread do it.
   */
  async #save({ address, length }: PhysicalRange): Promise<Uint8Array> {
    const { monitor, folder } = this.#options;
    this.#saved += 1;
    const filename = join(folder, `memory-${this.#saved}`);
    try {
      await monitor.execute('pmemsave', { val: Number(address), size: length, filename });
      return readFileSync(filename);
    } finally {
      rmSync(filename, { force: true });
    }
  }

  async #read(ranges: readonly PhysicalRange[]): Promise<readonly Uint8Array[]> {
    const gdb = await this.#stub();
    return settled(ranges.map(({ address, length }) => gdb.read(address, length)));
  }

  async #write(writes: readonly PhysicalWrite[]): Promise<void> {
    const gdb = await this.#stub();
    await settled(writes.map(({ address, bytes }) => gdb.write(address, bytes)));
  }

  #switchover(requests: readonly SwitchoverOf[]): Promise<readonly SwitchoverStatus[]> {
    return settled(requests.map(({ device, request }) => this.#client(device).switchover(request)));
  }

  #reconnections(requests: readonly ReconnectionOf[]): Promise<readonly ReconnectionStatus[]> {
    return settled(requests.map(({ device, choice }) => this.#client(device).reconnection(choice)));
  }

  #stub(): Promise<GdbClient> {
    const { gdbPath, timeoutMs } = this.#options;
    if (gdbPath === null) throw new VmError('ERR_VM_REFUSED', 'there is no gdb stub to write registers with');
    this.#gdb ??= GdbClient.connect(gdbPath, { timeoutMs });
    return this.#gdb;
  }

  async #detach(): Promise<void> {
    const gdb = this.#gdb;
    this.#gdb = null;
    await gdb?.then(
      (client) => client.close(),
      () => {},
    );
  }

  #client(device: number): DeviceClient {
    const client = this.#options.clients[device];
    if (client === undefined) throw new TypeError(`there is no device ${device}`);
    return client;
  }
}

/** Waits for all, and then throws what the first one was rejected with: nothing is under way when it is told. */
async function settled<T>(work: readonly Promise<T>[]): Promise<readonly T[]> {
  const outcomes = await Promise.allSettled(work);
  return outcomes.map((outcome) => {
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  });
}
