import { readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import { CONTROL_SUFFIX, findControlSocket } from '../../client/index.ts';
import { withControl } from '../access/control.ts';
import { field, numberOf } from '../access/server-report.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { optionOf, serveArguments } from './command-line.ts';

/** A running `ferry serve`. */
export interface Target {
  readonly pid: number;
  /** Its control socket, absolute. */
  readonly control: string;
  /** The folder in which it runs. */
  readonly folder: string;
  /** Its arguments, behind `serve`. */
  readonly args: readonly string[];
}

/** The process that serves the device behind a control socket now. */
export async function serverOf(control: string): Promise<number> {
  const report = await withControl(control, (client) => client.inspectServer());
  const pid = numberOf(field(report, 'process'), 'pid');
  if (pid > 0) return pid;
  throw new UsageError(
    `${control} belongs to a server that does not tell which process it is: it is too old`,
  );
}

/** Looks at what is to be upgraded: either socket of a server, or its process. Throws UsageError, TransportError. */
export async function targetOf(name: string): Promise<Target> {
  if (/^\d+$/.test(name)) return ofProcess(Number(name));
  const control = realpathSync(findControlSocket(name));
  const pid = await serverOf(control);
  return { pid, control, ...lookAt(pid) };
}

async function ofProcess(pid: number): Promise<Target> {
  const found = lookAt(pid);
  const control = resolve(found.folder, controlOf(pid, found.args));
  const serving = await serverOf(control);
  if (serving === pid) return { pid, control, ...found };
  throw new UsageError(`process ${pid} does not serve ${control} any more: process ${serving} does`);
}

function lookAt(pid: number): Pick<Target, 'folder' | 'args'> {
  try {
    const args = serveArguments(readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1));
    if (args !== null) return { args, folder: readlinkSync(`/proc/${pid}/cwd`) };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new UsageError(`process ${pid} can't be looked at: ${text}`);
  }
  throw new UsageError(`process ${pid} is no ferry serve: whoever started it has to have it taken over`);
}

function controlOf(pid: number, args: readonly string[]): string {
  const before = optionOf(args, '--take-over');
  if (before !== null) return findControlSocket(before);
  const main = optionOf(args, '--socket-path');
  const control = optionOf(args, '--control-path') ?? (main === null ? null : main + CONTROL_SUFFIX);
  if (control !== null && !args.includes('--no-control')) return control;
  throw new UsageError(`process ${pid} has no control socket, over which it could be asked`);
}
