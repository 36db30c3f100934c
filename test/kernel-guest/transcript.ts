import { describe, expect, it } from 'vitest';
import { recordedTranscript } from '../kernel/transcript-fixture.ts';
import { MTTY } from './harness/kernel-guest.ts';
import { STABLE } from './harness/kernels.ts';
import type { Tests } from './harness/lab.ts';

/** What the stable version does not have: version 2 of the information about pre-copy. */
const OLDER: ReadonlyMap<string, string> = new Map([
  [
    ' feature 12 PROBE|GET=EINVAL PROBE|SET=0 PROBE|GET|SET=EINVAL',
    ' feature 12 PROBE|GET=ENOTTY PROBE|SET=ENOTTY PROBE|GET|SET=ENOTTY',
  ],
  ['SET MIG_PRECOPY_INFOv2 (state PRE_COPY): 0', 'SET MIG_PRECOPY_INFOv2 (state PRE_COPY): ENOTTY'],
  ['PRECOPY_INFO (v2) 0 init=24 dirty=0 flags=0', 'PRECOPY_INFO (v2) 0 init=24 dirty=0 flags=0xdeadbeef'],
]);

/** What is tried in each guest. */
export const transcriptTests: Tests = (guest, { version }) =>
  describe('the transcript of mtty', () => {
    it('is reproduced through the client, line for line', async () => {
      const printed = await guest().node('kernel-guest/programs/transcript.js', ...MTTY);
      const recorded = recordedTranscript().map((line) =>
        version === STABLE ? (OLDER.get(line) ?? line) : line,
      );
      expect(printed.split('\n')).toEqual(recorded);
    });
  });
