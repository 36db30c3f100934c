import { InvalidArgumentError } from 'commander';
import { type Format, SEVERITIES, type Selection, type Severity } from '../../check/index.ts';
import { UsageError } from '../outcome/usage-error.ts';

/** What the command line says. */
export interface CheckOptions {
  readonly spawn?: string;
  readonly control?: string;
  readonly only?: readonly string[];
  readonly skip?: readonly string[];
  readonly severity?: readonly Severity[];
  readonly list?: boolean;
  readonly format: Format;
  readonly output?: string;
  readonly timeout: number;
  readonly seed: number;
}

/** Adds the parts of a list with commas to those that came before; for an option that may be repeated. */
export function addNames(text: string, before: readonly string[] = []): readonly string[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.some((name) => name === '')) throw new InvalidArgumentError('Write ids or areas, with commas.');
  return [...before, ...names];
}

/** A list of severities. */
export function severities(text: string): readonly Severity[] {
  return text.split(',').map((name) => {
    const found = SEVERITIES.find((severity) => severity === name.trim());
    if (found === undefined) throw new InvalidArgumentError(`Write some of ${SEVERITIES.join(', ')}.`);
    return found;
  });
}

/** Which rules the command line asks for. */
export function selectionOf({ only, skip, severity }: CheckOptions): Selection {
  return {
    ...(only === undefined ? {} : { only }),
    ...(skip === undefined ? {} : { skip }),
    ...(severity === undefined ? {} : { severities: severity }),
  };
}

/** Exactly one of a socket and a command. Throws UsageError otherwise, and for a command that can't be told where to listen. */
export function requireSubject(socket: string | undefined, { spawn, control }: CheckOptions): void {
  if ((socket === undefined) === (spawn === undefined)) {
    throw new UsageError(
      'give the socket of a server that runs, or --spawn with the command that starts one',
    );
  }
  if (spawn !== undefined && !spawn.includes('{socket}')) {
    throw new UsageError("the command of --spawn needs {socket} where the path of the server's socket goes");
  }
  if (spawn !== undefined && control !== undefined) {
    throw new UsageError(
      'with --spawn, write {control} into the command where the path of the control socket goes',
    );
  }
}
