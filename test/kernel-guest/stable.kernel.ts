import { mappedBarTests } from './bridge.ts';
import { doctorTests } from './doctor.ts';
import { eduTests } from './edu.ts';
import { describeInKernel } from './harness/lab.ts';
import { migrationTests } from './migration.ts';
import { transcriptTests } from './transcript.ts';

// A boot is the expensive part: everything is tried in one guest.
describeInKernel('stable', (guest, kernel) => {
  transcriptTests(guest, kernel);
  migrationTests(guest, kernel);
  eduTests(guest, kernel);
  mappedBarTests(guest, kernel);
  doctorTests(guest, kernel);
});
