import { expect, it } from 'vitest';
import { BEHAVIOURS, checkClient, renderReport } from '../../src/check/index.ts';
import type { Guest } from './harness/guest.ts';
import { describeInGuests } from './harness/lab.ts';

/** More than a boot takes: QEMU is played to until the guest is closed. */
const LIMIT_MS = 100_000;
const SLOT = 0x10;

describeInGuests('ferry check --as-server', (lab) => {
  it('finds that QEMU and a guest keep the rules, and shows what they did', async () => {
    const booted: Promise<string>[] = [];
    const report = await checkClient({
      socketPath: lab.path('dut.sock'),
      spawn: null,
      ...{ startMs: 30_000, limitMs: LIMIT_MS },
      behaviours: BEHAVIOURS.filter(({ name }) => name === 'asking'),
      onPlay: (_, socketPath) => booted.push(look(socketPath)),
    });
    expect(await Promise.all(booted), 'Linux has found the device').toEqual(['0x1234 0x4643']);
    const broken = report.results.filter(({ outcome }) => outcome === 'broken');
    expect(broken, renderReport(report, 'people')).toEqual([]);
    const passed = report.results.filter(({ outcome }) => outcome === 'passed').map(({ rule }) => rule.id);
    expect(passed).toEqual(
      expect.arrayContaining(['dma.map-fd', 'dma.answers', 'dma.unmap-known', 'irq.form', 'region.inside']),
    );
    console.log(renderReport(report, 'people'));
  });

  /** Boots a guest with the device, and asks Linux what it is. */
  async function look(socketPath: string): Promise<string> {
    let guest: Guest | null = null;
    try {
      guest = await lab.boot({
        machine: 'q35',
        memory: 'shared',
        devices: [{ id: 'dut', socketPath, slot: SLOT }],
      });
      return await guest.run(
        `cd /sys/bus/pci/devices/0000:00:${SLOT.toString(16)}.0 && echo $(cat vendor device)`,
      );
    } finally {
      await guest?.close();
    }
  }
});
