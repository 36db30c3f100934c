import { describe, expect, it } from 'vitest';
import { V1_REGION_SUBTYPE, V1_REGION_TYPE, V1MigrationInfo } from '../../src/protocol/index.ts';

describe('struct vfio_device_migration_info', () => {
  it('is laid out as the header of Linux 5.8 to 5.17 has it', () => {
    expect(
      V1MigrationInfo.fields.map(({ wireName, offset, field }) => [wireName, offset, field.size]),
    ).toEqual([
      ['device_state', 0, 4],
      ['reserved', 4, 4],
      ['pending_bytes', 8, 8],
      ['data_offset', 16, 8],
      ['data_size', 24, 8],
    ]);
    expect(V1MigrationInfo.size).toBe(32);
  });

  it('lies in a region of type 3, subtype 1', () => {
    expect([V1_REGION_TYPE, V1_REGION_SUBTYPE]).toEqual([3, 1]);
  });

  it('shows the bits of the state, RESUMING first', () => {
    const value = { deviceState: 3, pendingBytes: 5n, dataOffset: 4096n, dataSize: 0n };
    expect(V1MigrationInfo.print(value)).toBe(
      'device_state=0b011 pending_bytes=5 data_offset=0x1000 data_size=0',
    );
  });
});
