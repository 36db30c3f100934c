/** What V8 says has been run of compiled code (NODE_V8_COVERAGE), by file: lines of code and functions. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * @typedef {{ functions: { ranges: { startOffset: number, endOffset: number, count: number }[] }[] }} Script
 * @typedef {{ file: string, lines: number, run: number, functions: number, called: number, missing: number[] }} Covered
 */

/** A line that has nothing to run: empty, a comment, or closing brackets. */
const NOTHING = /^\s*(?:$|\/\/|\/?\*|[)\]};,]+$|(?:im|ex)port\b)/;

/** @param {string} raw folder of V8's reports @param {string} under only files below this one @returns {Covered[]} */
export function coverageOf(raw, under) {
  /** @type {Map<string, Script[]>} */
  const byFile = new Map();
  for (const name of readdirSync(raw))
    for (const script of JSON.parse(readFileSync(join(raw, name), 'utf8')).result)
      if (script.url.startsWith(`file://${under}/`))
        byFile.set(script.url, [...(byFile.get(script.url) ?? []), script]);
  return [...byFile]
    .map(([url, scripts]) => covered(fileURLToPath(url), under, scripts))
    .sort((a, b) => (a.file < b.file ? -1 : 1));
}

/** What any of several processes has run of a file. @param {string} path @param {string} under @param {Script[]} scripts @returns {Covered} */
function covered(path, under, scripts) {
  const source = readFileSync(path, 'utf8');
  const counts = scripts.map((script) => countsOf(script, source.length));
  const wasRun = (/** @type {number} */ at) => counts.some((each) => each[at] !== 0);
  const missing = [];
  let lines = 0;
  let at = 0;
  for (const [index, line] of source.split('\n').entries()) {
    const from = at + line.search(/\S|$/);
    at += line.length + 1;
    if (NOTHING.test(line)) continue;
    lines += 1;
    if (!wasRun(from)) missing.push(index + 1);
  }
  // The first function of a script is the whole module.
  const starts = new Set(scripts.flatMap(({ functions }) => functions.slice(1).map(startOf)));
  const called = new Set(
    scripts.flatMap(({ functions }) => functions.slice(1).filter(isCalled).map(startOf)),
  );
  const figures = { lines, run: lines - missing.length, functions: starts.size, called: called.size };
  return { file: path.slice(under.length + 1), ...figures, missing };
}

/** How often each character has been run. @param {Script} script @param {number} length */
function countsOf({ functions }, length) {
  const counts = new Int32Array(length).fill(1);
  // Inner ranges come after the ones around them.
  for (const { ranges } of functions)
    for (const { startOffset, endOffset, count } of ranges) counts.fill(count, startOffset, endOffset);
  return counts;
}

/** @param {Script['functions'][number]} of */
const startOf = ({ ranges }) => ranges[0]?.startOffset ?? 0;
/** @param {Script['functions'][number]} of */
const isCalled = ({ ranges }) => (ranges[0]?.count ?? 0) > 0;

/** Figures for each room and each file of it. @param {Covered[]} files @param {readonly string[]} rooms @returns {string} */
export function table(files, rooms) {
  const rows = rooms.flatMap((room) => {
    const of = files.filter(({ file }) => file.startsWith(`${room}/`));
    return [
      row(`${room}/`, sum(of)),
      ...of.filter(({ missing }) => missing.length > 0).map((one) => row(`  ${one.file}`, one, one.missing)),
    ];
  });
  return [`${'file'.padEnd(46)}      lines   functions  not run`, ...rows].join('\n');
}

/** @param {Covered[]} files */
function sum(files) {
  const add = (/** @type {'lines' | 'run' | 'functions' | 'called'} */ name) =>
    files.reduce((all, one) => all + one[name], 0);
  return { lines: add('lines'), run: add('run'), functions: add('functions'), called: add('called') };
}

/** @param {string} name @param {Pick<Covered, 'lines' | 'run' | 'functions' | 'called'>} of @param {number[]} missing */
function row(name, { lines, run, functions, called }, missing = []) {
  const share = (/** @type {number} */ part, /** @type {number} */ whole) =>
    `${whole === 0 ? 100 : Math.round((1000 * part) / whole) / 10} %`;
  return `${name.padEnd(46)} ${share(run, lines).padStart(10)} ${share(called, functions).padStart(10)}  ${missing.slice(0, 40).join(' ')}`;
}
