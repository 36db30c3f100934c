import { type Figures, formatDuration } from '../../trace/index.ts';
import { counted, formatBytes, grouped } from '../options/quantities.ts';
import { table } from '../output/terminal.ts';

/** Figures of a trace in lines for people. `before`: figures of an earlier moment, for the rates since then. */
export function figureLines(figures: Figures, before: Figures | null = null): string[] {
  const { connections, bytes, errnos, slowest } = figures;
  const seconds = Number(figures.duration - (before?.duration ?? 0n)) / 1e9;
  const rate = seconds > 0 ? Math.round((figures.messages - (before?.messages ?? 0)) / seconds) : 0;
  const lines = [
    `${counted(figures.messages, 'message')} in ${formatDuration(figures.duration)}, ${grouped(rate)} a second; ` +
      `${formatBytes(bytes.client)} from the client, ${formatBytes(bytes.server)} from the server, ` +
      `${counted(figures.fds, 'descriptor')}`,
    `${counted(connections.opened, 'connection')}, ${connections.open} open; ${counted(figures.errors, 'error')}` +
      errnos.map(([name, count]) => `, ${grouped(count)} ${name}`).join(''),
  ];
  if (figures.problems > 0)
    lines.push(`${counted(figures.problems, 'message')} against the rules of the protocol`);
  if (figures.strayBytes > 0) lines.push(`${counted(figures.strayBytes, 'byte')} that are no message`);
  if (figures.commands.length > 0) lines.push('', ...commandTable(figures));
  if (slowest.length > 0) lines.push('', 'slowest:', ...slowest.map(slowLine));
  return lines;
}

function commandTable({ commands }: Figures): string[] {
  const time = (value: bigint | null): string => (value === null ? '' : formatDuration(value));
  const rows = commands.map(({ name, requests, errors, bytes, p50, p99, max }) => [
    ...[name, grouped(requests), grouped(errors), formatBytes(bytes)],
    ...[p50, p99, max].map(time),
  ]);
  return table([['command', 'requests', 'errors', 'bytes', 'p50', 'p99', 'max'], ...rows]);
}

function slowLine({ number, connection, name, latency }: Figures['slowest'][number]): string {
  return `  ${formatDuration(latency).padStart(9)}  ${name}, message ${number} on connection ${connection}`;
}
