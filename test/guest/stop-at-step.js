// Runs before `ferry vm migrate` or `ferry vm upgrade` in its process (node --import), and stops it at a point of its work: before or after a step
// that is done with a VMM or a server, or a record of its journal. Which one is told by $FERRY_STOP_AT; $FERRY_STOPPED is
// made then. A stopped process does nothing more until it is killed or continued.
import { writeFileSync } from 'node:fs';
import { StoredJournal } from '../../dist/journal/stored-journal.js';
import { stateName } from '../../dist/states/index.js';
import { VmPerformer } from '../../dist/vm/performer.js';

const { FERRY_STOP_AT: stopAt = '', FERRY_STOPPED: stopped = '' } = process.env;
let met = false;

function reach(point) {
  if (met || point !== stopAt) return;
  met = true;
  writeFileSync(stopped, '');
  process.kill(process.pid, 'SIGSTOP');
}

async function around(what, act) {
  reach(`before ${what}`);
  const result = await act();
  reach(`after ${what}`);
  return result;
}

function nameOf(step) {
  if (step.do === 'qmp') return step.command;
  return step.do === 'setState' ? stateName(step.state) : step.do;
}

const { perform } = VmPerformer.prototype;
VmPerformer.prototype.perform = function (step) {
  return around(nameOf(step), () => perform.call(this, step));
};

const { append } = StoredJournal.prototype;
StoredJournal.prototype.append = function (record) {
  return around(record.kind, () => append.call(this, record));
};
