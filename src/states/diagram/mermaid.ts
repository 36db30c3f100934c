import type { RuleGraph } from './rule-graph.ts';

/** The graph as a Mermaid state diagram. */
export function toMermaid(graph: RuleGraph): string {
  const lines = [
    'stateDiagram-v2',
    `    [*] --> ${graph.initial}`,
    ...graph.nodes.map(({ name, label }) => `    ${name} : ${label.replaceAll('\n', ' ')}`),
    ...graph.edges.map(({ from, to, label }) => `    ${from} --> ${to}${label === '' ? '' : ` : ${label}`}`),
  ];
  return `${lines.join('\n')}\n`;
}
