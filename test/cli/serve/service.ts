import { fileURLToPath } from 'node:url';
import { until } from '../../helpers/until.ts';
import { FERRY, type Running, type Shell } from '../ferry.ts';

const MANAGER = fileURLToPath(new URL('./service-manager.py', import.meta.url));
/** For the manager to answer, in milliseconds; a machine may have other things to do. */
const PATIENT = '60000';

/** What a service of {@link Service} serves, and how it is run. */
interface ServiceOptions {
  /** The device and its options. */
  readonly device: readonly string[];
  /** Where the manager listens. */
  readonly notify?: string;
  /** --pause-limit. */
  readonly limit?: string;
}

/** A `ferry serve --fd-store` on `a.sock` that a service manager runs; see service-manager.py. */
export class Service {
  readonly #manager: Running;
  #ready = 0;

  private constructor(manager: Running) {
    this.#manager = manager;
  }

  /** Starts it, and waits until it serves. */
  static async start(shell: Shell, options: ServiceOptions): Promise<Service> {
    const words = [MANAGER, options.notify ?? shell.path('notify'), ...serving(shell, options)];
    const line = words.map((word) => `'${word}'`).join(' ');
    const service = new Service(shell.startLine(`exec python3 ${line}`));
    try {
      await service.ready();
      return service;
    } catch (error) {
      await service.end();
      throw error;
    }
  }

  /** Ends the manager, and with it the process that it runs. */
  async end(): Promise<void> {
    this.tell('exit');
    await this.#manager.ended;
  }

  /** Waits until another process has said that it serves. */
  async ready(): Promise<void> {
    this.#ready += 1;
    await this.says(/^ready \d+$/gm, this.#ready);
  }

  /** Waits until so many lines of the manager, or of the service, are such ones. */
  async says(pattern: RegExp, times = 1): Promise<void> {
    const count = (text: string): number => [...text.matchAll(pattern)].length;
    const told = (): string => `${this.#manager.stdout()}\n${this.#manager.stderr()}`;
    await until(() => count(this.#manager.stdout()) + count(this.#manager.stderr()) >= times).catch(() => {
      throw new Error(`not ${times} times ${pattern}:\n${told()}`);
    });
  }

  /** Tells the manager what to do. */
  tell(...words: readonly string[]): void {
    this.#manager.send(`${words.join('\t')}\n`);
  }
}

/** The command line of a service. */
export function serving(shell: Shell, { device, limit = PATIENT }: ServiceOptions): readonly string[] {
  return [
    ...FERRY,
    'serve',
    ...device,
    '--socket-path',
    shell.path('a.sock'),
    '--fd-store',
    '--pause-limit',
    limit,
  ];
}
