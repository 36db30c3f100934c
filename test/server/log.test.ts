import { describe, expect, it } from 'vitest';
import type { LogEntry, LogLevel } from '../../src/device/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { fields } from '../helpers/raw-client.ts';
import { until } from '../helpers/until.ts';
import { setState } from './migration-driver.ts';
import { testServers } from './test-servers.ts';
import { Tiny } from './tiny-device.ts';

const { world } = testServers();

class Stumbler extends Tiny {
  protected override work(): void {
    this.logger.error('it is going to stumble');
    throw new Error('stumbles');
  }
}

/** What a server logs at a level of some requests by a VMM, a move to STOP by a controller, and the VMM's end. */
async function logged(logLevel: LogLevel | null): Promise<string[]> {
  const entries: LogEntry[] = [];
  const { main, control, server } = await world(new Tiny(), {
    logLevel,
    log: (entry) => entries.push(entry),
  });
  await main.request(9, fields(0n, 0, 4));
  await main.request(9, fields(0n, 99, 4));
  await main.request(13);
  await setState(control, MigrationState.STOP);
  main.close();
  await until(() => server.main === null);
  return entries.map(({ level, message }) => `${level}: ${message}`);
}

describe('the log of a server', () => {
  it('tells who comes and goes, resets, states and holds', async () => {
    expect((await logged('info')).filter((line) => line.startsWith('info'))).toEqual([
      'info: a main connection has been accepted',
      'info: a control connection has been accepted',
      'info: a reset by the main connection (device)',
      'info: RUNNING to RUNNING_P2P, for the control connection',
      'info: RUNNING_P2P to STOP, for the control connection',
      'info: the device is held',
      expect.stringMatching(/^info: the main connection has ended: /),
    ]);
  });

  it('tells what is refused, and why', async () => {
    expect(await logged('warning')).toEqual([
      expect.stringMatching(
        /^warning: refused: main REGION_READ, message \d+, 16 bytes: there is no region 99$/,
      ),
    ]);
  });

  it('tells every command to who wants to know', async () => {
    const lines = (await logged('debug')).filter((line) => line.startsWith('debug'));
    expect(lines.map((line) => line.split(',')[0])).toEqual([
      'debug: main VERSION',
      'debug: control VERSION',
      'debug: main REGION_READ',
      'debug: main REGION_READ',
      'debug: main DEVICE_RESET',
      'debug: control DEVICE_FEATURE',
    ]);
  });

  it('tells nothing when it is off', async () => {
    expect(await logged(null)).toEqual([]);
  });

  it('tells the errors that no client can be told, and what the author says', async () => {
    const entries: LogEntry[] = [];
    const { served } = await world(new Stumbler(), {
      logLevel: 'error',
      log: (entry) => entries.push(entry),
    });
    expect(entries.map(({ message }) => message)).toEqual([
      'it is going to stumble',
      "the device's work failed: stumbles (ERR_DEVICE_CALLBACK)",
    ]);
    expect(served.reported.map(({ code }) => code)).toEqual(['ERR_DEVICE_CALLBACK']);
  });
});
