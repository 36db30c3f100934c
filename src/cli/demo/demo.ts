import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { Errno, FerryError } from '../../errors/index.ts';
import { parseBytes } from '../options/quantities.ts';
import { EXIT_CODES_HELP, ExitCode } from '../outcome/exit-code.ts';
import { ExitRequest } from '../outcome/exit-request.ts';
import { migrationView } from '../output/migration-view.ts';
import { print, toJson } from '../output/terminal.ts';
import { runDemo } from './run-demo.ts';
import { closingLines, openingLines, resultJson } from './story.ts';

const HELP = `
Two servers are started as processes, each with a device "memory". This process plays the guest of the first one, which
never stops writing, and moves the device to the second one under this load. Then every byte and every interrupt is
compared. Everything that was started is ended and removed, also after Ctrl-C.

Examples:
  ferry demo
  ferry demo disk.img
  ferry demo --size 256M --json
${EXIT_CODES_HELP}`;

/** `ferry demo`, which is what `npm start` runs. */
export function demoCommand(): Command {
  return new Command('demo')
    .description('live-migrate a device between two processes and prove that nothing was lost')
    .argument('[file]', 'a file whose content is the memory of the device (default: random bytes)')
    .option(
      '--size <bytes>',
      'the memory of the device, a power of two (default: 64M, or what the file needs)',
      parseBytes,
    )
    .option('--json', 'print one JSON object on the last line')
    .addHelpText('after', HELP)
    .action(demo);
}

async function demo(
  file: string | undefined,
  { size, json = false }: { readonly size?: number; readonly json?: boolean },
): Promise<void> {
  const view = json ? { show() {}, close() {} } : migrationView(false);
  const result = await untilInterrupted((signal) =>
    runDemo({
      ferry: [process.execPath, fileURLToPath(new URL('../main.js', import.meta.url))],
      file: file ?? null,
      size: size ?? null,
      signal,
      onStart: (started) => {
        if (!json) for (const line of openingLines(started)) print(line);
      },
      onProgress: (progress) => view.show(progress),
    }).finally(() => view.close()),
  );
  if (json) print(toJson(resultJson(result)));
  else for (const line of closingLines(result)) print(line);
  if (!result.verified) throw new ExitRequest(ExitCode.FAILED);
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Ctrl-C, SIGTERM and the end of the terminal end the demo in order. */
async function untilInterrupted<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const interrupt = (): void => controller.abort(interrupted());
  for (const signal of SIGNALS) process.on(signal, interrupt);
  try {
    return await work(controller.signal);
  } finally {
    for (const signal of SIGNALS) process.off(signal, interrupt);
  }
}

function interrupted(): FerryError {
  return new FerryError('ERR_INTERRUPTED', 'interrupted; everything that was started has been ended', {
    errno: Errno.ECANCELED,
  });
}
