import { type LogEvent, LogLimits, logError, type Place, type StateLog } from './log.ts';
import { stateOfName } from './log-state.ts';

/** QEMU announces by this that it is about to ask for PRE_COPY_P2P; it is no state. */
const ANNOUNCEMENT = 'pre-copy-p2p-prepare';

/**
 * The VFIO_MIGRATION events of a QMP log, one JSON object to a line, whatever stands before it on the line. QEMU sends
 * an event for each state that a device has reached, not for what failed. Throws StateError (ERR_STATE_LOG).
 */
export function parseQmpLog(lines: Iterable<string>): StateLog {
  const devices = new Map<string, LogEvent[]>();
  let [number, total] = [0, 0];
  for (const text of lines) {
    number++;
    const found = eventOf(text, `line ${number}`);
    if (found === null) continue;
    if (++total > LogLimits.EVENTS) throw logError(`line ${number}`, `more than ${LogLimits.EVENTS} changes`);
    const events = devices.get(found.device) ?? [];
    if (events.length === 0 && devices.size >= LogLimits.DEVICES) {
      throw logError(`line ${number}`, `more than ${LogLimits.DEVICES} devices`);
    }
    devices.set(found.device, events);
    events.push(found.event);
  }
  if (devices.size === 0) {
    throw logError(
      null,
      'there is no VFIO_MIGRATION event: QEMU sends them for devices with migration-events=on',
    );
  }
  const sequences = [...devices].map(([device, events]) => ({
    device,
    interface: 'v2' as const,
    flags: null,
    start: null,
    events,
  }));
  return { format: 'QMP log', sequences };
}

function eventOf(text: string, at: Place): { device: string; event: LogEvent } | null {
  if (!text.includes('"VFIO_MIGRATION"')) return null;
  const data = dataOf(text.slice(text.indexOf('{')));
  if (data === null) throw logError(at, 'the event VFIO_MIGRATION is no complete JSON object on one line');
  const state = field(data, 'device-state');
  const device = field(data, 'device-id') ?? field(data, 'qom-path') ?? '';
  if (state === null) throw logError(at, 'the event VFIO_MIGRATION has no device-state');
  if (state === ANNOUNCEMENT) return null;
  const to = stateOfName(state);
  if (to === null) throw logError(at, `'${state.slice(0, LogLimits.WORD)}' is no migration state`);
  return { device: device.slice(0, LogLimits.WORD), event: { kind: 'change', to, at } };
}

function dataOf(text: string): object | null {
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed !== 'object' || parsed === null || !('data' in parsed)) return null;
    return typeof parsed.data === 'object' ? parsed.data : null;
  } catch {
    return null;
  }
}

function field(data: object, name: string): string | null {
  const value: unknown = Object.entries(data).find(([key]) => key === name)?.[1];
  return typeof value === 'string' ? value : null;
}
