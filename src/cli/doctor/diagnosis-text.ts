import type { Diagnosis, Finding } from '../../doctor/index.ts';
import { outColors as colors } from '../output/colors.ts';
import { printable } from '../output/terminal.ts';

/** A diagnosis in lines for people. */
export function describeDiagnosis({
  target,
  seen,
  notLooked,
  findings,
  migratable,
  kind,
}: Diagnosis): string[] {
  const width = Math.max(0, ...seen.map(({ what }) => what.length));
  return [
    colors.bold(printable(target ?? 'this machine')),
    ...seen.map(({ what, is }) => `  ${colors.dim(printable(what).padEnd(width))}  ${printable(is)}`),
    ...findings.flatMap(describeFinding),
    ...notLooked.flatMap(({ what, why }, index) => [
      ...(index === 0 ? ['', colors.bold('not looked at')] : []),
      `  ${printable(what)}: ${printable(why)}`,
    ]),
    '',
    verdict(kind, migratable, findings),
  ];
}

function describeFinding({ certainty, effect, finding, why, next, id }: Finding): string[] {
  const paint = effect === 'endangers' ? colors.yellow : colors.red;
  return [
    '',
    `${paint(`${certainty}: ${printable(finding)}`)} ${colors.dim(`[${id}]`)}`,
    `  ${why}`,
    ...next.map((step) => `  ${colors.dim('next:')} ${printable(step)}`),
  ];
}

function verdict(kind: Diagnosis['kind'], migratable: boolean, findings: readonly Finding[]): string {
  const what =
    kind === 'machine' ? 'devices of the kernel from being migrated here' : 'it from being migrated';
  if (!migratable) return colors.red(`Something keeps ${what}: see the findings in order.`);
  const risks = findings.some(({ effect }) => effect === 'endangers') ? '; mind what was found' : '';
  return colors.green(`Nothing was found that keeps ${what}${risks}.`);
}
