import type { DeviceClient, GuestRegion } from '../../src/client/index.ts';
import { fields } from '../helpers/raw-client.ts';

/** What calls need besides the client. */
export interface Guest {
  /** 16 KiB at 0x10000. */
  readonly ram: GuestRegion;
  /** 100 bytes at 32 GiB that the device may only read, and only by message. */
  readonly unmappable: GuestRegion;
  /** Three of them. */
  readonly eventfds: readonly number[];
}

/** One call of the client, what it sends, what a server answers, and what comes of it. All bytes by hand. */
export interface Call {
  readonly name: string;
  readonly run: (client: DeviceClient, guest: Guest) => Promise<unknown>;
  readonly command: number;
  readonly request: Buffer;
  readonly flags?: number;
  readonly fds?: number;
  readonly reply: Buffer;
  readonly result: unknown;
}

const GET = 0x1_0000;
const SET = 0x2_0000;
const PROBE = 0x4_0000;
const bytes = (...values: number[]): Buffer => Buffer.from(values);
const none = bytes();

/** Calls that pass on a refusal. */
export const calls: readonly Call[] = [
  {
    name: 'info',
    run: (client) => client.info(),
    command: 4,
    request: fields(16, 0, 0, 0),
    reply: fields(16, 3, 9, 5),
    result: { resettable: true, pci: true, regionCount: 9, irqCount: 5 },
  },
  {
    name: 'regionInfo',
    run: (client) => client.regionInfo(2),
    command: 5,
    request: fields(1024, 0, 2, 0, 0n, 0n),
    reply: fields(32, 3, 2, 0, 0x1000n, 0n),
    result: {
      index: 2,
      size: 0x1000n,
      fileOffset: 0n,
      readable: true,
      writable: true,
      mappable: false,
      areas: [],
    },
  },
  {
    name: 'irqInfo',
    run: (client) => client.irqInfo(2),
    command: 7,
    request: fields(16, 0, 2, 0),
    reply: fields(16, 0xb, 2, 2048),
    result: { index: 2, count: 2048, eventfd: true, maskable: true, autoMasked: false, noResize: true },
  },
  {
    name: 'read',
    run: (client) => client.read(1, 0x20, 5),
    command: 9,
    request: fields(0x20n, 1, 5),
    reply: fields(0x20n, 1, 5, Buffer.from('hello')),
    result: new Uint8Array(Buffer.from('hello')),
  },
  {
    name: 'readU8',
    run: (client) => client.readU8(0, 3n),
    command: 9,
    request: fields(3n, 0, 1),
    reply: fields(3n, 0, 1, bytes(0xfe)),
    result: 0xfe,
  },
  {
    name: 'readU16',
    run: (client) => client.readU16(7, 2),
    command: 9,
    request: fields(2n, 7, 2),
    reply: fields(2n, 7, 2, bytes(0x34, 0x12)),
    result: 0x1234,
  },
  {
    name: 'readU32',
    run: (client) => client.readU32(0, 0x1_2345_6789),
    command: 9,
    request: fields(0x1_2345_6789n, 0, 4),
    reply: fields(0x1_2345_6789n, 0, 4, bytes(0xef, 0xbe, 0xad, 0xde)),
    result: 0xdeadbeef,
  },
  {
    name: 'readU64',
    run: (client) => client.readU64(0, 0xffff_ffff_ffff_fff8n),
    command: 9,
    request: fields(0xffff_ffff_ffff_fff8n, 0, 8),
    reply: fields(0xffff_ffff_ffff_fff8n, 0, 8, bytes(1, 2, 3, 4, 5, 6, 7, 0x88)),
    result: 0x8807_0605_0403_0201n,
  },
  {
    name: 'write',
    run: (client) => client.write(1, 8, Buffer.from('abc')),
    command: 10,
    request: fields(8n, 1, 3, Buffer.from('abc')),
    reply: fields(8n, 1, 3),
    result: undefined,
  },
  {
    name: 'writeU8',
    run: (client) => client.writeU8(0, 1, 0xff),
    command: 10,
    request: fields(1n, 0, 1, bytes(0xff)),
    reply: fields(1n, 0, 1),
    result: undefined,
  },
  {
    name: 'writeU16',
    run: (client) => client.writeU16(0, 1, 0x1234),
    command: 10,
    request: fields(1n, 0, 2, bytes(0x34, 0x12)),
    reply: fields(1n, 0, 2),
    result: undefined,
  },
  {
    name: 'writeU32, answered by a header alone',
    run: (client) => client.writeU32(0, 4, 0xffff_fffe),
    command: 10,
    request: fields(4n, 0, 4, bytes(0xfe, 0xff, 0xff, 0xff)),
    reply: none,
    result: undefined,
  },
  {
    name: 'writeU64',
    run: (client) => client.writeU64(0, 8, 0x8807_0605_0403_0201n),
    command: 10,
    request: fields(8n, 0, 8, bytes(1, 2, 3, 4, 5, 6, 7, 0x88)),
    reply: fields(8n, 0, 8),
    result: undefined,
  },
  {
    name: 'writeMulti',
    run: (client) =>
      client.writeMulti([
        { region: 0, offset: 16, data: bytes(1, 2, 3) },
        { region: 1, offset: 0n, data: bytes(9, 8, 7, 6, 5, 4, 3, 2) },
      ]),
    command: 15,
    request: fields(2n, 16n, 0, 3, bytes(1, 2, 3, 0, 0, 0, 0, 0), 0n, 1, 8, bytes(9, 8, 7, 6, 5, 4, 3, 2)),
    reply: fields(2n),
    result: undefined,
  },
  {
    name: 'mapMemory with an fd',
    run: (client, { ram }) => client.mapMemory(ram),
    command: 2,
    request: fields(32, 3, 0n, 0x10000n, 0x4000n),
    fds: 1,
    reply: none,
    result: undefined,
  },
  {
    name: 'mapMemory without an fd',
    run: (client, { unmappable }) => client.mapMemory(unmappable),
    command: 2,
    request: fields(32, 1, 0n, 0x8_0000_0000n, 100n),
    reply: none,
    result: undefined,
  },
  {
    name: 'unmapMemory',
    run: (client, { ram }) => client.unmapMemory(ram),
    command: 3,
    request: fields(24, 0, 0x10000n, 0x4000n),
    reply: fields(24, 0, 0x10000n, 0x4000n),
    result: null,
  },
  {
    name: 'unmapMemory with the dirty bitmap',
    run: (client, { ram }) => client.unmapMemory(ram, { dirtyPageSize: 4096n }),
    command: 3,
    request: fields(48, 1, 0x10000n, 0x4000n, 4096n, 8n),
    reply: fields(48, 1, 0x10000n, 0x4000n, 4096n, 8n, 5n),
    result: new Uint8Array([5, 0, 0, 0, 0, 0, 0, 0]),
  },
  {
    name: 'unmapAll',
    run: (client) => client.unmapAll(),
    command: 3,
    request: fields(24, 2, 0n, 0n),
    reply: fields(24, 2, 0n, 0n),
    result: undefined,
  },
  {
    name: 'setIrq',
    run: (client, { eventfds }) => client.setIrq(2, 5, eventfds),
    command: 8,
    request: fields(20, 0x24, 2, 5, 3),
    fds: 3,
    reply: none,
    result: undefined,
  },
  {
    name: 'setIrq to take eventfds away',
    run: (client) => client.setIrq(2, 5, [null, null]),
    command: 8,
    request: fields(20, 0x24, 2, 5, 2),
    reply: none,
    result: undefined,
  },
  {
    name: 'setIrq to disable the index',
    run: (client) => client.setIrq(1, 0, null),
    command: 8,
    request: fields(20, 0x21, 1, 0, 0),
    reply: none,
    result: undefined,
  },
  {
    name: 'maskIrq',
    run: (client) => client.maskIrq(0, 0, 1),
    command: 8,
    request: fields(20, 0x09, 0, 0, 1),
    reply: none,
    result: undefined,
  },
  {
    name: 'unmaskIrq',
    run: (client) => client.unmaskIrq(0, 0, 1),
    command: 8,
    request: fields(20, 0x11, 0, 0, 1),
    reply: none,
    result: undefined,
  },
  {
    name: 'triggerIrq',
    run: (client) => client.triggerIrq(2, 3, 4),
    command: 8,
    request: fields(20, 0x21, 2, 3, 4),
    reply: none,
    result: undefined,
  },
  {
    name: 'disableInterrupts',
    run: (client) => client.disableInterrupts(2),
    command: 8,
    request: fields(20, 0x21, 2, 0, 0),
    reply: none,
    result: undefined,
  },
  {
    name: 'migrationState',
    run: (client) => client.migrationState(),
    command: 16,
    request: fields(16, GET | 2),
    reply: fields(16, GET | 2, 6, -1),
    result: 6,
  },
  {
    name: 'migrationState of a kind that this version does not know',
    run: (client) => client.migrationState(),
    command: 16,
    request: fields(16, GET | 2),
    reply: fields(16, GET | 2, 99, 0),
    result: 99,
  },
  {
    name: 'startDmaLogging',
    run: (client) => client.startDmaLogging(4096n, [{ iova: 0x10000n, length: 0x4000n }]),
    command: 16,
    request: fields(40, SET | 6, 4096n, 1, 0, 0x10000n, 0x4000n),
    reply: fields(40, SET | 6, 8192n, 1, 0, 0x10000n, 0x4000n),
    result: 8192n,
  },
  {
    name: 'startDmaLogging of everything',
    run: (client) => client.startDmaLogging(4096n, []),
    command: 16,
    request: fields(24, SET | 6, 4096n, 0, 0),
    reply: fields(24, SET | 6, 4096n, 0, 0),
    result: 4096n,
  },
  {
    name: 'stopDmaLogging',
    run: (client) => client.stopDmaLogging(),
    command: 16,
    request: fields(8, SET | 7),
    reply: fields(8, SET | 7),
    result: undefined,
  },
  {
    name: 'dmaLog',
    run: (client) => client.dmaLog(0x10000n, 0x4000n, 4096n),
    command: 16,
    request: fields(40, GET | 8, 0x10000n, 0x4000n, 4096n),
    reply: fields(40, GET | 8, 0x10000n, 0x4000n, 4096n, 0xan),
    result: new Uint8Array([10, 0, 0, 0, 0, 0, 0, 0]),
  },
  {
    name: 'precopyInfo',
    run: (client) => client.precopyInfo(),
    command: 0xfe01,
    request: fields(24, 0),
    reply: fields(24, 0, 100n, 200n),
    result: { initialBytes: 100n, dirtyBytes: 200n },
  },
  {
    name: 'readMigrationDataInto',
    run: async (client) => {
      const target = Buffer.alloc(16);
      return [await client.readMigrationDataInto(target), target.toString('latin1', 0, 5)];
    },
    command: 17,
    request: fields(24, 16),
    reply: fields(13, 5, Buffer.from('state')),
    result: [5, 'state'],
  },
  {
    name: 'writeMigrationData',
    run: (client) => client.writeMigrationData(Buffer.from('state')),
    command: 18,
    request: fields(13, 5, Buffer.from('state')),
    reply: none,
    result: undefined,
  },
];

/** Calls that take a refusal for an answer. */
export const tolerant: readonly Call[] = [
  {
    name: 'migrationFlags',
    run: (client) => client.migrationFlags(),
    command: 16,
    request: fields(16, GET | 1),
    reply: fields(16, GET | 1, 7n),
    result: 7n,
  },
  {
    name: 'migrationDataSize',
    run: (client) => client.migrationDataSize(),
    command: 16,
    request: fields(16, GET | 9),
    reply: fields(16, GET | 9, 0x1_0000_0000n),
    result: 0x1_0000_0000n,
  },
  {
    name: 'probeFeature',
    run: (client) => client.probeFeature(2, GET | SET),
    command: 16,
    request: fields(8, GET | SET | PROBE | 2),
    reply: fields(8, GET | SET | PROBE | 2),
    result: true,
  },
];
