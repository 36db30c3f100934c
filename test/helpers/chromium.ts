import { spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { Readable, Writable } from 'node:stream';

/** The browser of this machine; null when there is none. */
export const CHROMIUM = find(['chromium', 'chromium-browser', 'google-chrome']);

function find(names: readonly string[]): string | null {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const paths = folders.flatMap((folder) => names.map((name) => join(folder, name)));
  return paths.find((path) => isExecutable(path)) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

interface Answer {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: { readonly message: string };
}

const PATIENCE_MS = 60_000;

/** A browser without a window, driven through a pipe (Chrome DevTools Protocol, --remote-debugging-pipe). */
export class Browser {
  readonly #folder = mkdtempSync(join(tmpdir(), 'ferry-chromium-'));
  readonly #waiting = new Map<number, { resolve(answer: Answer): void; reject(error: Error): void }>();
  readonly #watchers = new Set<(answer: Answer) => void>();
  readonly #pipe: Writable;
  readonly #ended: Promise<void>;
  readonly #kill: () => void;
  #id = 0;
  #session: string | undefined;

  constructor(path: string) {
    const words = ['--headless', '--no-sandbox', '--disable-gpu', '--remote-debugging-pipe'];
    const child = spawn(path, [...words, `--user-data-dir=${this.#folder}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const [, , , to, from] = child.stdio;
    if (!(to instanceof Writable) || !(from instanceof Readable)) throw new Error('there are no pipes');
    this.#pipe = to.on('error', () => {});
    this.#ended = new Promise((resolve) => child.once('close', () => resolve()));
    // It has children of its own.
    this.#kill = () => void (child.pid !== undefined && process.kill(-child.pid, 'SIGKILL'));
    let text = '';
    from.setEncoding('utf8').on('data', (piece: string) => {
      const messages = (text + piece).split('\0');
      text = messages.pop() ?? '';
      for (const message of messages) this.#take(JSON.parse(message));
    });
    void this.#ended.then(() => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the browser has ended'));
    });
  }

  #take(answer: Answer): void {
    const waiting = answer.id === undefined ? undefined : this.#waiting.get(answer.id);
    if (waiting === undefined) for (const watcher of this.#watchers) watcher(answer);
    else if (answer.error === undefined) waiting.resolve(answer);
    else waiting.reject(new Error(answer.error.message));
  }

  async send(
    method: string,
    params: Readonly<Record<string, unknown>> = {},
  ): Promise<Readonly<Record<string, unknown>>> {
    this.#id += 1;
    const id = this.#id;
    const answer = new Promise<Answer>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${method}: no answer`)), PATIENCE_MS);
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(id);
      };
      this.#waiting.set(id, {
        resolve: (value) => {
          done();
          resolve(value);
        },
        reject: (error) => {
          done();
          reject(error);
        },
      });
    });
    const session = this.#session === undefined ? {} : { sessionId: this.#session };
    this.#pipe.write(`${JSON.stringify({ id, method, params, ...session })}\0`);
    return (await answer).result ?? {};
  }

  /** Opens a page and waits until it is there. Returns what it asked for, and what went wrong in it. */
  async open(
    url: string,
  ): Promise<{ readonly requests: readonly string[]; readonly errors: readonly string[] }> {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    this.#session = String(sessionId);
    const [requests, errors]: [string[], string[]] = [[], []];
    let loaded = (): void => {};
    const load = new Promise<void>((resolve) => {
      loaded = resolve;
    });
    const watcher = ({ method, params }: Answer): void => {
      if (method === 'Network.requestWillBeSent') requests.push(JSON.stringify(params?.['documentURL']));
      if (method === 'Runtime.exceptionThrown' || method === 'Log.entryAdded')
        errors.push(JSON.stringify(params));
      if (method === 'Page.loadEventFired') loaded();
    };
    this.#watchers.add(watcher);
    for (const domain of ['Page', 'Network', 'Runtime', 'Log']) await this.send(`${domain}.enable`);
    await this.send('Page.navigate', { url });
    await load;
    return { requests, errors };
  }

  /** The value of an expression in the page. */
  async evaluate(expression: string): Promise<unknown> {
    const { result } = await this.send('Runtime.evaluate', { expression, returnByValue: true });
    return typeof result === 'object' && result !== null ? Reflect.get(result, 'value') : undefined;
  }

  /** Whether its reader likes it light or dark. */
  async prefer(scheme: 'light' | 'dark'): Promise<void> {
    await this.send('Emulation.setEmulatedMedia', {
      features: [{ name: 'prefers-color-scheme', value: scheme }],
    });
  }

  async close(): Promise<void> {
    this.#kill();
    await this.#ended;
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}
