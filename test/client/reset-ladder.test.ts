import { afterEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { fields } from '../helpers/raw-client.ts';
import { Cleanup, connectFake, type FakeServer } from './fake-server.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const GET_STATE = 0x1_0002;
const SET_STATE = 0x2_0002;
const { ERROR, STOP, RUNNING, STOP_COPY, RESUMING, PRE_COPY } = MigrationState;

/** How a kind of server behaves. */
interface Kind {
  /** The state; null: the device has no migration. */
  readonly state: number | null;
  /** Whether DEVICE_RESET is taken in a state. */
  readonly takesReset: (state: number | null) => boolean;
  /** The state after DEVICE_RESET. */
  readonly afterReset: (state: number | null) => number | null;
  /** The errno of setting RUNNING; 0: it works. */
  readonly run?: number;
}

const kernel = (state: number | null): Kind => ({
  state,
  takesReset: () => true,
  afterReset: (now) => (now === null ? null : RUNNING),
});
/** libvfio-user refuses the reset in STOP and STOP_COPY, and otherwise leaves the state as it is. */
const libvfioUser = (state: number): Kind => ({
  state,
  takesReset: (now) => now !== STOP && now !== STOP_COPY,
  afterReset: (now) => now,
});

/** Plays such a server; collects what it was asked. */
async function play(server: FakeServer, kind: Kind, steps: string[]): Promise<void> {
  let { state } = kind;
  for (;;) {
    const request = await server.next();
    const isSet = request.command === 16 && Buffer.from(request.payload).readUInt32LE(4) === SET_STATE;
    steps.push(request.command === 13 ? 'reset' : isSet ? 'run' : 'get');
    if (request.command === 13) {
      if (kind.takesReset(state)) {
        state = kind.afterReset(state);
        server.answer(request);
      } else {
        server.refuse(request, Errno.EINVAL);
      }
    } else if (state === null) {
      server.refuse(request, Errno.ENOTTY);
    } else if (isSet && (kind.run ?? 0) !== 0) {
      server.refuse(request, kind.run ?? 0);
    } else {
      if (isSet) state = RUNNING;
      server.answer(request, fields(16, isSet ? SET_STATE : GET_STATE, state, 0));
    }
  }
}

async function reset(kind: Kind): Promise<{ steps: string[]; outcome: unknown }> {
  const { client, server } = await connectFake(cleanup);
  const steps: string[] = [];
  const playing = play(server, kind, steps).catch(() => {});
  const outcome = await client.reset().catch((error: unknown) => error);
  client.close();
  await playing;
  return { steps, outcome };
}

/** Servers whose device can't be reset, and where it is left. */
const unwilling: readonly (readonly [string, Kind, string | null])[] = [
  [
    'neither reset nor run',
    { state: STOP, takesReset: () => false, afterReset: () => STOP, run: Errno.EIO },
    'STOP',
  ],
  ['never reset', { state: STOP, takesReset: () => false, afterReset: () => STOP }, 'RUNNING'],
  ['not reset, and has no states', { state: null, takesReset: () => false, afterReset: () => null }, null],
  [
    'reset but not run',
    { state: RESUMING, takesReset: () => true, afterReset: () => RESUMING, run: Errno.EIO },
    'RESUMING',
  ],
  [
    'back in ERROR after each reset',
    { state: STOP, takesReset: (now: number | null) => now === RUNNING, afterReset: () => ERROR },
    'ERROR',
  ],
];

describe('the reset ladder', () => {
  it.each([
    ['a server like the kernel, in PRE_COPY', kernel(PRE_COPY), 'reset', RUNNING, 'reset get'],
    ['a server like the kernel, in ERROR', kernel(ERROR), 'reset', RUNNING, 'reset get'],
    ['a device without migration', kernel(null), 'reset', null, 'reset get'],
    ['libvfio-user in RUNNING', libvfioUser(RUNNING), 'reset', RUNNING, 'reset get'],
    ['libvfio-user in RESUMING', libvfioUser(RESUMING), 'reset, then running', RUNNING, 'reset get run get'],
    ['libvfio-user in PRE_COPY', libvfioUser(PRE_COPY), 'reset, then running', RUNNING, 'reset get run get'],
    ['libvfio-user in STOP', libvfioUser(STOP), 'running, then reset', RUNNING, 'reset get run reset get'],
    [
      'libvfio-user in STOP_COPY',
      libvfioUser(STOP_COPY),
      'running, then reset',
      RUNNING,
      'reset get run reset get',
    ],
    [
      'a server in a state of the future',
      libvfioUser(42),
      'reset, then running',
      RUNNING,
      'reset get run get',
    ],
  ])('brings %s back to RUNNING, and says how', async (_, kind, rung, state, steps) => {
    const result = await reset(kind);
    expect(result.outcome).toEqual({ rung, state });
    expect(result.steps.join(' ')).toBe(steps);
  });

  it.each(unwilling)('says where it left a device that can be %s', async (_, kind, state) => {
    const { outcome } = await reset(kind);
    expect(outcome).toMatchObject({ code: 'ERR_RESET_FAILED', context: { state } });
  });

  it('passes on that the connection is over', async () => {
    const { client, server } = await connectFake(cleanup);
    const result = client.reset();
    const caught = expect(result).rejects.toMatchObject({ code: 'ERR_CONNECTION_CLOSED' });
    await server.next();
    server.raw.close();
    await caught;
  });
});
