import type { PartVersion, PciIdentity } from '../device/index.ts';
import { HandoverError } from './handover-error.ts';
import {
  Accept,
  Hello,
  MAX_TEXT,
  PartHead,
  PROTOCOL_VERSION,
  Refusal,
  SharedHead,
  Version,
} from './layout.ts';
import { Packer, Unpacker } from './pack.ts';

/** What HELLO says. */
export interface HelloMessage {
  readonly protocol: number;
  /** The process that has the device. */
  readonly pid: number;
  readonly identity: Required<PciIdentity>;
  /** `oldest` is not told: it is the business of whoever reads. */
  readonly parts: readonly Omit<PartVersion, 'oldest'>[];
  readonly shared: readonly { readonly name: string; readonly size: number }[];
  /** How many fds there are about. */
  readonly fds: number;
}

/** HELLO as bytes. */
export function encodeHello({ protocol, pid, identity, parts, shared, fds }: HelloMessage): Uint8Array {
  const pack = new Packer();
  const kind = Buffer.from(identity.kind);
  const { kind: _, ...numbers } = identity;
  pack.struct(Hello, {
    ...{ protocol, pid, fds, kindLength: kind.length },
    ...{ parts: parts.length, shared: shared.length },
    ...numbers,
  });
  pack.bytes(kind);
  for (const { name, version } of parts) {
    const bytes = Buffer.from(name);
    pack.struct(PartHead, { version, nameLength: bytes.length });
    pack.bytes(bytes);
  }
  for (const { name, size } of shared) {
    const bytes = Buffer.from(name);
    pack.struct(SharedHead, { size: BigInt(size), nameLength: bytes.length });
    pack.bytes(bytes);
  }
  return pack.finish();
}

/** Bytes as HELLO. Throws HandoverError, ERR_HANDOVER_REFUSED for one of another version of the talk. */
export function decodeHello(bytes: Uint8Array): HelloMessage {
  const { protocol } = new Unpacker(bytes).struct(Version);
  if (protocol !== PROTOCOL_VERSION) throw otherVersion(protocol);
  const from = new Unpacker(bytes);
  const head = from.struct(Hello);
  const { vendor, device, subsystemVendor, subsystemDevice, revision, classCode } = head;
  const kind = from.text(head.kindLength);
  const parts = Array.from({ length: head.parts }, () => {
    const { version, nameLength } = from.struct(PartHead);
    return { name: from.text(nameLength), version };
  });
  const shared = Array.from({ length: Math.min(head.shared, bytes.length) }, () => {
    const { size, nameLength } = from.struct(SharedHead);
    return { name: from.text(nameLength), size: Number(size) };
  });
  from.end();
  const identity = { kind, vendor, device, subsystemVendor, subsystemDevice, revision, classCode };
  return { protocol: head.protocol, pid: head.pid, identity, parts, shared, fds: head.fds };
}

/** OK as bytes. */
export function encodeAccept(): Uint8Array {
  const pack = new Packer();
  pack.struct(Accept, { protocol: PROTOCOL_VERSION });
  return pack.finish();
}

/** NO as bytes; a text that is too long is cut. */
export function encodeRefusal(errno: number, why: string): Uint8Array {
  const text = Buffer.from(why).subarray(0, MAX_TEXT);
  const pack = new Packer();
  pack.struct(Refusal, { errno, textLength: text.length });
  pack.bytes(text);
  return pack.finish();
}

/** Bytes as NO. Throws HandoverError. */
export function decodeRefusal(bytes: Uint8Array): { readonly errno: number; readonly text: string } {
  const from = new Unpacker(bytes);
  const { errno, textLength } = from.struct(Refusal);
  const text = new TextDecoder().decode(from.bytes(textLength));
  from.end();
  return { errno, text };
}

const A_NAME = /^[\x20-\x7e]*$/;

/**
 * Why the device that HELLO tells of can't go on as the one that is here; null when it can. What the state consists of is
 * compared once more when it is read.
 */
export function misfit(
  hello: HelloMessage,
  here: {
    readonly identity: Required<PciIdentity>;
    readonly parts: readonly PartVersion[];
    readonly shared: readonly { readonly name: string; readonly size: number }[];
  },
): string | null {
  const { identity, parts, shared } = hello;
  // The kind says most.
  const { kind, ...numbers } = here.identity;
  const other = Object.entries({ kind, ...numbers }).find(
    ([name, value]) => Reflect.get(identity, name) !== value,
  );
  if (other !== undefined) {
    const [name, value] = other;
    const theirs = String(Reflect.get(identity, name));
    return `the running device is another one: its ${name} is ${A_NAME.test(theirs) ? theirs : '?'}, here it is ${value}`;
  }
  return (
    parts.map((part) => partMisfit(part, here.parts)).find((why) => why !== null) ??
    sharedMisfit(shared, here.shared)
  );
}

function otherVersion(protocol: number): HandoverError {
  const message =
    `the running server hands over by version ${protocol} of the talk, and this one takes over by version ` +
    `${PROTOCOL_VERSION}: restart it with its VM, or take it over with the ferry that it runs`;
  return new HandoverError('ERR_HANDOVER_REFUSED', message, { protocol });
}

function partMisfit(
  { name, version }: HelloMessage['parts'][number],
  here: readonly PartVersion[],
): string | null {
  const what = name === '' ? 'the state of the device' : `the part ${name} of its state`;
  const mine = here.find((part) => part.name === name);
  if (mine === undefined) return `${what} is unknown here`;
  if (version >= mine.oldest && version <= mine.version) return null;
  return `${what} has version ${version}, and this program reads ${mine.oldest} to ${mine.version}`;
}

function sharedMisfit(shared: HelloMessage['shared'], here: HelloMessage['shared']): string | null {
  const lost = shared.find(
    ({ name, size }) => !here.some((mine) => mine.name === name && mine.size === size),
  );
  if (lost === undefined) return null;
  return `clients may have mapped its memory ${lost.name} of ${lost.size} bytes, which this program does not share`;
}
