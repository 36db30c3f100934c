import { describe, expect, it } from 'vitest';
import { descriptionJson } from '../../../src/cli/inspect/description-json.ts';
import { describeDevice } from '../../../src/cli/inspect/description-text.ts';
import { type DeviceDescription, parsePciConfig, RemoteError } from '../../../src/client/index.ts';
import { negotiate } from '../../../src/protocol/index.ts';

/** A conventional device: I/O BAR, 32-bit and 64-bit memory BARs, power management and MSI. */
function configBytes(): Uint8Array {
  const bytes = new Uint8Array(256);
  const view = new DataView(bytes.buffer);
  view.setUint16(0x00, 0x8086, true);
  view.setUint16(0x02, 0x100e, true);
  view.setUint16(0x04, 0x0407, true);
  view.setUint16(0x06, 0x0210, true);
  view.setUint32(0x08, 0x02000003, true);
  view.setUint32(0x10, 0x0000c001, true);
  view.setUint32(0x14, 0xfebc0000, true);
  view.setUint32(0x18, 0x0000000c, true);
  view.setUint32(0x1c, 0x00000080, true);
  view.setUint16(0x2c, 0x1af4, true);
  view.setUint16(0x2e, 0x1100, true);
  bytes.set([0xdc], 0x34);
  bytes.set([11, 2], 0x3c);
  bytes.set([0x01, 0xe4, 0x02, 0x00, 0, 0, 0, 0], 0xdc);
  bytes.set([0x05, 0x00, 0x81, 0x00], 0xe4);
  return bytes;
}

const region = { fileOffset: 0n, readable: true, writable: true, mappable: false, areas: [] };
const irq = { eventfd: true, maskable: false, autoMasked: false, noResize: false };

function description(changes: Partial<DeviceDescription> = {}): DeviceDescription {
  return {
    agreement: negotiate({ major: 0, minor: 0, capabilities: {} }, {}).agreed,
    info: { resettable: true, pci: true, regionCount: 9, irqCount: 5 },
    regions: [
      { ...region, index: 0, size: 64n },
      { ...region, index: 1, size: 131072n, mappable: true, areas: [{ offset: 4096n, size: 8192n }] },
      { ...region, index: 2, size: 4096n, writable: false },
      { ...region, index: 3, size: 0n },
      { ...region, index: 12, size: 100n },
    ],
    interrupts: [
      { ...irq, index: 0, count: 1, maskable: true, autoMasked: true },
      { ...irq, index: 1, count: 0 },
      { ...irq, index: 7, count: 2, eventfd: false },
    ],
    config: parsePciConfig(configBytes()),
    migration: { flags: 0x11n, state: 9, dataSize: 2048n },
    server: null,
    refused: [new RemoteError(13, 22)],
    ...changes,
  };
}

describe('a device in text', () => {
  it('is what lspci -vvv prints, and what VFIO adds', () => {
    expect(describeDevice(description())).toEqual([
      '[0200]: Device 8086:100e (rev 03)',
      '\tSubsystem: Device 1af4:1100',
      '\tControl: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- DisINTx+',
      '\tStatus: Cap+ 66MHz- UDF- FastB2B- ParErr- >TAbort- <TAbort- <MAbort- >SERR- <PERR- INTx-',
      '\tInterrupt: pin B routed to IRQ 11',
      '\tRegion 0: I/O ports at 0000c000 [size=64]',
      '\tRegion 1: Memory at febc0000 (32-bit, non-prefetchable) [size=128K]',
      '\tRegion 2: Memory at 8000000000 (64-bit, prefetchable) [size=4K]',
      '\tCapabilities: [dc] Power Management version=2 power-state=0',
      '\tCapabilities: [e4] MSI enabled+ capable=1 allocated=1 wide+ maskable-',
      '\tRegions:',
      '\t\t0 BAR0: 64 rw',
      '\t\t1 BAR1: 128K rw, can be mapped: 0x1000-0x2fff',
      '\t\t2 BAR2: 4K r-',
      '\t\t12 region 12: 100 rw',
      '\tInterrupts:',
      '\t\t0 INTX: 1 (eventfd, maskable, auto-masked)',
      '\t\t7 interrupt 7: 2',
      '\tMigration:',
      '\t\tstate unknown state 9',
      '\t\tSTOP_COPY 0x10, about 2.0 KiB of state',
      '\tNot told:',
      '\t\tDEVICE_RESET: EINVAL',
    ]);
  });

  it('names the extended capabilities of a PCI Express device', () => {
    const bytes = Buffer.alloc(4096);
    bytes.set(configBytes());
    const put = (at: number, ...words: number[]): void => {
      for (const [i, word] of words.entries()) bytes.writeUInt32LE(word, at + 4 * i);
    };
    put(0x100, 0x1101_0003, 0x89ab_cdef, 0x4567);
    put(0x110, 0x1301_000b, 0x0142_00aa);
    put(0x130, 0x0001_0001, 0x0010_0000);
    const lines = describeDevice(description({ config: parsePciConfig(bytes) }));
    expect(lines.filter((line) => /\[1..\]/.test(line))).toEqual([
      '\tCapabilities: [100] Device Serial Number serial-number=00-00-45-67-89-ab-cd-ef',
      '\tCapabilities: [110] Vendor Specific vsec-id=00aa revision=2 length=20',
      '\tCapabilities: [130] Advanced Error Reporting uncorrectable-status=00100000 uncorrectable-mask=00000000' +
        ' correctable-status=00000000 correctable-mask=00000000 first-error=0',
    ]);
  });

  it('of a server that tells nearly nothing is still a text', () => {
    const bare = description({
      info: null,
      regions: [],
      interrupts: [],
      config: null,
      migration: { flags: null, state: null, dataSize: null },
      refused: [],
    });
    expect(describeDevice(bare)).toEqual([
      "(its configuration space can't be read now)",
      '\tMigration:',
      '\t\tnot supported',
    ]);
  });

  it.each([
    [null],
    ['text'],
    [{ identity: 7, migration: 'x', main: [], hold: { active: true, lengthMs: 'long' }, regions: 5 }],
    [{ migration: {}, regions: [null, { index: 0, mappable: [{ offset: 1.5, size: {} }] }] }],
    [
      {
        identity: { kind: '\x1b[31mred' },
        migration: { sessionOwner: '\x1b', lastError: { message: '\n' } },
      },
    ],
  ])('takes whatever a server says of itself: %j', (server) => {
    const text = describeDevice(description({ server })).join('');
    expect(text).toContain('Device 8086:100e');
    expect([...text].filter((letter) => letter < ' ' && letter !== '\t')).toEqual([]);
  });
});

describe('a device in JSON', () => {
  it('names what the numbers mean and leaves out what is not there', () => {
    expect(descriptionJson(description())).toMatchObject({
      config: { vendor: 0x8086, bytes: Buffer.from(configBytes()).toString('hex') },
      regions: [{ name: 'BAR0' }, { name: 'BAR1' }, { name: 'BAR2' }, { name: 'region 12' }],
      interrupts: [
        { name: 'INTX', count: 1 },
        { name: 'interrupt 7', count: 2 },
      ],
      migration: { supported: true, flags: ['STOP_COPY', '0x10'], state: 'unknown state 9' },
      refused: [{ code: 'ERR_REMOTE', errno: 'EINVAL', message: 'DEVICE_RESET: EINVAL' }],
    });
  });
});
