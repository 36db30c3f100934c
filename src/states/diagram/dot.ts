import type { RuleGraph, RuleNode } from './rule-graph.ts';

/** Fill colours of the groups: readable in black on white, and apart for the colour-blind. */
const FILL: Readonly<Record<Exclude<RuleNode['group'], null>, string>> = {
  saving: '#cfe8ff',
  resuming: '#fff0c2',
  error: '#ffd6d6',
};

/** The graph in the DOT language of Graphviz. */
export function toDot(graph: RuleGraph): string {
  const lines = [
    'digraph states {',
    `  label=${quote(graph.title)};`,
    '  labelloc=t;',
    '  rankdir=LR;',
    '  node [shape=box, style="rounded,filled", fillcolor="#f4f4f4", fontname="sans-serif"];',
    '  edge [fontname="sans-serif", fontsize=10];',
    '  start [shape=point, label=""];',
    `  start -> ${quote(graph.initial)};`,
    ...graph.nodes.map(({ name, label, group }) => {
      const fill = group === null ? '' : `, fillcolor=${quote(FILL[group])}`;
      return `  ${quote(name)} [label=${quote(label)}${fill}];`;
    }),
    ...graph.edges.map(({ from, to, label }) => {
      const attributes = label === '' ? '' : ` [label=${quote(label)}]`;
      return `  ${quote(from)} -> ${quote(to)}${attributes};`;
    }),
    '}',
  ];
  return `${lines.join('\n')}\n`;
}

function quote(text: string): string {
  const escaped = text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
  return `"${escaped}"`;
}
