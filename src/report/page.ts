import type { Timeline } from '../engine/index.ts';
import type { Chart } from './charts/chart.ts';
import { convergenceChart } from './charts/convergence-chart.ts';
import { downtimeChart } from './charts/downtime-chart.ts';
import { renderCharts } from './charts/render.ts';
import { rowsOf } from './charts/rows.ts';
import { statesChart } from './charts/states-chart.ts';
import { throughputChart } from './charts/throughput-chart.ts';
import { html, Markup } from './markup.ts';
import { blackoutOf, handOverOf } from './segments.ts';
import type { FailureStory, Figure, Story } from './story.ts';
import { STYLE } from './style.ts';
import { changeTable, limitTable, milestoneTable, phaseTable, roundTable } from './tables.ts';

/** Nothing is fetched and nothing runs, whatever the names in it are. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'";

/** What stands below the title of a chart. */
const HINTS: Readonly<Record<string, string>> = {
  states: 'Each row is one side of a device. Point at anything to read its times.',
  blackout: 'The same, since the guest was asked to stop, until it runs again.',
  'hand-over': 'The same, since all data had come, until the devices run.',
  downtime: 'Of what the blackout was made, on the side that tells this.',
  throughput: 'State and guest memory, as they were moved. The blackout is shaded.',
  convergence: 'The guest is stopped when what is left fits into the allowed downtime.',
};

/** A story as one page of HTML that needs nothing else: no network, no script. */
export async function renderReport(story: Story): Promise<string> {
  const charts = story.timeline === null ? [] : chartsOf(story.timeline);
  const drawn = await renderCharts(charts);
  const body = html`<main class="${story.ending.replace(' ', '-')}">
${head(story)}
${story.failure === null ? null : failure(story.failure)}
${story.figures.length === 0 ? null : html`<dl class="figures">${story.figures.map(figure)}</dl>`}
${notes(story.notes)}
${charts.map((chart) => section(chart, drawn.get(chart) ?? null))}
${story.timeline === null ? null : details(story, story.timeline)}
<footer>Written by ferry. Times are those of the ${story.timeline?.side ?? 'source'}, since the migration began.</footer>
</main>`;
  return page(story.title, body);
}

function page(title: string, body: Markup): string {
  const style = new Markup(`<style>${STYLE}</style>`);
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>${title}</title>
${style}
</head>
<body>
${body}
</body>
</html>
`.text;
}

function chartsOf(timeline: Timeline): readonly Chart[] {
  const states = rowsOf(timeline).length === 0 ? [] : stateCharts(timeline);
  const others = [downtimeChart(timeline), throughputChart(timeline), convergenceChart(timeline)];
  return [...states, ...others.filter((chart) => chart !== null)];
}

/** When the blackout is so short a part of the whole, it is shown once more by itself. */
const SHORT = 0.6;

function stateCharts(timeline: Timeline): readonly Chart[] {
  const { totalMs } = timeline;
  const isDestination = timeline.side === 'destination';
  const blackout = isDestination ? handOverOf(timeline) : blackoutOf(timeline);
  const isShort = blackout !== null && blackout.toMs - blackout.fromMs <= SHORT * totalMs;
  const all = { fromMs: 0, toMs: totalMs, originMs: 0, isTerse: isShort };
  const whole = statesChart(timeline, { id: 'states', title: 'States of the devices', ...all });
  if (!isShort) return [whole];
  const margin = (blackout.toMs - blackout.fromMs) * 0.06;
  const part = {
    fromMs: Math.max(0, blackout.fromMs - margin),
    toMs: Math.min(totalMs, blackout.toMs + margin),
    originMs: blackout.fromMs,
    isTerse: false,
  };
  const [id, title] = isDestination
    ? ['hand-over', 'The hand-over, enlarged']
    : ['blackout', 'The blackout, enlarged'];
  return [whole, statesChart(timeline, { id, title, ...part })];
}

function head({ title, lead, ending, timeline }: Story): Markup {
  const when =
    timeline === null
      ? null
      : html`<p class="when">Began ${timeline.startedAt}, migration ${timeline.group}</p>`;
  return html`<header><h1>${title}<span class="mark">${ending}</span></h1><p class="lead">${lead}</p>${when}</header>`;
}

function figure({ label, value, hint }: Figure): Markup {
  return html`<div><dt>${label}</dt><dd>${value}${hint === null ? null : html`<small>${hint}</small>`}</dd></div>`;
}

function notes(sentences: readonly string[]): Markup | null {
  if (sentences.length === 0) return null;
  return html`<section><h2>Worth knowing</h2><ul>${sentences.map((each) => html`<li>${each}</li>`)}</ul></section>`;
}

function failure({ code, errno, reasons, owner, phase, next }: FailureStory): Markup {
  const rows: readonly (readonly [string, Markup | null])[] = [
    ['Why', list(reasons)],
    ['Code', html`<code>${code}</code> ${errno}${phase === null ? null : html`, in phase ${phase}`}`],
    ['Who has it', owner === null ? null : html`<b>${OWNERS[owner]}</b>`],
    [
      'What to do',
      next.length === 0 ? null : html`<ol>${next.map((step) => html`<li><code>${step}</code></li>`)}</ol>`,
    ],
  ];
  const shown = rows.flatMap(([name, value]) =>
    value === null ? [] : [html`<dt>${name}</dt><dd>${value}</dd>`],
  );
  return html`<section class="failure"><h2>What went wrong</h2><dl>${shown}</dl></section>`;
}

const OWNERS = {
  source: 'the source',
  destination: 'the destination',
  'in doubt':
    'in doubt: that can not be told from here, and nothing was done that could make two of them run',
} as const;

function list(sentences: readonly string[]): Markup {
  const [only] = sentences;
  if (sentences.length === 1 && only !== undefined) return html`${only}`;
  return html`<ul>${sentences.map((each) => html`<li>${each}</li>`)}</ul>`;
}

function section(chart: Chart, drawing: Markup | null): Markup {
  const { id, title } = chart;
  return html`<section id="${id}"><h2>${title}</h2><p class="hint">${HINTS[id] ?? null}</p>${drawing}</section>`;
}

function details({ limits }: Story, timeline: Timeline): Markup {
  return html`<section id="numbers"><h2>In numbers</h2>
<div class="scroll">${phaseTable(timeline)}</div>
${roundTable(timeline)}${changeTable(timeline)}${milestoneTable(timeline)}${limits === null ? null : limitTable(limits)}
</section>`;
}
