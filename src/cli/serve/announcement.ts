import { closeSync, writeSync } from 'node:fs';
import { formatMs } from '../options/quantities.ts';
import { printError, toJson } from '../output/terminal.ts';
import type { Service } from './service.ts';

type Listening = { readonly device: string } & Pick<
  Service,
  'socket' | 'controlPath' | 'line' | 'predecessor' | 'pause'
>;

/** One line that says where a device is served. */
export function announcement(listening: Listening, json: boolean): string {
  const { device, socket, controlPath, line, predecessor, pause } = listening;
  const pauseMs = pause?.totalMs ?? 0;
  const taken = predecessor === undefined ? {} : { predecessor, pauseMs, pause };
  if (json) return toJson({ listening: { device, socket, controlPath, line, ...taken, pid: process.pid } });
  const control = controlPath === null ? '' : ` (control ${controlPath})`;
  const at = line === undefined ? '' : `, line at ${line}`;
  const before =
    predecessor === undefined ? '' : `, taken over from process ${predecessor} in ${formatMs(pauseMs)}`;
  return `listening on ${socket}${control}${at}${before}`;
}

/** Whoever started this learns how it went, and may have gone. */
export function tellStarter(fd: number | undefined, line: string): void {
  if (fd === undefined) return;
  try {
    writeSync(fd, `${line}\n`);
    closeSync(fd);
  } catch (error) {
    printError(`ferry: nobody reads --ready-fd ${fd}: ${error instanceof Error ? error.message : error}`);
  }
}
