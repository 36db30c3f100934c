import { type Report, type Result, type RuleFacts, specification } from '../../src/check/index.ts';

/** A rule's facts with something to say of each. */
export function facts(id: string, more: Partial<RuleFacts> = {}): RuleFacts {
  const [area = ''] = id.split('.');
  return {
    ...{ id, area, severity: 'must', needs: [], clause: specification('Header') },
    ...{ title: `the title of ${id}`, why: `the reason of ${id}` },
    ...more,
  };
}

/** A result that passed, or whatever else is said. */
export function result(id: string, more: Partial<Result> = {}): Result {
  return { rule: facts(id), outcome: 'passed', reason: null, finding: null, ms: 1.5, ...more };
}

/** One result of each outcome, with texts that every format has to escape. */
export function everyOutcome(text = 'plain'): Report {
  const shown = [
    { kind: 'sent', channel: 'main', text: `REGION_READ ${text}`, hex: '0100090020000000', bytes: 32 },
    { kind: 'received', channel: 'main', text, hex: '01000900', bytes: 4 },
    { kind: 'event', channel: 'main', text: `closed: ${text}`, hex: '', bytes: 0 },
  ] as const;
  const finding = {
    what: `it said ${text}`,
    expected: `not ${text}`,
    exchange: shown,
    log: `a ${text}\nb\n`,
  };
  return {
    kind: 'server',
    subject: `/tmp/a.sock ${text}`,
    about: [`PCI 1af4:10f0 ${text}`],
    results: [
      result('framing.split'),
      result('framing.echo', {
        outcome: 'broken',
        finding,
        rule: facts('framing.echo', { title: `a ${text}` }),
      }),
      result('states.initial', { outcome: 'not applicable', reason: `no migration ${text}` }),
      result('states.pair', { outcome: 'inconclusive', reason: `could not connect ${text}` }),
    ],
  };
}
