import { counted, formatMs, shortBytes } from '../options/quantities.ts';
import { outColors as colors } from '../output/colors.ts';
import { phaseTable } from '../output/summary.ts';
import type { DemoResult, DemoStart } from './run-demo.ts';

/** The beginning, for people. */
export function openingLines({ size, file, sourcePid, destinationPid }: DemoStart): string[] {
  const content = file === null ? 'random bytes' : file;
  return [
    'A running PCI device moves from one process to another.',
    '',
    `  ${colors.dim('device')}       memory: ${shortBytes(size)} that the guest can map (${content}), a checksum engine, a clock`,
    `  ${colors.dim('source')}       process ${sourcePid}`,
    `  ${colors.dim('destination')}  process ${destinationPid}`,
    `  ${colors.dim('guest')}        this process: writes without pause, mapped and by messages, rings doorbells, has its`,
    '               memory checksummed by DMA, and counts every interrupt',
    '',
  ];
}

/** What happened and what was verified, for people. */
export function closingLines({ verified, checks, report }: DemoResult): string[] {
  const { iterations } = report;
  const verdict = verified ? colors.green('Verified: nothing was lost.') : colors.red('NOT verified.');
  return [
    ...phaseTable(report).map((line) => `  ${line}`),
    '',
    `  the guest was stopped for ${colors.bold(formatMs(report.downtimeMs))}, after ${counted(iterations, 'round')} of pre-copy`,
    '',
    ...checks.map(({ ok, said }) => `  ${ok ? colors.green('✓') : colors.red('✗')} ${said}`),
    '',
    verdict,
  ];
}

/** The same for scripts. */
export function resultJson({ verified, checks, report }: DemoResult): object {
  const { downtimeMs, bytes, totalMs, iterations, convergence, rates, phases } = report;
  return { verified, downtimeMs, bytes, totalMs, iterations, convergence, rates, checks, phases };
}
