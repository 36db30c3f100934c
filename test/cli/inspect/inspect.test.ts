import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DeviceClient } from '../../../src/client/index.ts';
import { MigrationState } from '../../../src/states/index.ts';
import { lastJson, type Running, Shell } from '../ferry.ts';

const shell = new Shell();
const MEMORY = shell.path('m.sock');
let server: Running;

beforeAll(async () => {
  server = await shell.serve('memory', 'm.sock', '--size', '1M');
});
afterAll(() => shell.close());

describe('ferry inspect', () => {
  it('may be cut off by who reads it', async () => {
    const inspecting = shell.start(['inspect', MEMORY]);
    inspecting.process.stdout?.destroy();
    expect(await inspecting.ended).toMatchObject({ status: 0, stderr: '' });
  });

  it('shows what lspci shows, and what VFIO adds', async () => {
    const { status, stdout } = await shell.run('inspect', MEMORY);
    expect(status).toBe(0);
    expect(stdout.split('\n')).toEqual(
      expect.arrayContaining([
        'memory [0580]: Device 1234:4652',
        '\tInterrupt: pin A routed to IRQ 0',
        '\tRegion 0: Memory at <unassigned> (32-bit, non-prefetchable) [size=4K]',
        '\tRegion 2: Memory at <unassigned> (64-bit, prefetchable) [size=1M]',
        '\t\t2 BAR2: 1M rw, can be mapped: 0x0-0xfffff',
        '\t\t2 MSIX: 4 (eventfd, maskable)',
        '\t\tstate RUNNING',
        '\t\tmigration: driven by nobody',
        '\t\tmain connection: none',
      ]),
    );
    expect(stdout).toMatch(/\tControl: I\/O- Mem- BusMaster- .*DisINTx-\n/);
    expect(stdout).toMatch(/\tCapabilities: \[40\] MSI-X enabled- masked- vectors=4 /);
    expect(stdout).toMatch(/\t\tSTOP_COPY P2P PRE_COPY, about \d/);
  });

  it('prints the same as JSON', async () => {
    const { status, stdout } = await shell.run('inspect', MEMORY, '--json');
    expect(status).toBe(0);
    expect(lastJson(stdout)).toMatchObject({
      config: {
        vendor: 0x1234,
        device: 0x4652,
        classCode: 0x058000,
        bytes: expect.stringMatching(/^34125246/),
      },
      regions: expect.arrayContaining([expect.objectContaining({ name: 'BAR2', index: 2, size: 1048576 })]),
      interrupts: expect.arrayContaining([expect.objectContaining({ name: 'MSIX', count: 4 })]),
      migration: { supported: true, flags: ['STOP_COPY', 'P2P', 'PRE_COPY'], state: 'RUNNING' },
      server: { identity: { kind: 'memory' }, main: { connected: false } },
      refused: [],
    });
  });

  it('does not disturb a VMM, whichever socket is named', async () => {
    const vmm = await DeviceClient.connect(MEMORY);
    try {
      for (const path of [MEMORY, `${MEMORY}.control`]) {
        const { stdout } = await shell.run('inspect', path);
        expect(stdout).toContain('main connection: a VMM, 0 DMA maps');
      }
      expect(await vmm.readU32(0, 0x08)).toBe(1048576);
    } finally {
      vmm.close();
    }
  });

  it('shows a device that is held, in every state of a migration', async () => {
    const { STOP, STOP_COPY, RESUMING, PRE_COPY, RUNNING } = MigrationState;
    const control = await DeviceClient.connect(`${MEMORY}.control`);
    try {
      for (const state of [PRE_COPY, STOP_COPY, STOP, RESUMING, STOP, RUNNING]) {
        // An incomplete state is refused, but the device can be reset.
        await control.setMigrationState(state).catch(() => control.reset());
        const { status, stdout } = await shell.run('inspect', MEMORY, '--json');
        expect(status).toBe(0);
        expect(lastJson(stdout)).toMatchObject({ config: { vendor: 0x1234 }, refused: [] });
      }
    } finally {
      control.close();
    }
  });

  it('refuses to push a VMM aside where there is no control socket', async () => {
    const edu = shell.path('e.sock');
    await shell.serve('edu', 'e.sock', '--no-control');
    expect((await shell.run('inspect', edu)).stdout).toContain('[00ff]: Device 1234:11e8 (rev 10)');
    const vmm = await DeviceClient.connect(edu);
    const { status, stderr } = await shell.run('inspect', edu);
    vmm.close();
    expect(status).toBe(1);
    expect(stderr).toContain('next: another client is connected there: use the control socket');
  });

  it('ends when the server does not answer, and says what to look at', async () => {
    server.process.kill('SIGSTOP');
    const { status, stderr } = await shell.run('inspect', MEMORY);
    server.process.kill('SIGCONT');
    expect(status).toBe(1);
    expect(stderr).toContain('next: look whether the server process is alive');
  });
});
