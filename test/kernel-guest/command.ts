import { describe, expect, it } from 'vitest';
import { MTTY } from './harness/kernel-guest.ts';
import type { Tests } from './harness/lab.ts';

/** What is tried by the command, as its users do. */
export const commandTests: Tests = (guest) =>
  describe('the command', () => {
    it('takes devices of the kernel as it takes sockets', async () => {
      const [a, b] = MTTY;
      // Nothing but /run can be written there.
      const journal = ['--journal', '/run/journal'];
      const patient = ['--downtime-limit', '60000', '--timeout', '60000', ...journal];
      const shown = await guest().ferry('inspect', a);
      expect(shown.output).toContain('driver mtty');
      // What was tried before has left it stopped.
      const reset = await guest().ferry('state', a, '--reset');
      expect(reset).toMatchObject({ status: 0, output: 'RUNNING' });
      const saved = await guest().ferry('save', a, '/run/a.ferry', ...patient);
      expect(saved).toMatchObject({ status: 0 });
      const restored = await guest().ferry('restore', '/run/a.ferry', b, '--timeout', '60000', ...journal);
      expect(restored).toMatchObject({ status: 0 });
      const moved = await guest().ferry('migrate', a, b, ...patient);
      expect(moved).toMatchObject({ status: 0 });
    });
  });
