import { errnoName } from '../../errors/index.ts';
import {
  type AnyPayload,
  Command,
  commandName,
  Feature,
  FeatureFlag,
  FeatureHead,
  HeaderFlag,
  ProtocolError,
} from '../../protocol/index.ts';
import { stateName } from '../../states/index.ts';
import { broken, demand } from '../verdict.ts';
import { fields, u32At } from '../wire/bytes.ts';
import type { Received } from '../wire/message-cutter.ts';
import type { RequestOptions, Wire } from '../wire/wire.ts';

/** Whether a reply says that the command failed. */
export function failed({ header }: Received): boolean {
  return (header.flags & HeaderFlag.ERROR) !== 0;
}

/** How a reply answered, for a sentence. */
export function outcomeOf(reply: Received): string {
  if (!failed(reply)) return 'success';
  return reply.header.error === 0 ? 'an error without errno' : errnoName(reply.header.error);
}

/** Demands that a command has worked; returns the payload of its reply. */
export function worked(reply: Received, what = commandName(reply.header.command)): Uint8Array {
  demand(!failed(reply), `${what} was refused with ${outcomeOf(reply)}`, 'success');
  return reply.payload;
}

/** Demands that a command was refused, with one of these errno values if there are any. */
export function refused(reply: Received, what: string, errnos: readonly number[] = []): void {
  const names = errnos.map(errnoName).join(' or ');
  demand(failed(reply), `${what} was accepted`, `an error reply${names === '' ? '' : `, ${names}`}`);
  if (errnos.length === 0 || errnos.includes(reply.header.error)) return;
  broken(`${what} was refused with ${outcomeOf(reply)}`, names);
}

/** Demands that a payload is laid out as the protocol says; returns its value. */
export function decoded<P extends AnyPayload>(
  payload: P,
  bytes: Uint8Array,
  fds?: number,
): ReturnType<P['decode']> {
  try {
    // What decode gives is what it is declared to give; the generic loses the connection.
    return payload.decode(bytes, fds) as ReturnType<P['decode']>;
  } catch (error) {
    if (error instanceof ProtocolError)
      broken(`the reply is malformed: ${error.message}`, `a ${payload.label}`);
    throw error;
  }
}

/** Sends a command that has to work; returns the payload of its reply. */
export async function ask(
  wire: Wire,
  command: number,
  payload: Uint8Array = fields(),
  options: RequestOptions = {},
): Promise<Uint8Array> {
  return worked(await wire.request(command, payload, options));
}

/** Room for any reply to DEVICE_FEATURE that a rule asks for. */
const FEATURE_ROOM = 4096;

/** DEVICE_FEATURE with these bits of the flags; the reply, whatever it says. */
export function feature(
  wire: Wire,
  flags: number,
  data: Uint8Array = fields(),
  { argsz = FEATURE_ROOM, ...options }: RequestOptions & { readonly argsz?: number } = {},
): Promise<Received> {
  return wire.request(Command.DEVICE_FEATURE, fields(argsz, flags, data), options);
}

/** The data of a feature that has to have GET. */
export async function getFeature(wire: Wire, id: number, data: Uint8Array = fields()): Promise<Uint8Array> {
  const reply = await feature(wire, FeatureFlag.GET | id, data);
  return worked(reply, 'DEVICE_FEATURE GET').subarray(FeatureHead.size);
}

/** The number of the migration state. */
export async function getState(wire: Wire): Promise<number> {
  return u32At(await getFeature(wire, Feature.MIG_DEVICE_STATE), 0);
}

/** Asks for a migration state; the reply, whatever it says. */
export function trySetState(wire: Wire, state: number): Promise<Received> {
  const size = FeatureHead.size + 8;
  return feature(wire, FeatureFlag.SET | Feature.MIG_DEVICE_STATE, fields(state, 0xffff_ffff), {
    argsz: size,
  });
}

/** Goes to a migration state, which has to work, one state after the other. */
export async function goTo(wire: Wire, ...states: readonly number[]): Promise<void> {
  for (const state of states) worked(await trySetState(wire, state), `a change to ${stateName(state)}`);
}

/** REGION_READ; the reply, whatever it says. */
export function tryRead(wire: Wire, region: number, offset: bigint, count: number): Promise<Received> {
  return wire.request(Command.REGION_READ, fields(offset, region, count));
}

/** Reads a region, which has to work; the data. */
export async function read(wire: Wire, region: number, offset: bigint, count: number): Promise<Uint8Array> {
  return worked(await tryRead(wire, region, offset, count)).subarray(16);
}

/** REGION_WRITE; the reply, whatever it says. */
export function tryWrite(wire: Wire, region: number, offset: bigint, data: Uint8Array): Promise<Received> {
  return wire.request(Command.REGION_WRITE, fields(offset, region, data.length, data));
}

/** Writes to a region, which has to work. */
export async function write(wire: Wire, region: number, offset: bigint, data: Uint8Array): Promise<void> {
  worked(await tryWrite(wire, region, offset, data));
}

/** Reads migration data of at most `size` bytes; the reply, whatever it says. */
export function tryReadData(wire: Wire, size: number): Promise<Received> {
  return wire.request(Command.MIG_DATA_READ, fields(8 + size, size));
}

/** Writes migration data; the reply, whatever it says. */
export function tryWriteData(wire: Wire, data: Uint8Array): Promise<Received> {
  return wire.request(Command.MIG_DATA_WRITE, fields(8 + data.length, data.length, data));
}

/** A command that every server has to answer in order, so that its reply proves what did not come before it. */
export async function fence(wire: Wire): Promise<void> {
  await wire.request(Command.DEVICE_GET_INFO, fields(16, 0, 0, 0));
}
