// Runs before `ferry serve` in its process (node --import), and stops it at a point of a hand-over. The points are where
// something is done that the other process, or a client, can see. All that are come to are noted in $FERRY_POINTS; who
// stops there is told by the file $FERRY_STOP_AT, which is renamed then. A stopped process does nothing more until it is
// killed or continued.
import { appendFileSync, readFileSync, renameSync } from 'node:fs';
import { Kind, MAGIC } from '../../../dist/handover/layout.js';
import { Verdict, VerdictWord } from '../../../dist/handover/verdict.js';
import { loadNative } from '../../../dist/native/index.js';
import { Succession } from '../../../dist/server/succession.js';

const { FERRY_POINTS: points = '', FERRY_STOP_AT: stopAt = '' } = process.env;
const native = loadNative();
const kinds = new Map(Object.entries(Kind).map(([name, kind]) => [kind, name]));
const verdicts = new Map(Object.entries(Verdict).map(([name, verdict]) => [verdict, name]));
/** How often each of them was said. */
const said = new Map();
let role = 'taker';

function reach(point) {
  appendFileSync(points, `${role} ${point}\n`);
  if (wanted() !== `${role} ${point}`) return;
  renameSync(stopAt, `${stopAt}.reached`);
  process.kill(process.pid, 'SIGSTOP');
}

function wanted() {
  try {
    return readFileSync(stopAt, 'utf8');
  } catch {
    return '';
  }
}

function around(what, act) {
  reach(`before ${what}`);
  const result = act();
  reach(`after ${what}`);
  return result;
}

/** The message of a hand-over that begins here; undefined for anything else. */
function messageAt(bytes, offset) {
  if (bytes.byteLength - offset < 8) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset);
  return view.getUint32(0, true) === MAGIC ? kinds.get(view.getUint16(4, true)) : undefined;
}

const { send } = native;
native.send = (fd, bytes, offset, ...rest) => {
  const name = messageAt(bytes, offset);
  if (name === undefined) return send(fd, bytes, offset, ...rest);
  if (name === 'HELLO') {
    role = 'giver';
    said.clear();
  }
  const count = (said.get(name) ?? 0) + 1;
  said.set(name, count);
  return around(count > 1 ? `${name} ${count}` : name, () => send(fd, bytes, offset, ...rest));
};

const { change } = VerdictWord.prototype;
VerdictWord.prototype.change = function (from, to) {
  // What is tried in vain changes nothing.
  if (this.value !== from) return change.call(this, from, to);
  return around(`the device is ${verdicts.get(to)}`, () => change.call(this, from, to));
};

for (const what of ['thaw', 'abandon']) {
  const act = Succession.prototype[what];
  Succession.prototype[what] = function () {
    around(what, () => act.call(this));
  };
}
