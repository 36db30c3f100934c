import { expect, it } from 'vitest';
import { fdRoom, fdShortage, roomOf } from '../../src/handover/fd-room.ts';

const LIMITS = `Limit                     Soft Limit           Hard Limit           Units
Max processes             63704                63704                processes
Max open files            1024                 524288               files
Max locked memory         8388608              8388608              bytes
`;

it.each([
  ['the soft limit less what is open', LIMITS, 24, 1000],
  ['nothing when more is open than may be', LIMITS, 2000, 0],
  ['no end without a limit', LIMITS.replace('1024 ', 'unlimited'), 24, Number.POSITIVE_INFINITY],
  ['no end where nothing is said of files', '', 24, Number.POSITIVE_INFINITY],
])('is %s', (_what, limits, open, room) => {
  expect(roomOf(limits, open)).toBe(room);
});

it('is found out for this process', () => {
  expect(fdRoom()).toBeGreaterThan(0);
});

it('says how much is missing, and what to do', () => {
  expect(fdShortage(100, 1000)).toBeNull();
  expect(fdShortage(1000, 900)).toMatch(/1000 descriptors.* only 900 more.* by at least 164 .*ulimit -Hn/);
});
