import { writeFileSync } from 'node:fs';
import {
  areasOf,
  checkServer,
  type Launcher,
  peopleLine,
  type Report,
  type RuleFacts,
  renderReport,
  runningServer,
  SERVER_RULES,
  select,
  spawnedServers,
  summarize,
  summaryLine,
} from '../../check/index.ts';
import { ExitCode } from '../outcome/exit-code.ts';
import { ExitRequest } from '../outcome/exit-request.ts';
import { print, printError, toJson } from '../output/terminal.ts';
import { type CheckOptions, requireSubject, selectionOf } from './check-options.ts';
import { interruption } from './interruption.ts';
import { palette } from './palette.ts';

/** How long a server may take until it listens, milliseconds. */
const START_MS = 20_000;

/** `ferry check` of a server. */
export async function checkServerCommand(socket: string | undefined, options: CheckOptions): Promise<void> {
  requireSubject(socket, options);
  const stop = interruption();
  const report = await checkServer({
    launcher: launcherOf(socket, options),
    selection: selectionOf(options),
    timeoutMs: options.timeout,
    seed: options.seed,
    signal: stop,
    ...(showsProgress(options) ? { onResult: (result) => print(peopleLine(result, palette)) } : {}),
  });
  show(report, options);
  if (stop.aborted) printError('ferry: interrupted: the rules that are missing were not tried');
  const status = stop.aborted ? ExitCode.IN_DOUBT : statusOf(report);
  if (status !== ExitCode.OK) throw new ExitRequest(status);
}

/** `--list`: the rules, with what they need. */
export function listRules(rules: readonly RuleFacts[], options: CheckOptions): void {
  const wanted = select(rules, selectionOf(options));
  if (options.format === 'json')
    return print(toJson(wanted.map(({ clause, ...rule }) => ({ ...rule, clause }))));
  for (const area of areasOf(wanted)) {
    print(palette.strong(area));
    for (const { id, severity, title, needs } of wanted.filter((rule) => rule.area === area)) {
      const with_ = needs.length === 0 ? '' : palette.dim(` (needs ${needs.join(', ')})`);
      print(`  ${id.padEnd(34)} ${severity.padEnd(16)} ${title}${with_}`);
    }
  }
}

/** The rules that `--list` shows for servers. */
export const serverRules: readonly RuleFacts[] = SERVER_RULES;

/** What is printed while rules are tried must not mix with a report for machines. */
function showsProgress({ format, output }: CheckOptions): boolean {
  return format === 'people' || output !== undefined;
}

function launcherOf(socket: string | undefined, { spawn, control }: CheckOptions): Launcher {
  if (spawn !== undefined) return spawnedServers({ command: spawn, startMs: START_MS });
  return runningServer(socket ?? '', control ?? null);
}

/** Writes a report where it is wanted. */
export function show(report: Report, { format, output }: Pick<CheckOptions, 'format' | 'output'>): void {
  if (output === undefined) {
    if (format === 'people') print();
    return print(renderReport(report, format, palette).trimEnd());
  }
  writeFileSync(output, `${renderReport(report, format).trimEnd()}\n`);
  print(summaryLine(report, palette));
}

/** What a report says to scripts. */
export function statusOf(report: Report): ExitCode {
  const { outcomes } = summarize(report);
  if (outcomes.broken > 0) return ExitCode.FAILED;
  return outcomes.inconclusive > 0 ? ExitCode.IN_DOUBT : ExitCode.OK;
}
