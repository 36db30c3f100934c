import { randomFillSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceClient } from '../../../src/client/index.ts';
import { MemoryRegister } from '../../../src/devices/index.ts';
import { PHASES } from '../../../src/engine/index.ts';
import { lastJson, type Outcome, type Running, Shell } from '../ferry.ts';

/** What only the device that is being moved has in its registers: a reset, or a fresh device, has not. */
const MARK = 0xfee1dead;
const content = randomFillSync(new Uint8Array(1024 * 1024));
/** The data takes half a second, so that a kill meets the phase that it is meant for. */
const SLOWLY = ['--max-bandwidth', '2M', '--downtime', '10000', '--json'];
/** It takes a quarter of a minute: nobody who looks comes too late. */
const VERY_SLOWLY = ['--max-bandwidth', '64K'];

let shell: Shell;
let source: Running;
let destination: Running;

beforeEach(async () => {
  shell = new Shell();
  writeFileSync(shell.path('image'), content);
  [source, destination] = await Promise.all([
    shell.serve('memory', 'a.sock', '--image', shell.path('image')),
    shell.serve('memory', 'b.sock', '--size', '1M'),
  ]);
  const vmm = await DeviceClient.connect(shell.path('a.sock'));
  await vmm.writeU32(0, MemoryRegister.SCRATCH, MARK);
  vmm.close();
});
afterEach(async () => {
  await shell.close();
});

/** How one end is afterwards, by `ferry inspect`; and whether it runs with what was to be moved. */
interface End {
  readonly alive: boolean;
  readonly state: string;
  readonly runsGuest: boolean;
}

const RUNNING_STATES = ['RUNNING', 'RUNNING_P2P', 'PRE_COPY', 'PRE_COPY_P2P'];

async function look(socket: string): Promise<End> {
  const path = shell.path(socket);
  const { status, stdout } = await shell.run('inspect', path, '--json');
  const told = lastJson(stdout);
  if (status !== 0) return { alive: false, state: 'gone', runsGuest: false };
  const state = stateIn(told['migration']);
  if (!RUNNING_STATES.includes(state)) return { alive: true, state, runsGuest: false };
  // Held, its guest waits: on the way to RUNNING with what was moved, or after a reset without it.
  if (isHeld(told['server'])) return { alive: true, state, runsGuest: state === 'RUNNING_P2P' };
  const vmm = await DeviceClient.connect(path);
  try {
    return { alive: true, state, runsGuest: (await vmm.readU32(0, MemoryRegister.SCRATCH)) === MARK };
  } finally {
    vmm.close();
  }
}

function isHeld(server: unknown): boolean {
  return /"hold":\{"active":true/.test(JSON.stringify(server));
}

function stateIn(migration: unknown): string {
  return typeof migration === 'object' && migration !== null && 'state' in migration
    ? String(migration.state)
    : '?';
}

async function lookAtBoth(): Promise<{ readonly from: End; readonly to: End }> {
  const [from, to] = await Promise.all([look('a.sock'), look('b.sock')]);
  expect(from.runsGuest && to.runsGuest, 'two running devices').toBe(false);
  return { from, to };
}

function migrateSlowly(...more: string[]): Running {
  return shell.start(['migrate', shell.path('a.sock'), shell.path('b.sock'), ...SLOWLY, ...more]);
}

/** Kills as soon as a phase is told of; the controller waits meanwhile, so that it gets no further. */
async function killAt(phase: string, controller: Running, victim: Running): Promise<void> {
  await controller.sees(`"phase":"${phase}"`);
  controller.process.kill('SIGSTOP');
  victim.process.kill('SIGKILL');
  if (victim !== controller) controller.process.kill('SIGCONT');
  await victim.ended;
}

interface Told {
  readonly owner: unknown;
  readonly phase: unknown;
  readonly next: unknown;
}

function errorOf({ stdout }: Outcome): Told | null {
  const { error } = lastJson(stdout);
  if (typeof error !== 'object' || error === null) return null;
  return { owner: undefined, phase: undefined, next: undefined, ...error };
}

/** What a report may say, by its exit code. */
function expectClear(outcome: Outcome): Told | null {
  expect(outcome.signal).toBeNull();
  const told = errorOf(outcome);
  if (told === null) expect(outcome.status).toBe(0);
  else if (told.owner === 'source') expect([1, 3]).toContain(outcome.status);
  else if (told.owner === 'destination') expect(outcome.status).toBe(4);
  else expect(outcome.status).toBe(3);
  if (told?.owner === 'in doubt') expect(told.next).not.toEqual([]);
  return told;
}

const ways = [
  { name: 'with pre-copy', options: [], phases: PHASES.slice(0, 8) },
  { name: 'without pre-copy', options: ['--no-pre-copy'], phases: ['stop', 'stop-copy', 'verify'] },
];

describe.each(ways)('SIGKILL during ferry migrate $name', ({ options, phases }) => {
  it.each(phases)('of the source in phase %s', async (phase) => {
    const controller = migrateSlowly(...options);
    await killAt(phase, controller, source);
    const told = expectClear(await controller.ended);
    const { from, to } = await lookAtBoth();
    expect(from.alive).toBe(false);
    // Either the destination has everything and may be told to run, or it has been reset, or it runs already.
    if (told === null) expect(to.runsGuest).toBe(true);
    else expect(told.owner === 'destination').toBe(to.runsGuest);
    if (to.state === 'STOP') {
      await shell.run('state', shell.path('b.sock'), '--set', 'RUNNING', '--force');
      expect(await look('b.sock')).toMatchObject({ runsGuest: true });
    }
  });

  it.each(phases)('of the destination in phase %s', async (phase) => {
    const controller = migrateSlowly(...options);
    await killAt(phase, controller, destination);
    const told = expectClear(await controller.ended);
    const { from, to } = await lookAtBoth();
    expect(to.alive).toBe(false);
    if (told?.owner === 'source') expect(from).toMatchObject({ state: 'RUNNING', runsGuest: true });
    else expect(['STOP_COPY', 'STOP']).toContain(from.state);
    if (from.runsGuest) return;
    // It belongs to a destination that is certainly gone: the source still has the state, stopped.
    await shell.run('state', shell.path('a.sock'), '--set', 'RUNNING', '--force');
    expect(await look('a.sock')).toMatchObject({ runsGuest: true });
  });

  it.each(phases)(
    'of the controller in phase %s: both stay where they are, and can be decided',
    async (phase) => {
      const controller = migrateSlowly(...options);
      await killAt(phase, controller, controller);
      const { from, to } = await lookAtBoth();
      expect([from.alive, to.alive]).toEqual([true, true]);
      if (to.runsGuest) {
        expect(['STOP_COPY', 'STOP']).toContain(from.state);
        return;
      }
      expect((await shell.run('state', shell.path('b.sock'), '--reset', '--force')).status).toBe(0);
      expect((await shell.run('state', shell.path('a.sock'), '--set', 'RUNNING', '--force')).status).toBe(0);
      expect((await lookAtBoth()).from).toMatchObject({ state: 'RUNNING', runsGuest: true });
    },
  );
});

describe('a kill that surely meets its phase', () => {
  it('of the destination in pre-copy: the source runs on', async () => {
    const controller = migrateSlowly(...VERY_SLOWLY);
    await controller.sees('"phase":"pre-copy"');
    await sleep(100);
    await destination.kill('SIGKILL');
    const outcome = await controller.ended;
    expect(errorOf(outcome)).toMatchObject({ owner: 'source', phase: 'pre-copy', sourceState: 'RUNNING' });
    expect(outcome.status).toBe(1);
  });

  it('of the destination in stop-copy: the source runs on', async () => {
    const controller = migrateSlowly('--no-pre-copy', ...VERY_SLOWLY);
    await controller.sees('"phase":"stop-copy"');
    await sleep(100);
    await destination.kill('SIGKILL');
    const outcome = await controller.ended;
    expect(errorOf(outcome)).toMatchObject({ owner: 'source', phase: 'stop-copy', sourceState: 'RUNNING' });
    expect(outcome.status).toBe(1);
  });

  it('of the source in stop-copy: nobody has the device, and the destination is fresh', async () => {
    const controller = migrateSlowly('--no-pre-copy', ...VERY_SLOWLY);
    await controller.sees('"phase":"stop-copy"');
    await sleep(100);
    await source.kill('SIGKILL');
    const outcome = await controller.ended;
    expect(errorOf(outcome)).toMatchObject({
      owner: 'in doubt',
      phase: 'stop-copy',
      destinationState: 'RUNNING',
    });
    expect(outcome.status).toBe(3);
    expect(await look('b.sock')).toMatchObject({ state: 'RUNNING', runsGuest: false });
  });
});

describe('a server that hangs during ferry migrate', () => {
  const hang = async (victim: Running): Promise<Told | null> => {
    const controller = migrateSlowly('--timeout', '2000', '--max-bandwidth', '512K');
    await controller.sees('"phase":"pre-copy"');
    victim.process.kill('SIGSTOP');
    const outcome = await controller.ended;
    victim.process.kill('SIGCONT');
    return expectClear(outcome);
  };

  it('source: ends in time; the source, which goes on, is the only one that runs', async () => {
    expect(await hang(source)).toMatchObject({ owner: 'in doubt', phase: 'pre-copy' });
    const { from } = await lookAtBoth();
    expect(from.runsGuest).toBe(true);
    await shell.run('state', shell.path('a.sock'), '--set', 'RUNNING', '--force');
    expect((await lookAtBoth()).from).toMatchObject({ state: 'RUNNING', runsGuest: true });
  });

  it('destination: ends in time; the source runs on, and the next step repairs the destination', async () => {
    const told = await hang(destination);
    const repair = `ferry state ${shell.path('b.sock.control')} --reset --force`;
    expect(told).toMatchObject({ owner: 'source', phase: 'pre-copy', next: [repair] });
    expect((await shell.run(...repair.split(' ').slice(1))).status).toBe(0);
    const { from, to } = await lookAtBoth();
    expect([from.state, to.state]).toEqual(['RUNNING', 'RUNNING']);
    expect(from.runsGuest).toBe(true);
  });
});
