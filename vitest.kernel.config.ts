import { defineConfig } from 'vitest/config';
import { makeRunFolder } from './test/setup/run-folder.ts';

makeRunFolder();

/** Tests of devices of the kernel, in guests; see test/kernel-guest/README.md. Guests are emulated. */
export default defineConfig({
  test: {
    maxWorkers: 2,
    teardownTimeout: 30_000,
    projects: [
      {
        test: {
          name: 'kernel',
          setupFiles: 'test/setup/environment.ts',
          include: ['test/kernel-guest/**/*.kernel.ts'],
          testTimeout: 600_000,
          hookTimeout: 260_000,
          pool: 'forks',
          // An emulated guest on a machine that is busy for a moment loses interrupts of its own clock now and then.
          retry: 1,
        },
      },
    ],
  },
});
