import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { DeviceClient } from '../../../src/client/index.ts';
import { MigrationState } from '../../../src/states/index.ts';
import { VmPerformer } from '../../../src/vm/performer.ts';
import { QmpClient } from '../../../src/vm/qmp/qmp-client.ts';
import { VmSource } from '../../../src/vm/source/vm-source.ts';
import type { VmReply, VmStep } from '../../../src/vm/step.ts';
import { serveForTest } from '../../helpers/served.ts';
import { TestDevice } from '../../helpers/test-device.ts';
import { FakeQemu } from '../fake-qemu.ts';

const { RUNNING, PRE_COPY, PRE_COPY_P2P, STOP, STOP_COPY } = MigrationState;
/** Longer than any test: nothing here ends by it. */
const timeoutMs = 600_000;

const undo: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const each of undo.splice(0).reverse()) await each();
});

/** Pages are touched when the test says so. */
class SlowToTouch extends VmPerformer {
  /** Lets them be touched; or not, for this reason. */
  touch: (why?: Error) => void = () => {};
  /** QEMU has not begun to send. */
  preparing = false;
  readonly #told = new Promise<void>((resolve, reject) => {
    this.touch = (why) => (why === undefined ? resolve() : reject(why));
  });

  override async perform(step: VmStep): Promise<VmReply> {
    if (step.do === 'switchover' && step.requests.some(({ request }) => request.do === 'TOUCH'))
      await this.#told;
    if (step.do === 'qmp' && step.command === 'query-migrate' && this.preparing)
      return { kind: 'value', value: { status: 'setup' } };
    return super.perform(step);
  }
}

/** A VM whose QEMU is a fake and sends it, with a device that is really served. */
async function sending() {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-source-'));
  undo.push(() => rmSync(folder, { recursive: true, force: true }));
  const served = serveForTest(new TestDevice());
  undo.push(served.close);
  await served.main();
  const qemu = await new FakeQemu(folder, 'source', 'source', served.socketPath).start();
  undo.push(() => qemu.die());
  const monitor = await QmpClient.connect(qemu.qmpPath, { timeoutMs });
  const client = await DeviceClient.connect(served.controlPath, { timeoutMs });
  const clients = [client];
  const performer = new SlowToTouch({ monitor, gdbPath: null, clients, folder, timeoutMs });
  const vm = new VmSource({
    ...{ name: 'vm', performer, ids: ['d0'], clients, folder, identity: {}, timeoutMs },
    ecam: { base: 0xb000_0000n, hostBridge: 0x29c0_8086 },
  });
  undo.push(() => {
    performer.touch();
    vm.close();
    client.close();
    monitor.close();
  });
  await vm.setState(PRE_COPY);
  return { vm, qemu, performer, client };
}

/** It has stopped, and so has its device. */
async function stopped() {
  const world = await sending();
  await world.vm.hooks.beforeStop?.();
  for (const state of [PRE_COPY_P2P, STOP_COPY]) await world.vm.setState(state);
  await world.client.setMigrationState(STOP);
  return world;
}

it('a VM that QEMU has not begun to send does not tell how much is left: all of it would be nothing', async () => {
  const { vm, performer } = await sending();
  performer.preparing = true;
  expect([await vm.precopyInfo(), await vm.dataSize()]).toEqual([null, null]);
  performer.preparing = false;
  expect(await vm.precopyInfo()).toMatchObject({ initialBytes: 0n });
});

describe('a VM that has stopped', () => {
  it('is passed on while pages are touched, as far as QEMU has sent it', async () => {
    const { vm, qemu, performer } = await stopped();
    let bytes = 0;
    while (bytes < 300_000) bytes += await vm.read(65_536, () => {});
    expect(qemu.commands).not.toContain('migrate-continue');
    performer.touch();
    for (let length = -1; length !== 0; ) length = await vm.read(65_536, () => {});
    expect(qemu.commands).toContain('migrate-continue');
  });

  it('can not be read when pages could not be touched, however patient one is with QEMU', async () => {
    const { vm, performer } = await stopped();
    performer.touch(new Error('no page was touched'));
    const all = async (): Promise<void> => {
      while ((await vm.read(65_536, () => {})) > 0);
    };
    await expect(all()).rejects.toThrow('no page was touched');
  });

  it('does not run again before no page is touched any more', async () => {
    const { vm, qemu, performer } = await stopped();
    await vm.read(65_536, () => {});
    const back = vm.setState(RUNNING);
    // QEMU answers one after the other: what it is told besides would have come by now.
    for (let times = 0; times < 5; times += 1) await vm.state();
    expect(qemu.commands).not.toContain('migrate_cancel');
    expect(qemu.running).toBe(false);
    performer.touch();
    await back;
    expect(qemu.running).toBe(true);
  });
});
