import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allNodes, decodeMessage, type FieldNode } from '../../../src/trace/index.ts';
import { hex } from '../../protocol/support.ts';
import { everySort, whole } from '../support.ts';

/** What must hold for the tree of any message at all. */
function checkTree(bytes: Uint8Array): readonly FieldNode[] {
  const { head, fields } = decodeMessage(bytes);
  const nodes = [...allNodes([...head, ...fields])];
  // Plain, because it is asked some hundred thousand times.
  for (const { key, offset, size, value, children } of nodes) {
    if (offset < 0 || offset + size > bytes.length) throw new Error(`${key} lies outside of the message`);
    if (value !== null && children.length > 0) throw new Error(`${key} has a value and children`);
    for (const child of children) {
      const inside = child.offset >= offset && child.offset + child.size <= offset + size;
      if (!inside) throw new Error(`${child.key} lies outside of ${key}`);
    }
  }
  return nodes;
}

const byKey = (bytes: Uint8Array): Map<string, FieldNode> =>
  new Map(
    [...allNodes(decodeMessage(bytes).fields)].map((node) => [node.key.replace('vfio_user.', ''), node]),
  );

describe('a message that is declared', () => {
  it.each(everySort().map((sort) => [sort.label, sort] as const))(
    '%s is taken apart without a rest',
    (_, sort) => {
      fc.assert(
        fc.property(sort.bytes, (bytes) => {
          const { problems, kind } = decodeMessage(bytes);
          expect(problems).toEqual([]);
          expect(kind).toBe(sort.reply ? 'reply' : 'request');
          const nodes = checkTree(bytes);
          expect(nodes.some(({ name }) => name === 'undeclared')).toBe(false);
        }),
        { numRuns: 20 },
      );
    },
  );

  it.each(everySort().map((sort) => [sort.label, sort] as const))('%s can be cut anywhere', (_, sort) => {
    fc.assert(
      fc.property(sort.bytes, fc.nat(), (bytes, seed) => {
        const end = 16 + (seed % (bytes.length - 15));
        const cut = bytes.subarray(0, end);
        checkTree(cut);
        const sizes = decodeMessage(cut).problems.filter(({ offset }) => offset === 4);
        expect(sizes.length > 0).toBe(end < bytes.length);
      }),
      { numRuns: 20 },
    );
  });

  it.each(everySort().map((sort) => [sort.label, sort] as const))(
    '%s may have any byte changed',
    (_, sort) => {
      fc.assert(
        fc.property(sort.bytes, fc.nat(), fc.nat(255), (bytes, at, value) => {
          bytes[16 + (at % Math.max(1, bytes.length - 16))] = value;
          checkTree(bytes);
        }),
        { numRuns: 30 },
      );
    },
  );
});

it('random bytes never throw', () => {
  const anything = fc.record({
    command: fc.oneof(fc.nat(20), fc.integer({ min: 0xfe00, max: 0xfe08 }), fc.nat(0xffff)),
    flags: fc.oneof(fc.nat(3), fc.constant(0x21), fc.nat(0xffff_ffff)),
    payload: fc.uint8Array({ maxLength: 200 }),
  });
  fc.assert(
    fc.property(anything, ({ command, flags, payload }) => {
      const bytes = whole(command, false, payload);
      bytes.writeUInt32LE(flags, 8);
      checkTree(bytes);
    }),
    { numRuns: 2000 },
  );
});

describe('the fields of a message', () => {
  it('have their names, places, values, and the flags in them', () => {
    const bytes = whole(
      2,
      false,
      hex('20000000 03000000 0010000000000000 0000100000000000 0000200000000000'),
    );
    const fields = byKey(bytes);
    expect(fields.get('dma_map.request.flags')).toMatchObject({
      ...{ name: 'flags', offset: 20, size: 4, value: 3, text: 'READ|WRITE' },
      parts: [
        { key: 'vfio_user.dma_map.request.flags.read', mask: 1, value: 1 },
        { key: 'vfio_user.dma_map.request.flags.write', mask: 2, value: 1 },
        { key: 'vfio_user.dma_map.request.flags.mmap', mask: 4, value: 0 },
        { key: 'vfio_user.dma_map.request.flags.file_io', mask: 8, value: 0 },
      ],
    });
    expect(fields.get('dma_map.request.size')).toMatchObject({
      offset: 40,
      size: 8,
      value: 0x200000n,
      text: '0x200000',
    });
  });

  it('of a feature are those of its own declaration', () => {
    const bytes = whole(16, false, hex('10000000 02000200 03000000 ffffffff'));
    const fields = byKey(bytes);
    expect(fields.get('device_feature.request.flags')).toMatchObject({
      parts: [
        { name: 'feature', value: 2, text: 'MIG_DEVICE_STATE' },
        { name: 'get', value: 0 },
        { name: 'set', value: 1 },
        { name: 'probe', value: 0 },
      ],
    });
    expect(fields.get('mig_device_state.set.request.device_state')).toMatchObject({
      offset: 24,
      text: 'STOP_COPY',
    });
    expect(fields.get('mig_device_state.set.request.data_fd')).toMatchObject({ value: -1 });
  });

  it('of a chain of capabilities lie where the chain leads', () => {
    const chain = '0100 0100 38000000 01000000 00000000 0010000000000000 0020000000000000';
    const type = '0200 0100 00000000 03000000 01000000';
    const fixed = '48000000 0f000000 08000000 20000000 0000010000000000 0000000000000000';
    const bytes = whole(5, true, hex(fixed + chain + type));
    bytes.writeUInt32LE(0x40, 16 + 0x24);
    const fields = byKey(bytes);
    expect(fields.get('device_get_region_info.reply.capabilities.sparse_mmap.areas.offset')).toMatchObject({
      offset: 16 + 0x30,
      value: 0x1000n,
    });
    expect(fields.get('device_get_region_info.reply.capabilities.type.subtype')).toMatchObject({
      offset: 16 + 0x4c,
      value: 1,
    });
  });

  it('of an error are the header alone, with the errno by name', () => {
    const bytes = whole(9, true, Buffer.alloc(0));
    bytes.writeUInt32LE(0x21, 8);
    bytes.writeUInt32LE(22, 12);
    expect(decodeMessage(bytes)).toMatchObject({ kind: 'error', errno: 'EINVAL', fields: [], problems: [] });
  });

  it('that break a rule are shown all the same, with the rule and the byte', () => {
    const bytes = whole(
      2,
      false,
      hex('20000000 00000000 0000000000000000 0000100000000000 0000200000000000'),
    );
    const { problems, fields } = decodeMessage(bytes);
    expect(fields).toHaveLength(5);
    expect(problems).toMatchObject([
      { offset: 20, text: expect.stringContaining('must have READ, WRITE or both') },
    ]);
  });
});
