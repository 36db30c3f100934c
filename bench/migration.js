/**
 * A whole migration: the processes of the source's and of the destination's devices, `ferry receive`, and `ferry migrate
 * --to` over a UNIX socket. Prints one line of JSON: downtimeMs, totalMs, bytes, iterations, gbps, and of the sender
 * and of the receiver the most memory (VmHWM in /proc, proc_pid_status(5)) and the seconds of processor time.
 *
 *   node bench/migration.js pre-copy|stop-copy KIND BYTES DEVICES SOURCE_CPU DESTINATION_CPU
 *
 * KIND is one of migration-devices.js, BYTES the state of each device.
 */
import { fork, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = (file) => fileURLToPath(new URL(file, import.meta.url));
const ferry = here('../dist/cli/main.js');
const once = (emitter, event) => new Promise((resolve) => emitter.once(event, resolve));
/** How often memory is looked at, in milliseconds; it is a high-water mark, so only the end counts. */
const LOOK_MS = 10;

const [how, kind, bytes, devices, sourceCpu, destinationCpu] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'ferry-bench-'));
const pinned = (cpu) => ({ execPath: 'taskset', execArgv: ['-c', cpu, process.execPath] });
const sockets = (side) =>
  Array.from({ length: Number(devices) }, (_, i) => join(folder, `${side}-${i}.sock`));

async function serve(side, cpu) {
  const child = fork(here('migration-servers.js'), [kind, bytes, devices, folder, side], pinned(cpu));
  const first = await Promise.race([once(child, 'message'), once(child, 'exit')]);
  if (first?.ready !== true) throw new Error(`the ${side} was not served`);
  return child;
}

/** A command of ferry; what it prints, and the most memory that it had. */
function run(cpu, words) {
  const env = { ...process.env, FERRY_JOURNAL: join(folder, words[0]) };
  const child = spawn('taskset', ['-c', cpu, process.execPath, ferry, ...words], { env });
  const text = { stdout: '', stderr: '' };
  child.stdout.on('data', (piece) => (text.stdout += piece));
  child.stderr.on('data', (piece) => (text.stderr += piece));
  let [peakMiB, cpuSeconds] = [0, 0];
  const look = setInterval(() => {
    peakMiB = Math.max(peakMiB, peakOf(child.pid));
    cpuSeconds = Math.max(cpuSeconds, cpuSecondsOf(child.pid));
  }, LOOK_MS);
  const ended = once(child, 'close').then(() => {
    clearInterval(look);
    if (child.exitCode !== 0) throw new Error(`ferry ${words[0]}: ${text.stdout}${text.stderr}`);
    return { result: JSON.parse(text.stdout.trim().split('\n').at(-1)), peakMiB, cpuSeconds };
  });
  const listens = new Promise((resolve) => child.stdout.on('data', () => resolve()));
  return { listens, ended };
}

function peakOf(pid) {
  try {
    const [, kib] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return Math.round(Number(kib ?? 0) / 1024);
  } catch {
    return 0;
  }
}

/** User and system time of a process so far, from ticks of 10 ms. */
function cpuSecondsOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [user, system] = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 13);
    return (Number(user) + Number(system)) / 100;
  } catch {
    return 0;
  }
}

async function measure() {
  const way = `unix:${join(folder, 'way')}`;
  const limits = ['--timeout', '60000', ...(how === 'stop-copy' ? ['--no-pre-copy'] : [])];
  const receive = run(destinationCpu, [
    'receive',
    ...sockets('destination'),
    '--listen',
    way,
    '--timeout',
    '60000',
    '--json',
  ]);
  await Promise.race([receive.listens, receive.ended]);
  const migrate = run(sourceCpu, [
    'migrate',
    ...sockets('source'),
    '--to',
    way,
    ...limits,
    '--compress',
    'off',
    '--json',
  ]);
  const [sent, received] = await Promise.all([migrate.ended, receive.ended]);
  const { downtimeMs, totalMs, iterations, bytes: moved } = sent.result;
  const peaks = { senderMiB: sent.peakMiB, receiverMiB: received.peakMiB };
  const peakMiB = Math.max(sent.peakMiB, received.peakMiB);
  return {
    downtimeMs,
    totalMs,
    iterations,
    bytes: moved.total,
    gbps: moved.total / totalMs / 1e6,
    ...peaks,
    peakMiB,
    senderCpu: sent.cpuSeconds,
    receiverCpu: received.cpuSeconds,
  };
}

const children = [];
try {
  for (const [side, cpu] of [
    ['source', sourceCpu],
    ['destination', destinationCpu],
  ])
    children.push(await serve(side, cpu));
  console.log(JSON.stringify(await measure()));
} finally {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}
process.exit();
