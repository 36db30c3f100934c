import type { SyncDeviceClient, WriteOptions } from '../../src/client/index.ts';
import { fields } from '../helpers/raw-client.ts';

const bytes = (...values: number[]): Buffer => Buffer.from(values);
const wide = bytes(1, 2, 3, 4, 5, 6, 7, 0x88);

/** One call of a synchronous client, what it sends, what a server answers, and what it returns. All bytes by hand. */
export interface Access {
  readonly name: string;
  readonly run: (client: SyncDeviceClient, options?: WriteOptions) => unknown;
  readonly command: number;
  readonly request: Buffer;
  readonly reply: Buffer;
  readonly result: unknown;
}

/** Of registers. */
export const reads: readonly Access[] = [
  {
    name: 'readU8',
    run: (client) => client.readU8(0, 3),
    command: 9,
    request: fields(3n, 0, 1),
    reply: fields(3n, 0, 1, bytes(0xfe)),
    result: 0xfe,
  },
  {
    name: 'readU16',
    run: (client) => client.readU16(7, 2n),
    command: 9,
    request: fields(2n, 7, 2),
    reply: fields(2n, 7, 2, bytes(0x34, 0x12)),
    result: 0x1234,
  },
  {
    name: 'readU32',
    run: (client) => client.readU32(0xffff_ffff, 0x1_2345_6789),
    command: 9,
    request: fields(0x1_2345_6789n, 0xffff_ffff, 4),
    reply: fields(0x1_2345_6789n, 0xffff_ffff, 4, bytes(0xef, 0xbe, 0xad, 0xde)),
    result: 0xdead_beef,
  },
  {
    name: 'readU64',
    run: (client) => client.readU64(0, 0xffff_ffff_ffff_fff8n),
    command: 9,
    request: fields(0xffff_ffff_ffff_fff8n, 0, 8),
    reply: fields(0xffff_ffff_ffff_fff8n, 0, 8, wide),
    result: 0x8807_0605_0403_0201n,
  },
];

/** Of registers. */
export const writes: readonly Access[] = [
  {
    name: 'writeU8',
    run: (client, options) => client.writeU8(0, 1, 0xff, options),
    command: 10,
    request: fields(1n, 0, 1, bytes(0xff)),
    reply: fields(1n, 0, 1),
    result: undefined,
  },
  {
    name: 'writeU16',
    run: (client, options) => client.writeU16(0, 1n, 0x1234, options),
    command: 10,
    request: fields(1n, 0, 2, bytes(0x34, 0x12)),
    reply: fields(1n, 0, 2),
    result: undefined,
  },
  {
    name: 'writeU32',
    run: (client, options) => client.writeU32(0, 4, 0xffff_fffe, options),
    command: 10,
    request: fields(4n, 0, 4, bytes(0xfe, 0xff, 0xff, 0xff)),
    reply: fields(4n, 0, 4),
    result: undefined,
  },
  {
    name: 'writeU32, answered by a header alone',
    run: (client, options) => client.writeU32(0, 4, 1, options),
    command: 10,
    request: fields(4n, 0, 4, bytes(1, 0, 0, 0)),
    reply: bytes(),
    result: undefined,
  },
  {
    name: 'writeU64',
    run: (client, options) => client.writeU64(0, 8, 0x8807_0605_0403_0201n, options),
    command: 10,
    request: fields(8n, 0, 8, wide),
    reply: fields(8n, 0, 8),
    result: undefined,
  },
];

/** By the common way. */
export const others: readonly Access[] = [
  {
    name: 'info',
    run: (client) => client.info(),
    command: 4,
    request: fields(16, 0, 0, 0),
    reply: fields(16, 1, 9, 5),
    result: { resettable: true, pci: false, regionCount: 9, irqCount: 5 },
  },
  {
    name: 'read',
    run: (client) => client.read(1, 0, 5),
    command: 9,
    request: fields(0n, 1, 5),
    reply: fields(0n, 1, 5, Buffer.from('hello')),
    result: new Uint8Array(Buffer.from('hello')),
  },
  {
    name: 'migrationState',
    run: (client) => client.migrationState(),
    command: 16,
    request: fields(16, 0x1_0002),
    reply: fields(16, 0x1_0002, 6, -1),
    result: 6,
  },
  {
    name: 'writeMigrationData',
    run: (client) => client.writeMigrationData(Buffer.from('state')),
    command: 18,
    request: fields(13, 5, Buffer.from('state')),
    reply: bytes(),
    result: undefined,
  },
];
