import { defineConfig } from 'vitest/config';
import { makeRunFolder } from './test/setup/run-folder.ts';

makeRunFolder();

/** Tests that boot guests under QEMU; see test/guest/README.md. Guests are emulated: each keeps a processor busy. */
export default defineConfig({
  test: {
    maxWorkers: 2,
    teardownTimeout: 30_000,
    projects: [
      {
        test: {
          name: 'guest',
          setupFiles: 'test/setup/environment.ts',
          include: ['test/guest/**/*.guest.ts'],
          testTimeout: 120_000,
          hookTimeout: 180_000,
          pool: 'forks',
          // An emulated guest on a machine that is busy for a moment loses interrupts of its own clock now and then.
          retry: 1,
        },
      },
    ],
  },
});
