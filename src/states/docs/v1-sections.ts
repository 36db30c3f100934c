import { toMermaid } from '../diagram/mermaid.ts';
import { ruleGraph } from '../diagram/rule-graph.ts';
import { ruleStateText } from '../rules/catalogue.ts';
import type { RuleSet } from '../rules/rule-set.ts';
import {
  isErrorV1,
  isValidV1,
  parseV1State,
  V1State,
  v1Bits,
  v1Name,
  v1SessionKind,
} from '../v1/device-state.ts';
import { DRIVER_ACTIONS, driverActions } from '../v1/driver-actions.ts';
import { algorithmDifference } from '../v1/remarks.ts';
import { V1_RULES } from '../v1/rules.ts';
import { markdownList, markdownTable, mermaidBlock } from './markdown.ts';

/** The states between which a v1 device moves. */
const WORKING = Object.values(V1State).filter((state) => state !== V1State.ERROR);

/** Of every rule set of v1, those of which a diagram says more than its table. */
const DRAWN = new Set(['v1-2019', 'v1-uapi', 'v1-2022-01', 'v1-libvfio-user']);

const REGISTER = `## The register of v1

\`device_state\` has three bits: RUNNING 1, SAVING 2, RESUMING 4. Bits 3 to 31 are reserved: who writes keeps them as
they were read (read-modify-write), and they are read as 0.`;

const REGISTER_NOTES = `VALID is the macro \`VFIO_DEVICE_STATE_VALID\` of the header: with RESUMING no other of the three
bits may be set, and without it everything goes. It does not look at reserved bits, so 0xF000 and 0xF004 are valid, and
it takes 110, which is a state that a device can be in, for invalid. \`VFIO_DEVICE_STATE_SET_ERROR\` was published with
\`VFIO_DEVICE_SATE_SAVING\` in it, a name that nothing defines: a program that used the macro would not have compiled.

A device begins in 001, and every reset leads back there; only a reset leaves 110. 000 is generally available, outside
of migrations too: for diagnostics, or after a fatal error. A device makes no transition that userspace did not ask for.
When a write of device_state fails, it is read again: it tells the old state, or 110.`;

const ACTIONS = `## From bits to actions

What a driver does on a change follows from the bits that change. In order: RUNNING off: quiesce, freeze; RESUMING off:
deserialize; then serialize; RUNNING on: unfreeze, unquiesce; entering RESUMING: reset; entering pre-copy: track.`;

const ACTION_NOTES = `Serialization has the condition of the driver mlx5: RUNNING or SAVING changed, and the new state is
SAVING without RUNNING. "SAVING toggles on", as first sketched, never fires on the main path from 011 to 010. A failed
deserialization leads to ERROR, and what was asked for besides is ignored. RESUMING to SAVING is a case of its own: what
was restored is validated (010) or traced (011).

Quiesce and freeze are two levels: a quiesced device starts no DMA, a frozen one also takes none. Devices stop one after
the other, so one that is frozen may still be the target of another's peer-to-peer DMA. The bit NDMA (8), proposed in
December 2021 with a region capability and never merged, let a VMM quiesce all devices before it froze the first. It
became the states RUNNING_P2P and PRE_COPY_P2P of v2: there quiesce and freeze are two arcs. A VMM brings all devices to
a P2P state before it stops the first, and on the way back all to RUNNING_P2P before the first runs fully.`;

const ALGORITHMS = `## Two algorithms for changes of several bits

Clear-then-set (December 2021) flips one bit at a time: clear RUNNING, SAVING, RESUMING, then set RESUMING, SAVING,
RUNNING. When a step fails it goes back to the old state by the same rule, and the state is ERROR if that fails too. The
state machine (January 2022) walks the shortest path over its arcs, with no saving state in between; as proposed it
went back as well, unless the data session that was open at the beginning had been closed on the way. v2 as it was
merged does not go back: the device stays in the state that it reached.

They do not do the same. Where clear-then-set passes 010, the state is serialized although nobody will read it:`;

/** What there is to say of v1: the register, its actions, the algorithms, and each rule set. */
export function v1Sections(): readonly string[] {
  return [
    REGISTER,
    registerTable(),
    REGISTER_NOTES,
    ACTIONS,
    markdownTable(['action', 'meaning'], Object.entries(DRIVER_ACTIONS)),
    actionsTable(),
    ACTION_NOTES,
    ALGORITHMS,
    algorithmsTable(),
    '## The rules of v1',
    'Rows are the state before, columns the one that is asked for. A number is how many steps a change takes, `·` one\n' +
      'that changes nothing, `?` one that is not on a list that is open, `–` one that is refused.',
    ...V1_RULES.flatMap(rulesSection),
  ];
}

/** The table of one rule set: from each state to each. */
export function matrix(rules: RuleSet): string {
  const states = rules.states.filter(({ valid }) => valid);
  const header = ['', ...states.map(({ code }) => ruleStateText(rules, code))];
  return markdownTable(
    header,
    states.map(({ code: from }) => [
      `**${ruleStateText(rules, from)}**`,
      ...states.map(({ code: to }) => {
        const { verdict, path } = rules.judge(from, to);
        if (verdict === 'refused') return '–';
        if (verdict === 'unlisted') return '?';
        return path.length === 0 ? '·' : String(path.length);
      }),
    ]),
  );
}

function rulesSection(rules: RuleSet): readonly string[] {
  const remarks = [...ownRemarks(rules)].map(([remark, changes]) => `${changes.join(', ')}: ${remark}`);
  return [
    `### \`${rules.id}\`: ${rules.title}`,
    `Source: ${rules.source}.`,
    matrix(rules),
    ...(remarks.length === 0 ? [] : [markdownList(remarks)]),
    ...(DRAWN.has(rules.id) ? [mermaidBlock(toMermaid(ruleGraph(rules)))] : []),
  ];
}

/** What is said of changes by this rule set and by no other, since that would be said of all. */
function ownRemarks(rules: RuleSet): Map<string, string[]> {
  const others = V1_RULES.filter(({ id }) => id !== rules.id);
  const found = new Map<string, string[]>();
  for (const { code: from } of rules.states) {
    for (const { code: to } of rules.states) {
      const general = new Set(others.flatMap((other) => other.judge(from, to).remarks));
      for (const remark of rules.judge(from, to).remarks) {
        if (general.has(remark)) continue;
        found.set(remark, [...(found.get(remark) ?? []), `${v1Bits(from)} to ${v1Bits(to)}`]);
      }
    }
  }
  return found;
}

function registerTable(): string {
  const rows = Array.from({ length: 8 }, (_, value) => {
    const state = parseV1State(value);
    const session = state === null ? null : v1SessionKind(state);
    return [
      v1Bits(value),
      v1Name(value),
      isValidV1(value) ? 'yes' : 'no',
      session ?? (isErrorV1(value) ? 'a reset is needed' : ''),
    ];
  });
  return markdownTable(['bits', 'name', 'VALID', 'data session'], rows);
}

function actionsTable(): string {
  const header = ['', ...WORKING.map((state) => `to ${v1Bits(state)}`)];
  return markdownTable(
    header,
    WORKING.map((from) => [
      `**${v1Bits(from)} ${v1Name(from)}**`,
      ...WORKING.map((to) => (from === to ? '·' : driverActions(from, to).join(', ') || 'nothing')),
    ]),
  );
}

function algorithmsTable(): string {
  const differences = WORKING.flatMap((from) => WORKING.map((to) => algorithmDifference(from, to)));
  const way = (from: number, path: readonly number[] | null): string =>
    path === null ? 'refused' : [from, ...path].map(v1Bits).join(' → ');
  const rows = differences
    .filter((difference) => difference !== null)
    .map(({ from, to, clearThenSet, shortestPath, extraActions }) => [
      `${v1Bits(from)} to ${v1Bits(to)}`,
      way(from, clearThenSet),
      way(from, shortestPath),
      extraActions.join(', '),
    ]);
  return markdownTable(['change', 'clear-then-set', 'state machine', 'done only by clear-then-set'], rows);
}
