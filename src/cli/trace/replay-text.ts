import { messageLines, type ScriptedRequest } from '../../trace/index.ts';
import { counted, grouped } from '../options/quantities.ts';
import { outColors as colors } from '../output/colors.ts';
import { printable } from '../output/terminal.ts';
import type { Judged } from './judge.ts';
import { TERMINAL_STYLE } from './style.ts';

/** What came of a replay. */
export interface ReplayFigures {
  /** Requests that were sent. */
  readonly requests: number;
  readonly equal: number;
  readonly different: number;
  /** Fields that differed and were to be ignored. */
  readonly ignored: number;
  /** Requests without an answer, where there was one in the recording. */
  readonly failed: number;
  /** Requests that wanted no answer, or got none in the recording. */
  readonly unanswered: number;
  /** Requests that were not sent, because one had failed. */
  readonly skipped: number;
  /** Requests of the server that the recorded one had not made; and answers that it did not ask for. */
  readonly unexpected: number;
  readonly unasked: number;
  /** Pieces of the recorded client that are no message. */
  readonly leftOut: number;
}

/** A request whose answer is not as recorded. */
export function requestLines(request: ScriptedRequest, { differences, failure }: Judged): string[] {
  const [line = ''] = messageLines(request.told, { style: TERMINAL_STYLE });
  const why = failure === null ? [] : [`      ${colors.red('no answer:')} ${printable(failure)}`];
  const fields = differences.map(({ field, recorded, now }) => {
    const was = recorded === null ? 'nothing' : printable(recorded);
    const is = now === null ? 'nothing' : printable(now);
    return `      ${colors.bold(field)}: recorded ${colors.green(was)}, now ${colors.red(is)}`;
  });
  return [line, ...why, ...fields];
}

/** The end of a replay. */
export function replaySummary(figures: ReplayFigures): string[] {
  const { requests, equal, different, ignored, failed, unanswered, skipped } = figures;
  const lines = [
    `${counted(requests, 'request')} replayed: ${grouped(equal)} answered as recorded, ${grouped(different)} otherwise, ` +
      `${grouped(failed)} not at all, ${grouped(unanswered)} without an answer to compare`,
  ];
  if (ignored > 0) lines.push(`${counted(ignored, 'field')} differed that may`);
  if (skipped > 0) lines.push(`${counted(skipped, 'request')} were not sent any more`);
  if (figures.leftOut > 0)
    lines.push(`${counted(figures.leftOut, 'piece')} of the client that are no message were left out`);
  if (figures.unexpected > 0) {
    lines.push(
      `${counted(figures.unexpected, 'request')} of the server had no recorded answer, and were refused`,
    );
  }
  if (figures.unasked > 0)
    lines.push(`${counted(figures.unasked, 'recorded request')} of the server did not come`);
  return lines;
}
