import { bridgeTests } from './bridge.ts';
import { eduTests } from './edu.ts';
import { describeInKernels } from './harness/lab.ts';
import { migrationTests } from './migration.ts';
import { transcriptTests } from './transcript.ts';

// A boot is the expensive part: everything is tried in one guest of each version.
describeInKernels('devices of the kernel', (guest, kernel) => {
  transcriptTests(guest, kernel);
  migrationTests(guest, kernel);
  eduTests(guest, kernel);
  bridgeTests(guest, kernel);
});
