import { expect, it } from 'vitest';
import { parseTarget } from '../../src/doctor/target.ts';

const UUID = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001';

it.each([
  [undefined, { kind: 'machine' }],
  ['0000:00:05.0', { kind: 'pci', name: '0000:00:05.0' }],
  ['00:1F.7', { kind: 'pci', name: '0000:00:1f.7' }],
  ['kernel:0001:02:03.1', { kind: 'pci', name: '0001:02:03.1' }],
  [UUID.toUpperCase(), { kind: 'mdev', name: UUID }],
  [`kernel:${UUID}`, { kind: 'mdev', name: UUID }],
  ['/run/a.sock', { kind: 'socket', path: '/run/a.sock' }],
  ['00:05.8', { kind: 'socket', path: '00:05.8' }],
  ['kernel:what', { kind: 'socket', path: 'kernel:what' }],
])('%s names %o', (word, target) => {
  expect(parseTarget(word)).toEqual(target);
});
