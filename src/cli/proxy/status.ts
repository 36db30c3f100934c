import { Command } from 'commander';
import { field, numberOf, textOf } from '../access/server-report.ts';
import { counted, formatMs } from '../options/quantities.ts';
import { EXIT_CODES_HELP } from '../outcome/exit-code.ts';
import { print, toJson } from '../output/terminal.ts';
import { askProxy } from './control-client.ts';

interface Options {
  readonly json?: boolean;
}

/** `ferry proxy status`. */
export function proxyStatusCommand(): Command {
  return new Command('status')
    .description('show how a proxy is')
    .argument('<control>', 'control socket of the proxy')
    .option('--json', 'print JSON')
    .addHelpText('after', EXIT_CODES_HELP)
    .action(show);
}

async function show(control: string, options: Options): Promise<void> {
  const status = field(await askProxy(control, { do: 'status' }), 'status');
  if (options.json === true) print(toJson(status));
  else for (const line of linesOf(status)) print(line);
}

function linesOf(status: unknown): string[] {
  const backend = textOf(status, 'backend');
  const hindrance = textOf(status, 'hindrance');
  const failure = textOf(status, 'lastFailure');
  const loss = field(status, 'loss');
  const dropped = numberOf(status, 'droppedWrites');
  return [
    `${textOf(status, 'state')}: ${textOf(status, 'listen')} before ${backend}`,
    `client: ${counted(numberOf(status, 'dmaMaps'), 'DMA map')}, ${counted(numberOf(status, 'vectors'), 'interrupt vector')}, ${counted(numberOf(status, 'heldCommands'), 'command')} waiting`,
    ...swapLines(status),
    ...(hindrance === undefined ? [] : [`no swap is possible: ${hindrance}`]),
    ...(failure === undefined ? [] : [`the last swap failed: ${failure}`]),
    ...(loss === null || loss === undefined ? [] : lossLines(loss)),
    ...(dropped === 0 ? [] : [`posted writes dropped for want of a back end: ${dropped}`]),
  ];
}

function swapLines(status: unknown): string[] {
  const count = numberOf(status, 'swaps');
  if (count === 0) return [];
  const waited = formatMs(numberOf(field(status, 'lastSwap'), 'heldMs'));
  return [`${counted(count, 'swap')}; in the last one the VMM waited ${waited}`];
}

function lossLines(loss: unknown): string[] {
  const requests = `${numberOf(loss, 'repeated')} to be asked again, ${numberOf(loss, 'failed')} answered with EIO`;
  return [
    `lost: ${textOf(loss, 'path')} (${textOf(loss, 'reason')}), and the state of the device with it`,
    `requests that it had not answered: ${requests}`,
  ];
}
