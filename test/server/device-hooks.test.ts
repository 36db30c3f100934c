import { describe, expect, it } from 'vitest';
import {
  type DeviceOptions,
  type DmaRange,
  type IrqMaskChange,
  PciDevice,
  type ResetReason,
  type Synchronous,
  u32,
} from '../../src/device/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { fields, type RawClient } from '../helpers/raw-client.ts';
import { settle } from '../helpers/served.ts';
import { until } from '../helpers/until.ts';
import { setState } from './migration-driver.ts';
import { testServers } from './test-servers.ts';

const { STOP, RUNNING } = MigrationState;
const [DMA_MAP, DMA_UNMAP, REGION_INFO, SET_IRQS, READ, WRITE, DEVICE_RESET] = [2, 3, 5, 8, 9, 10, 13];
const POSTED = 0x10;
const [CONFIG, VGA] = [7, 8];
const { world } = testServers();

/** Notes everything that it is told. */
class Witness extends PciDevice {
  override readonly identity = { kind: 'witness', vendor: 0x1af4, device: 0x10f6, classCode: 0x030000 };
  readonly state = this.migratable({ value: u32({ initial: 7 }) });
  override readonly bars = {
    0: this.registers(4096, {
      0: {
        read: () => this.state.value,
        write: (value: number) => {
          this.state.value = value;
          this.seen.push(`write ${value}`);
        },
      },
    }),
    1: this.registers(4096, {}, { access: 'read' }),
  };
  override readonly interrupts = { intx: true, msix: 8 } as const;
  override readonly options: DeviceOptions;
  readonly seen: string[] = [];

  constructor(options: DeviceOptions = {}) {
    super();
    const vga = {
      read: (offset: number, target: Uint8Array, at: number, length: number) => {
        target.fill(offset & 0xff, at, at + length);
      },
      write: (offset: number) => void this.seen.push(`vga ${offset.toString(16)}`),
    };
    this.options = { express: true, powerManagement: { noSoftReset: false }, vga, ...options };
  }

  protected override onReset(reason: ResetReason): void {
    this.seen.push(`reset ${reason}`);
  }

  protected override onDisconnect(): void {
    this.seen.push('gone');
  }

  protected override onDmaMap({ iova, size }: DmaRange): void {
    this.seen.push(`map ${iova} ${size}`);
  }

  protected override onDmaUnmap({ iova, size }: DmaRange): void {
    this.seen.push(`unmap ${iova} ${size}`);
  }

  protected override onIrqMask({ kind, start, count, masked }: IrqMaskChange): void {
    this.seen.push(`${kind} ${start} ${count} ${masked}`);
  }

  protected override writeConfiguration(
    offset: number,
    source: Uint8Array,
    at: number,
    length: number,
  ): Synchronous {
    this.seen.push(`config ${offset}`);
    super.writeConfiguration(offset, source, at, length);
  }
}

const map = (client: RawClient, iova: bigint) => client.request(DMA_MAP, fields(32, 3, 0n, iova, 0x1000n));
const unmap = (client: RawClient, flags: number, iova: bigint, size: bigint) =>
  client.request(DMA_UNMAP, fields(24, flags, iova, size));
const configWord = (offset: bigint, value: number) =>
  fields(offset, CONFIG, 2, new Uint8Array(Uint16Array.of(value).buffer));

describe('an author of a served device', () => {
  it('is told of maps and unmaps: one, all, and those of a VMM that has gone, before that', async () => {
    const { device, main, server } = await world(new Witness());
    await map(main, 0x1000n);
    await map(main, 0x2000n);
    await unmap(main, 0, 0x1000n, 0x1000n);
    await unmap(main, 2, 0n, 0n);
    await map(main, 0x4000n);
    main.close();
    await until(() => server.main === null);
    expect(device.seen).toEqual([
      'map 4096 4096',
      'map 8192 4096',
      'unmap 4096 4096',
      'unmap 8192 4096',
      'map 16384 4096',
      'unmap 16384 4096',
      'gone',
    ]);
  });

  it('learns how it was reset', async () => {
    const { device, main } = await world(new Witness());
    await main.request(DEVICE_RESET);
    await main.request(WRITE, configWord(0x5cn, 0x8000));
    await main.request(WRITE, configWord(0x44n, 3));
    await main.request(WRITE, configWord(0x44n, 0));
    expect(device.seen.filter((line) => line.startsWith('reset'))).toEqual([
      'reset device',
      'reset flr',
      'reset power',
    ]);
    expect(device.seen).toContain('config 68');
  });

  it('is told of masks: a range at once, and vectors that are picked one by one', async () => {
    const { device, main } = await world(new Witness());
    await main.request(SET_IRQS, fields(20, 0x09, 2, 1, 3));
    await main.request(SET_IRQS, fields(23, 0x12, 2, 4, 3, Uint8Array.of(1, 0, 1)));
    await main.request(SET_IRQS, fields(20, 0x09, 0, 0, 1));
    expect((await main.request(SET_IRQS, fields(20, 0x09, 3, 0, 1))).error).toBe(Errno.EINVAL);
    expect(device.seen).toEqual(['msix 1 3 true', 'msix 4 1 false', 'msix 6 1 false', 'intx 0 1 true']);
  });

  it('has a VGA region with the legacy ranges', async () => {
    const { device, main } = await world(new Witness());
    const info = Buffer.from((await main.request(REGION_INFO, fields(32, 0, VGA, 0, 0n, 0n))).payload);
    expect([info.readUInt32LE(4), info.readBigUInt64LE(16)]).toEqual([3, 0xc0000n]);
    const read = await main.request(READ, fields(0x3c4n, VGA, 2));
    expect([...read.payload.subarray(16)]).toEqual([0xc4, 0xc4]);
    expect((await main.request(WRITE, fields(0xa0000n, VGA, 4, 1))).error).toBe(0);
    expect((await main.request(WRITE, fields(0x1000n, VGA, 4, 1))).error).toBe(Errno.EINVAL);
    expect(device.seen).toEqual(['vga a0000']);
  });

  it('lets a region be read only', async () => {
    const { main } = await world(new Witness());
    const info = Buffer.from((await main.request(REGION_INFO, fields(32, 0, 1, 0, 0n, 0n))).payload);
    expect(info.readUInt32LE(4)).toBe(1);
    expect((await main.request(READ, fields(0n, 1, 4))).error).toBe(0);
    expect((await main.request(WRITE, fields(0n, 1, 4, 1))).error).toBe(Errno.EINVAL);
  });
});

describe('a device whose VMM has gone', () => {
  it('keeps its state unless it asks for a reset', async () => {
    const { device, main, server } = await world(new Witness());
    await main.request(WRITE, fields(0n, 0, 4, 99));
    main.close();
    await until(() => server.main === null);
    expect([device.state.value, device.seen]).toEqual([99, ['write 99', 'gone']]);
  });

  it('is reset if it asks for it', async () => {
    const { device, main, server } = await world(new Witness({ resetOnDisconnect: true }));
    await main.request(WRITE, fields(0n, 0, 4, 99));
    main.close();
    await until(() => server.main === null);
    expect([device.state.value, device.seen]).toEqual([7, ['write 99', 'gone', 'reset disconnected']]);
  });

  it('is reset when a hold ends, after what the VMM wrote', async () => {
    const { device, main, control, server } = await world(new Witness({ resetOnDisconnect: true }));
    await setState(control, STOP);
    main.post(WRITE, fields(0n, 0, 4, 55), POSTED);
    await settle(10);
    main.close();
    await until(() => server.main === null);
    expect(device.seen).toEqual(['gone']);
    await setState(control, RUNNING);
    expect([device.state.value, device.seen]).toEqual([7, ['gone', 'write 55', 'reset disconnected']]);
  });
});
