import { rawMessage } from '../../../../src/check/wire/bytes.ts';
import { MigrationState, stateName } from '../../../../src/states/index.ts';
import type { Link, Passing } from '../fault-proxy.ts';
import {
  accepts,
  answers,
  at,
  both,
  custom,
  type Fault,
  flipped,
  inState,
  named,
  rebuilt,
  set,
} from './fault.ts';

const { STOP, RUNNING, STOP_COPY } = MigrationState;
const GET = 0x1_0000;
const STATE_GET = at(16, { 4: GET | 2 });
const idOf = (state: number): string => stateName(state).toLowerCase().replaceAll('_', '-');
const states = Object.values(MigrationState).filter((state) => state !== MigrationState.ERROR);

/** A reset that leaves the device where it is, or worse. */
const inEach: Readonly<Record<string, Fault>> = Object.fromEntries(
  states
    .filter((state) => state !== RUNNING)
    .map((state) => [
      `stays in ${stateName(state)} when it is reset`,
      accepts(
        both(at(13), inState(state)),
        `reset.in-${idOf(state)}`,
        ...(state === STOP_COPY ? ['reset.ends-session'] : []),
      ),
    ]),
);

const afterReset = (
  act: (message: Passing, asked: Passing, link: Link) => Uint8Array | 'pass',
  ...breaks: string[]
): Fault =>
  custom(
    () => ({
      reply: (message, asked, link) => {
        if (asked.command === 13) link.note('reset');
        return link.noted('reset') > 0 ? act(message, asked, link) : 'pass';
      },
    }),
    ...breaks,
  );

/** Faults in resets. */
export const resetFaults = named({
  'answers a reset with a payload': answers(() => new Uint8Array(4))(
    both(at(13), inState(RUNNING)),
    'reset.reply',
  ),
  'does DMA after a reset': afterReset(
    (message, asked, link) =>
      at(9, { 0: 4, 8: 7, 12: 2 })(asked, link)
        ? rebuilt(message, flipped(new Uint8Array(22)).fill(6, 16, 17).subarray(0, 18))
        : 'pass',
    'reset.configuration',
  ),
  'unmaps everything when it is reset': afterReset(
    (message, { command }) =>
      command === 3 ? rawMessage(3, new Uint8Array(), { id: message.id, flags: 0x21, error: 2 }) : 'pass',
    'reset.keeps-maps',
  ),
  'goes on with a session after a reset': afterReset(
    (message, { command }) =>
      command === 17 ? rawMessage(17, new Uint8Array(8), { id: message.id, flags: 1 }) : 'pass',
    'reset.ends-session',
  ),
  ...inEach,
  'stops when it is reset while it runs': custom(
    () => ({
      reply: (message, asked, link) => {
        if (asked.command === 13 && link.commands.length === 4) link.note('reset');
        return link.noted('reset') > 0 && STATE_GET(asked, link)
          ? rebuilt(message, set({ 8: STOP })(new Uint8Array(message.payload)))
          : 'pass';
      },
    }),
    'reset.in-running',
  ),
});

/** What is left of a client that only brought the device into a state: VERSION, GET, GET, SET, GET. */
const ONLY_BROUGHT = [1, 16, 16, 16, 16];
/** The same for RUNNING, where it is already. */
const ONLY_LOOKED = [1, 16, 16];

/** A server that forgets the state of its device with its client. */
const forgets = (state: number): Fault => {
  const claimed = state === RUNNING ? STOP : RUNNING;
  const only = state === RUNNING ? ONLY_LOOKED : ONLY_BROUGHT;
  return custom(
    () => {
      let lie = false;
      return {
        left: ({ commands, state: last }) => {
          lie = last === state && commands.join() === only.join();
        },
        reply: (message, asked, link) => {
          if (!lie || !STATE_GET(asked, link)) return 'pass';
          lie = false;
          return rebuilt(message, set({ 8: claimed })(new Uint8Array(message.payload)));
        },
      };
    },
    `disconnect.in-${idOf(state)}`,
  );
};

/** Faults in what a client leaves behind that goes away in a state of migration. */
export const leftInStateFaults = named(
  Object.fromEntries(states.map((state) => [`forgets ${stateName(state)} with its client`, forgets(state)])),
);
