import { eduTests } from './edu.ts';
import { describeInKernel } from './harness/lab.ts';
import { iommufdTests } from './iommufd.ts';
import { migrationTests } from './migration.ts';

describeInKernel('iommufd', (guest, kernel) => {
  iommufdTests(guest, kernel);
  migrationTests(guest, kernel);
  eduTests(guest, kernel);
});
