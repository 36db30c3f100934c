import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { authorDevice } from '../../src/cli/serve/author/author-device.ts';
import { shownInGuest } from '../docs/guide.ts';
import type { Guest } from './harness/guest.ts';
import { describeInGuests } from './harness/lab.ts';

const EXAMPLE = resolve(import.meta.dirname, '../../examples/egg-timer.ts');

describeInGuests('docs/write-a-device.md', (lab) => {
  let guest: Guest;
  beforeAll(async () => {
    const { socketPath } = lab.serve('egg', await authorDevice(EXAMPLE, {}));
    guest = await lab.boot({
      machine: 'q35',
      memory: 'shared',
      devices: [{ id: 'egg', socketPath, slot: 0x10 }],
    });
  });
  afterAll(() => guest.close());

  it('shows what a guest answers', async () => {
    // A command of the harness has a shell of its own, which forgets where it was and what it was told.
    let before = '';
    for (const { command, output } of shownInGuest()) {
      const module = /^modprobe (\w+)$/.exec(command)?.[1];
      if (module !== undefined) await guest.load(module);
      else expect(await guest.run(before + command), command).toBe(output);
      if (/^(cd |BAR=)/.test(command)) before += `${command}; `;
    }
    expect(await guest.kernelComplaints()).toEqual([]);
    expect(guest.complaints).toBe('');
  });
});
