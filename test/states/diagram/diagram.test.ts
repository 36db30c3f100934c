import { instance } from '@viz-js/viz';
import { describe, expect, it } from 'vitest';
import { RULE_SETS, ruleGraph, ruleSet, toDot, toMermaid } from '../../../src/states/index.ts';

const graphOf = (id: string) => {
  const rules = ruleSet(id);
  if (rules === null) throw new Error(`no rules ${id}`);
  return ruleGraph(rules);
};

describe('the graph', () => {
  it.each([
    ['v2-1', 5, 6],
    ['v2-3', 6, 8],
    ['v2-5', 6, 9],
    ['v2-7', 8, 15],
    ['v1-2022-01', 8, 15],
    ['v1-2022-01-no-p2p', 6, 9],
    ['v1-uapi', 6, 7],
    ['v1-2019', 5, 7],
    ['v1-2021-09', 6, 11],
    ['v1-libvfio-user', 6, 15],
  ])('of %s has %i states and %i changes of one step', (id, nodes, edges) => {
    const graph = graphOf(id);
    expect(graph.nodes).toHaveLength(nodes);
    expect(graph.edges).toHaveLength(edges);
    expect(graph.initial).toBe('RUNNING');
  });

  it('tells where data sessions open and end', () => {
    const labelled = graphOf('v2-7').edges.filter(({ label }) => label !== '');
    expect(labelled.map(({ from, to, label }) => `${from}-${to} ${label}`)).toEqual([
      'STOP-STOP_COPY opens session',
      'STOP-RESUMING opens session',
      'RUNNING-PRE_COPY opens session',
      'STOP_COPY-STOP ends session',
      'RESUMING-STOP ends session',
      'RUNNING_P2P-PRE_COPY_P2P opens session',
      'PRE_COPY-RUNNING ends session',
      'PRE_COPY_P2P-RUNNING_P2P ends session',
    ]);
  });
});

it.each(RULE_SETS.map(({ id }) => id))('Graphviz draws %s', async (id) => {
  const graph = graphOf(id);
  const svg = (await instance()).renderString(toDot(graph), { format: 'svg' });
  expect(svg).toContain('</svg>');
  for (const { name } of graph.nodes) expect(svg).toContain(`<title>${name}</title>`);
  expect(svg.match(/class="edge"/g)).toHaveLength(graph.edges.length + 1);
});

it('quotes in DOT what would end a text', () => {
  const node = { name: 'A"B', label: 'A\\"\nB', group: 'error' as const };
  expect(toDot({ title: '"', initial: 'A"B', nodes: [node], edges: [] })).toContain(
    '"A\\"B" [label="A\\\\\\"\\nB"',
  );
});

it('is a Mermaid state diagram', () => {
  expect(toMermaid(graphOf('v2-1')).split('\n')).toEqual([
    'stateDiagram-v2',
    '    [*] --> RUNNING',
    '    ERROR : ERROR 0',
    '    STOP : STOP 1',
    '    RUNNING : RUNNING 2',
    '    STOP_COPY : STOP_COPY 3',
    '    RESUMING : RESUMING 4',
    '    STOP --> RUNNING',
    '    STOP --> STOP_COPY : opens session',
    '    STOP --> RESUMING : opens session',
    '    RUNNING --> STOP',
    '    STOP_COPY --> STOP : ends session',
    '    RESUMING --> STOP : ends session',
    '',
  ]);
});
