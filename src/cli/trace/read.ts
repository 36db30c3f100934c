import { Command } from 'commander';
import { print, toJson } from '../output/terminal.ts';
import { figureLines } from './figures-text.ts';
import { readRecording } from './recording-file.ts';
import { addShowOptions, FILTER_HELP, type ShowOptions } from './show-options.ts';
import { TraceView } from './view.ts';

const HELP = `
${FILTER_HELP}

Examples:
  ferry trace read boot.pcapng
  ferry trace read boot.pcapng --filter 'kind=error' --fields
  ferry trace read boot.pcapng --summary
  ferry trace read boot.pcapng --json | jq 'select(.command == "DMA_MAP")'`;

/** `ferry trace read`. */
export function traceReadCommand(): Command {
  const command = new Command('read')
    .description('show a recording')
    .argument('<file>', 'what ferry trace -w has written');
  return addShowOptions(command).addHelpText('after', HELP).action(read);
}

function read(file: string, options: ShowOptions): void {
  const view = new TraceView(options);
  for (const event of readRecording(file)) view.show(event);
  view.flush();
  if (options.summary !== true) return;
  const figures = view.figures();
  if (options.json === true) print(toJson(figures));
  else for (const line of figureLines(figures)) print(line);
}
