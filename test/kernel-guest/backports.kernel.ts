import { bridgeTests } from './bridge.ts';
import { commandTests } from './command.ts';
import { eduTests } from './edu.ts';
import { describeInKernel } from './harness/lab.ts';
import { migrationTests } from './migration.ts';
import { transcriptTests } from './transcript.ts';

// What takes long in an emulated guest, the command and a QEMU in a QEMU, is tried in this one alone.
describeInKernel('backports', (guest, kernel) => {
  transcriptTests(guest, kernel);
  migrationTests(guest, kernel);
  eduTests(guest, kernel);
  bridgeTests(guest, kernel);
  commandTests(guest, kernel);
});
