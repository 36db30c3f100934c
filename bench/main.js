/**
 * npm run bench [-- --quick] [--json] [--only TEXT]: Ferry beside a minimal C server, a plain copy, and another
 * vfio-user server if FERRY_PEER_SERVER names its command ('my-server {socket}'). All contestants of a scenario run in
 * the same minute, in turns that rotate; figures are medians over the rounds with minimum and maximum.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Contestant } from './contestants.js';
import { scenarios } from './scenarios.js';
import { ratios, short, summarize } from './stats.js';

const { values: options } = parseArgs({
  options: { quick: { type: 'boolean' }, json: { type: 'boolean' }, only: { type: 'string' } },
});
const rounds = options.quick ? 3 : 7;
const scale = (amount) => (options.quick ? Math.ceil(amount / 4) : amount);
const peerCommand = process.env.FERRY_PEER_SERVER;
const say = options.json ? () => {} : (line) => console.log(line);

async function measure(scenario) {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-bench-'));
  const contestants = scenario.contestants.map(
    (spec, index) => new Contestant(spec, { cpus: scenario.cpus, scale, folder, index, peerCommand }),
  );
  try {
    for (const contestant of contestants) await contestant.prepare();
    for (let round = 0; round < rounds; round++) {
      const turn = [
        ...contestants.slice(round % contestants.length),
        ...contestants.slice(0, round % contestants.length),
      ];
      for (const contestant of turn) await contestant.measure();
    }
  } finally {
    for (const contestant of contestants) contestant.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  return contestants.map((contestant) => report(scenario, contestant, contestants[0]));
}

function report({ aims, higherIsBetter = false }, { name, figures, detail }, reference) {
  const aim = aims[name] ?? null;
  const ratio = ratios(figures, reference.figures);
  const met = aim === null ? null : higherIsBetter ? ratio.median >= aim : ratio.median <= aim;
  return {
    name,
    ...summarize(figures),
    detail,
    ratio: ratio.median,
    ratioMin: ratio.min,
    ratioMax: ratio.max,
    aim,
    met,
  };
}

function print({ name, unit }, results) {
  say(`\n${name} (${unit})`);
  for (const { name: who, median, min, max, detail, ratio, ratioMin, ratioMax, aim, met } of results) {
    const figure = `${short(median).padStart(8)}  [${short(min)} to ${short(max)}]`.padEnd(34);
    const beside = `${ratio.toFixed(2)} x  [${ratioMin.toFixed(2)} to ${ratioMax.toFixed(2)}]`.padEnd(26);
    const verdict = aim === null ? '' : `aim ${aim.toFixed(2)}: ${met ? 'met' : 'missed'}`;
    say(`  ${who.padEnd(30)}${figure}${beside}${verdict}`.trimEnd());
    if (detail !== '') say(`    ${detail}`);
  }
}

say(`${cpus()[0]?.model.trim()}, ${availableParallelism()} CPUs, Node ${process.version}, ${rounds} rounds`);
const chosen = scenarios(peerCommand, scale).filter(({ name }) => name.includes(options.only ?? ''));
const reports = [];
for (const scenario of chosen) {
  if (Math.max(...scenario.cpus) >= availableParallelism()) {
    say(`\n${scenario.name}: skipped, there is one CPU`);
    continue;
  }
  const results = await measure(scenario);
  reports.push({ name: scenario.name, unit: scenario.unit, results });
  print(scenario, results);
}
if (options.json) console.log(JSON.stringify({ node: process.version, rounds, scenarios: reports }));
