import { describe, expect, it } from 'vitest';
import { PLAIN, peopleLine, renderPeople } from '../../../src/check/index.ts';
import { Edu, Gpio, MemoryDevice, NvmeDevice, Serial } from '../../../src/devices/index.ts';
import { TestDevice } from '../../helpers/test-device.ts';
import { inProcess, tried } from './in-process.ts';

const MiB = 1024 * 1024;

const devices = [
  ['edu', () => new Edu()],
  ['memory', () => new MemoryDevice({ size: MiB })],
  ['gpio', () => new Gpio()],
  ['serial', () => new Serial()],
  ['nvme', () => new NvmeDevice({ ram: MiB })],
  ['device with one of everything', () => new TestDevice()],
] as const;

/** All of them over one socket, as any server; and one with migration over a control socket, and one by v1. */
const ways = [
  ...devices.map(([name, make]) => [name, {}, make] as const),
  ['edu with a control socket', { control: true }, () => new Edu()] as const,
  ['device that is migrated by v1', { v1: true }, () => new TestDevice()] as const,
];

describe.each(ways)('a served %s', (_, options, make) => {
  it('keeps every rule', { timeout: 600_000 }, async () => {
    const results = await tried(inProcess(make, null, options));
    const bad = results.filter(({ outcome }) => outcome === 'broken' || outcome === 'inconclusive');
    const report = { kind: 'server', subject: 'a device', about: [], results: bad } as const;
    expect(
      bad.map((each) => peopleLine(each, PLAIN)),
      renderPeople(report),
    ).toEqual([]);
    const rules = 'v1' in options ? 135 : 170;
    expect(results.filter(({ outcome }) => outcome === 'passed').length).toBeGreaterThan(rules);
  });
});
