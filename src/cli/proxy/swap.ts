import { resolve } from 'node:path';
import { Command } from 'commander';
import { field, numberOf, textOf } from '../access/server-report.ts';
import { counted, formatBytes, formatMs } from '../options/quantities.ts';
import { EXIT_CODES_HELP } from '../outcome/exit-code.ts';
import { print, printable, toJson } from '../output/terminal.ts';
import { askProxy } from './control-client.ts';

interface Options {
  readonly fresh?: boolean;
  readonly json?: boolean;
}

const HELP = `
The new back end gets the state of the old one, which then stands still (STOP) and is disconnected. Whatever fails before
the new one runs is undone: the old one serves on, and the new one is disconnected.

--fresh begins with the new back end as it is after a reset: for servers without migration, and after a back end has died.
What is lost is said.
${EXIT_CODES_HELP}`;

/** `ferry proxy swap`. */
export function proxySwapCommand(): Command {
  return new Command('swap')
    .description('put another server behind a proxy')
    .argument('<control>', 'control socket of the proxy')
    .argument('<backend>', 'socket of the new server')
    .option('--fresh', 'without the state of the old server')
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .action(swap);
}

async function swap(control: string, backend: string, options: Options): Promise<void> {
  const answer = await askProxy(control, {
    do: 'swap',
    // The proxy may have been started in another folder.
    backend: resolve(backend),
    fresh: options.fresh === true,
  });
  if (options.json === true) print(toJson(answer));
  else for (const line of linesOf(field(answer, 'swap'), backend)) print(line);
}

function linesOf(report: unknown, backend: string): string[] {
  if (report === null) return [`the next client is connected to ${printable(backend)}`];
  const state = field(report, 'stateBytes');
  const ahead = formatBytes(numberOf(report, 'aheadBytes'));
  const carried = typeof state === 'number' ? `${formatBytes(state)} of state (${ahead} before)` : 'no state';
  const maps = counted(numberOf(report, 'dmaMaps'), 'DMA map');
  const vectors = counted(numberOf(report, 'vectors'), 'interrupt vector');
  const lost = field(report, 'lost');
  return [
    `${textOf(report, 'to') ?? backend} serves in the place of ${textOf(report, 'from') ?? 'the old one'}`,
    `  ${carried}, ${maps}, ${vectors}; the VMM waited ${formatMs(numberOf(report, 'heldMs'))}`,
    ...(Array.isArray(lost) ? lost.map((each) => `  lost: ${printable(String(each))}`) : []),
  ];
}
