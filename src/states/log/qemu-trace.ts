import { type LogEvent, LogLimits, type LogSequence, logError, type Place, type StateLog } from './log.ts';
import { type LogState, stateOfBits, stateOfName } from './log-state.ts';

/** Trace events that tell of states (hw/vfio/trace-events of QEMU 5.2 to 11.1), with what comes after the name. */
const EVENT =
  /\bvfio_migration_(init|set_state|set_device_state)\s+\(([^)]{0,256})\)\s+(?:mig_flags (0x[0-9a-fA-F]{1,16})|(?:new )?state (\w{1,64})(?:, recover state (\w{1,64}))?)/;

/** Whether a line is one that {@link parseQemuTrace} understands. */
export function isTraceLine(text: string): boolean {
  return text.includes('vfio_migration_') && EVENT.test(text);
}

interface Device {
  flags: number | null;
  interface: 'v1' | 'v2';
  readonly events: LogEvent[];
  /** The state that QEMU holds the device to be in. */
  now: string;
  /** A change that was asked for and whose outcome has not been seen. */
  asked: { readonly to: LogState; readonly at: Place } | null;
}

/**
 * What a trace of QEMU says. Since 9.1 there is an event when a state is asked for (with the state to recover to) and
 * one when a state is reached. Asked for and reached differ when the change failed: QEMU then resets the device, or
 * goes to the recover state. Older versions tell only what was reached: names for v2, numbers for v1 (up to 7.2).
 * Throws StateError (ERR_STATE_LOG).
 */
export function parseQemuTrace(lines: Iterable<string>): StateLog {
  const devices = new Map<string, Device>();
  let [number, total] = [0, 0];
  for (const text of lines) {
    number++;
    const match = text.includes('vfio_migration_') ? EVENT.exec(text) : null;
    if (match === null) continue;
    const at = `line ${number}`;
    if (++total > LogLimits.EVENTS) throw logError(at, `more than ${LogLimits.EVENTS} changes`);
    const [, event = '', name = '', flags, state, recover] = match;
    const device = deviceOf(devices, name, at);
    if (event === 'init') device.flags = flags === undefined ? null : Number(flags);
    else if (state !== undefined) take(device, event, requireState(state, at), recover, at);
  }
  const sequences = [...devices].map(([device, found]): LogSequence => {
    if (found.asked !== null) found.events.push({ kind: 'failure', now: null, ...found.asked });
    return { device, interface: found.interface, flags: found.flags, start: null, events: found.events };
  });
  return { format: 'QEMU trace', sequences };
}

function deviceOf(devices: Map<string, Device>, name: string, at: Place): Device {
  let device = devices.get(name);
  if (device === undefined) {
    if (devices.size >= LogLimits.DEVICES) throw logError(at, `more than ${LogLimits.DEVICES} devices`);
    device = { flags: null, interface: 'v2', events: [], now: 'RUNNING', asked: null };
    devices.set(name, device);
  }
  return device;
}

function take(device: Device, event: string, state: LogState, recover: string | undefined, at: Place): void {
  if (state.bits !== null) device.interface = 'v1';
  if (event === 'set_state' && recover !== undefined) ask(device, state, at);
  else if (event === 'set_device_state') reach(device, state, at);
  else {
    device.events.push({ kind: 'change', to: state, at });
    device.now = state.name;
  }
}

/** QEMU does nothing when it is asked for the state that it holds the device to be in. */
function ask(device: Device, to: LogState, at: Place): void {
  if (device.asked !== null) device.events.push({ kind: 'failure', now: null, ...device.asked });
  device.asked = to.name === device.now ? null : { to, at };
}

function reach(device: Device, state: LogState, at: Place): void {
  const { asked } = device;
  device.asked = null;
  device.now = state.name;
  if (asked?.to.name === state.name) {
    device.events.push({ kind: 'change', to: state, at: asked.at });
    return;
  }
  if (asked !== null) device.events.push({ kind: 'failure', now: null, ...asked });
  // After a failure QEMU resets, which leads to RUNNING; any other state is the one that it recovers to.
  if (state.name === 'RUNNING') device.events.push({ kind: 'reset', at });
  else device.events.push({ kind: 'change', to: state, at });
}

function requireState(word: string, at: Place): LogState {
  const state = /^\d{1,10}$/.test(word) ? stateOfBits(Number(word)) : stateOfName(word);
  if (state === null) throw logError(at, `'${word}' is no migration state`);
  return state;
}
