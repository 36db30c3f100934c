import { spawnSync } from 'node:child_process';

const NETWORK = '10.231.77';
const NAMES = ['ferry-a', 'ferry-b'] as const;

/** Two hosts with a line between them: network namespaces (ip-netns(8)). */
export class TwoHosts {
  /** The address of the second one. */
  readonly address = `${NETWORK}.2`;
  readonly #names: readonly [string, string];

  private constructor(names: readonly [string, string]) {
    this.#names = names;
  }

  /** A string says why there can be none. */
  static open(): TwoHosts | string {
    const names = [`${NAMES[0]}-${process.pid}`, `${NAMES[1]}-${process.pid}`] as const;
    const [a, b] = names;
    const hosts = new TwoHosts(names);
    const failed = [
      ['netns', 'add', a],
      ['netns', 'add', b],
      ['link', 'add', 'line', 'netns', a, 'type', 'veth', 'peer', 'name', 'line', 'netns', b],
      ...names.flatMap((name, i) => [
        ['-n', name, 'address', 'add', `${NETWORK}.${i + 1}/24`, 'dev', 'line'],
        ['-n', name, 'link', 'set', 'line', 'up'],
        ['-n', name, 'link', 'set', 'lo', 'up'],
      ]),
    ].find((args) => !ip(args));
    if (failed === undefined) return hosts;
    hosts.close();
    return `no network namespaces: ip ${failed.join(' ')} fails`;
  }

  /** A command line that runs on a host. */
  on(host: 0 | 1, command: string): string {
    return `exec ip netns exec ${this.#names[host]} ${command}`;
  }

  close(): void {
    for (const name of this.#names) ip(['netns', 'del', name]);
  }
}

function ip(args: readonly string[]): boolean {
  return spawnSync('ip', args, { stdio: 'ignore', timeout: 10_000 }).status === 0;
}
