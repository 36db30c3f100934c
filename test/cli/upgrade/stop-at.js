// Runs before `ferry serve` in its process (node --import), and stops it at a point of a hand-over. The points are where
// something is done that the other process, or a client, can see. All that are come to are noted in $FERRY_POINTS; who
// stops there is told by the file $FERRY_STOP_AT, which is renamed then. A stopped process does nothing more until it is
// killed or continued.
import { appendFileSync, readFileSync, renameSync } from 'node:fs';
import { Kind, MAGIC } from '../../../dist/handover/layout.js';
import { Verdict, VerdictWord } from '../../../dist/handover/verdict.js';
import { loadNative } from '../../../dist/native/index.js';
import { DeviceServer } from '../../../dist/server/index.js';
import { Succession } from '../../../dist/server/succession.js';

const { FERRY_POINTS: points = '', FERRY_STOP_AT: stopAt = '' } = process.env;
const native = loadNative();
const kinds = new Map(Object.entries(Kind).map(([name, kind]) => [kind, name]));
const verdicts = new Map(Object.entries(Verdict).map(([name, verdict]) => [verdict, name]));
/** How often each of them was said. */
const said = new Map();
/** The socket on which this process gives its device away. */
let giving = -1;
/** Whether it has come to the point from which on it may have the device, or not any more. */
let decides = false;
/** What only rehearses within this process is no hand-over. */
const rehearsals = new WeakSet();

function reach(point) {
  const whole = `${giving < 0 ? 'taker' : 'giver'} ${point}`;
  appendFileSync(points, `${whole}\n`);
  if (wanted() !== whole) return;
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

/** The message of a hand-over that begins here, or the first of several; undefined for anything else. */
function messageAt(bytes) {
  return bytes.length >= 8 && bytes.readUInt32LE(0) === MAGIC ? kinds.get(bytes.readUInt16LE(4)) : undefined;
}

/** Whether it is said to another process. */
function leaves(fd, name, bytes) {
  if (name !== 'HELLO') return fd === giving || peer(fd) !== process.pid;
  if (bytes.includes('rehearsal')) return false;
  giving = fd;
  decides = false;
  said.clear();
  return true;
}

/** Who has made a pair of sockets. */
function peer(fd) {
  const credentials = new Int32Array(3);
  native.peerCredentials(fd, credentials);
  return credentials[0];
}

const { send } = native;
native.send = (fd, head, offset, length, body, ...rest) => {
  const act = () => send(fd, head, offset, length, body, ...rest);
  const bytes = Buffer.concat([head.subarray(offset, offset + length), body ?? Buffer.alloc(0)]);
  const name = messageAt(bytes);
  if (name === undefined || !leaves(fd, name, bytes)) return act();
  if (name === 'OK' || name === 'STATE') decides = true;
  const count = (said.get(name) ?? 0) + 1;
  said.set(name, count);
  return around(count > 1 ? `${name} ${count}` : name, act);
};

const { change } = VerdictWord.prototype;
VerdictWord.prototype.change = function (from, to) {
  // What is tried in vain changes nothing.
  if (!decides || this.value !== from) return change.call(this, from, to);
  return around(`the device is ${verdicts.get(to)}`, () => change.call(this, from, to));
};

const { accept } = DeviceServer.prototype;
DeviceServer.prototype.accept = function (...args) {
  if (this.device.identity.kind === 'rehearsal') rehearsals.add(this.succession);
  return accept.apply(this, args);
};

for (const what of ['thaw', 'abandon']) {
  const act = Succession.prototype[what];
  Succession.prototype[what] = function () {
    if (!decides || rehearsals.has(this)) act.call(this);
    else around(what, () => act.call(this));
  };
}
