import type { Command } from 'commander';
import type { VmDevice } from '../../vm/index.ts';
import { wholeNumber } from '../options/quantities.ts';
import { UsageError } from '../outcome/usage-error.ts';

/** What the command line says of a side's VM. */
export interface VmOptions {
  readonly qmp: string;
  readonly gdb?: string;
  readonly scratch?: string;
  readonly timeout?: number;
  readonly json?: boolean;
}

/** Adds what all commands have. */
export function addVmOptions(command: Command): Command {
  return command
    .option('--scratch <directory>', "where QEMU and ferry exchange files (default: the monitor's directory)")
    .option('--timeout <ms>', 'how long each answer may take (default: 5000)', wholeNumber(1))
    .option('--json', 'print JSON');
}

/** One side of a device's argument: `[ID@]PATH`. @throws UsageError */
export function parseDevice(text: string): VmDevice {
  const [, id, path] = /^(?:([\w.-]+)@)?(.+)$/.exec(text) ?? [];
  if (path === undefined) throw new UsageError(`${JSON.stringify(text)} is no device: say PATH or ID@PATH`);
  return { id: id ?? null, path };
}

/** A device that moves on one host: `[ID@]SOURCE=[ID@]DESTINATION`. @throws UsageError */
export function parsePair(text: string): { readonly source: VmDevice; readonly destination: VmDevice } {
  const [source = '', destination = '', ...more] = text.split('=');
  if (destination === '' || more.length > 0) {
    throw new UsageError(`${JSON.stringify(text)} names no pair of sockets: say SOURCE=DESTINATION`);
  }
  const from = parseDevice(source);
  const to = parseDevice(destination);
  return { source: from, destination: { ...to, id: to.id ?? from.id } };
}

/** What a side is opened with. */
export function sideOf(monitorPath: string, devices: readonly VmDevice[], options: Partial<VmOptions>) {
  const { gdb, scratch, timeout } = options;
  return {
    ...{ monitorPath, devices },
    ...(gdb === undefined ? {} : { gdbPath: gdb }),
    ...(scratch === undefined ? {} : { scratch }),
    ...(timeout === undefined ? {} : { timeoutMs: timeout }),
  };
}
