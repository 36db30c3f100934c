import { FULL_ARCS } from '../arcs.ts';
import { toMermaid } from '../diagram/mermaid.ts';
import { ruleGraph } from '../diagram/rule-graph.ts';
import { MigrationState, stateName } from '../migration-state.ts';
import { ruleSet } from '../rules/catalogue.ts';
import { type ComparedChange, compareRules } from '../rules/compare.ts';
import type { RuleSet } from '../rules/rule-set.ts';
import { V2_RULES } from '../rules/v2-rules.ts';
import { v1Bits } from '../v1/device-state.ts';
import { renumberFromV2 } from '../v1/fsm.ts';
import { markdownTable, mermaidBlock } from './markdown.ts';
import { matrix, v1Sections } from './v1-sections.ts';

/** The five tables that were published, or are deployed, under the name of v1. */
const FIVE = ['v1-uapi', 'v1-2021-09', 'v1-2021-12', 'v1-2022-01', 'v1-libvfio-user'];

const INTRO = `# The migration states, and every rule for them

A VFIO device that can be moved has a migration state, which whoever moves it changes. There are two interfaces. v1
(Linux 5.8 to 5.17, QEMU 5.2 to 7.2, libvfio-user until 2023) is a register of three bits; which change is valid was
published several times, each time differently. v2 (Linux since 5.18) is a state machine. This page is written from the
declarations in \`src/states\` by \`npm run docs\`; \`ferry states\` shows, explains, compares and checks the same
([cli.md](cli.md)).`;

const COMPARISON = `## Where the five tables differ

What they agree on is left out: saving (001, 011, 010, 000, with or without pre-copy), stopping, and 100 to 001.`;

const V2 = `## The rules of v2

A device has the states of its migration flags: STOP_COPY 1 (always), P2P 2, PRE_COPY 4. A change that is no arc takes
the shortest path over the arcs, with no state of the saving group (PRE_COPY, PRE_COPY_P2P, STOP_COPY) in between unless
all of it lies in that group. STOP_COPY to PRE_COPY or PRE_COPY_P2P is refused: a new session begins elsewhere. Without
P2P the P2P states are merged with those that they refine, and with them what is done on their arcs; without PRE_COPY
its states are taken out, and no way between the others leads through them. When an arc fails, the device stays in the
state that it had reached.

The machine is that of January 2022, renumbered: with PRE_COPY (flags 7 and 5) the same in every respect, for devices
with and without P2P; without PRE_COPY (flags 3 and 1) the same among the states that are left.`;

const ARCS = `### What a device must do on each arc

An arc is done when the call returns. A session that opens yields a new data fd.`;

const LOGS = `## Checking a log

\`ferry states check\` follows a log of states under each rule set: a sequence of words, JSON, a trace of QEMU or a QMP
log. It says which rules accept it, and where each first refuses. A change that failed obeys any rule that refuses it;
after it v1 has the old state or ERROR, v2 also any state on the way. A reset leads to RUNNING whatever the state was.

A reset in the middle of a migration can put device and VMM out of step. libvfio-user's issue #853 is such a case: the
guest reset a device in 011, which made the state 001. The VMM, about to stop, read 001, cleared RUNNING, and wrote 000
where it would have written 010. Its next write, 010, was refused, because libvfio-user's table has no 000 to 010, and
the migration was rolled back. Rules that allow 000 to 010 do not save it: a new data session begins there, and what was
read in pre-copy is void.

    $ echo 001 011 reset 000 010 | ferry states check - --rules v1-libvfio-user`;

/** The whole of docs/states.md, written from the declarations of this room. */
export function renderStatesDocs(): string {
  const parts = [
    INTRO,
    ...v1Sections(),
    COMPARISON,
    comparisonTable(),
    V2,
    numbersTable(),
    ...V2_RULES.flatMap(v2Section),
    ARCS,
    arcsTable(),
    LOGS,
  ];
  return `${parts.join('\n\n')}\n`;
}

function comparisonTable(): string {
  const rules = FIVE.map((id) => ruleSet(id)).filter((found) => found !== null);
  const words = { allowed: 'yes', refused: 'no', unlisted: '?', absent: '' } as const;
  const row = ({ from, to, answers }: ComparedChange): readonly string[] => [
    `${from} to ${to}`,
    ...answers.map(({ verdict }) => words[verdict]),
  ];
  const differing = compareRules(rules).filter(
    ({ differsIn, from, to }) => differsIn !== null && from !== to,
  );
  return markdownTable(['', ...FIVE.map((id) => `\`${id}\``)], differing.map(row));
}

function numbersTable(): string {
  const rows = Object.entries(MigrationState).map(([name, state]) => {
    const code = renumberFromV2(state);
    return [name, String(state), String(code), v1Bits(code)];
  });
  return markdownTable(['state', 'number in v2', 'number in January 2022', 'as bits'], rows);
}

function v2Section(rules: RuleSet): readonly string[] {
  return [`### \`${rules.id}\`: ${rules.title}`, matrix(rules), mermaidBlock(toMermaid(ruleGraph(rules)))];
}

function arcsTable(): string {
  const full = ruleSet('v2-7');
  const rows = FULL_ARCS.map(([from, to, duty]) => {
    const [step] = full?.judge(from, to).steps ?? [];
    const session = step?.opensSession === true ? 'opens' : step?.endsSession === true ? 'ends' : '';
    return [`${stateName(from)} to ${stateName(to)}`, duty, session, step?.actions.join(', ') ?? ''];
  });
  return markdownTable(['arc', 'the device', 'data session', 'driver actions'], rows);
}
