import { describe, expect, it } from 'vitest';
import { PLAIN, peopleLine, renderPeople } from '../../../src/check/index.ts';
import { Edu, Gpio, MemoryDevice, Serial } from '../../../src/devices/index.ts';
import { TestDevice } from '../../helpers/test-device.ts';
import { inProcess, tried } from './in-process.ts';

const MiB = 1024 * 1024;

const devices = [
  ['edu', () => new Edu()],
  ['memory', () => new MemoryDevice({ size: MiB })],
  ['gpio', () => new Gpio()],
  ['serial', () => new Serial()],
  ['test', () => new TestDevice()],
] as const;

describe.each(devices)('a served %s', (_, make) => {
  it.each([
    ['over one socket', false],
    ['with migration over the control socket', true],
  ])('keeps every rule %s', async (_how, control) => {
    const results = await tried(inProcess(make, null, control));
    const bad = results.filter(({ outcome }) => outcome === 'broken' || outcome === 'inconclusive');
    const report = { kind: 'server', subject: 'x', about: [], results: bad } as const;
    expect(
      bad.map((each) => peopleLine(each, PLAIN)),
      renderPeople(report),
    ).toEqual([]);
    for (const r of [...results].sort((a, b) => b.ms - a.ms).slice(0, 12))
      results.length,
      results
        .filter((r) => r.outcome === 'not applicable')
        .map((r) => r.rule.id)
        .join(' '),
    );
  });
});
