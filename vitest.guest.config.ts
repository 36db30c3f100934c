import { configDefaults, defineConfig } from 'vitest/config';

/** The round trips under load take four minutes and more: FERRY_GUEST_SOAK=1 asks for them. */
const soak = process.env['FERRY_GUEST_SOAK'] === '1';

/** Tests that boot guests under QEMU; see test/guest/README.md. Guests are emulated, so one at a time. */
export default defineConfig({
  test: {
    include: ['test/guest/**/*.guest.ts'],
    exclude: [...configDefaults.exclude, ...(soak ? [] : ['test/guest/round-trip.guest.ts'])],
    testTimeout: 120_000,
    hookTimeout: 180_000,
    teardownTimeout: 30_000,
    pool: 'forks',
    maxWorkers: 2,
    // An emulated guest on a machine that is busy for a moment loses interrupts of its own clock now and then.
    retry: 1,
  },
});
