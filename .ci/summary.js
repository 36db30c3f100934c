// What the runs of the tests have told, from their JSON reports.
//
//   node summary.js files REPORT         the test files of a report that did not pass, a line each
//   node summary.js total REPORT...      each failure with its message, then one line: N passed, N failed, N skipped
//
// Beside REPORT.json there may be REPORT.again.json: the files that did not pass, run once more with nothing beside
// them. Its results count, and what passed only then is named.
import { existsSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';

const MESSAGE_LINES = 12;

/** The results of a report by file, or undefined where the run has left none: it did not come to its end. */
const resultsOf = (report) => {
  if (!existsSync(report)) return undefined;
  const { testResults } = JSON.parse(readFileSync(report, 'utf8'));
  return new Map(testResults.map((file) => [relative(process.cwd(), file.name), file]));
};

const testsOf = (file, status) => file.assertionResults.filter((test) => test.status === status);

/** A file that can not even be loaded has failed without a test. */
const failuresOf = (file) => {
  const failed = testsOf(file, 'failed').map(({ fullName, failureMessages }) => ({
    fullName,
    message: failureMessages.join('\n'),
  }));
  return failed.length === 0 && file.status === 'failed'
    ? [{ fullName: '(the file)', message: file.message ?? '' }]
    : failed;
};

const heading = (report, name, fullName) =>
  `${report.replace(/^.*\//, '').replace(/\.json$/, '')}: ${name} > ${fullName}`;

const tell = (word, report, name, failures) => {
  for (const { fullName, message } of failures) {
    console.log(`${word} ${heading(report, name, fullName)}`);
    for (const line of message
      .split('\n')
      .filter((line) => !line.includes('/node_modules/'))
      .slice(0, MESSAGE_LINES))
      console.log(`    ${line}`);
  }
};

/** Adds one report, with what its files did when they were run again. */
const add = (totals, report) => {
  const first = resultsOf(report);
  if (first === undefined) {
    console.log(`FAILED ${report}: the run has left no report, so it did not come to its end`);
    totals.failed += 1;
    return;
  }
  if (existsSync(report.replace(/\.json$/, '.broken'))) {
    console.log(`FAILED ${report}: an error that belongs to no test; the log of the run has it`);
    totals.failed += 1;
  }
  const again = resultsOf(report.replace(/\.json$/, '.again.json')) ?? new Map();
  for (const [name, file] of first) {
    const last = again.get(name) ?? file;
    const failures = failuresOf(last);
    tell('FAILED', report, name, failures);
    if (failures.length === 0) tell('passed only when run again:', report, name, failuresOf(file));
    totals.passed += testsOf(last, 'passed').length;
    totals.failed += failures.length;
    totals.skipped +=
      last.assertionResults.length - testsOf(last, 'passed').length - testsOf(last, 'failed').length;
  }
};

const [command, ...reports] = process.argv.slice(2);
if (command === 'files') {
  for (const [name, file] of resultsOf(reports[0]) ?? []) if (failuresOf(file).length > 0) console.log(name);
} else {
  const totals = { passed: 0, failed: 0, skipped: 0 };
  for (const report of reports) add(totals, report);
  console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
  process.exitCode = totals.failed === 0 ? 0 : 1;
}
