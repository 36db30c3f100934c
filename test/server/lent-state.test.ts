import { afterEach, describe, expect, it } from 'vitest';
import { type DeviceMigration, PciDevice } from '../../src/device/index.ts';
import { fields } from '../helpers/raw-client.ts';
import { serveForTest } from '../helpers/served.ts';

const SET_STATE = 0x2_0002;
const STOP_COPY = 3;

/** A device whose state lies in memory: it lends it instead of copying it. */
class Lender extends PciDevice {
  readonly identity = { kind: 'lender', vendor: 0x1af4, device: 0x10f1, classCode: 0xff0000 };
  readonly bars = {};
  readonly interrupts = {};
  readonly bytes = Uint8Array.from({ length: 3_000_000 }, (_, i) => i % 251);

  protected override createMigration(): DeviceMigration {
    let at = 0;
    return {
      flags: 1,
      arc() {},
      view: (limit) => {
        const start = at;
        at = Math.min(at + limit, this.bytes.length);
        return this.bytes.subarray(start, at);
      },
      read: () => 0,
      write() {},
      precopyInfo: () => ({ initialBytes: 0n, dirtyBytes: 0n }),
      dataSize: () => BigInt(this.bytes.length),
      reset() {},
    };
  }
}

describe('MIG_DATA_READ of a device that lends its bytes', () => {
  let served: ReturnType<typeof serveForTest>;
  afterEach(() => served.close());

  it('sends them all, in order and in full pieces, to a reader that takes its time', async () => {
    const device = new Lender();
    served = serveForTest(device);
    const control = await served.control();
    expect(await control.request(16, fields(16, SET_STATE, STOP_COPY, 0xffffffff))).toMatchObject({
      error: 0,
    });
    const size = 1_000_000;
    const ids = Array.from({ length: 4 }, () => control.post(17, fields(8 + size, size)));
    const pieces: Uint8Array[] = [];
    for (const id of ids) {
      const { payload } = await control.reply(id);
      expect(Buffer.from(payload).readUInt32LE(4)).toBe(payload.length - 8);
      pieces.push(payload.subarray(8));
    }
    expect(pieces.map(({ length }) => length)).toEqual([size, size, size, 0]);
    expect(Buffer.concat(pieces).equals(device.bytes)).toBe(true);
  });
});
