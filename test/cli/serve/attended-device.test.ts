import { expect, it } from 'vitest';
import { UsageError } from '../../../src/cli/outcome/usage-error.ts';
import { attendedDevice } from '../../../src/cli/serve/attended-device.ts';

it('takes no device of the kernel over, and does not try to open what another process has', async () => {
  const spec = { kind: 'kernel', name: '0000:00:05.0', map: false } as const;
  const attempt = attendedDevice(spec, true);
  await expect(attempt).rejects.toBeInstanceOf(UsageError);
  await expect(attempt).rejects.toThrow('migrate it to another device instead');
});
