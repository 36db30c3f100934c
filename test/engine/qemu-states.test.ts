import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MigrationControl, MigrationError, migrate } from '../../src/engine/index.ts';
import { MigrationState, migrationMachine } from '../../src/states/index.ts';
import { FakeClock } from './fake-clock.ts';
import { type Call, World } from './fake-world.ts';

/** A device, by its place in the group, and a state that it was in. */
type Stay = readonly [device: number, state: string];

const fixtures = join(import.meta.dirname, '../fixtures/qemu');
const machine = migrationMachine(7);

/** The states that QEMU's devices were in, in order, from its trace. */
function recorded(name: string): Stay[] {
  const lines = readFileSync(join(fixtures, `${name}.trace`), 'utf8').split('\n');
  const devices: string[] = [];
  const stays: Stay[] = [];
  for (const line of lines) {
    const [, uuid = '', state = ''] =
      /^vfio_migration_set_device_state +\(([-\w]+)\) state (\w+)/.exec(line) ?? [];
    if (uuid === '') continue;
    if (!devices.includes(uuid)) devices.push(uuid);
    stays.push([devices.indexOf(uuid), state]);
  }
  return stays;
}

/** From the migration's first state on: before, QEMU has only started its machine. */
function fromFirst(stays: readonly Stay[], state: string): Stay[] {
  return stays.slice(stays.findIndex(([, each]) => each === state));
}

/** Up to the moment when the last device runs: after, QEMU is shut down. */
function untilRunning(stays: readonly Stay[], devices: number): Stay[] {
  const running = stays.flatMap(([, state], i) => (state === 'RUNNING' ? [i] : []));
  return stays.slice(0, (running[devices - 1] ?? 0) + 1);
}

/** Every state that devices passed through on the way, since one request may take several steps. */
function expanded(stays: readonly Stay[], first: MigrationState): Stay[] {
  const at = new Map<number, MigrationState>();
  return stays.flatMap(([device, name]) => {
    const to = stateNamed(name);
    const path = machine.path(at.get(device) ?? first, to);
    at.set(device, to);
    return path.map((state): Stay => [device, nameOf(state)]);
  });
}

function stateNamed(name: string): MigrationState {
  const found = Object.entries(MigrationState).find(([each]) => each === name);
  if (found === undefined) throw new Error(`there is no state ${name}`);
  return found[1];
}

function nameOf(state: number): string {
  return Object.entries(MigrationState).find(([, each]) => each === state)?.[0] ?? '?';
}

/** As many worlds as the group has devices; what was asked of all of them, in order. */
function group(count: number) {
  const clock = new FakeClock();
  const calls: Call[] = [];
  const worlds = Array.from({ length: count }, (_, i) => new World(clock, { calls, suffix: String(i) }));
  const requests = (end: string): Stay[] =>
    calls.flatMap(({ end: name, what }): Stay[] => {
      const [, state] = /^setState (\d)/.exec(what) ?? [];
      if (state === undefined || !name.startsWith(end)) return [];
      return [[Number(name.slice(end.length)), nameOf(Number(state))]];
    });
  return {
    clock,
    worlds,
    requests,
    from: worlds.map(({ source }) => source),
    to: worlds.map(({ destination }) => destination),
  };
}

describe.each([
  { recording: 'single', devices: 1 },
  { recording: 'ack', devices: 1 },
  { recording: 'two', devices: 2 },
])('the states of $devices device(s), as QEMU recorded them ($recording)', ({ recording, devices }) => {
  it('source: the same, in the same order: P2P before STOP_COPY, the last device first', async () => {
    const { clock, from, to, requests } = group(devices);
    await migrate(from, to, { clock });
    expect(requests('source')).toEqual(fromFirst(recorded(`${recording}.src`), 'PRE_COPY'));
  });

  it('destination: the same, but for STOP, which is asked for by itself', async () => {
    const { clock, from, to, requests } = group(devices);
    await migrate(from, to, { clock });
    const qemu = untilRunning(fromFirst(recorded(`${recording}.dst`), 'RESUMING'), devices);
    // QEMU goes from RESUMING to RUNNING_P2P in one request, so that a stream that is not complete is noticed when the
    // source has given the device up. Here everything that can fail comes before READY: STOP is a request of its own,
    // for all devices before any runs.
    expect(qemu.some(([, state]) => state === 'STOP')).toBe(false);
    const ours = requests('destination');
    const order = (stays: readonly Stay[]) => stays.filter(([, state]) => state !== 'STOP');
    expect(order(ours)).toEqual(qemu);
    for (let device = 0; device < devices; device += 1) {
      const own = (stays: readonly Stay[]) => stays.filter(([each]) => each === device);
      expect(expanded(own(ours), MigrationState.STOP)).toEqual(expanded(own(qemu), MigrationState.STOP));
    }
  });
});

describe('going back, where QEMU does it differently', () => {
  it('stopped devices reach RUNNING_P2P, all of them, before any runs', async () => {
    const { clock, from, to, worlds, requests } = group(2);
    const hooks = {
      beforeRun: () => {
        throw new Error('no');
      },
    };
    await expect(migrate(from, to, { clock, hooks })).rejects.toBeInstanceOf(MigrationError);
    // QEMU, cancelled in STOP_COPY: one SET RUNNING for each device, and only when the vCPUs start RUNNING_P2P, RUNNING.
    const qemu = fromFirst(recorded('cancel.src'), 'STOP_COPY').map(([, state]) => state);
    expect(qemu.slice(0, 4)).toEqual(['STOP_COPY', 'RUNNING', 'RUNNING_P2P', 'RUNNING']);
    expect(requests('source').slice(-4)).toEqual([
      [0, 'RUNNING_P2P'],
      [1, 'RUNNING_P2P'],
      [0, 'RUNNING'],
      [1, 'RUNNING'],
    ]);
    expect(worlds.every(({ source, violation }) => source.runsGuest && violation === null)).toBe(true);
  });

  it('a pause before the switch stops nothing yet: QEMU pauses with its devices in STOP_COPY', async () => {
    const qemu = recorded('pause.src').map(([, state]) => state);
    expect(qemu).toContain('STOP_COPY');
    const { clock, from, to, requests } = group(1);
    const control = new MigrationControl();
    control.pauseBeforeSwitch();
    const moved = migrate(from, to, { clock, control });
    while (control.status()?.waiting !== true) await new Promise((resolve) => setImmediate(resolve));
    expect(requests('source')).toEqual([[0, 'PRE_COPY']]);
    control.resume();
    await moved;
    expect(requests('source').map(([, state]) => state)).toEqual([
      'PRE_COPY',
      'PRE_COPY_P2P',
      'STOP_COPY',
      'STOP',
    ]);
  });
});
