import { fromHalves, toHalves } from '../protocol/index.ts';
import { ByteReader } from './byte-reader.ts';
import { JournalError } from './journal-error.ts';
import {
  BeginBody,
  DeviceHead,
  MAX_CONFIGURATION,
  MAX_DEVICES,
  MAX_PLAN,
  MAX_TEXT,
  OWNER_NUMBERS,
  PAUSED,
  RecoveredBody,
  WithheldHead,
} from './layout.ts';
import type {
  BeginRecord,
  JournalDevice,
  JournalRecord,
  OwningSide,
  WithheldConfiguration,
} from './record.ts';

type Ready = Extract<JournalRecord, { kind: 'READY' }>;
type Abort = Extract<JournalRecord, { kind: 'ABORT' }>;
type Recovered = Extract<JournalRecord, { kind: 'RECOVERED' }>;

/** The body of a record. @throws JournalError ERR_JOURNAL_RECORD for what does not fit */
export function encodeBody(record: JournalRecord): Uint8Array {
  switch (record.kind) {
    case 'BEGIN':
      return encodeBegin(record);
    case 'READY':
      return Buffer.concat((record.withheld ?? []).flatMap(encodeWithheld));
    case 'ABORT':
      return encodeText(record.reason, 'the reason');
    case 'RECOVERED':
      return encodeRecovered(record);
    default:
      return new Uint8Array(0);
  }
}

/** BEGIN's part of a record from its body; null for bytes that are none. */
export function decodeBegin(
  body: Uint8Array,
): Pick<BeginRecord, 'token' | 'peer' | 'devices' | 'plan'> | null {
  const reader = new ByteReader(body);
  const head = reader.struct(BeginBody);
  if (head === null || head.devices > MAX_DEVICES) return null;
  const peer = reader.text(head.peerLength);
  const devices: JournalDevice[] = [];
  for (let i = 0; i < head.devices; i += 1) {
    const device = reader.struct(DeviceHead);
    const path = device === null ? null : reader.text(device.pathLength);
    if (device === null || path === null) return null;
    if (device.flags > PAUSED) return null;
    const paused = device.flags === PAUSED ? { paused: true } : {};
    devices.push({ path, instance: device.instance, ...paused });
  }
  const plan = reader.left > MAX_PLAN ? null : reader.bytes(reader.left);
  if (peer === null || plan === null) return null;
  const token = toHex(fromHalves(head.tokenLow, head.tokenHigh));
  return { token, peer, devices, ...(plan.length === 0 ? {} : { plan }) };
}

/** READY's part of a record from its body; null for bytes that are none. */
export function decodeReady(body: Uint8Array): Pick<Ready, 'withheld'> | null {
  const reader = new ByteReader(body);
  const withheld: WithheldConfiguration[] = [];
  while (reader.left > 0) {
    const head = reader.struct(WithheldHead);
    if (head === null || head.device <= (withheld.at(-1)?.device ?? -1)) return null;
    const configuration = head.length > MAX_CONFIGURATION ? null : reader.bytes(head.length);
    if (configuration === null) return null;
    withheld.push({ device: head.device, actions: head.actions, configuration });
  }
  return withheld.length === 0 ? {} : { withheld };
}

/** ABORT's part of a record from its body; null for bytes that are none. */
export function decodeAbort(body: Uint8Array): Pick<Abort, 'reason'> | null {
  const reason = new ByteReader(body).text(body.length);
  return reason === null ? null : { reason };
}

/** RECOVERED's part of a record from its body; null for bytes that are none. */
export function decodeRecovered(body: Uint8Array): Pick<Recovered, 'owner' | 'who' | 'why'> | null {
  const reader = new ByteReader(body);
  const head = reader.struct(RecoveredBody);
  const owner = head === null ? null : ownerOf(head.owner);
  const who = head === null ? null : reader.text(head.whoLength);
  const why = reader.text(reader.left);
  return owner === null || who === null || why === null ? null : { owner, who, why };
}

/** 32 hex digits as bytes. @throws JournalError ERR_JOURNAL_RECORD */
export function fromHex(text: string, what: string): Uint8Array {
  if (/^[0-9a-f]{32}$/.test(text)) return new Uint8Array(Buffer.from(text, 'hex'));
  throw new JournalError('ERR_JOURNAL_RECORD', `${what} must be 32 hex digits`, { length: text.length });
}

/** Bytes as hex digits. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}

function encodeBegin({ token, peer, devices, plan = NO_PLAN }: BeginRecord): Uint8Array {
  if (devices.length > MAX_DEVICES) {
    const message = `${devices.length} devices are more than the ${MAX_DEVICES} of a group`;
    throw new JournalError('ERR_JOURNAL_RECORD', message, { devices: devices.length });
  }
  if (plan.length > MAX_PLAN)
    throw new JournalError('ERR_JOURNAL_RECORD', 'the plan is too long', { length: plan.length });
  const { low, high } = toHalves(fromHex(token, 'the token'));
  const name = encodeText(peer, 'the name of the other side');
  const fields = { tokenLow: low, tokenHigh: high, peerLength: name.length, devices: devices.length };
  return Buffer.concat([written(BeginBody, fields), name, ...devices.flatMap(encodeDevice), plan]);
}

const NO_PLAN = new Uint8Array(0);

function encodeDevice({ path, instance, paused }: JournalDevice): readonly Uint8Array[] {
  const text = encodeText(path, 'the path of a device');
  const flags = paused === true ? PAUSED : 0;
  return [written(DeviceHead, { instance, pathLength: text.length, flags }), text];
}

function encodeWithheld({ device, actions, configuration }: WithheldConfiguration): readonly Uint8Array[] {
  const { length } = configuration;
  if (length <= MAX_CONFIGURATION && device < MAX_DEVICES)
    return [written(WithheldHead, { device, actions, length }), configuration];
  const message = 'what is withheld is of no device, or longer than a configuration space';
  throw new JournalError('ERR_JOURNAL_RECORD', message, { device, length });
}

function encodeRecovered({ owner, who, why }: Recovered): Uint8Array {
  const name = encodeText(who, 'who decided');
  const head = written(RecoveredBody, { owner: OWNER_NUMBERS[owner], whoLength: name.length });
  return Buffer.concat([head, name, encodeText(why, 'why it was decided')]);
}

/** A struct as bytes of its own. */
function written<V>(
  layout: { readonly size: number; write(view: DataView, at: number, value: V): void },
  value: V,
): Uint8Array {
  const bytes = new Uint8Array(layout.size);
  layout.write(new DataView(bytes.buffer), 0, value);
  return bytes;
}

function encodeText(text: string, what: string): Uint8Array {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length <= MAX_TEXT) return bytes;
  throw new JournalError('ERR_JOURNAL_RECORD', `${what} is longer than ${MAX_TEXT} bytes`, {
    length: bytes.length,
  });
}

function ownerOf(number: number): OwningSide | null {
  if (number === OWNER_NUMBERS.source) return 'source';
  return number === OWNER_NUMBERS.destination ? 'destination' : null;
}
