import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import { fields, type RawClient } from '../../helpers/raw-client.ts';
import { TestDevice } from '../../helpers/test-device.ts';
import { testServers } from '../test-servers.ts';
import * as v1 from './v1-driver.ts';

const { world } = testServers();
const PAGE = 4096;
const SECTION = 8192;
const MASK = 0b111;
const [RUNNING, SAVING, RESUMING] = [0b001, 0b010, 0b100];

/** What QEMU 5.2 to 7.2 does with a v1 device whose data section it has not mapped (hw/vfio/migration.c), in bytes. */
class Qemu {
  readonly client: RawClient;
  #region = -1;

  constructor(client: RawClient) {
    this.client = client;
  }

  /** vfio_get_dev_region_info: every region, and again with the room that its capabilities need. */
  async probe(): Promise<void> {
    const info = Buffer.from((await this.client.request(4, fields(16, 0, 0, 0))).payload);
    for (let index = 0; index < info.readUInt32LE(8); index += 1) {
      const short = await this.client.request(5, fields(32, 0, index, 0, 0n, 0n));
      const argsz = Buffer.from(short.payload).readUInt32LE(0);
      if (argsz <= 32) continue;
      const payload = Buffer.from((await this.client.request(5, fields(argsz, 0, index, 0, 0n, 0n))).payload);
      for (let at = payload.readUInt32LE(12); at !== 0; at = payload.readUInt32LE(at + 4)) {
        const isType = payload.readUInt16LE(at) === 2;
        if (isType && payload.readUInt32LE(at + 8) === 3 && payload.readUInt32LE(at + 12) === 1)
          this.#region = index;
      }
    }
    expect(this.#region).toBe(v1.REGION);
  }

  /** vfio_migration_set_state: read, mask, set, write. */
  async setState(mask: number, value: number): Promise<void> {
    const state = (((await v1.getState(this.client)) & mask) | value) >>> 0;
    expect(await v1.setState(this.client, state)).toBe(0);
  }

  /** vfio_update_pending. */
  pending(): Promise<number> {
    return v1.readWide(this.client, v1.PENDING_BYTES);
  }

  /** vfio_save_buffer: the trapped data in accesses of 8, 4, 2 and 1 bytes (vfio_mig_rw). */
  async save(): Promise<Buffer> {
    const offset = await v1.readWide(this.client, v1.DATA_OFFSET);
    const size = await v1.readWide(this.client, v1.DATA_SIZE);
    const parts: Buffer[] = [];
    for (const [at, width] of accesses(size)) parts.push(await v1.readBytes(this.client, offset + at, width));
    return Buffer.concat(parts);
  }

  /** vfio_load_buffer: cut to its own data section, if that is smaller. */
  async load(piece: Buffer, section: number): Promise<void> {
    for (let done = 0; done < piece.length; done += section) {
      const part = piece.subarray(done, done + section);
      const offset = await v1.readWide(this.client, v1.DATA_OFFSET);
      for (const [at, width] of accesses(part.length)) {
        expect(await v1.write(this.client, offset + at, part.subarray(at, at + width))).toBe(0);
      }
      expect(await v1.write(this.client, v1.DATA_SIZE, fields(BigInt(part.length)))).toBe(0);
    }
  }
}

/** As wide as what is left and its alignment allow. */
function* accesses(size: number): Generator<readonly [at: number, width: number]> {
  for (let at = 0; at < size; ) {
    const width = [8, 4, 2, 1].find((each) => at % each === 0 && at + each <= size) ?? 1;
    yield [at, width];
    at += width;
  }
}

function contentOf({ state }: TestDevice) {
  return { scratch: state.scratch, ram: createHash('sha256').update(state.ram.bytes).digest('hex') };
}

it('is moved as QEMU moves v1 devices, also to a smaller data section', async () => {
  const from = await world(new TestDevice(), { v1: { dataSize: SECTION } });
  const to = await world(new TestDevice(), { v1: { dataSize: PAGE } });
  from.device.state.ram.write(3 * PAGE, Buffer.alloc(2 * PAGE + 11, 0x5a));
  const [source, destination] = [new Qemu(from.main), new Qemu(to.main)];
  await source.probe();
  await destination.probe();
  const stream: Buffer[] = [];

  // save_setup; then one save_iterate after the other. Each asks for pending_bytes first and leaves its piece as it is.
  await source.setState(MASK, SAVING);
  for (let i = 0; i < 2; i += 1) if ((await source.pending()) > 0) stream.push(await source.save());
  from.device.state.ram.write(0, Buffer.alloc(100, 0x77));
  expect((await from.main.request(10, fields(0x04n, 0, 4, 0xfee1dead))).error).toBe(0);
  if ((await source.pending()) > 0) stream.push(await source.save());
  // The machine stops (vfio_vmstate_change), save_complete_precopy sets the same state again and takes the rest.
  await source.setState(~RUNNING, SAVING);
  await source.setState(~RUNNING, SAVING);
  while ((await source.pending()) > 0) stream.push(await source.save());
  await source.setState(~SAVING, 0);
  expect(await v1.getState(from.main)).toBe(0b000);

  // load_setup, load_state, and the machine starts.
  await destination.setState(~MASK, RESUMING);
  for (const piece of stream) await destination.load(piece, PAGE);
  await destination.setState(~MASK, RUNNING);
  expect(await v1.getState(to.main)).toBe(0b001);
  expect(contentOf(to.device)).toEqual(contentOf(from.device));
  expect(to.device.state.scratch).toBe(0xfee1dead);
});

it('runs on after QEMU has cancelled', async () => {
  const { main, device } = await world(new TestDevice(), { v1: { dataSize: SECTION } });
  device.state.ram.write(0, Buffer.alloc(5 * PAGE, 0x5a));
  const before = contentOf(device);
  const qemu = new Qemu(main);
  await qemu.probe();
  await qemu.setState(MASK, SAVING);
  if ((await qemu.pending()) > 0) await qemu.save();
  // vfio_migration_state_notifier, MIGRATION_STATUS_CANCELLED.
  await qemu.setState(~(SAVING | RESUMING), RUNNING);
  expect(await v1.getState(main)).toBe(0b001);
  expect(contentOf(device)).toEqual(before);
});
