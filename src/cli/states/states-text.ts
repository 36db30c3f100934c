import {
  type Judgement,
  type RuleSet,
  type RuleStep,
  ruleStateName,
  ruleStateText,
} from '../../states/index.ts';

/** Rows as a table whose columns begin one below the other. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const count = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: count }, (_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** A rule set as text: who goes where, then what happens on each step. */
export function describeRules(rules: RuleSet): string[] {
  const states = rules.states.filter(({ valid }) => valid);
  const header = ['from \\ to', ...states.map(({ name }) => name)];
  const rows = states.map(({ code: from, name }) => [
    name,
    ...states.map(({ code: to }) => cellOf(rules.judge(from, to), from === to)),
  ]);
  return [
    rules.title,
    rules.source,
    '',
    ...columns([header, ...rows]),
    '',
    'A number is how many steps a change takes, . one that changes nothing, ? not listed, - refused.',
    '',
    ...stepsOf(rules).flatMap((step) => describeStep(rules, step)),
  ];
}

/** One step as text, with what the device must do on it. */
export function describeStep(rules: RuleSet, step: RuleStep, number: string = ''): string[] {
  const session = [
    step.endsSession ? 'the data session ends' : '',
    step.opensSession ? 'a data session opens' : '',
  ];
  const told = session.filter((part) => part !== '').join(', ');
  const arc = `${ruleStateText(rules, step.from)} -> ${ruleStateText(rules, step.to)}`;
  return [
    `${number}${arc}${told === '' ? '' : `: ${told}`}`,
    ...step.duties.map((duty) => `     ${duty}`),
    ...(step.actions.length === 0 ? [] : [`     driver: ${step.actions.join(', ')}`]),
  ];
}

/** A rule set as JSON: every change between its states. */
export function rulesJson(rules: RuleSet): object {
  const { id, title, source, states, resetState } = rules;
  const valid = states.filter((state) => state.valid);
  return {
    id,
    title,
    source,
    interface: rules.interface,
    resetState: ruleStateName(rules, resetState),
    states: states.map(({ code, name, valid: isState }) => ({ number: code, name, valid: isState })),
    changes: valid.flatMap(({ code: from }) =>
      valid.map(({ code: to }) => judgementJson(rules, from, to, rules.judge(from, to))),
    ),
  };
}

/** The answer to one question as JSON, states by their names. */
export function judgementJson(rules: RuleSet, from: number, to: number, judgement: Judgement): object {
  const name = (code: number): string => ruleStateName(rules, code);
  const { verdict, path, steps, reason, remarks } = judgement;
  return {
    from: name(from),
    to: name(to),
    verdict,
    path: path.map(name),
    steps: steps.map((step) => ({ ...step, from: name(step.from), to: name(step.to) })),
    reason,
    remarks,
  };
}

function cellOf({ verdict, path }: Judgement, isSame: boolean): string {
  if (verdict === 'refused') return '-';
  if (verdict === 'unlisted') return '?';
  return isSame ? '.' : String(path.length);
}

/** The changes that are one step, of which all others are made. */
function stepsOf(rules: RuleSet): readonly RuleStep[] {
  const states = rules.states.filter(({ valid }) => valid);
  const judgements = states.flatMap((from) => states.map((to) => rules.judge(from.code, to.code)));
  return judgements.flatMap(({ verdict, steps }) =>
    verdict === 'allowed' && steps.length === 1 ? steps : [],
  );
}
