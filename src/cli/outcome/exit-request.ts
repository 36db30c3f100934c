import type { ExitCode } from './exit-code.ts';

/** Thrown by a command that has said everything and only wants its exit code. */
export class ExitRequest extends Error {
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode) {
    super(`exit ${exitCode}`);
    this.exitCode = exitCode;
  }
}
