import type { DeviceDma } from '../../device/index.ts';
import type { Activity } from './activity.ts';
import { AdminCommands } from './admin-commands.ts';
import { CommandLoop } from './command-loop.ts';
import { Controller, pageSizeOf } from './controller.ts';
import { ErrorLog } from './error-log.ts';
import { Events } from './events.ts';
import { Features } from './features.ts';
import { GuestMemory } from './guest-memory.ts';
import { type InterruptPins, Interrupts } from './interrupts.ts';
import { IoCommands } from './io-commands.ts';
import type { NamespaceBackend } from './namespace.ts';
import { FeatureId } from './opcodes.ts';
import { QueueCommands } from './queue-commands.ts';
import { Queues } from './queues.ts';
import type { NvmeState } from './state.ts';

/** What a controller needs of its device. */
export interface ControllerEnvironment {
  readonly state: NvmeState;
  readonly backend: NamespaceBackend;
  readonly activity: Activity;
  readonly vendor: number;
  readonly asynchronous: boolean;
  readonly dma: () => DeviceDma;
  /** Whether nothing new may be started. */
  readonly quiescing: () => boolean;
  readonly kick: () => void;
  /** Is told what is wrong with the backend. */
  readonly note: (error: unknown) => void;
  readonly pins: InterruptPins;
}

/** Puts a controller together. */
export function assemble(environment: ControllerEnvironment): {
  readonly controller: Controller;
  readonly interrupts: Interrupts;
} {
  const { state, backend, activity, vendor, asynchronous, dma, quiescing, kick, note, pins } = environment;
  const pageSize = () => pageSizeOf(state.cc);
  const guest = new GuestMemory(dma, asynchronous);
  const queues = new Queues(state, guest);
  const interrupts = new Interrupts(state, queues, pins);
  const features = new Features(state, backend.volatileCache, () => queues.anyForIo);
  const events = new Events(state);
  const errors = new ErrorLog(state);
  const cacheEnabled = () => features.value(FeatureId.VOLATILE_WRITE_CACHE) === 1;
  const io = new IoCommands({ backend, asynchronous, pageSize, cacheEnabled, note });
  const queueCommands = new QueueCommands({ state, queues, features, interrupts, pageSize });
  const abortRequest = (commandId: number) => loop.abortRequest(commandId);
  const admin = new AdminCommands({
    ...{ state, vendor, backend, features, events, errors, queueCommands, pageSize, abortRequest },
  });
  const loop = new CommandLoop({
    ...{ state, guest, queues, activity, interrupts, events, errors, io, admin },
    mayStart: () => controller.operational && !quiescing(),
    mayComplete: () => controller.operational,
    fail: () => controller.fail(),
  });
  const controller = new Controller({
    ...{ state, backend, queues, features, events, errors, interrupts, activity, loop, kick, note },
  });
  return { controller, interrupts };
}
