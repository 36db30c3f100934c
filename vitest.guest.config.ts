import { defineConfig } from 'vitest/config';

/** Tests that boot guests under QEMU; see test/guest/README.md. Guests are emulated: each keeps a processor busy. */
export default defineConfig({
  test: {
    include: ['test/guest/**/*.guest.ts'],
    testTimeout: 120_000,
    hookTimeout: 180_000,
    teardownTimeout: 30_000,
    pool: 'forks',
    maxWorkers: 2,
    // An emulated guest on a machine that is busy for a moment loses interrupts of its own clock now and then.
    retry: 1,
  },
});
