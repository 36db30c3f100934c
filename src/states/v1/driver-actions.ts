import { parseV1State, V1Bit, V1State } from './device-state.ts';

/** What a driver does on a change of device_state, and what that means. */
export const DRIVER_ACTIONS = {
  quiesce: 'stop starting DMA and interrupts; complete what is outstanding',
  freeze: 'stop changing internal state, also on behalf of others',
  deserialize: 'check the state that was written, and take it over',
  serialize: 'have the whole of the state ready to be read',
  reset: 'forget the internal state; a new one is about to be written',
  unfreeze: 'let internal state change again',
  unquiesce: 'start DMA and interrupts again',
  track: 'begin to offer the state while it changes, and to remember what changes',
} as const;

/** One of {@link DRIVER_ACTIONS}. */
export type DriverAction = keyof typeof DRIVER_ACTIONS;

/**
 * What a driver does when device_state changes from `from` to `to`, in order: running off: quiesce, freeze; resuming
 * off: deserialize; then serialize; running on: unfreeze, unquiesce; entering resuming: reset; entering pre-copy:
 * track. Only the three bits are looked at, and NDMA where `ndma` says that the device has it; it then takes over the
 * outer half of stopping and running (quiesce, unquiesce), which is what RUNNING_P2P and PRE_COPY_P2P do in v2.
 * ERROR and the invalid combinations are no task for a driver: nothing is done to get there, and nothing but a reset
 * leaves ERROR.
 *
 * After a discussion on linux-kernel (29 September to 1 December 2021). "SAVING toggles on", as first sketched there,
 * would never serialize on the main path from 011 to 010; the condition here is that of the driver mlx5.
 */
export function driverActions(
  from: number,
  to: number,
  options: { readonly ndma?: boolean } = {},
): readonly DriverAction[] {
  if (!isTask(from) || !isTask(to)) return [];
  const before = facetsOf(from, options.ndma === true);
  const after = facetsOf(to, options.ndma === true);
  const runs = after.running && !before.running;
  const startsDma = after.dma && !before.dma;
  const actions: DriverAction[] = [];
  if (before.dma && !after.dma) actions.push('quiesce');
  if (before.running && !after.running) actions.push('freeze');
  if (before.resuming && !after.resuming) actions.push('deserialize');
  if (mustSerialize(before, after)) actions.push('serialize');
  if (runs) actions.push('unfreeze');
  if (runs && startsDma) actions.push('unquiesce');
  if (!before.resuming && after.resuming) actions.push('reset');
  if (entersPreCopy(before, after)) actions.push('track');
  // NDMA off alone comes last: nothing may be written behind the back of tracking that has just begun.
  if (!runs && startsDma) actions.push('unquiesce');
  return actions;
}

function isTask(value: number): boolean {
  const state = parseV1State(value);
  return state !== null && state !== V1State.ERROR;
}

interface Facets {
  readonly running: boolean;
  readonly saving: boolean;
  readonly resuming: boolean;
  readonly dma: boolean;
}

function facetsOf(value: number, ndma: boolean): Facets {
  const running = (value & V1Bit.RUNNING) !== 0;
  return {
    running,
    saving: (value & V1Bit.SAVING) !== 0,
    resuming: (value & V1Bit.RESUMING) !== 0,
    dma: running && !(ndma && (value & V1Bit.NDMA) !== 0),
  };
}

function mustSerialize(before: Facets, after: Facets): boolean {
  const changed = before.running !== after.running || before.saving !== after.saving;
  return changed && after.saving && !after.running;
}

function entersPreCopy(before: Facets, after: Facets): boolean {
  return after.saving && after.running && !(before.saving && before.running);
}
