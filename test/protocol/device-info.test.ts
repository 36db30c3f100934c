import { expect, it } from 'vitest';
import { deviceGetInfo } from '../../src/protocol/index.ts';
import { at, hex, refused, toHex } from './support.ts';

it('is argsz, flags, num_regions, num_irqs both ways', () => {
  expect(toHex(deviceGetInfo.request.encode({ argsz: 16, flags: 0, numRegions: 0, numIrqs: 0 }))).toBe(
    toHex(hex('10000000 00000000 00000000 00000000')),
  );
  const reply = { argsz: 16, flags: 3, numRegions: 9, numIrqs: 5 };
  const bytes = '10000000 03000000 09000000 05000000';
  expect(deviceGetInfo.reply.decode(hex(bytes))).toEqual(reply);
  expect(toHex(deviceGetInfo.reply.encode(reply))).toBe(toHex(hex(bytes)));
  expect(deviceGetInfo.reply.print(reply)).toBe('argsz=16 flags=RESET|PCI num_regions=9 num_irqs=5');
});

it('lets the structure grow, but not shrink', () => {
  expect(deviceGetInfo.request.decode(hex(`18000000 ${'00'.repeat(20)}`)).argsz).toBe(24);
  expect(refused(() => deviceGetInfo.request.decode(hex(`0f000000 ${'00'.repeat(12)}`)))).toEqual(
    at('EINVAL', 'argsz', 0),
  );
  expect(refused(() => deviceGetInfo.request.decode(hex('10000000 00000000')))).toEqual(
    at('EINVAL', 'num_regions', 8),
  );
});
