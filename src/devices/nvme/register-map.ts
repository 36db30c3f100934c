import {
  constant,
  type Doorbell,
  type Register,
  type RegisterMap,
  readOnly,
  register,
  writeOnly,
} from '../../device/index.ts';
import type { Controller } from './controller.ts';
import type { Interrupts } from './interrupts.ts';
import { QUEUES } from './limits.ts';
import { ADMIN_ADDRESS_MASK, AQA_MASK, CAPABILITIES, NvmeRegister as Reg, VERSION } from './registers.ts';
import type { NvmeState } from './state.ts';

/** The registers of BAR0. */
export function registerMap(state: NvmeState, controller: Controller, interrupts: Interrupts): RegisterMap {
  return {
    [Reg.CAP]: readOnly(() => CAPABILITIES, 8),
    [Reg.VS]: constant(VERSION),
    [Reg.INTMS]: register({
      read: () => state.interruptMask,
      write: (bits) => interrupts.mask(bits),
    }),
    [Reg.INTMC]: register({
      read: () => state.interruptMask,
      write: (bits) => interrupts.unmask(bits),
    }),
    [Reg.CC]: register({ read: () => state.cc, write: (value) => controller.configure(value) }),
    [Reg.CSTS]: readOnly(() => state.csts),
    [Reg.AQA]: register({
      read: () => state.aqa,
      write: (value) => {
        state.aqa = value & AQA_MASK;
      },
    }),
    [Reg.ASQ]: adminAddress(state, 'asq'),
    [Reg.ACQ]: adminAddress(state, 'acq'),
    ...doorbells(controller),
  };
}

function adminAddress(state: NvmeState, name: 'asq' | 'acq'): Register {
  return register({
    width: 8,
    read: () => state[name],
    write: (value) => {
      state[name] = value & ADMIN_ADDRESS_MASK;
    },
  });
}

/**
 * The doorbells again, for clients that ring them through eventfds: KVM leaves the tail or head in shared memory and
 * signals, so that the guest's vCPU does not wait for a message.
 */
export const queueDoorbells: readonly Doorbell[] = Array.from({ length: 2 * QUEUES }, (_, i) => ({
  offset: Reg.DOORBELLS + 4 * i,
  size: 4,
  shadow: true,
}));

/** Two for each queue pair. Those of queues that do not exist are there as well: writing them is an error. */
function doorbells(controller: Controller): RegisterMap {
  const entries = Array.from({ length: QUEUES }, (_, id) => [
    [Reg.DOORBELLS + 8 * id, writeOnly((tail) => controller.ringSubmission(id, tail))] as const,
    [Reg.DOORBELLS + 8 * id + 4, writeOnly((head) => controller.ringCompletion(id, head))] as const,
  ]);
  return Object.fromEntries(entries.flat());
}
