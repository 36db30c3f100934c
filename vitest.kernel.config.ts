import { defineConfig } from 'vitest/config';

/** Tests of devices of the kernel, in guests; see test/kernel-guest/README.md. Guests are emulated. */
export default defineConfig({
  test: {
    include: ['test/kernel-guest/**/*.kernel.ts'],
    testTimeout: 600_000,
    hookTimeout: 260_000,
    teardownTimeout: 30_000,
    pool: 'forks',
    maxWorkers: 2,
    // An emulated guest on a machine that is busy for a moment loses interrupts of its own clock now and then.
    retry: 1,
  },
});
