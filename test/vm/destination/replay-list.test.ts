import { describe, expect, it } from 'vitest';
import { replayList } from '../../../src/vm/destination/replay-list.ts';
import { configSpace, msixTable } from '../pci-bytes.ts';

const PLACE = { bus: 0, slot: 1, function: 0 };
const MSIX = { control: 0x8001, table: 0x2, pba: 0x802 };
const source = configSpace({
  command: 0x0406,
  bars: { 0: 0xfe00_0004, 1: 0x1, 2: 0xfe01_0000 },
  line: 11,
  msix: MSIX,
  power: 0x0003,
});
const reset = configSpace({ bars: { 0: 4 }, msix: { ...MSIX, control: 1 }, power: 0 });

const namesOf = (writes: ReturnType<typeof replayList>): string[] => writes.map(({ name }) => name);

describe('what is written to a device that was reset', () => {
  it('is in the order in which QEMU needs it: addresses, COMMAND, the table, and then what arms it', () => {
    const table = msixTable(2, { 0: [0xfee0_0000, 0, 0x4021, 0], 1: [0xfee0_1000, 0, 0x4022, 0] });
    const writes = replayList(reset, { ...PLACE, config: source, msixTable: table });
    expect(namesOf(writes)).toEqual([
      'BAR0',
      'BAR1',
      'BAR2',
      'INTERRUPT_LINE',
      'COMMAND',
      'MSI-X entry 0',
      'power management control',
      'MSI-X control',
    ]);
    expect(writes[1]).toMatchObject({ offset: 0x14, bytes: Uint8Array.of(1, 0, 0, 0) });
    expect(writes[5]).toMatchObject({ to: 'table', offset: 0, bytes: table });
  });

  it('leaves out entries that nobody has written', () => {
    const table = msixTable(4, { 1: [0xfee0_0000, 0, 0x4021, 0], 3: [0xfee0_1000, 0, 0x4022, 1] });
    const config = configSpace({
      command: 6,
      bars: { 2: 0xfe01_0000 },
      msix: { control: 0x8003, table: 2, pba: 0x802 },
    });
    const writes = replayList(configSpace({ msix: { control: 3, table: 2, pba: 0x802 } }), {
      ...PLACE,
      config,
      msixTable: table,
    });
    const entries = writes
      .filter(({ to }) => to === 'table')
      .map(({ offset, bytes }) => [offset, bytes.length]);
    expect(entries).toEqual([
      [16, 16],
      [48, 16],
    ]);
  });

  it('has no table, and COMMAND once, where there is none', () => {
    const config = configSpace({ command: 0x0003, bars: { 2: 0xc001 }, line: 5 });
    const writes = replayList(configSpace({ bars: { 2: 1 } }), { ...PLACE, config, msixTable: null });
    expect(namesOf(writes)).toEqual(['BAR2', 'INTERRUPT_LINE', 'COMMAND']);
  });

  it('is nothing for another device', () => {
    const other = configSpace();
    other[0] = 0x86;
    expect(() => replayList(other, { ...PLACE, config: source, msixTable: null })).toThrow('another device');
  });

  it('is nothing when the source has sent a table for which there is no place', () => {
    const config = configSpace({ command: 6 });
    expect(() => replayList(configSpace(), { ...PLACE, config, msixTable: msixTable(2, {}) })).toThrow(
      expect.objectContaining({ code: 'ERR_VM_RECORD' }),
    );
  });
});
