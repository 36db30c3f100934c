import { defineConfig } from 'vitest/config';
import { makeRunFolder } from './test/setup/run-folder.ts';

/** Files that need a process of their own: they start others, or change what all modules of a process share. */
const APART = [
  'test/cli/**/*.test.ts',
  'test/peers/**/*.test.ts',
  'test/native/load.test.ts',
  // Looks at how the memory of its process grows.
  'test/check/servers/faults.test.ts',
  'examples/**/*.test.ts',
];

// A limit ends what hangs; how fast a machine is must not decide whether a test passes.
const shared = {
  testTimeout: 120_000,
  hookTimeout: 120_000,
  expect: { poll: { timeout: 60_000, interval: 5 } },
  pool: 'forks',
} as const;

/** Properties are tried with the same values in each run; a file may be asked to leave nothing open. */
const CHANCE = {
  setupFiles: ['test/setup/environment.ts', 'test/setup/properties.ts', 'test/setup/leftovers.ts'],
};

makeRunFolder();

export default defineConfig({
  test: {
    // Much of the time is spent waiting for processes and clocks.
    maxWorkers: 3,
    projects: [
      {
        // Loading the modules for each file anew would take longer than the tests.
        test: {
          ...shared,
          ...CHANCE,
          name: 'unit',
          isolate: false,
          include: ['test/**/*.test.ts'],
          exclude: APART,
        },
      },
      {
        test: {
          ...shared,
          name: 'apart',
          // Each test starts several processes, which takes its time on a busy machine.
          testTimeout: 300_000,
          include: APART,
          setupFiles: 'test/setup/environment.ts',
        },
      },
    ],
  },
});
