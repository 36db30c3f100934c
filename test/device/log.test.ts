import { afterEach, describe, expect, it } from 'vitest';
import { LOG_LEVELS, Log, type LogEntry, type LogLevel, PciDevice } from '../../src/device/index.ts';
import { FakeHost } from '../helpers/fake-host.ts';

const host = new FakeHost();
afterEach(() => host.close());

function logged(level: LogLevel | null): string[] {
  const entries: LogEntry[] = [];
  const log = new Log(level, (entry) => entries.push(entry));
  log.error('a');
  log.warning(() => 'b');
  log.info('c');
  log.debug(() => 'd');
  return entries.map((entry) => `${entry.level} ${entry.message}`);
}

describe('a log', () => {
  const lines = ['error a', 'warning b', 'info c', 'debug d'];

  it.each(LOG_LEVELS.map((level, i) => [level, i] as const))(
    'of level %s tells that and what is worse',
    (level, i) => {
      expect(logged(level)).toEqual(lines.slice(0, i + 1));
    },
  );

  it('that is off tells nothing, and does not even make the text', () => {
    expect(logged(null)).toEqual([]);
    new Log('info', () => {}).debug(() => {
      throw new Error('made');
    });
    Log.OFF.error(() => {
      throw new Error('made');
    });
  });

  it('changes nothing when whoever takes it fails', () => {
    const log = new Log('debug', () => {
      throw new Error('the disk is full');
    });
    expect(() => log.error('a')).not.toThrow();
  });
});

it('is what an author writes to, from when the device is served', () => {
  class Talker extends PciDevice {
    override readonly identity = { kind: 'talker', vendor: 1, device: 2, classCode: 0xff0000 };
    override readonly bars = {};
    override readonly interrupts = {};

    constructor() {
      super();
      this.logger.error('nobody hears this');
    }

    protected override work(): void {
      this.logger.info('works');
    }
  }
  const entries: LogEntry[] = [];
  const log = new Log('info', (entry) => entries.push(entry));
  const { native, memory, timers, mode } = host;
  const served = new Talker().bind({ native, memory, timers, mode, log, report: () => {} });
  expect(entries).toEqual([{ level: 'info', message: 'works' }]);
  served.close();
});
