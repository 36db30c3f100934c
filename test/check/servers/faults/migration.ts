import { rawMessage } from '../../../../src/check/wire/bytes.ts';
import { MigrationState, stateName } from '../../../../src/states/index.ts';
import { isSetState, type Link, type Passing } from '../fault-proxy.ts';
import {
  accepts,
  acceptsWith,
  answers,
  at,
  both,
  custom,
  echoes,
  type Fault,
  flipped,
  inState,
  named,
  ofLength,
  rebuilt,
  refuses,
  set,
  u32At,
  type When,
} from './fault.ts';

const { STOP, RUNNING, STOP_COPY, RESUMING, PRE_COPY } = MigrationState;
const [GET, SET, PROBE] = [0x1_0000, 0x2_0000, 0x4_0000];
const STATE_GET = at(16, { 4: GET | 2 });
const idOf = (state: number): string => stateName(state).toLowerCase().replaceAll('_', '-');
const states = Object.values(MigrationState).filter((state) => state !== MigrationState.ERROR);

const setting =
  (state: number): When =>
  (message) =>
    isSetState(message) && u32At(message.payload, 8) === state;

/** Faults in features and how they are asked for. */
export const featureFaults = named({
  'has unknown migration flags': answers(set({ 8: 15 }))(at(16, { 4: GET | 1 }), 'feature.migration-flags'),
  'tells a wrong argsz': answers(set({ 0: 8 }))(at(16, { 0: 4096, 4: GET | 1 }), 'feature.get-argsz'),
  'has every method, if you ask': echoes(at(16, { 4: PROBE | SET | 1 }), 'feature.probe'),
  'answers a probe with something else': answers(set({ 0: 0 }))(
    at(16, { 0: 16, 4: PROBE | GET | 2 }),
    'feature.probe-echo',
  ),
  'answers SET with nothing': answers(() => new Uint8Array())(setting(RUNNING), 'feature.set-echo'),
  'has feature 0xfff': acceptsWith(16)(at(16, { 4: GET | 0xfff }), 'feature.unknown'),
  'says EINVAL for an unknown feature': refuses(
    both(at(16, { 4: PROBE | 0xfff }), ofLength(8)),
    'feature.unknown-errno',
  ),
  'guesses a method': acceptsWith(16)(at(16, { 4: 2 }), 'feature.methods'),
  'ignores a small argsz of a feature': acceptsWith(16)(at(16, { 0: 12, 4: GET | 1 }), 'feature.malformed'),
  'reads a state that is not there': acceptsWith(16)(
    both(at(16, { 4: SET | 2 }), ofLength(8)),
    'feature.set-cut-off',
  ),
  'has a size of 4 bytes': answers((payload) => payload.subarray(0, 12))(
    at(16, { 4: GET | 9 }),
    'feature.data-size',
  ),
});

/** A change to the state where the device is already, refused. */
const fromEach: Readonly<Record<string, Fault>> = Object.fromEntries(
  states.map((state) => [
    `refuses to stay in ${stateName(state)}`,
    refuses(
      both(setting(state), inState(state)),
      `states.from-${idOf(state)}`,
      ...(state === RUNNING ? ['feature.set-echo'] : []),
    ),
  ]),
);

/** Faults in the state machine. */
export const statesFaults = named({
  'begins in STOP': custom((second) => {
    let asked = 0;
    return {
      reply: (message, request) => {
        asked += second && STATE_GET(request, noLink) ? 1 : 0;
        return asked === 1 && STATE_GET(request, noLink)
          ? rebuilt(message, set({ 8: STOP })(new Uint8Array(message.payload)))
          : 'pass';
      },
    };
  }, 'states.initial'),
  ...fromEach,
  'goes nowhere when sent to STOP': acceptsWith(16)(
    both(setting(STOP), inState(PRE_COPY)),
    'states.from-pre-copy',
  ),
  'goes to ERROR when asked': acceptsWith(16)(both(setting(0), ofLength(16)), 'states.error-refused'),
  'knows a state 8': acceptsWith(16)(setting(8), 'states.unknown-refused'),
  'goes where it does not claim to': answers(set({ 8: 5 }))(
    at(16, { 4: GET | 1 }),
    'states.unclaimed-refused',
  ),
});

/** Asked of nobody in particular. */
const noLink = null as unknown as Link;

const reading = (size: number): When => at(17, { 4: size });
const data = (bytes: Uint8Array): Uint8Array => {
  const reply = new Uint8Array(8 + bytes.length);
  reply.set(bytes, 8);
  return set({ 0: reply.length, 4: bytes.length })(reply);
};
const dataOf = (payload: Uint8Array): Uint8Array => payload.subarray(8, 8 + u32At(payload, 4));

/** Believes whatever it is given as a state, from the first byte or only at the end. */
const credulous = (writes: (message: Passing) => boolean, ...breaks: string[]): Fault =>
  custom(
    () => ({
      reply: (message, asked, link) => {
        const refused = (message.flags & 0x20) !== 0;
        if (asked.command === 18) link.note('written', link.noted('written') + u32At(asked.payload, 4));
        if (!refused) return 'pass';
        const whole = asked.command === 18 && u32At(asked.payload, 4) === asked.payload.length - 8;
        if (whole && link.state === RESUMING && writes(asked)) {
          link.note('believed');
          return rawMessage(18, new Uint8Array(), { id: message.id, flags: 1 });
        }
        const stops = isSetState(asked) && u32At(asked.payload, 8) === STOP && link.state === RESUMING;
        const believes = link.noted('believed') > 0 || (link.noted('written') > 0 && writes(asked));
        return stops && believes ? rawMessage(16, asked.payload, { id: message.id, flags: 1 }) : 'pass';
      },
    }),
    ...breaks,
  );

/** Faults in how a state is read and written. */
export const dataFaults = named({
  'does not give its state in long pieces': refuses(
    both(reading(32 * 1024 - 64), inState(STOP_COPY)),
    'data.whole',
    'data.pre-copy',
  ),
  'reads in pieces of its own': refuses(reading(7), 'data.any-size'),
  'swaps bytes in odd pieces': answers((payload) => data(dataOf(payload).toReversed()))(
    reading(61),
    'data.order',
  ),
  'finds something behind the end': custom(
    () => ({
      reply: (message, asked, link) => {
        if (asked.command !== 17) return 'pass';
        const ended = link.noted('ended') > 0 && u32At(asked.payload, 4) === 4096;
        if (u32At(message.payload, 4) === 0) link.note('ended');
        return ended ? rebuilt(message, data(new Uint8Array(4))) : 'pass';
      },
    }),
    'data.end-stays',
  ),
  'pads its replies': answers((payload) => Buffer.concat([payload, new Uint8Array(1008 - payload.length)]))(
    reading(1000),
    'data.not-padded',
  ),
  'has nothing to say in PRE_COPY': refuses(both(at(17), inState(PRE_COPY)), 'data.pre-copy'),
  'gives data when it is stopped': acceptsWith(8)(both(at(17), inState(STOP)), 'data.read-outside'),
  'takes data when it is stopped': accepts(both(at(18), inState(STOP)), 'data.write-outside'),
  'goes on with the session before': custom(
    () => ({
      reply: (message, asked, link) => {
        if (isSetState(asked) && u32At(asked.payload, 8) === STOP) link.note('stopped', link.noted('read16'));
        if (asked.command !== 17) return 'pass';
        if (u32At(asked.payload, 4) === 16) link.note('read16');
        const skips = link.noted('stopped') > 0 && link.count('reads') === 1;
        return skips ? rebuilt(message, data(dataOf(message.payload).slice(16))) : 'pass';
      },
    }),
    'data.session-ends',
  ),
  'makes room for 4 GiB': acceptsWith(8)(at(17, { 4: 0xffff_fff0 }), 'data.too-much'),
  'believes the size of data': accepts(both(at(18, { 4: 104 }), ofLength(12)), 'data.malformed'),
  'runs with half a state': credulous(({ command }) => command === 16, 'data.incomplete'),
  'runs with no state': custom(
    () => ({
      reply: (message, asked, link) => {
        if (asked.command === 18) link.note('written');
        const stops = isSetState(asked) && u32At(asked.payload, 8) === STOP && link.state === RESUMING;
        if (!stops || link.noted('written') > 0 || (message.flags & 0x20) === 0) return 'pass';
        return rawMessage(16, asked.payload, { id: message.id, flags: 1 });
      },
    }),
    'data.empty',
    'states.from-resuming',
  ),
  'believes garbage': credulous(
    ({ command, payload }) => command === 18 && payload[8] === 7 && payload[9] === 96,
    'data.garbage',
  ),
  'checks nothing of a state': credulous(
    () => true,
    'data.incomplete',
    'data.garbage',
    'data.damaged',
    'data.too-long',
  ),
  'wants data as it gave them': refuses(at(18, { 4: 13 }), 'data.other-pieces'),
  'has no room for long pieces': refuses(
    ({ command, payload }) => command === 18 && u32At(payload, 4) > 65_000,
    'data.large-pieces',
  ),
});

const RAM = 2;
const ram: When = (message) => message.command === 9 && u32At(message.payload, 8) === RAM;

/** Faults in what a moved device is. */
export const moveFaults = named({
  'does not run with a state of another': custom(
    (second) => ({
      request: (message, link) => {
        if (message.command === 18) link.note('loaded');
        const runs = second && setting(RUNNING)(message, link) && link.noted('loaded') > 0;
        return runs ? link.refuse(message) : 'pass';
      },
    }),
    'move.accepted',
  ),
  'loses its memory on the way': custom(
    (second) => ({
      reply: (message, asked, link) =>
        second && ram(asked, link) ? rebuilt(message, flipped(new Uint8Array(message.payload))) : 'pass',
    }),
    'move.content',
    'move.pre-copy',
  ),
  'forgets what is written in PRE_COPY': custom(() => {
    let kept: Uint8Array | null = null;
    return {
      request: (message, link) => {
        const { command, payload } = message;
        if (command === 10 && link.state === PRE_COPY && u32At(payload, 8) === RAM) {
          kept = Uint8Array.from(payload.subarray(16));
          return link.answer(message, payload.subarray(0, 16));
        }
        const answers = kept !== null && ram(message, link);
        return answers
          ? link.answer(message, Buffer.concat([payload.subarray(0, 16), kept ?? payload]))
          : 'pass';
      },
    };
  }, 'move.pre-copy'),
  'becomes another device': custom(
    (second) => ({
      reply: (message, asked, link) =>
        second && link.noted('loaded') > 0 && at(9, { 0: 0, 8: 7, 12: 4 })(asked, link)
          ? rebuilt(message, set({ 16: 0x1234_5678 })(new Uint8Array(message.payload)))
          : 'pass',
      request: ({ command }, link) => {
        if (command === 18) link.note('loaded');
        return 'pass';
      },
    }),
    'move.same-device',
  ),
  'loses its memory when it was saved': custom(
    () => ({
      reply: (message, asked, link) => {
        if (isSetState(asked) && u32At(asked.payload, 8) === STOP_COPY) link.note('saved');
        return link.noted('saved') > 0 && link.state === RUNNING && ram(asked, link)
          ? rebuilt(message, flipped(new Uint8Array(message.payload)))
          : 'pass';
      },
    }),
    'move.source-goes-on',
  ),
});
