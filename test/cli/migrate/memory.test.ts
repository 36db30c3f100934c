import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const run = promisify(execFile);
const script = fileURLToPath(new URL('../../../bench/migration.js', import.meta.url));
const MIB = 1024 ** 2;
/** How much the memory of either side may grow with the state, in MiB. */
const FLAT = 64;
/** The long form moves 4 GiB. */
const LONG = process.env['FERRY_MEMORY'] === 'long';
const LARGE = LONG ? 4096 : 256;
const PATIENCE_MS = LONG ? 600_000 : 120_000;

/** The most memory of the sender's process and of the receiver's, in MiB, for a device with so much state. */
async function peaks(mib: number): Promise<{ readonly sender: number; readonly receiver: number }> {
  const words = [script, 'stop-copy', 'stream', String(mib * MIB), '1', '0', '0'];
  const { stdout } = await run(process.execPath, words, { timeout: PATIENCE_MS });
  const result: unknown = JSON.parse(stdout);
  if (typeof result !== 'object' || result === null) throw new Error(stdout);
  expect(Reflect.get(result, 'bytes')).toBe(mib * MIB);
  return {
    sender: Number(Reflect.get(result, 'senderMiB')),
    receiver: Number(Reflect.get(result, 'receiverMiB')),
  };
}

it(
  `the memory of both sides stays flat from 16 MiB of state to ${LARGE} MiB (FERRY_MEMORY=long: 4 GiB)`,
  async () => {
    const small = await peaks(16);
    const large = await peaks(LARGE);
    expect(small.sender).toBeGreaterThan(20);
    expect(large.sender - small.sender).toBeLessThanOrEqual(FLAT);
    expect(large.receiver - small.receiver).toBeLessThanOrEqual(FLAT);
  },
  2 * PATIENCE_MS,
);
