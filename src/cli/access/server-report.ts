import { v1Bits } from '../../states/index.ts';
import { formatBytes, formatMs } from '../options/quantities.ts';
import { printable } from '../output/terminal.ts';

/** A field of a value that came as JSON; undefined when there is none. */
export function field(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  return Object.getOwnPropertyDescriptor(value, name)?.value;
}

/** A text that came as JSON, fit for a terminal; undefined when there is none. */
export function textOf(value: unknown, name: string): string | undefined {
  const found = field(value, name);
  return typeof found === 'string' ? printable(found) : undefined;
}

/** What a Ferry server tells of itself, in lines for people; none for other servers. */
export function describeServer(report: unknown): string[] {
  if (field(report, 'migration') === undefined) return [];
  return [
    describeSession(field(report, 'migration')),
    ...describeV1(field(field(report, 'migration'), 'v1')),
    describeMain(field(report, 'main')),
    ...describeClaim(field(report, 'claim')),
    ...describeKept(field(field(report, 'reconnection'), 'kept')),
    ...describeHold(report),
    ...describeHealth(field(report, 'device')),
  ];
}

function describeSession(migration: unknown): string {
  const owner = textOf(migration, 'sessionOwner');
  const driven = owner === undefined ? 'driven by nobody' : `driven by a ${owner} connection`;
  const moving = field(migration, 'inTransition') === true ? ', in transition' : '';
  const error = textOf(field(migration, 'lastError'), 'message');
  return `migration: ${driven}${moving}${error === undefined ? '' : `; last error: ${error}`}`;
}

/** What a device is offered through whose migration is driven by v1. */
function describeV1(v1: unknown): string[] {
  const rule = textOf(v1, 'rule');
  if (rule === undefined) return [];
  const size = formatBytes(numberOf(v1, 'dataSize'));
  const state = v1Bits(numberOf(v1, 'deviceState'));
  return [`v1: device_state ${state}, pieces of up to ${size}, rules ${rule}`];
}

/** The last moment that Date knows, in milliseconds (ECMAScript, Time Values). */
const LAST_MOMENT = 8.64e15;

/** To which migration the device belongs; nothing when to none. */
function describeClaim(claim: unknown): string[] {
  const id = textOf(claim, 'id');
  if (id === undefined) return [];
  const sinceMs = numberOf(claim, 'sinceMs');
  const since = Math.abs(sinceMs) <= LAST_MOMENT ? new Date(sinceMs).toISOString() : 'an unknown time';
  const attended = field(claim, 'attended') === true ? '' : ', nobody acts for it now';
  const retired = field(claim, 'retired') === true ? '; retired: the state has been handed over' : '';
  const epoch = textOf(claim, 'epoch') ?? 'unknown';
  return [`claim: belongs to migration ${id} since ${since}, epoch ${epoch}${attended}${retired}`];
}

function describeMain(main: unknown): string {
  if (field(main, 'connected') !== true) return 'main connection: none';
  const logging = field(main, 'dmaLogging') === true ? ', DMA is being logged' : '';
  return `main connection: a VMM, ${numberOf(main, 'dmaMaps')} DMA maps${logging}`;
}

/** What no client was told, or what clients ignore. */
function describeHealth(device: unknown): string[] {
  const health = field(device, 'health');
  return Array.isArray(health) ? health.map((each) => `health: ${printable(String(each))}`) : [];
}

/** A state that waits for somebody to say whether it goes on. */
function describeKept(kept: unknown): string[] {
  if (typeof kept !== 'object' || kept === null) return [];
  const who =
    field(kept, 'returned') === true ? 'a VMM has come, whose resets are withheld' : 'no VMM has come yet';
  return [`state: kept for a VMM that comes back (${who}); ferry reconnect decides`];
}

function describeHold(report: unknown): string[] {
  const hold = field(report, 'hold');
  const length = formatMs(numberOf(hold, 'lengthMs'));
  if (field(hold, 'active') === true) {
    const expired = field(hold, 'expired') === true ? '; it has expired: accesses get EBUSY' : '';
    return [
      `hold: for ${length}, ${numberOf(hold, 'parkedCommands')} commands parked${expired}`,
      ...dropped(hold),
    ];
  }
  const count = numberOf(hold, 'count');
  if (count === 0) return [];
  const longest = formatMs(numberOf(hold, 'longestMs'));
  return [`hold: none now; ${count} so far, the last ${length}, the longest ${longest}`, ...dropped(hold)];
}

function dropped(hold: unknown): string[] {
  const count = numberOf(hold, 'droppedWrites');
  return count === 0 ? [] : [`posted writes dropped by holds that expired: ${count}`];
}

/** A number that came as JSON; 0 when there is none. */
export function numberOf(value: unknown, name: string): number {
  const found = field(value, name);
  return typeof found === 'number' ? found : 0;
}
