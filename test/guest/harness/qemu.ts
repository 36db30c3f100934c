import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { FETCH_ADVICE, GUEST_TREE } from './tree.ts';

/** A QEMU that has vfio-user-pci. */
export interface Qemu {
  /** The program and the arguments that come before all others. */
  readonly command: readonly [string, ...string[]];
  /** Such as 11.1.3. */
  readonly version: string;
}

const NAME = 'qemu-system-x86_64';

/** Finds QEMU: $FERRY_QEMU, else the PATH, else what was unpacked beside the system. A string says why there is none. */
export function findQemu(): Qemu | string {
  const chosen = process.env['FERRY_QEMU'];
  if (chosen !== undefined) return examine([chosen]);
  const installed = examine([NAME]);
  if (typeof installed !== 'string') return installed;
  const unpacked = existsSync(join(GUEST_TREE, 'usr/bin', NAME)) ? examine(unpackedCommand()) : installed;
  return typeof unpacked === 'string' ? `${unpacked}; ${FETCH_ADVICE}` : unpacked;
}

/** A program of another release runs with that release's loader, libraries and firmware. */
function unpackedCommand(): Qemu['command'] {
  const at = (path: string) => join(GUEST_TREE, path);
  return [
    at('usr/lib64/ld-linux-x86-64.so.2'),
    '--library-path',
    `${at('usr/lib/x86_64-linux-gnu')}:${at('usr/lib')}`,
    at(`usr/bin/${NAME}`),
    '-L',
    at('usr/share/qemu'),
    '-L',
    at('usr/share/seabios'),
  ];
}

function examine(command: Qemu['command']): Qemu | string {
  const version = /QEMU emulator version (\S+)/.exec(ask(command, '--version'))?.[1];
  if (version === undefined) return `${command[0]} does not run`;
  if (ask(command, '-device', 'help').includes('"vfio-user-pci"')) return { command, version };
  return `QEMU ${version} has no vfio-user-pci (10.1 is the first)`;
}

function ask([program, ...first]: Qemu['command'], ...args: readonly string[]): string {
  return spawnSync(program, [...first, ...args], { encoding: 'utf8', timeout: 20_000 }).stdout ?? '';
}
