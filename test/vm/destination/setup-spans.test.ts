import { describe, expect, it } from 'vitest';
import { setupSpans } from '../../../src/vm/destination/setup-spans.ts';
import { configSpace } from '../pci-bytes.ts';

describe('what is read of a configuration space', () => {
  it('is its header and what is set up in its capabilities, in whole words', () => {
    const config = configSpace({ msix: { control: 1, table: 0, pba: 0x800 }, power: 0 });
    expect(setupSpans(config)).toEqual([
      // Header and the head of MSI-X, which follows it; head and control of power management.
      { offset: 0, length: 0x44 },
      { offset: 0x60, length: 8 },
    ]);
  });

  it('is its header alone without capabilities', () => {
    expect(setupSpans(configSpace())).toEqual([{ offset: 0, length: 0x40 }]);
  });
});
