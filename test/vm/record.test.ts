import { describe, expect, it } from 'vitest';
import { decodeRecord, encodeRecord, type VmRecord } from '../../src/vm/record.ts';
import { configSpace, msixTable } from './pci-bytes.ts';

const RECORD: VmRecord = {
  ecam: 0xb000_0000n,
  hostBridge: 0x29c0_8086,
  devices: [
    { bus: 1, slot: 0, function: 0, config: configSpace({ command: 6 }), msixTable: msixTable(2, {}) },
    { bus: 0, slot: 31, function: 7, config: configSpace(), msixTable: null },
  ],
};

describe('what the destination is told of a VM', () => {
  it('comes as it was sent', () => {
    const found = decodeRecord(encodeRecord(RECORD));
    expect(found.devices.map(({ config }) => [...config])).toEqual(
      RECORD.devices.map(({ config }) => [...config]),
    );
    expect(found).toMatchObject({ ecam: RECORD.ecam, hostBridge: RECORD.hostBridge });
    expect([...(found.devices[0]?.msixTable ?? [])]).toEqual([...msixTable(2, {})]);
    expect(found.devices[1]).toMatchObject({ bus: 0, slot: 31, function: 7, msixTable: null });
  });

  const changed = (change: (json: Record<string, unknown>) => void): Uint8Array => {
    const json = JSON.parse(Buffer.from(encodeRecord(RECORD)).toString());
    change(json);
    return Buffer.from(JSON.stringify(json));
  };
  const device = (change: object) =>
    changed((json) => {
      json['devices'] = [
        { ...JSON.parse(Buffer.from(encodeRecord(RECORD)).toString()).devices[0], ...change },
      ];
    });

  it.each([
    ['is no JSON', Buffer.from('{')],
    ['nests too deep', Buffer.from('[[[[[[]]]]]]')],
    [
      'is of another version',
      changed((json) => {
        json['version'] = 2;
      }),
    ],
    [
      'has no place for configuration space',
      changed((json) => {
        json['ecam'] = 'nowhere';
      }),
    ],
    [
      'has one beyond all memory',
      changed((json) => {
        json['ecam'] = 'f'.repeat(16);
      }),
    ],
    [
      'has no host bridge',
      changed((json) => {
        json['hostBridge'] = -1;
      }),
    ],
    [
      'has too many devices',
      changed((json) => {
        json['devices'] = new Array(1025).fill({});
      }),
    ],
    ['has a device beyond its bus', device({ slot: 32 })],
    ['has a device without a place', device({ bus: '1' })],
    ['has half a configuration space', device({ config: '00'.repeat(128) })],
    ['has digits that are none', device({ config: 'zz'.repeat(256) })],
    ['has a table of half an entry', device({ msixTable: '00'.repeat(24) })],
    ['has an endless table', device({ msixTable: '00'.repeat(64 * 1024) })],
  ])('is refused when it %s', (_, bytes) => {
    expect(() => decodeRecord(bytes)).toThrow(expect.objectContaining({ code: 'ERR_VM_RECORD' }));
  });
});
