// Runs before `ferry serve` in its process (node --import), and has the connection to its VMM be in the middle of something
// when the device is handed over. The file $FERRY_SITUATION names what; what was handed over then is noted beside it:
//
//   clean       whatever the connection is in by itself
//   partial N   N bytes of a message have been read
//   unhandled   all that the VMM has sent has been read, and not handled
//   many        the same after the VMM was left alone with its messages for 3 ms
//   noreply     a message was handled, and the socket took nothing of the reply
//   partreply   the socket took the header and a part of the rest
//   dmaread     the VMM had been asked for memory, and had not answered, when the device was to come to rest
//
// It does what the kernel might do: a receive that brings less or comes later, a send that takes less or nothing. All of it
// is done when the device has come to rest and is still served, so nothing that the VMM owes is kept back.
import { readFileSync, writeFileSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { Control, loadNative } from '../../../dist/native/index.js';
import { DeviceServer } from '../../../dist/server/index.js';
import { MessageDmaPort } from '../../../dist/server/message-dma-port.js';
import { Succession } from '../../../dist/server/succession.js';
import { MigrationState } from '../../../dist/states/index.js';

const EAGAIN = 11;
const POLLIN = 1;
const HEADER = 16;
const REPLY = 1;
/** How long a guest may take until it does what is waited for, in milliseconds. Its VMM gives up after 5 s. */
const LIMIT_MS = 1_000;
/** How long the VMM is left alone with its messages. */
const MANY_MS = 3;
/** The states in which a device comes to rest while it is served. */
const COMING_TO_REST = [MigrationState.PRE_COPY_P2P, MigrationState.RUNNING_P2P];

const file = process.env.FERRY_SITUATION ?? '';
const native = loadNative();
const { send, pumpStart, pumpArm, pumpClose } = native;
/** What serves the sockets, by their fds. */
const pumps = new Map();
/** Whether the VMM owed an answer when the device was to come to rest. */
let owed = false;
/** What was handed over. */
let found = null;

/** The situation that is wanted, and its bytes. */
function cue() {
  try {
    const [name = '', bytes = '0'] = readFileSync(file, 'utf8').split(' ');
    return { name, bytes: Number(bytes) };
  } catch {
    return null;
  }
}

/** What only rehearses within this process is no hand-over. */
function rehearses({ device }) {
  return device.identity.kind === 'rehearsal';
}

function pumpOf({ main }) {
  return main === null ? undefined : pumps.get(main.connection.fd);
}

native.pumpStart = (fd, rx, tx, fds, control, onReceive, onWritable) => {
  const handle = pumpStart(fd, rx, tx, fds, control, onReceive, onWritable);
  const pump = { handle, fd, rx, tx, fds, control, onReceive, wanted: [true, false] };
  if (typeof handle !== 'number') pumps.set(fd, { ...pump, still: false, takes: null, brings: 0 });
  return handle;
};

native.pumpArm = (handle, ...wanted) => {
  const pump = [...pumps.values()].find((one) => one.handle === handle);
  if (pump !== undefined) pump.wanted = wanted;
  return pump?.still ? 0 : pumpArm(handle, ...wanted);
};

native.pumpClose = (handle) => {
  for (const [fd, pump] of pumps) if (pump.handle === handle) pumps.delete(fd);
  pumpClose(handle);
};

native.send = (fd, head, offset, length, ...rest) => {
  const pump = pumps.get(fd);
  if (pump === undefined || pump.takes === null) return send(fd, head, offset, length, ...rest);
  const part = Math.min(pump.takes, length);
  pump.takes = 0;
  return part === 0 ? -EAGAIN : send(fd, head, offset, part, null, 0, 0, null);
};

/** From now on the socket is read and written only here. */
function keepStill(pump) {
  pump.still = true;
  pumpArm(pump.handle, false, false);
}

function letGo(pump) {
  Object.assign(pump, { still: false, takes: null, brings: 0 });
  pumpArm(pump.handle, ...pump.wanted);
}

/** Whether the VMM sends something in time. */
function sends({ fd }) {
  return native.poll(Int32Array.of(fd, POLLIN, 0), 1, LIMIT_MS) > 0;
}

function read(pump, most) {
  const { fd, rx, fds, control } = pump;
  const room = Math.min(most, control[Control.RX_LENGTH]);
  const result = room > 0 ? native.receive(fd, rx, control[Control.RX_OFFSET], room, fds, 0) : 0;
  if (result > 0) pump.onReceive(result);
  return result > 0;
}

/** The VMM has sent something, of which so many bytes are read when nothing is handled any more. */
function leaveUnhandled(pump, brings, ms) {
  keepStill(pump);
  if (!sends(pump)) return letGo(pump);
  if (ms > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
  pump.brings = brings;
}

/** What the VMM sends is handled until there is a reply, of which the socket takes nothing, or a part. */
function leaveUnsent(pump, part) {
  const { control, tx } = pump;
  keepStill(pump);
  pump.takes = 0;
  const until = performance.now() + LIMIT_MS;
  while (performance.now() < until && sends(pump) && read(pump, Number.POSITIVE_INFINITY)) {
    const [start, end] = [control[Control.TX_START], control[Control.TX_END]];
    if (end - start < HEADER || typeAt(tx, start) !== REPLY) continue;
    pump.takes = part ? HEADER + ((lengthAt(tx, start) - HEADER) >> 1) : 0;
    return;
  }
  letGo(pump);
}

function lengthAt(bytes, at) {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(at + 4, true);
}

function typeAt(bytes, at) {
  return (bytes[at + 8] ?? 0) & 0xf;
}

function bringAbout({ name, bytes }, pump) {
  if (name === 'partial') leaveUnhandled(pump, bytes, 0);
  else if (name === 'unhandled') leaveUnhandled(pump, Number.POSITIVE_INFINITY, 0);
  else if (name === 'many') leaveUnhandled(pump, Number.POSITIVE_INFINITY, MANY_MS);
  else if (name === 'noreply' || name === 'partreply') leaveUnsent(pump, name === 'partreply');
}

/** Is told that memory was asked for by message; the answer can't be there before what is done at once is over. */
let asking = () => {};
for (const name of ['read', 'write']) {
  const exchange = MessageDmaPort.prototype[name];
  MessageDmaPort.prototype[name] = function (...args) {
    const answer = exchange.apply(this, args);
    asking();
    return answer;
  };
}

/** Whether the VMM is asked for memory in time. */
async function asks(server) {
  const pending = () => server.device.inspect().outstandingDma > 0;
  if (pending()) return true;
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, LIMIT_MS);
    asking = () => {
      clearTimeout(timer);
      resolve();
    };
  });
  asking = () => {};
  return pending();
}

const { setState } = DeviceServer.prototype;
DeviceServer.prototype.setState = function (target, by) {
  const wanted = COMING_TO_REST.includes(target) && !rehearses(this) ? cue() : null;
  const change = () => setState.call(this, target, by);
  return wanted === null ? change() : comeToRest(this, wanted, change);
};

async function comeToRest(server, wanted, change) {
  owed = wanted.name === 'dmaread' && (await asks(server));
  await change();
  // Not in a callback of the pump, which sends what is left there itself.
  await turn();
  const pump = pumpOf(server);
  if (pump !== undefined) bringAbout(wanted, pump);
}

const { freeze, thaw, remains, abandon } = Succession.prototype;

Succession.prototype.freeze = function (by) {
  const pump = rehearses(by.server) ? undefined : pumpOf(by.server);
  if (pump !== undefined && pump.brings > 0) read(pump, pump.brings);
  freeze.call(this, by);
};

Succession.prototype.remains = function (by, given) {
  const result = remains.call(this, by, given);
  const main = result.connections.find(({ role }) => role === 'main');
  if (rehearses(by.server) || main === undefined) return result;
  const { unread, unsent } = main.link;
  found = { ...whole(unread.bytes), unsent: unsent.bytes.length, rest: unsent.rest, owed };
  return result;
};

/** How many messages there are, and how many bytes of another one. */
function whole(bytes) {
  let at = 0;
  let messages = 0;
  for (let end = 0; at + HEADER <= bytes.length; at = end, messages += 1) {
    end = at + lengthAt(bytes, at);
    if (end > bytes.length) break;
  }
  return { messages, fragment: bytes.length - at };
}

Succession.prototype.thaw = function () {
  for (const pump of pumps.values()) if (pump.still) letGo(pump);
  thaw.call(this);
};

Succession.prototype.abandon = function () {
  abandon.call(this);
  if (found !== null) writeFileSync(`${file}.found`, JSON.stringify(found));
};
