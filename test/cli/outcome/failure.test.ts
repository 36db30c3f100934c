import { CommanderError } from 'commander';
import { describe, expect, it } from 'vitest';
import { ExitCode } from '../../../src/cli/outcome/exit-code.ts';
import { failureJson, failureOf } from '../../../src/cli/outcome/failure.ts';
import { UsageError } from '../../../src/cli/outcome/usage-error.ts';
import { MigrationError, type MigrationErrorCode, type Owner } from '../../../src/engine/index.ts';
import { Errno, FerryError } from '../../../src/errors/index.ts';
import { MigrationState } from '../../../src/states/index.ts';

const { RUNNING, STOP, STOP_COPY } = MigrationState;
const reason = new FerryError('ERR_REMOTE', 'the destination did not go to STOP', { errno: Errno.EINVAL });

function migrationError(
  owner: Owner,
  sourceState: number | null,
  code: MigrationErrorCode = 'ERR_MIGRATION_FAILED',
) {
  const outcome = 'The device runs on at the source';
  const nextSteps = ['ferry inspect a'];
  return new MigrationError(code, reason, {
    owner,
    phase: 'verify',
    sourceStates: [sourceState],
    destinationStates: [STOP],
    outcome,
    nextSteps,
  });
}

describe('the exit code of a failed migration', () => {
  it.each([
    ['source', RUNNING, ExitCode.FAILED],
    ['source', MigrationState.PRE_COPY, ExitCode.FAILED],
    ['source', null, ExitCode.FAILED],
    ['source', STOP_COPY, ExitCode.IN_DOUBT],
    ['source', 9, ExitCode.IN_DOUBT],
    ['in doubt', STOP, ExitCode.IN_DOUBT],
    ['in doubt', null, ExitCode.IN_DOUBT],
    ['destination', STOP, ExitCode.AT_DESTINATION],
  ] as const)('with owner %s and source state %s is %d', (owner, state, exitCode) => {
    expect(failureOf(migrationError(owner, state)).exitCode).toBe(exitCode);
  });

  it('is 1 when it was refused, whoever owns the device: nothing was changed', () => {
    expect(failureOf(migrationError('in doubt', STOP, 'ERR_MIGRATION_REFUSED')).exitCode).toBe(
      ExitCode.FAILED,
    );
  });
});

describe('failures as JSON', () => {
  it('of a migration: who has the device, where it was, what to do, how it went', () => {
    const error = migrationError('source', RUNNING);
    expect(failureJson(failureOf(error))).toEqual({
      error: {
        code: 'ERR_MIGRATION_FAILED',
        errno: 'EINVAL',
        message:
          'the migration failed in phase verify: the destination did not go to STOP. The device runs on at the source',
        owner: 'source',
        phase: 'verify',
        sourceState: 'RUNNING',
        destinationState: 'STOP',
        timeline: error.timeline,
        next: ['ferry inspect a'],
        exitCode: 1,
      },
    });
  });

  it('of anything else: its code, errno and context', () => {
    const error = new FerryError('ERR_SOCKET_IN_USE', 'a.sock is in use', { errno: Errno.EADDRINUSE });
    expect(failureJson(failureOf(error))).toMatchObject({
      error: {
        code: 'ERR_SOCKET_IN_USE',
        errno: 'EADDRINUSE',
        next: [expect.stringContaining('--socket-path')],
      },
    });
  });
});

describe('the next step', () => {
  it.each([
    ['there is no server', 'ERR_SOCKET', /start the server/],
    ['there is no folder to listen in', 'ERR_SOCKET_LISTEN', /make the folder/],
  ] as const)('suits it when %s', (_, code, next) => {
    const { next: told } = failureOf(new FerryError(code, 'no', { errno: Errno.ENOENT }));
    expect(told).toEqual([expect.stringMatching(next)]);
  });
});

describe('other failures', () => {
  it('of the command line have the status 2 and no word of commander in front', () => {
    const unknown = new CommanderError(1, 'commander.unknownOption', "error: unknown option '-x'");
    expect(failureOf(unknown)).toMatchObject({ message: "unknown option '-x'", exitCode: ExitCode.USAGE });
    expect(failureOf(new UsageError('give a socket'))).toMatchObject({ exitCode: ExitCode.USAGE });
  });

  it('that nobody foresaw keep their message and the code of the system', () => {
    const system = Object.assign(new Error('no space left'), { code: 'ENOSPC' });
    expect(failureOf(system)).toMatchObject({ code: 'ENOSPC', message: 'no space left', exitCode: 1 });
    expect(failureOf('a string')).toMatchObject({ code: 'ERR_UNFORESEEN', message: 'a string' });
  });

  it('of a taken place name the control socket', () => {
    const busy = new FerryError('ERR_REMOTE', 'VERSION: EBUSY', {
      errno: Errno.EBUSY,
      context: { command: 'VERSION' },
    });
    expect(failureOf(busy).next).toEqual([expect.stringContaining('control socket')]);
  });
});
