import { expect, it, vi } from 'vitest';
import { loadNative } from '../../src/native/index.ts';
import { EventLoopReactor } from '../../src/transport/index.ts';
import { openFds } from '../helpers/open-fds.ts';

const native = loadNative();

/** As in a process that has not rehearsed, whatever another test has done in this one. */
async function fresh() {
  vi.resetModules();
  return (await import('../../src/handover/rehearsal.ts')).rehearse;
}

it('finds out what keeps this process from handing anything over, and leaves nothing open', async () => {
  const rehearse = await fresh();
  const before = openFds().length;
  // No word in which both could decide.
  const crippled = { ...native, memfd: () => -24 };
  await expect(rehearse(crippled, new EventLoopReactor(crippled))).rejects.toThrow(/EMFILE/);
  expect(openFds().length).toBe(before);
});

it('hands a device over, and is not repeated at once', async () => {
  const rehearse = await fresh();
  const before = openFds().length;
  await rehearse(native, new EventLoopReactor(native));
  expect(openFds().length).toBe(before);
  const unused = { ...native, socketpair: () => expect.fail('it was repeated') };
  await rehearse(unused, new EventLoopReactor(unused));
});
