// The command `ferry` as an operator runs it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const COMMAND = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url));
const running = [];

/** Starts a command that stays; resolves when it says that it listens. */
export async function start(...words) {
  const child = spawn(process.execPath, [COMMAND, ...words, '--json'], { stdio: ['ignore', 'pipe', 'pipe'] });
  running.push(child);
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    complaints += text;
  });
  child.stdout.setEncoding('utf8');
  const [line] = await Promise.race([once(child.stdout, 'data'), once(child, 'exit').then(() => [null])]);
  if (line === null) throw new Error(`ferry ${words.join(' ')}: ${complaints}`);
  return { child, complaints: () => complaints };
}

/** Runs a command to its end: its status and what it said. */
export async function run(...words) {
  const child = spawn(process.execPath, [COMMAND, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }
  const [status] = await once(child, 'close');
  return { status, output: output.trim() };
}

/** Ends what was started, and waits until it has ended. */
export async function endAll() {
  await Promise.all(
    running.splice(0).map(async (child) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    }),
  );
}
