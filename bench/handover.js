/**
 * Hand-overs under load: one `ferry serve` after the other takes the device of the one before, each a process that has
 * just been started, while a client in C uses it without a pause. Prints one line of JSON: the pause from the moment at
 * which the device is stopped to the one at which its client is served again, with what it was spent (`--json` of `ferry serve`
 * has the same), CPU time of both processes, and the longest operation that the client saw.
 *
 *   node bench/handover.js DEVICE TIMES [OPTION...]
 *
 * DEVICE is `edu` (4 KiB of DMA and an interrupt each time), `nvme` (random reads, verified) or `serial` (register reads),
 * and OPTIONs go to `ferry serve`. `memory=SIZE` among them is how much guest memory the client of edu shares.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { buildPeers } from './peers/build.js';
import { summarize } from './stats.js';

const [device, times, ...more] = process.argv.slice(2);
const guestMemory = more.find((option) => option.startsWith('memory='))?.slice(7) ?? '1M';
const serverOptions = more.filter((option) => !option.startsWith('memory='));
const ferry = process.env.FERRY_MAIN ?? fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'ferry-bench-'));
const socket = join(folder, 'device.sock');
const peers = buildPeers();
/** Between two hand-overs the client is let go on, in milliseconds. */
const BETWEEN_MS = 100;
/** More than there is time for, on a busy machine too: the load ends when it is told to. */
const ENDLESS = 50_000_000;

const loads = {
  edu: [
    'client',
    ...['--doorbell-irq', ENDLESS, '--irq', 1, '--guest', guestMemory, '--guest-fd', '--put', '0x90:8:4096'],
    ...['--put', '0x80:8:0', '--put', '0x88:8:0x40000', '--offset', '0x98', '--value', 5],
  ],
  nvme: ['nvme', '--read', ENDLESS, '--depth', 8],
  serial: ['client', '--read4', ENDLESS],
};
const defaults = { edu: [], nvme: ['--ram', '32M'], serial: ['--backend', `unix:${join(folder, 'line')}`] };

const children = new Set();

function start(command, args) {
  const child = spawn(command, args.map(String), { stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  const text = { out: '' };
  child.stdout.on('data', (piece) => (text.out += piece));
  const ended = new Promise((resolve) => child.once('close', () => resolve(text.out)));
  void ended.then(() => children.delete(child));
  const said = new Promise((resolve) => {
    child.stdout.on('data', () => {
      if (text.out.includes('\n')) resolve(text.out);
    });
  });
  return { child, ended, said: Promise.race([said, ended]) };
}

async function serve(...where) {
  const options = serverOptions.length > 0 ? serverOptions : defaults[device];
  const server = start(process.execPath, [ferry, 'serve', device, ...options, '--json', ...where]);
  const line = await server.said;
  if (!line.includes('"listening"')) throw new Error(`ferry serve ${where.join(' ')}: ${line}`);
  return { ...server, listening: JSON.parse(line).listening };
}

async function measure() {
  let current = await serve('--socket-path', socket);
  const [program, ...args] = loads[device];
  const load = start(peers[program], [socket, ...args, '--timeout', 600]);
  await sleep(1000);
  const pauses = [];
  for (let i = 0; i < Number(times); i++) {
    const next = await serve('--take-over', socket);
    await current.ended;
    pauses.push(next.listening.pause);
    current = next;
    await sleep(BETWEEN_MS);
  }
  if (!children.has(load.child)) throw new Error(`the client has ended: ${await load.ended}`);
  load.child.kill('SIGTERM');
  const said = await load.ended;
  // One that was still warming up has no figures.
  const { max = Number.NaN } = said === '' ? {} : JSON.parse(said);
  const figures = Object.keys(pauses[0]).map((name) => [name, summarize(pauses.map((pause) => pause[name]))]);
  return {
    ...Object.fromEntries(figures),
    longestOperation: max,
    all: pauses.map(({ totalMs }) => totalMs),
  };
}

try {
  console.log(JSON.stringify(await measure()));
} finally {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}
process.exit();
