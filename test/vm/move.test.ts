import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { MigrationError, migrate } from '../../src/engine/index.ts';
import { stateName } from '../../src/states/index.ts';
import { openSource, openTarget } from '../../src/vm/index.ts';
import { serveForTest } from '../helpers/served.ts';
import { TestDevice } from '../helpers/test-device.ts';
import { FakeQemu, type Trouble } from './fake-qemu.ts';

/** How long each answer may take, in milliseconds: silence is to be told from a machine that is busy. */
const TIMEOUT = 700;

const undo: (() => void)[] = [];
afterEach(() => {
  for (const each of undo.splice(0).reverse()) each();
});

/** Two fake QEMUs, each with a device that is really served. */
async function world() {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-move-'));
  undo.push(() => rmSync(folder, { recursive: true, force: true }));
  const side = async (role: 'source' | 'destination') => {
    const served = serveForTest(new TestDevice());
    undo.push(served.close);
    await served.main();
    const qemu = await new FakeQemu(folder, role, role, served.socketPath).start();
    undo.push(() => qemu.die());
    return { qemu, served };
  };
  return { folder, source: await side('source'), destination: await side('destination') };
}
type World = Awaited<ReturnType<typeof world>>;

/** Moves it; whatever happens, nothing is left open. */
async function move({ source, destination }: World) {
  const common = (qemu: FakeQemu, path: string) => ({
    ...{ monitorPath: qemu.qmpPath, timeoutMs: TIMEOUT, devices: [{ id: null, path }] },
  });
  const from = await openSource(common(source.qemu, source.served.socketPath));
  try {
    const to = await openTarget({
      ...common(destination.qemu, destination.served.socketPath),
      gdbPath: destination.qemu.gdbPath,
    });
    try {
      return await migrate(from.ends, to.ends, {
        ...{ hooks: { ...from.hooks, ...to.hooks }, timeoutMs: TIMEOUT, hookTimeoutMs: 3 * TIMEOUT },
        limits: { downtimeMs: 10_000 },
      });
    } finally {
      await to.close();
    }
  } finally {
    await from.close();
  }
}

const stateOf = ({ served }: World['source']): string => stateName(served.server.migration.state);

/** Nothing of the exchange is left behind. */
const leftIn = (folder: string): readonly string[] =>
  readdirSync(folder).filter((name) => !/\.(qmp|gdb)$/.test(name));

describe('a VM and its device', () => {
  it('go on at the destination: the stream is whole, the registers are set up, and the VM runs last', async () => {
    const it = await world();
    const { source, destination, folder } = it;
    source.served.server.device.regions[0]?.write(0, Uint8Array.of(1, 2, 3, 4), 0, 4);
    expect(await move(it)).toMatchObject({ owner: 'destination' });
    expect([source.qemu.running, destination.qemu.running]).toEqual([false, true]);
    expect([stateOf(source), stateOf(destination)]).toEqual(['STOP', 'RUNNING']);
    expect([...destination.qemu.config]).toEqual([...source.qemu.config]);
    expect(destination.qemu.commands.filter((each) => !each.startsWith('q')).at(-1)).toBe('cont');
    expect(source.qemu.commands.indexOf('migrate-continue')).toBeGreaterThan(
      source.qemu.commands.indexOf('migrate'),
    );
    expect(leftIn(folder)).toEqual([]);
  });

  const TROUBLES: readonly (readonly ['source' | 'destination', Trouble])[] = [
    ...(['refuses', 'is silent'] as const).flatMap((how) =>
      ['migrate-set-capabilities', 'migrate', 'stop', 'pmemsave', 'query-pci', 'migrate-continue'].map(
        (at) => ['source', { at, how, after: at === 'pmemsave' ? 2 : 0 }] as const,
      ),
    ),
    ...(['refuses', 'is silent', 'dies'] as const).flatMap((how) =>
      ['stop', 'migrate-incoming', 'gdb M', 'gdb m'].map(
        (at) => ['destination', { at, how, after: at === 'gdb m' ? 2 : 0 }] as const,
      ),
    ),
    ['destination', { at: 'query-migrate', how: 'dies', after: 1 }],
  ];

  it.each(TROUBLES)('stay at the source when the %s fails: %o', { timeout: 30_000 }, async (end, trouble) => {
    const it = await world();
    it[end].qemu.trouble = trouble;
    const error = await move(it).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(MigrationError);
    expect(error).toMatchObject({ owner: 'source' });
    expect(it.source.qemu.running, 'the VM runs on').toBe(true);
    expect(stateOf(it.source), 'and so does its device').toBe('RUNNING');
    expect(it.destination.qemu.running).toBe(false);
    expect(leftIn(it.folder)).toEqual([]);
  });

  it.each([
    ['source', 'query-version'],
    ['destination', 'query-version'],
    ['destination', 'gdb Q'],
  ] as const)('are not touched when the %s can not be examined (%s)', async (end, at) => {
    const it = await world();
    it[end].qemu.trouble = { at, how: 'refuses' };
    await expect(move(it)).rejects.toMatchObject({ code: expect.stringMatching(/^ERR_VM_/) });
    expect(it.source.qemu.commands.filter((each) => /^(migrate|cont|stop|quit)/.test(each))).toEqual([]);
    expect(it.destination.qemu.commands.filter((each) => /^(migrate|cont|stop|quit)/.test(each))).toEqual([]);
    expect(leftIn(it.folder)).toEqual([]);
  });

  it('belong to the destination when only the last word fails, and that is said', async () => {
    const it = await world();
    it.destination.qemu.trouble = { at: 'cont', how: 'dies' };
    await expect(move(it)).rejects.toMatchObject({ owner: 'destination' });
    expect(it.source.qemu.running).toBe(false);
    expect(stateOf(it.source)).toMatch(/STOP/);
  });
});
