import { describe, expect, it } from 'vitest';
import { bitmapSize, dmaMap, dmaRead, dmaUnmap, dmaWrite } from '../../src/protocol/index.ts';
import { at, hex, refused, toHex } from './support.ts';

const MAP = '20000000 03000000 0000100000000000 0000000001000000 0000200000000000';
const map = { argsz: 32, flags: 3, offset: 0x10_0000n, address: 0x1_0000_0000n, size: 0x20_0000n };
const max = (1n << 64n) - 1n;

describe('DMA_MAP', () => {
  it('is argsz, flags, offset, address, size', () => {
    expect(dmaMap.request.decode(hex(MAP), 1)).toEqual(map);
    expect(toHex(dmaMap.request.encode(map, 1))).toBe(toHex(hex(MAP)));
    expect(dmaMap.request.at).toEqual({ argsz: 0, flags: 4, offset: 8, address: 16, size: 24 });
  });

  it('takes a larger argsz, bytes after it, no descriptor, and a region that ends at 2^64', () => {
    expect(dmaMap.request.decode(hex(`${MAP.replace('20', '28')} 0102030405060708`), 0)).toEqual({
      ...map,
      argsz: 40,
    });
    const last = { ...map, offset: 0n, address: max - 0xfffn, size: 0x1000n };
    expect(dmaMap.request.decode(dmaMap.request.encode(last))).toEqual(last);
  });

  it.each([
    ['argsz below 32', { argsz: 31 }, 'EINVAL', 'argsz', 0],
    ['an unknown flag', { flags: 0x13 }, 'EINVAL', 'flags', 4],
    ['no protection', { flags: 0 }, 'EINVAL', 'flags', 4],
    ['both modes', { flags: 15 }, 'EINVAL', 'flags', 4],
    ['size 0', { size: 0n }, 'EINVAL', 'size', 24],
    ['a region past 2^64', { address: max, size: 2n }, 'EOVERFLOW', 'address', 16],
    ['a file range past 2^64', { offset: max, size: 2n }, 'EOVERFLOW', 'offset', 8],
  ] as const)('refuses %s', (_, wrong, errno, field, byte) => {
    expect(refused(() => dmaMap.request.check({ ...map, ...wrong }))).toEqual(at(errno, field, byte));
  });

  it.each([
    ['mmap', 7],
    ['file I/O', 11],
  ])('refuses %s without a descriptor', (_, flags) => {
    expect(refused(() => dmaMap.request.check({ ...map, flags }, 0)).errno).toBe('EINVAL');
    expect(() => dmaMap.request.check({ ...map, flags }, 1)).not.toThrow();
  });

  it('has an empty reply, and bears one with a body', () => {
    expect(dmaMap.reply.encode({})).toHaveLength(0);
    expect(dmaMap.reply.decode(hex(MAP))).toEqual({});
  });
});

describe('DMA_UNMAP', () => {
  const UNMAP = '18000000 00000000 0000000001000000 0000200000000000';
  const unmap = { argsz: 24, flags: 0, address: 0x1_0000_0000n, size: 0x20_0000n, bitmap: null };

  it('is argsz, flags, address, size, and its reply echoes it', () => {
    expect(dmaUnmap.request.decode(hex(UNMAP))).toEqual(unmap);
    expect(toHex(dmaUnmap.request.encode(unmap))).toBe(toHex(hex(UNMAP)));
    expect(toHex(dmaUnmap.reply.encode(unmap))).toBe(toHex(hex(UNMAP)));
  });

  it('asks for and brings the dirty bitmap with flag 1', () => {
    const head = '68000000 01000000 0000000001000000 0000200000000000 0010000000000000 4000000000000000';
    const bitmap = { pgsize: 4096n, size: 64n };
    expect(dmaUnmap.request.decode(hex(head))).toEqual({ ...unmap, argsz: 104, flags: 1, bitmap });
    const data = new Uint8Array(64).fill(0xf0);
    const reply = { ...unmap, argsz: 104, flags: 1, bitmap: { ...bitmap, data } };
    expect(toHex(dmaUnmap.reply.encode(reply))).toBe(`${toHex(hex(head))}${'f0'.repeat(64)}`);
    expect(dmaUnmap.reply.decode(hex(`${head} ${'f0'.repeat(64)}`))).toEqual(reply);
  });

  it('takes everything back with flag 2 and no range', () => {
    expect(dmaUnmap.request.decode(hex(`18000000 02000000 ${'00'.repeat(16)}`))).toMatchObject({
      flags: 2,
      size: 0n,
    });
  });

  const bitmap = { pgsize: 4096n, size: 64n };
  it.each([
    ['argsz below 24', { argsz: 23 }, 'EINVAL', 'argsz', 0],
    ['an unknown flag', { flags: 4 }, 'EINVAL', 'flags', 4],
    ['both flags', { flags: 3, bitmap }, 'EINVAL', 'flags', 4],
    ['a range with flag 2', { flags: 2 }, 'EINVAL', 'address', 8],
    ['size 0', { size: 0n }, 'EINVAL', 'size', 16],
    ['a range past 2^64', { address: max }, 'EOVERFLOW', 'address', 8],
    ['page size 0', { argsz: 104, flags: 1, bitmap: { pgsize: 0n, size: 64n } }, 'EINVAL', 'bitmap', 0],
    ['page size 4097', { argsz: 104, flags: 1, bitmap: { pgsize: 4097n, size: 64n } }, 'EINVAL', 'bitmap', 0],
    [
      'a bitmap too small',
      { argsz: 104, flags: 1, bitmap: { pgsize: 4096n, size: 56n } },
      'EINVAL',
      'bitmap',
      0,
    ],
    [
      'a huge bitmap',
      { argsz: 0xffff_ffff, flags: 1, bitmap: { pgsize: 4096n, size: 1n << 29n } },
      'EINVAL',
      'bitmap',
      0,
    ],
    ['no room for the bitmap', { argsz: 103, flags: 1, bitmap }, 'EINVAL', 'argsz', 0],
  ] as const)('refuses %s', (_, wrong, errno, field, byte) => {
    expect(refused(() => dmaUnmap.request.check({ ...unmap, ...wrong }))).toEqual(at(errno, field, byte));
  });

  it('refuses flag 1 without the bitmap part', () => {
    expect(refused(() => dmaUnmap.request.decode(hex(UNMAP.replace('00000000', '01000000'))))).toEqual(
      at('EINVAL', 'pgsize', 24),
    );
  });
});

describe('the size of a dirty bitmap', () => {
  it.each([
    [1n, 4096n, 8n],
    [4096n * 64n, 4096n, 8n],
    [4096n * 64n + 1n, 4096n, 16n],
    [1n << 32n, 4096n, 131_072n],
  ])('for %s bytes of %s-byte pages is %s', (length, page, size) => {
    expect(bitmapSize(length, page)).toBe(size);
  });
});

describe('DMA_READ and DMA_WRITE', () => {
  const HEAD = '0000000001000000 0300000000000000';
  const head = { address: 0x1_0000_0000n, count: 3n };

  it('are address and count (u64), then the data', () => {
    expect(dmaRead.request.decode(hex(HEAD))).toEqual(head);
    expect(toHex(dmaRead.request.encode(head))).toBe(toHex(hex(HEAD)));
    for (const part of [dmaRead.reply, dmaWrite.request]) {
      expect(part.decode(hex(`${HEAD} aabbcc`))).toEqual({ ...head, data: hex('aabbcc') });
      expect(toHex(part.encode({ address: head.address, data: hex('aabbcc') }))).toBe(
        toHex(hex(`${HEAD} aabbcc`)),
      );
    }
  });

  it('send a 16-byte DMA_WRITE reply and accept the older one of 12', () => {
    expect(toHex(dmaWrite.reply.encode(head))).toBe(toHex(hex(HEAD)));
    expect(dmaWrite.reply.decode(hex(HEAD))).toEqual(head);
    expect(dmaWrite.reply.decode(hex('0000000001000000 03000000'))).toEqual(head);
    expect(refused(() => dmaWrite.reply.decode(hex(HEAD).subarray(0, 14)))).toEqual(at('EINVAL', 'count', 8));
  });

  it('refuse data that is shorter or longer than count, and a range past 2^64', () => {
    expect(refused(() => dmaRead.reply.decode(hex(`${HEAD} aabb`)))).toEqual(at('EINVAL', 'data', 16));
    expect(refused(() => dmaWrite.request.decode(hex(`${HEAD} aabbccdd`)))).toEqual(
      at('EINVAL', 'payload', 19),
    );
    expect(refused(() => dmaRead.request.check({ address: max, count: 2n }))).toEqual(
      at('EINVAL', 'address', 0),
    );
    expect(refused(() => dmaRead.reply.decode(hex('0000000000000000 ffffffffffffffff')))).toMatchObject({
      byte: 16,
    });
  });
});
