import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { renderReport, summarize } from '../../../src/check/index.ts';
import { everyOutcome } from '../support.ts';

/** What a server may put into an error, a log or a name: markup, control characters, half a surrogate. */
const NASTY = 'a & b <c> "d" \'e\' ]]> # \\ \u001b[31m\u0000\ud800 \ufffe {x: [1]}';

describe('a report for people', () => {
  const text = renderReport(everyOutcome(), 'people');

  it('has the evidence of what is broken, and the count', () => {
    for (const part of [
      'BROKEN framing.echo [must] a plain',
      'found:    it said plain',
      'expected: not plain',
      'why:      the reason of framing.echo',
      'source:   specification: Header',
      '-> main: REGION_READ plain',
      '01000900 20000000... (32 bytes)',
      '<- main: plain',
      '-- main: closed: plain',
      'stderr | a plain',
      '1 passed, 1 broken (1 must), 1 not applicable, 1 inconclusive',
    ]) {
      expect(text).toContain(part);
    }
  });

  it('does not let the other end steer the terminal', () => {
    expect(renderReport(everyOutcome(NASTY), 'people').replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
  });
});

describe('a report in JSON', () => {
  it('can be read, and has everything', () => {
    const report = everyOutcome(NASTY);
    const parsed: unknown = JSON.parse(renderReport(report, 'json'));
    expect(parsed).toMatchObject({
      kind: 'server',
      subject: report.subject,
      summary: { outcomes: { passed: 1, broken: 1, 'not applicable': 1, inconclusive: 1 } },
      results: [{ outcome: 'passed' }, { outcome: 'broken', finding: { what: `it said ${NASTY}` } }, {}, {}],
    });
  });
});

describe('a report in TAP', () => {
  it('is version 14: a plan, numbered points, directives and indented YAML', () => {
    const lines = renderReport(everyOutcome(NASTY), 'tap').trimEnd().split('\n');
    expect(lines.splice(0, 2)).toEqual(['TAP version 14', '1..4']);
    const points = lines.filter((line) => /^(?:not )?ok /.test(line));
    expect(points).toHaveLength(4);
    for (const [index, point] of points.entries()) {
      // A # that is not escaped begins a directive, of which there is at most one.
      expect(point).toMatch(
        new RegExp(`^(?:not )?ok ${index + 1} - (?:[^#\\\\]|\\\\[#\\\\])*(?: # SKIP .+)?$`, 'u'),
      );
    }
    expect(points.map((point) => point.startsWith('not ok'))).toEqual([false, true, false, false]);
    const inside = lines.slice(lines.indexOf('  ---') + 1, lines.indexOf('  ...'));
    expect(inside.length).toBeGreaterThan(5);
    for (const line of inside) expect(line).toMatch(/^ {2}(?:\w+:(?: \S+)?| {2}- ".*")$/u);
    for (const line of inside.filter((each) => each.includes('- "'))) {
      expect(() => JSON.parse(line.trim().slice(2))).not.toThrow();
    }
    expect(lines.every((line) => points.includes(line) || line.startsWith('  '))).toBe(true);
  });
});

describe('a report in JUnit XML', () => {
  const xml = renderReport(everyOutcome(NASTY), 'junit');

  it('is well-formed, as a parser that is not ours finds', ({ skip }) => {
    const program =
      'import sys, xml.dom.minidom; print(len(xml.dom.minidom.parseString(sys.stdin.buffer.read()).getElementsByTagName("testcase")))';
    const { status, stdout, stderr, error } = spawnSync('python3', ['-c', program], { input: xml });
    skip(
      error !== undefined || /No module named/.test(String(stderr)),
      'python3 with xml.dom is not installed',
    );
    expect(status, String(stderr)).toBe(0);
    expect(String(stdout).trim()).toBe('4');
  });

  it('counts, and has a suite per area', () => {
    expect(xml).toMatch(
      /<testsuites name="[^"]*" tests="4" failures="1" errors="0" skipped="2" time="0\.006">/,
    );
    expect(xml).toContain(
      '<testsuite name="framing" tests="2" failures="1" errors="0" skipped="0" time="0.003">',
    );
    expect(xml).toContain('<failure type="must" message="a a &amp; b &lt;c&gt; &quot;d&quot;');
    expect(xml).toContain('<skipped message="inconclusive: could not connect');
  });
});

it('counts broken rules by severity', () => {
  expect(summarize(everyOutcome()).broken).toEqual({ must: 1, should: 0, interoperability: 0, hardening: 0 });
});
