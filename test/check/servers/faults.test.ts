import { describe, expect, it } from 'vitest';
import { renderPeople, SERVER_RULES } from '../../../src/check/index.ts';
import { Edu } from '../../../src/devices/index.ts';
import { SEED } from '../../helpers/seed.ts';
import { TestDevice } from '../../helpers/test-device.ts';
import { Random } from '../../server/fuzz-messages.ts';
import { FaultProxy } from './fault-proxy.ts';
import type { Fault } from './faults/fault.ts';
import { FAULTS } from './faults/index.ts';
import { inProcess, tried } from './in-process.ts';

/**
 * Each fault against every rule takes many minutes: FERRY_CHECK_MATRIX=full does it, or `2/5` the second of five parts.
 * Otherwise each fault is tried against the rules that name it and some others, all of which have their turn; and a few,
 * which follow from the seed, against every rule.
 */
const { FERRY_CHECK_MATRIX } = process.env;
const OTHERS = 4;
const WHOLE = 3;
/** How long a server may take; only those that never answer take so long, unless there is much else to do here. */
const PATIENCE_MS = 4000;
/** For what never ends. */
const HANGS_MS = 600_000;

/** Rules that take long by their nature; with the whole matrix all the same. */
const SLOW: readonly string[] = ['logging.dirty-bits', 'leaks.memory', 'hostile.configuration-bytes'];

const part = /^(\d+)\/(\d+)$/.exec(FERRY_CHECK_MATRIX ?? '');
const [nth, parts] = part === null ? [1, 1] : [Number(part[1]), Number(part[2])];
const numbered = FAULTS.map((fault, index) => [fault.name, fault, index] as const);
const mine = numbered.filter((_, index) => index % parts === nth - 1);
const everyRule = FERRY_CHECK_MATRIX === 'full' || part !== null;
const random = new Random(SEED);
const whole = new Set(Array.from({ length: WHOLE }, () => random.below(FAULTS.length)));

function rulesFor({ breaks }: Fault, index: number): typeof SERVER_RULES {
  if (everyRule || whole.has(index)) return SERVER_RULES;
  const quick = SERVER_RULES.filter(({ id }) => !SLOW.includes(id));
  const others = Array.from(
    { length: OTHERS },
    (_, turn) => quick[(index * OTHERS + turn) % quick.length]?.id,
  );
  return SERVER_RULES.filter(({ id }) => breaks.includes(id) || others.includes(id));
}

function faultyServer({ device, make }: Fault) {
  let alive = 0;
  return inProcess(
    () => (device === 'edu' ? new Edu() : new TestDevice()),
    (listenAt, server) => {
      const proxy = new FaultProxy(listenAt, server, make(alive > 0));
      alive += 1;
      return {
        get crashed() {
          return proxy.crashed;
        },
        close() {
          alive -= 1;
          proxy.close();
        },
      };
    },
    { v1: device === 'v1' },
  );
}

describe(`with seed ${SEED}, a server that`, () => {
  it.each(mine)(
    '%s is caught by the rules that name it, and by no others',
    { timeout: HANGS_MS },
    async (_, fault, index) => {
      const rules = rulesFor(fault, index);
      const results = await tried(faultyServer(fault), {
        rules,
        timeoutMs: PATIENCE_MS,
        silenceMs: PATIENCE_MS,
      });
      const broken = results.filter(({ outcome }) => outcome === 'broken');
      const report = renderPeople({ kind: 'server', subject: fault.name, about: [], results });
      expect(broken.map(({ rule }) => rule.id).sort(), report).toEqual([...fault.breaks].sort());
    },
  );
});

describe('every rule', () => {
  it('is named by a fault', () => {
    const named = new Set(FAULTS.flatMap(({ breaks }) => breaks));
    expect(SERVER_RULES.map(({ id }) => id).filter((id) => !named.has(id))).toEqual([]);
  });

  it('that a fault names is there, and ids are unique', () => {
    const ids = SERVER_RULES.map(({ id }) => id);
    expect(FAULTS.flatMap(({ breaks }) => breaks).filter((id) => !ids.includes(id))).toEqual([]);
    expect(new Set(ids).size).toBe(ids.length);
  });
});

it('keeps every rule when nothing is planted, through the same proxy', { timeout: HANGS_MS }, async () => {
  const none: Fault = { name: 'errs in nothing', breaks: [], make: () => ({}) };
  const results = await tried(faultyServer(none), { timeoutMs: PATIENCE_MS });
  const bad = results.filter(({ outcome }) => outcome === 'broken' || outcome === 'inconclusive');
  expect(bad.map(({ rule, reason, finding }) => [rule.id, reason ?? finding?.what])).toEqual([]);
});
