import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type DmaRange,
  type IrqMaskChange,
  PciDevice,
  type ResetReason,
  type ServedDevice,
  type Synchronous,
} from '../../src/device/index.ts';
import { IrqIndex, RegionIndex } from '../../src/protocol/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { FakeHost, peek, poke } from '../helpers/fake-host.ts';

const { STOP, RUNNING, RESUMING } = MigrationState;

/** Notes everything that it is told. */
class Witness extends PciDevice {
  override readonly identity = { kind: 'witness', vendor: 0x1af4, device: 0x10f6, classCode: 0xff0000 };
  override readonly bars = {};
  override readonly interrupts = { intx: true, msix: 8 } as const;
  readonly state = this.migratable({});
  readonly seen: unknown[] = [];
  secret = 0x77;

  protected override onReset(reason: ResetReason): void {
    this.seen.push(reason);
  }

  protected override onDisconnect(): void {
    this.seen.push('gone');
  }

  protected override onDmaMap({ iova, size, readable, writable, direct }: DmaRange): void {
    this.seen.push(['map', iova, size, readable, writable, direct]);
  }

  protected override onDmaUnmap({ iova, size }: DmaRange): void {
    this.seen.push(['unmap', iova, size, this.dma.view(iova, 1)?.[0] ?? null]);
    if (iova === 0x9000n) throw new Error('stumbles');
  }

  protected override onIrqMask({ kind, start, count, masked }: IrqMaskChange): void {
    this.seen.push([kind, start, count, masked]);
  }

  /** Answers for the byte at 0xf0, and sees the rest. */
  protected override readConfiguration(
    offset: number,
    target: Uint8Array,
    at: number,
    length: number,
  ): Synchronous {
    this.seen.push(`read ${offset} ${length}`);
    super.readConfiguration(offset, target, at, length);
    if (offset <= 0xf0 && offset + length > 0xf0) target[at + 0xf0 - offset] = this.secret;
  }

  protected override writeConfiguration(
    offset: number,
    source: Uint8Array,
    at: number,
    length: number,
  ): Synchronous {
    if (offset === 0xf0) this.secret = source[at] ?? 0;
    else super.writeConfiguration(offset, source, at, length);
  }
}

let host: FakeHost;
let device: Witness;
let served: ServedDevice;
beforeEach(() => {
  host = new FakeHost();
  device = new Witness();
  served = device.bind(host);
});
afterEach(() => {
  served.close();
  host.close();
});

describe('an author', () => {
  it('is told of maps, and of unmaps while the memory can still be reached', () => {
    host.mapMemory(0x1000n, 0x1000)[0] = 42;
    host.messageMemory(0x4000n, new Uint8Array(16));
    host.memory.unmap(0x1000n, 0x1000n);
    expect(device.seen).toEqual([
      ['map', 0x1000n, 0x1000n, true, true, true],
      ['map', 0x4000n, 16n, true, true, false],
      ['unmap', 0x1000n, 0x1000n, 42],
    ]);
    expect(host.memory.view(0x1000n, 1)).toBeNull();
  });

  it('is not told of what is refused', () => {
    expect(() => host.memory.unmap(0x1000n, 0x1000n)).toThrow();
    host.messageMemory(0x4000n, new Uint8Array(16));
    expect(() => host.messageMemory(0x4008n, new Uint8Array(16))).toThrow();
    expect(() => host.memory.unmap(0x4000n, 8n)).toThrow();
    expect(device.seen).toEqual([['map', 0x4000n, 16n, true, true, false]]);
  });

  it('is told of each when all go', () => {
    host.mapMemory(0x1000n, 0x1000);
    host.mapMemory(0x3000n, 0x1000);
    device.seen.length = 0;
    host.memory.clear();
    expect(device.seen).toEqual([
      ['unmap', 0x1000n, 0x1000n, 0],
      ['unmap', 0x3000n, 0x1000n, 0],
    ]);
  });

  it('who fails in a hook is reported, and the memory goes all the same', () => {
    host.mapMemory(0x9000n, 0x1000);
    host.memory.unmap(0x9000n, 0x1000n);
    expect(host.memory.mapCount).toBe(0);
    expect(host.reported.map(({ message }) => message)).toEqual(["the device's onDmaUnmap failed: stumbles"]);
  });

  it.each<ResetReason>(['device', 'flr', 'power', 'disconnected'])(
    'learns why it is reset (%s)',
    (reason) => {
      served.reset(reason);
      expect(device.seen).toEqual([reason]);
    },
  );

  it('learns that a state is about to be loaded, and what a reset is for when nobody says', () => {
    served.migration.arc(RUNNING, STOP);
    served.migration.arc(STOP, RESUMING);
    served.reset();
    expect(device.seen).toEqual(['resuming', 'device']);
  });

  it('learns that the VMM has gone', () => {
    served.disconnected();
    expect(device.seen).toEqual(['gone']);
  });

  it('is told of masks by kind and vector, and not of those that are refused', () => {
    served.interrupts.mask(IrqIndex.MSIX, 2, 3);
    served.interrupts.unmask(IrqIndex.MSIX, 4, 1);
    served.interrupts.mask(IrqIndex.INTX, 0, 1);
    expect(() => served.interrupts.mask(IrqIndex.MSIX, 7, 2)).toThrow();
    expect(() => served.interrupts.mask(IrqIndex.ERR, 0, 1)).toThrow();
    expect(device.seen).toEqual([
      ['msix', 2, 3, true],
      ['msix', 4, 1, false],
      ['intx', 0, 1, true],
    ]);
  });

  it('sees every access to the configuration space, header included, and answers what it wants', () => {
    const config = served.regions[RegionIndex.CONFIG];
    expect(peek(config, 0, 4)).toBe(0x10f6_1af4n);
    expect(peek(config, 0xee, 4)).toBe(0x77_0000n);
    poke(config, 0xf0, 0x55, 1);
    poke(config, 4, 0x6, 2);
    expect([peek(config, 0xf0, 1), peek(config, 4, 2)]).toEqual([0x55n, 6n]);
    expect(device.seen).toEqual(['read 0 4', 'read 238 4', 'read 240 1', 'read 4 2']);
  });
});

it('an override that returns a promise is refused', () => {
  class Slow extends Witness {
    protected override readConfiguration(): Synchronous {
      return JSON.parse('{}', () => Promise.resolve());
    }
  }
  const slow = new Slow().bind(host);
  expect(() => peek(slow.regions[RegionIndex.CONFIG], 0, 4)).toThrow(
    expect.objectContaining({ code: 'ERR_DEVICE_ASYNCHRONOUS' }),
  );
  slow.close();
});
