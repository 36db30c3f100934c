import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type LogEvent, LogLimits, parseStateLog, StateError } from '../../../src/states/index.ts';
import { readText } from '../tables.ts';

/** The events as words of a text log. */
function words(events: readonly LogEvent[]): string[] {
  return events.map((event) => {
    if (event.kind === 'reset') return 'reset';
    return event.kind === 'change' ? event.to.name : `${event.to.name}!${event.now?.name ?? ''}`;
  });
}

function only(text: string, numbers: 'v1' | 'v2' | null = null) {
  const { format, sequences } = parseStateLog(text, numbers);
  expect(sequences).toHaveLength(1);
  const [sequence] = sequences;
  if (sequence === undefined) throw new Error('no sequence');
  return { format, ...sequence, words: words(sequence.events) };
}

function refusal(text: string): string {
  try {
    parseStateLog(text);
  } catch (error) {
    if (error instanceof StateError && error.code === 'ERR_STATE_LOG') return error.message;
    throw error;
  }
  throw new Error('the log was understood');
}

describe('words', () => {
  it.each([
    ['RUNNING PRE_COPY STOP_COPY STOP', null],
    ['running\npre-copy\nstop-copy\nstop\n', null],
    ['RUNNING -> PRE_COPY -> STOP_COPY -> STOP', null],
    ['RUNNING,PRE_COPY;STOP_COPY\u2192STOP', null],
    ['# a comment\n\nRUNNING # begins\nPRE_COPY STOP_COPY # two\nSTOP', null],
    ['VFIO_DEVICE_STATE_RUNNING precopy stop-and-copy stopped', null],
    ['001 011 010 000', 'v1'],
    ['0b001 011b 0B010 000B', 'v1'],
  ])('%j are a sequence', (text, side) => {
    expect(only(text)).toMatchObject({
      format: 'text',
      interface: side,
      flags: null,
      start: { name: 'RUNNING' },
      words: ['PRE_COPY', 'STOP_COPY', 'STOP'],
    });
  });

  it('are plain numbers where it is said whose', () => {
    expect(only('1 3 2 0', 'v1')).toMatchObject({
      start: { name: 'RUNNING' },
      words: ['PRE_COPY', 'STOP_COPY', 'STOP'],
    });
    expect(only('2 6 3 1', 'v2')).toMatchObject({
      interface: 'v2',
      start: { name: 'RUNNING' },
      words: ['PRE_COPY', 'STOP_COPY', 'STOP'],
    });
    expect(refusal('RUNNING 3')).toBe(
      "word 2 of line 1: '3' may be a state of v1 or of v2: say whose numbers these are",
    );
  });

  it('are resets and failures', () => {
    expect(only('RUNNING reset STOP! STOP!ERROR').words).toEqual(['reset', 'STOP!', 'STOP!ERROR']);
    expect(only('reset STOP')).toMatchObject({ start: null, words: ['reset', 'STOP'] });
    expect(only('STOP!').start).toBeNull();
  });

  it('may all stand on one line', () => {
    expect(only('STOP->RUNNING=>STOP , RUNNING;;STOP').words).toEqual(['RUNNING', 'STOP', 'RUNNING', 'STOP']);
    expect(refusal('X '.repeat(LogLimits.TEXT / 4))).toMatch(/^word 1 of line 1: 'X' is no migration state/);
  });

  it('tell where they stand', () => {
    const { events } = only('RUNNING\n\nPRE_COPY STOP_COPY\nreset');
    expect(events.map(({ at }) => at)).toEqual(['word 1 of line 3', 'word 2 of line 3', 'line 4']);
  });

  it.each([
    ['', 'the log is empty'],
    ['# nothing\n', 'the log is empty'],
    [
      'RUNNING\nFLYING',
      "line 2: 'FLYING' is no migration state: names such as PRE_COPY or bits such as 011 are",
    ],
    ['RUNNING STOP!ERROR!STOP', "word 2 of line 1: 'STOP!ERROR!STOP' has more than one '!'"],
    [`RUNNING ${'A'.repeat(300)}`, 'word 2 of line 1: a word of 300 characters is no state'],
    ['RUNNING\0', 'this is no text'],
  ])('%j are refused', (text, message) => {
    expect(refusal(text)).toBe(message);
  });

  it('are no more than the limit', () => {
    expect(refusal('STOP '.repeat(LogLimits.EVENTS + 2))).toMatch(
      /^word 100002 of line 1: more than 100000 /,
    );
  });
});

describe('JSON', () => {
  it('is an array of states', () => {
    expect(
      only('["RUNNING", "reset", "STOP!ERROR", {"to": "STOP", "failed": true, "now": null}]'),
    ).toMatchObject({
      format: 'JSON',
      start: { name: 'RUNNING' },
      words: ['reset', 'STOP!ERROR', 'STOP!'],
    });
    expect(only('["001", "011"]')).toMatchObject({ interface: 'v1', words: ['PRE_COPY'] });
  });

  it('is an object that says more', () => {
    expect(
      only(
        '{"device": "nic", "flags": 5, "numbers": "v2", "states": [2, 6, {"to": 3}, {"to": 0, "failed": true, "now": 2}]}',
      ),
    ).toMatchObject({
      device: 'nic',
      flags: 5,
      interface: 'v2',
      start: { name: 'RUNNING' },
      words: ['PRE_COPY', 'STOP_COPY', 'ERROR!RUNNING'],
    });
  });

  it('takes numbers as numbers, not as three bits', () => {
    expect(only('{"numbers": "v1", "states": [1, 4]}').words).toEqual(['RESUMING']);
    expect(only('{"numbers": "v1", "states": [1, 100]}').events[0]).toMatchObject({ to: { bits: 100 } });
  });

  it('is several devices', () => {
    const { sequences } = parseStateLog(
      '[{"states": ["STOP"]}, {"device": "b", "states": ["RUNNING", "STOP"]}]',
    );
    expect(sequences.map(({ device, events }) => [device, events.length])).toEqual([
      [null, 0],
      ['b', 1],
    ]);
  });

  it.each([
    ['[', /^the JSON is not complete: /],
    [`[${' '.repeat(LogLimits.JSON)}]`, /^JSON is longer than 16777216 characters$/],
    ['{}', /^the JSON is neither an array of states nor an object with "states"$/],
    ['[]', /^the log is empty$/],
    ['{"states": []}', /^the log is empty$/],
    ['{"states": 5}', /^the JSON is neither /],
    ['["RUNNING", null]', /^entry 2: an entry is a state, "reset", or an object with "to"$/],
    ['["RUNNING", -1]', /^entry 2: -1 is no state$/],
    ['["RUNNING", 1.5]', /^entry 2: 1.5 is no state$/],
    ['["RUNNING", 1e300]', /^entry 2: 1e\+300 is no state$/],
    ['["RUNNING", {"to": "reset"}]', /^entry 2: a state is a name, bits as text, or a number$/],
    ['["RUNNING", {"to": ["STOP"]}]', /^entry 2: a state is /],
    ['{"states": ["STOP"], "flags": 8}', /^"flags" is no number/],
    ['{"states": ["STOP"], "flags": "7"}', /^"flags" is no number/],
    ['{"states": ["STOP"], "device": 7}', /^"device" is no text/],
    ['{"states": ["STOP"], "numbers": "v3"}', /^"numbers" is "v1" or "v2"$/],
  ])('%.40s is refused', (text, pattern) => {
    expect(refusal(text)).toMatch(pattern);
  });
});

describe('a trace of QEMU', () => {
  it('tells flags, device, and what was asked for and reached', () => {
    expect(only(readText('qemu/cancel.src.trace'))).toMatchObject({
      format: 'QEMU trace',
      device: '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001',
      interface: 'v2',
      flags: 7,
      start: null,
      words: [
        'RUNNING_P2P',
        'RUNNING',
        'PRE_COPY',
        'PRE_COPY_P2P',
        'STOP_COPY',
        'RUNNING',
        'RUNNING_P2P',
        'RUNNING',
      ],
    });
  });

  it('tells a change that failed, and the reset after it', () => {
    const { words: told, events } = only(readText('qemu/short.trace'));
    expect(told).toEqual(['RESUMING', 'RUNNING_P2P!', 'reset', 'RUNNING_P2P', 'STOP']);
    expect(events.map(({ at }) => at)).toEqual(['line 3', 'line 12', 'line 13', 'line 18', 'line 21']);
  });

  it('takes a request for the state that the device is in for what it is to QEMU: nothing', () => {
    expect(only(readText('qemu/mfdno.src.trace')).words).toEqual([
      'RUNNING_P2P',
      'RUNNING',
      'RUNNING_P2P',
      'STOP',
    ]);
  });

  it('keeps devices apart', () => {
    const { sequences } = parseStateLog(readText('qemu/two.src.trace'));
    expect(sequences.map(({ device, events }) => [device?.slice(-4), events.length])).toEqual([
      ['1003', 6],
      ['1004', 6],
    ]);
  });

  it('knows older versions: what was reached, by name (8.0 to 9.0), by number of v1 (5.2 to 7.2)', () => {
    expect(only('4711@1.5:vfio_migration_set_state  (nic) state PRE_COPY\n')).toMatchObject({
      device: 'nic',
      interface: 'v2',
      words: ['PRE_COPY'],
    });
    expect(
      only('vfio_migration_set_state  (nic) state 3\nvfio_migration_set_state  (nic) state 2\n'),
    ).toMatchObject({
      interface: 'v1',
      words: ['PRE_COPY', 'STOP_COPY'],
    });
  });

  it('tells a failure of which it does not show the end', () => {
    expect(only('vfio_migration_set_state  (nic) new state STOP, recover state ERROR').words).toEqual([
      'STOP!',
    ]);
  });

  it('tells a state that QEMU recovers to', () => {
    const trace = [
      'vfio_migration_set_state  (nic) new state STOP_COPY, recover state STOP',
      'vfio_migration_set_device_state  (nic) state STOP',
    ];
    expect(only(trace.join('\n')).words).toEqual(['STOP_COPY!', 'STOP']);
  });

  it('refuses a state that it does not know', () => {
    expect(refusal('vfio_migration_set_device_state  (nic) state FLYING')).toBe(
      "line 1: 'FLYING' is no migration state",
    );
  });
});

describe('a QMP log', () => {
  it('tells states that were reached; an announcement is none', () => {
    expect(only(readText('qemu/single.src.qmp'))).toMatchObject({
      format: 'QMP log',
      device: 'mtty0',
      interface: 'v2',
      flags: null,
      words: ['RUNNING_P2P', 'RUNNING', 'PRE_COPY', 'PRE_COPY_P2P', 'STOP_COPY', 'STOP'],
    });
  });

  it('may have something before the object', () => {
    const event = '{"event": "VFIO_MIGRATION", "data": {"device-state": "stop", "qom-path": "/machine/a"}}';
    expect(only(`<- ${event}`)).toMatchObject({ device: '/machine/a', words: ['STOP'] });
  });

  it.each([
    ['{"QMP": {}}', 'there is no VFIO_MIGRATION event: QEMU sends them for devices with migration-events=on'],
    ['{"event": "VFIO_MIGRATION"', 'line 1: the event VFIO_MIGRATION is no complete JSON object on one line'],
    ['{"event": "VFIO_MIGRATION", "data": {}}', 'line 1: the event VFIO_MIGRATION has no device-state'],
    ['{"event": "VFIO_MIGRATION", "data": {"device-state": "x"}}', "line 1: 'x' is no migration state"],
  ])('%s is refused', (text, message) => {
    expect(refusal(text)).toBe(message);
  });

  it('has no more devices than the limit', () => {
    const lines = Array.from(
      { length: LogLimits.DEVICES + 1 },
      (_, id) => `{"event": "VFIO_MIGRATION", "data": {"device-state": "stop", "device-id": "${id}"}}`,
    );
    expect(refusal(lines.join('\n'))).toBe('line 1001: more than 1000 devices');
  });
});

it('answers whatever it is given, with a log or with the reason', () => {
  const pieces = fc.constantFrom(
    'STOP',
    '011',
    'reset',
    '!',
    '\n',
    ' ',
    '{',
    '}',
    '[',
    ']',
    '"',
    ':',
    ',',
    '"states"',
    '"VFIO_MIGRATION"',
    'vfio_migration_set_state  (a) ',
    'state STOP',
    '\u{1f6a2}',
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(pieces, fc.string()), { maxLength: 20 }), (parts) => {
      try {
        parseStateLog(parts.join(''));
      } catch (error) {
        expect(error).toBeInstanceOf(StateError);
        expect(error).toMatchObject({ code: 'ERR_STATE_LOG' });
      }
    }),
    { numRuns: 1000 },
  );
});
