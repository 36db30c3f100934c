/**
 * Swaps of a back end under load: `ferry proxy` between a client in C and `ferry serve`, all of them processes of their
 * own. Prints one line of JSON: how long the client's commands waited (`heldMs`, the first of all `firstMs`), the longest
 * operation that the client saw, and by step what the proxy spent it with.
 *
 *   node bench/proxy.js DEVICE new|known SWAPS [OPTION...]
 *
 * DEVICE is `edu` (DMA and an INTx-like interrupt each time) or `nvme` (random reads, verified), and OPTIONs go to
 * `ferry serve`. `new`: each back end is a process that has just been started, as when one is upgraded; `known`: two
 * take turns, so that nothing in them is done for the first time.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { buildPeers } from './peers/build.js';
import { summarize } from './stats.js';

const [device, age, swaps, ...serverOptions] = process.argv.slice(2);
const ferry = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'ferry-bench-'));
const peers = buildPeers();
const once = (emitter, event) => new Promise((resolve) => emitter.once(event, resolve));
/** Between two swaps the client is let go on, in milliseconds. */
const BETWEEN_MS = 50;
/** More than there is time for: the load ends when it is told to. */
const ENDLESS = 2_000_000;

const loads = {
  edu: [
    'client',
    ...['--doorbell-irq', ENDLESS, '--irq', 1, '--guest', 1 << 20, '--guest-fd', '--put', '0x90:8:4096'],
    ...['--put', '0x80:8:0', '--put', '0x88:8:0x40000', '--offset', '0x98', '--value', 5],
  ],
  nvme: ['nvme', '--read', ENDLESS, '--depth', 8],
};

const children = new Set();

function start(command, args) {
  const child = spawn(command, args.map(String), { stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

let count = 0;
async function serve() {
  const socket = join(folder, `${count++}.sock`);
  const child = start(process.execPath, [
    ...[ferry, 'serve', device, '--socket-path', socket, '--no-control', ...serverOptions],
  ]);
  await once(child.stdout, 'data');
  return { socket, child };
}

async function ask(request) {
  const socket = createConnection(join(folder, 'control'));
  socket.write(`${JSON.stringify(request)}\n`);
  let text = '';
  for await (const piece of socket) {
    text += piece;
    if (text.endsWith('\n')) break;
  }
  const answer = JSON.parse(text);
  if (answer.error !== undefined) throw new Error(answer.error.message);
  return answer;
}

/** The next back end, of which the one before is not needed any more. */
function nextBackEnd(pool, turn) {
  return age === 'new' ? serve() : pool[turn % 2];
}

async function measure() {
  const pool = [await serve(), await serve()];
  let present = pool[0];
  const listen = join(folder, 'vm.sock');
  const proxy = start(process.execPath, [
    ...[ferry, 'proxy', '--listen', listen, '--backend', present.socket],
    ...['--control', join(folder, 'control')],
  ]);
  await once(proxy.stdout, 'data');
  const [program, ...load] = loads[device];
  const client = start(peers[program], [listen, ...load, '--timeout', 600]);
  let printed = '';
  client.stdout.on('data', (piece) => (printed += piece));
  const ended = once(client, 'exit');
  while ((await ask({ do: 'status' })).status.vectors === 0) await sleep(BETWEEN_MS);
  await sleep(500);
  const reports = [];
  for (let turn = 1; turn <= Number(swaps); turn++) {
    const next = await nextBackEnd(pool, turn);
    reports.push((await ask({ do: 'swap', backend: next.socket, fresh: false })).swap);
    if (age === 'new') {
      present.child.kill('SIGTERM');
      await once(present.child, 'exit');
    }
    present = next;
    await sleep(BETWEEN_MS);
    if (client.exitCode !== null) throw new Error(`the client ended: ${printed}`);
  }
  client.kill('SIGTERM');
  await ended;
  return { reports, client: JSON.parse(printed) };
}

function figures({ reports, client }) {
  const steps = {};
  for (const { steps: each } of reports) {
    for (const [name, ms] of Object.entries(each)) {
      steps[name] ??= [];
      steps[name].push(ms);
    }
  }
  return {
    heldMs: summarize(reports.map(({ heldMs }) => heldMs)),
    firstMs: reports[0].heldMs,
    longestMs: client.max / 1000,
    totalMs: summarize(reports.map(({ totalMs }) => totalMs)).median,
    stateBytes: reports.at(-1).stateBytes,
    steps: Object.fromEntries(Object.entries(steps).map(([name, ms]) => [name, summarize(ms).median])),
  };
}

try {
  if (!existsSync(ferry)) throw new Error('dist/ is missing: run npm run build first');
  console.log(JSON.stringify(figures(await measure())));
} finally {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}
