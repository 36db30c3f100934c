import { expect, it } from 'vitest';
import { rehearse } from '../../src/handover/rehearsal.ts';
import { loadNative } from '../../src/native/index.ts';
import { EventLoopReactor } from '../../src/transport/index.ts';
import { openFds } from '../helpers/open-fds.ts';

const native = loadNative();

it('finds out what keeps this process from handing anything over, and leaves nothing open', async () => {
  const before = openFds().length;
  // No word in which both could decide.
  const crippled = { ...native, memfd: () => -24 };
  await expect(rehearse(crippled, new EventLoopReactor(crippled))).rejects.toThrow(/EMFILE/);
  expect(openFds().length).toBe(before);
});

it('hands a device over, and is not repeated at once', async () => {
  const before = openFds().length;
  await rehearse(native, new EventLoopReactor(native));
  expect(openFds().length).toBe(before);
  const unused = { ...native, socketpair: () => expect.fail('it was repeated') };
  await rehearse(unused, new EventLoopReactor(unused));
});
