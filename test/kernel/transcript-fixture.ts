import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

const FILE = resolve(import.meta.dirname, '../fixtures/kernel-mtty-transcript.txt');

/** Every line that was recorded, but for the first one, which says what it is. */
export function wholeTranscript(): readonly string[] {
  return readFileSync(FILE, 'utf8').trimEnd().split('\n').slice(1);
}

/**
 * What was recorded, as programs/transcript.js prints it: descriptors have numbers of their own, and Ferry asks for
 * version 2 of the information before it asks for the information. There are no other exceptions.
 */
export function recordedTranscript(): readonly string[] {
  return wholeTranscript().map((line) =>
    line
      .replace(/ fd=\d+$/, ' fd=new')
      .replace(/^PRECOPY_INFO \(no v2.*\) (.*) flags=0xdeadbeef$/, 'PRECOPY_INFO $1'),
  );
}
