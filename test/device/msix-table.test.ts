import { describe, expect, it, vi } from 'vitest';
import { MsixTable, pbaSize, resetTable, tableSize } from '../../src/device/msix-table.ts';

describe('MsixTable', () => {
  const make = (changed = () => {}) => {
    const entries = resetTable(4);
    return { entries, table: new MsixTable(entries, new Uint8Array(4), changed) };
  };

  it('resets to masked entries, which mask nothing until they are written', () => {
    const { table, entries } = make();
    expect([...entries.subarray(0, 16)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    expect([0, 1, 2, 3].map((vector) => table.masked(vector))).toEqual([false, false, false, false]);
  });

  it('masks what the client has masked, an entry at a time', () => {
    const changed = vi.fn();
    const { table } = make(changed);
    table.write(16 + 8, Uint8Array.of(0x21, 0x43, 0, 0), 0, 4);
    expect(
      [0, 1, 2].map((vector) => table.masked(vector)),
      'reset value, now written',
    ).toEqual([false, true, false]);
    table.write(16 + 12, Uint8Array.of(0, 0, 0, 0), 0, 4);
    expect(table.masked(1)).toBe(false);
    table.write(16 + 12, Uint8Array.of(0, 0, 0, 0, 9), 4, 1);
    expect(table.masked(1), 'bit 0 of vector control').toBe(true);
    expect(changed).toHaveBeenCalledTimes(3);
  });

  it('takes a write over several entries', () => {
    const { table } = make();
    table.write(
      28,
      Uint8Array.from({ length: 8 }, () => 1),
      0,
      8,
    );
    expect([0, 1, 2, 3].map((vector) => table.masked(vector))).toEqual([false, true, true, false]);
    const read = new Uint8Array(10);
    table.read(27, read, 1, 9);
    expect([...read]).toEqual([0, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
  });

  it.each([
    [1, 16, 8],
    [64, 1024, 8],
    [65, 1040, 16],
    [2048, 32768, 256],
  ])('of %i vectors has %i bytes, and a PBA of %i', (vectors, table, pba) => {
    expect([tableSize(vectors), pbaSize(vectors)]).toEqual([table, pba]);
  });
});
