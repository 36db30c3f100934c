import { describe, expect, it } from 'vitest';
import { KernelDevice } from '../../src/kernel/index.ts';
import { FakeKernel } from './fake-kernel.ts';
import { transcript } from './programs/transcript.js';
import { recordedTranscript, wholeTranscript } from './transcript-fixture.ts';

describe('the transcript of the driver mtty', () => {
  it('is the same through the client, on a kernel that behaves as recorded', async () => {
    const kernel = new FakeKernel();
    const names = ['83b8f4f2-509f-382f-3c1e-e6bfe0fa1001', '83b8f4f2-509f-382f-3c1e-e6bfe0fa1002'];
    for (const name of names) kernel.add(name);
    const options = { system: kernel, sysfs: kernel.sysfs };
    const [a, b] = await Promise.all(names.map((name) => KernelDevice.open(name, options)));
    if (a === undefined || b === undefined) throw new Error('not opened');
    expect(await transcript(a, b, kernel)).toEqual(recordedTranscript());
    a.close();
    b.close();
    expect(kernel.files.size).toBe(0);
  });

  it('is compared as a whole, but for the numbers of descriptors and one line', () => {
    const [recorded, compared] = [wholeTranscript(), recordedTranscript()];
    expect(compared).toHaveLength(recorded.length);
    const altered = recorded.filter((line, i) => line !== compared[i]);
    const others = altered.filter((line) => !/ fd=\d+$/.test(line));
    expect([altered.length, others]).toEqual([
      3,
      ['PRECOPY_INFO (no v2, flags preset garbage) 0 init=24 dirty=0 flags=0xdeadbeef'],
    ]);
  });
});
