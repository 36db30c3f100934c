/** Starts the servers of a scenario and loads them. */
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { buildPeers } from './peers/build.js';

const run = promisify(execFile);
/** For a run that has to share its processors; in milliseconds. */
const PATIENCE_MS = 600_000;
const peers = buildPeers();
const channelScript = fileURLToPath(new URL('channel.js', import.meta.url));
const handoverScript = fileURLToPath(new URL('handover.js', import.meta.url));
const migrationScript = fileURLToPath(new URL('migration.js', import.meta.url));
const proxyScript = fileURLToPath(new URL('proxy.js', import.meta.url));
const ferryScript = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const serveScript = fileURLToPath(new URL('serve.js', import.meta.url));

/** The command of a contestant's server, on the given CPU. */
function serverCommand({ server, mode }, socket, cpu, peerCommand) {
  const pinned = ['taskset', '-c', String(cpu)];
  if (server === 'minimal') return [peers['minimal-server'], '--socket-path', socket, '--cpu', String(cpu)];
  if (server === 'minimal-poll') {
    return [peers['minimal-server'], '--socket-path', socket, '--cpu', String(cpu), '--poll'];
  }
  if (server === 'peer') return [...pinned, 'sh', '-c', `exec ${peerCommand.replaceAll('{socket}', socket)}`];
  return [...pinned, process.execPath, serveScript, server, mode, socket];
}

/** The command of what stands between a contestant's client and its server, on the given CPU. */
function relayCommand(through, listen, connect, cpu) {
  const paths = ['--listen', listen, '--connect', connect];
  if (through === 'c') return [peers.relay, ...paths, '--cpu', String(cpu)];
  const ours = through[0] === 'proxy' ? ['--listen', listen, '--backend', connect] : paths;
  return ['taskset', '-c', String(cpu), process.execPath, ferryScript, ...through, ...ours];
}

/** A contestant that is ready to be measured, again and again. */
export class Contestant {
  #spec;
  #cpus;
  #scale;
  #folder;
  #children = [];
  #socket;
  figures = [];
  /** What else there is to say of the last round. */
  detail = '';

  constructor(spec, { cpus, scale, folder, index, peerCommand }) {
    this.#spec = spec;
    this.#cpus = cpus;
    this.#scale = scale;
    this.#folder = folder;
    this.#socket = join(folder, `${index}.sock`);
    this.name = spec.name;
    if (spec.server !== undefined) this.#start(serverCommand(spec, this.#socket, cpus[0], peerCommand));
  }

  async prepare() {
    if (this.#spec.server === undefined) return;
    await this.#listening();
    const { through } = this.#spec;
    if (through !== undefined) {
      const server = this.#socket;
      this.#socket = `${server}.through`;
      this.#start(relayCommand(through, this.#socket, server, this.#cpus[0]));
      await this.#listening();
    }
    const save = this.#spec.prepare?.(this.#data);
    if (save) await this.#client(save);
  }

  async measure() {
    const load = this.#spec.load(this.#scale, this.#data);
    const result = this.#spec.program === undefined ? await this.#client(load) : await this.#program(load);
    const { field } = this.#spec;
    this.figures.push(typeof field === 'function' ? field(result) : result[field]);
    this.detail = this.#spec.detail?.(result) ?? '';
  }

  stop() {
    for (const child of this.#children) child.kill('SIGKILL');
  }

  async #listening() {
    for (let tries = 0; !existsSync(this.#socket); tries++) {
      if (tries > 1200) throw new Error(`${this.name} does not listen`);
      await sleep(25);
    }
  }

  get #data() {
    return join(this.#folder, 'state');
  }

  #start([command, ...args]) {
    const stderr = this.#spec.through === undefined ? 'inherit' : 'ignore';
    this.#children.push(spawn(command, args, { stdio: ['ignore', 'ignore', stderr] }));
  }

  async #client(load) {
    const socket = this.#spec.control ? `${this.#socket}.control` : this.#socket;
    return this.#json(peers[this.#spec.client ?? 'client'], [socket, ...load, '--cpu', this.#cpus[1]]);
  }

  async #program(load) {
    if (this.#spec.program === 'channel') {
      return this.#json('taskset', ['-c', load[2], process.execPath, channelScript, ...load]);
    }
    if (this.#spec.program === 'migration') return this.#json(process.execPath, [migrationScript, ...load]);
    if (this.#spec.program === 'handover') return this.#json(process.execPath, [handoverScript, ...load]);
    if (this.#spec.program === 'proxy') return this.#json(process.execPath, [proxyScript, ...load]);
    return this.#json(peers[this.#spec.program], load);
  }

  async #json(command, args) {
    const { stdout } = await run(command, args.map(String), { timeout: PATIENCE_MS });
    return JSON.parse(stdout);
  }
}
