import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MemoryRegister } from '../../../src/devices/index.ts';
import { fields, RawClient } from '../../helpers/raw-client.ts';
import { lastJson, Shell } from '../ferry.ts';

let shell: Shell;
let vmm: RawClient | null = null;

beforeEach(() => {
  shell = new Shell();
});
afterEach(async () => {
  vmm?.close();
  await shell.close();
});

const scratch = (value: number): Buffer =>
  fields(BigInt(MemoryRegister.SCRATCH), 0, 4, Buffer.from([value, 0, 0, 0]));

async function read(client: RawClient): Promise<number> {
  const { payload } = await client.request(9, fields(BigInt(MemoryRegister.SCRATCH), 0, 4));
  return Buffer.from(payload).readUInt32LE(16);
}

/** A VMM leaves a value in the device, goes away without a word, and comes back as another one, which resets. */
async function comeBack(): Promise<void> {
  const socket = shell.path('m.sock');
  vmm = await RawClient.open(socket);
  await vmm.request(10, scratch(7));
  vmm.close();
  vmm = await RawClient.open(socket);
  expect(await vmm.request(13)).toMatchObject({ error: 0 });
}

describe('ferry reconnect', { timeout: 120_000 }, () => {
  it('keeps what a VMM that comes back resets, until that is continued', async () => {
    await shell.serve('memory', 'm.sock', '--size', '64K');
    const socket = shell.path('m.sock');
    expect((await shell.run('reconnect', socket)).stdout).toBe(
      'when the VMM comes back: its resets are carried out\n',
    );
    expect((await shell.run('reconnect', socket, 'keep')).stdout).toBe(
      'when the VMM comes back: its state is kept\n',
    );
    await comeBack();
    const { stdout } = await shell.run('reconnect', socket, '--json');
    expect(lastJson(stdout)).toMatchObject({
      policy: 'keep',
      state: 'STOP',
      kept: { returned: true, withheldResets: 1, configuration: expect.stringMatching(/^([0-9a-f]{2})+$/) },
    });
    expect(await shell.run('reconnect', socket, 'continue')).toMatchObject({ status: 0 });
    expect(vmm && (await read(vmm))).toBe(7);
  });

  it('gives up what was kept', async () => {
    await shell.serve('memory', 'm.sock', '--size', '64K', '--on-reconnect', 'keep');
    await comeBack();
    const { stdout } = await shell.run('reconnect', shell.path('m.sock'), 'reset');
    expect(stdout).toBe('when the VMM comes back: its resets are carried out\n');
    expect(vmm && (await read(vmm))).toBe(0);
  });

  it('knows three choices', async () => {
    expect(await shell.run('reconnect', 'x', 'perhaps')).toMatchObject({ status: 2 });
  });
});
