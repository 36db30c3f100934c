import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { checkSequence, parseStateLog, type RuleSet, ruleSet } from '../../../src/states/index.ts';
import { readText } from '../tables.ts';

function rules(id: string): RuleSet {
  const found = ruleSet(id);
  if (found === null) throw new Error(`no rules ${id}`);
  return found;
}

/** The verdict of one rule set on a log of one device. */
function check(id: string, text: string, numbers: 'v1' | 'v2' | null = null) {
  const [sequence] = parseStateLog(text, numbers).sequences;
  if (sequence === undefined) throw new Error('no sequence');
  return checkSequence(rules(id), sequence);
}

const recordings = readdirSync(new URL('../../fixtures/qemu/', import.meta.url)).filter((name) =>
  /\.(?:trace|qmp)$/.test(name),
);
/** Logs of a monitor whose QEMU ended before any device had changed its state. */
const without = ['auto.dst.qmp', 'mfdno.dst.qmp', 'postcopy.dst.qmp'];

describe('the recordings of QEMU', () => {
  it('are 48, three of them without a change of state', () => {
    expect(recordings).toHaveLength(48);
    for (const name of without) {
      expect(() => parseStateLog(readText(`qemu/${name}`))).toThrow('there is no VFIO_MIGRATION event');
    }
  });

  it.each(recordings.filter((name) => !without.includes(name)))('%s is accepted under v2', (name) => {
    const { sequences } = parseStateLog(readText(`qemu/${name}`));
    expect(sequences).toHaveLength(name.startsWith('two') ? 2 : 1);
    for (const sequence of sequences) {
      if (name.endsWith('.trace')) expect(sequence.flags).toBe(7);
      expect(checkSequence(rules('v2-7'), sequence)).toMatchObject({
        verdict: 'accepted',
        refusal: null,
        notes: [],
      });
    }
  });

  it.each(['single.src.trace', 'single.src.qmp'])('%s uses states that v2 without P2P lacks', (name) => {
    expect(check('v2-5', readText(`qemu/${name}`)).refusal).toMatchObject({
      from: 'RUNNING',
      to: 'RUNNING_P2P',
      reason: 'there is no state RUNNING_P2P',
    });
  });
});

describe('ten wrong sequences', () => {
  it.each([
    [
      'saving again from STOP_COPY',
      'v2-7',
      'RUNNING PRE_COPY STOP_COPY PRE_COPY',
      'word 4 of line 1',
      'a new saving session begins in a running state or in STOP',
    ],
    [
      'back into pre-copy by the P2P state',
      'v2-7',
      'RUNNING PRE_COPY STOP_COPY PRE_COPY_P2P',
      'word 4 of line 1',
      'a new saving session begins in a running state or in STOP',
    ],
    [
      'leaving ERROR without a reset',
      'v2-7',
      'RESUMING STOP!ERROR RUNNING',
      'word 3 of line 1',
      'only a reset leaves ERROR',
    ],
    ['asking for ERROR', 'v2-1', 'RUNNING ERROR', 'word 2 of line 1', 'ERROR is entered only by a failure'],
    [
      'pre-copy of a device that has none',
      'v2-3',
      'RUNNING PRE_COPY STOP_COPY STOP',
      'word 2 of line 1',
      'there is no state PRE_COPY',
    ],
    [
      'being in a state that a failure can not leave it in',
      'v2-7',
      'RUNNING STOP_COPY!RESUMING STOP',
      'word 2 of line 1',
      'after a failure the device is in one of: RUNNING, RUNNING_P2P, STOP, ERROR',
    ],
    ['an invalid combination', 'v1-uapi', '001 101', 'word 2 of line 1', 'invalid 101 is no state'],
    [
      'saving from a stopped device',
      'v1-libvfio-user',
      '001 000 010',
      'word 3 of line 1',
      'it is not in the table',
    ],
    [
      'resuming at once, as the header has it',
      'v1-2021-09',
      '001 100 001',
      'word 2 of line 1',
      'it is not in the table',
    ],
    [
      'stopping half-way after a failure',
      'v1-2021-12',
      '001 100!000 001',
      'word 2 of line 1',
      'after a failure the device is in one of: RUNNING (001), ERROR (110)',
    ],
  ])('%s is refused by %s', (_what, id, text, at, reason) => {
    expect(check(id, text)).toMatchObject({ verdict: 'refused', refusal: { at, reason } });
  });
});

describe('a sequence', () => {
  it('is accepted with everything that the rules allow', () => {
    const main = 'RUNNING PRE_COPY STOP_COPY STOP';
    for (const id of [
      'v1-uapi',
      'v1-2021-09',
      'v1-2021-12',
      'v1-2022-01',
      'v1-libvfio-user',
      'v2-5',
      'v2-7',
    ]) {
      expect(check(id, main).verdict, id).toBe('accepted');
    }
  });

  it('is unlisted, and shows where first, when an open list does not have it', () => {
    expect(check('v1-2019', 'RUNNING PRE_COPY STOP_COPY STOP RUNNING')).toMatchObject({
      verdict: 'unlisted',
      unlisted: { at: 'word 4 of line 1', from: 'STOP_COPY (010)', to: 'STOP (000)' },
      refusal: null,
    });
  });

  it('is refused when it begins where the rules know no state', () => {
    expect(check('v2-1', 'PRE_COPY STOP_COPY').refusal).toMatchObject({
      at: null,
      reason: 'there is no state PRE_COPY',
    });
    expect(check('v1-uapi', '101 001').refusal).toMatchObject({ at: null });
  });

  it('may have a change that the rules refuse, if it failed', () => {
    const { verdict, notes } = check('v2-7', 'RUNNING STOP_COPY PRE_COPY! STOP');
    expect(verdict).toBe('accepted');
    expect(notes).toEqual([
      'At word 3 of line 1 the change failed, as these rules demand: a new saving session begins in a running ' +
        'state or in STOP.',
    ]);
  });

  it('goes on from where a failure has left the device', () => {
    expect(check('v2-7', 'RUNNING STOP_COPY!RUNNING_P2P PRE_COPY_P2P').verdict).toBe('accepted');
    expect(check('v2-7', 'RESUMING STOP!ERROR reset RUNNING').verdict).toBe('accepted');
    expect(check('v1-uapi', '100 001!110 reset 001 011').verdict).toBe('unlisted');
  });

  it('may have reserved bits, which a device does not keep', () => {
    const log = '0xf001 0xf003 0xf002 0 1!0xf000';
    expect(check('v1-2021-12', log, 'v1').verdict).toBe('accepted');
    expect(check('v1-2021-09', log, 'v1').refusal).toEqual({
      at: 'word 2 of line 1',
      from: 'RUNNING (001)',
      to: 'PRE_COPY with reserved bits 0xf000',
      reason: 'bits 3 to 31 are beyond the table',
      remarks: [],
    });
  });

  it('reads names and bits by either interface', () => {
    expect(check('v2-7', '001 011 010 000').verdict).toBe('accepted');
    expect(check('v1-2022-01', '001 101 010').verdict).toBe('accepted');
    expect(check('v2-7', '001 101').refusal).toMatchObject({ reason: 'there is no state invalid 101 (101)' });
  });
});

describe('a reset that went unnoticed', () => {
  const log = readText('libvfio-user-853.txt');

  it('is why libvfio-user refused stop-and-copy in its issue #853', () => {
    const { verdict, refusal, notes } = check('v1-libvfio-user', log);
    expect(verdict).toBe('refused');
    expect(refusal).toMatchObject({ at: 'line 6', from: 'STOP (000)', to: 'STOP_COPY (010)' });
    expect(notes).toEqual([
      'The reset at line 4 took the device out of PRE_COPY (011). Who has not noticed means something else with what ' +
        'follows: line 5 makes STOP (000) of RUNNING (001), but would have made STOP_COPY (010) of PRE_COPY (011); ' +
        'line 6 asks for STOP_COPY (010), in which it would have been already.',
      'Device and VMM are out of step: after a reset a VMM has to read the state again and begin anew.',
    ]);
  });

  it('is explained as well where the refusal is in the log', () => {
    const { verdict, notes } = check('v1-libvfio-user', log.replace('010     #', '010!    #'));
    expect(verdict).toBe('accepted');
    expect(notes[0]).toMatch(/^At line 6 the change failed, as these rules demand: /);
    expect(notes[1]).toMatch(/^The reset at line 4 took the device out of PRE_COPY/);
  });

  it.each(['v1-2021-12', 'v1-2022-01'])('opens a session that nobody expects where %s lets it pass', (id) => {
    const { verdict, notes } = check(id, log);
    expect(verdict).toBe('accepted');
    expect(notes).toEqual([
      'The change at line 6 opens a new data session: the reset at line 4 ended the one that was open in ' +
        'PRE_COPY (011), and what was read from that can not be continued.',
    ]);
  });

  it('opens one with v2 too', () => {
    const { verdict, notes } = check('v2-7', 'RUNNING PRE_COPY reset PRE_COPY_P2P STOP_COPY');
    expect(verdict).toBe('accepted');
    expect(notes).toHaveLength(1);
    expect(notes[0]).toMatch(/^The change at word 4 of line 1 opens a new data session/);
  });

  it('is no matter in a device that runs, or once both agree again', () => {
    expect(check('v1-libvfio-user', '001 reset 000 010').notes).toEqual([]);
    expect(check('v2-7', 'RUNNING reset PRE_COPY').notes).toEqual([]);
    expect(check('v2-7', 'STOP reset ERROR').notes).toEqual([]);
    expect(check('v1-uapi', '011 reset 101').notes).toEqual([]);
    expect(check('v2-7', 'STOP reset PRE_COPY').notes).toEqual([]);
    expect(check('v1-libvfio-user', '001 011 reset 011 010 000 010').notes).toHaveLength(1);
  });
});
