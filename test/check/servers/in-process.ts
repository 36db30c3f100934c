import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Instance,
  type Launcher,
  type Result,
  runRules,
  SERVER_RULES,
  ServerStage,
  type ServerStageOptions,
} from '../../../src/check/index.ts';
import type { BindableDevice } from '../../../src/device/index.ts';
import { loadNative } from '../../../src/native/index.ts';
import { serveDevice } from '../../../src/server/index.ts';
import { EventLoopReactor } from '../../../src/transport/index.ts';

const native = loadNative();

/** A clock on which 5 s are 500 ms. */
class HurriedReactor extends EventLoopReactor {
  override after(ms: number, run: () => void) {
    return super.after(ms / 10, run);
  }
}

/** Something between the suite and a server: it listens at one path, and reaches the server at the other. */
export type Between = (listenAt: string, server: string) => { readonly crashed: boolean; close(): void };

/** How a server in this process is set up. */
export interface InProcessOptions {
  /** With a control socket, on which it is migrated. */
  readonly control?: boolean;
  /** With migration through a region of v1. */
  readonly v1?: boolean;
}

/** Servers in this process: fresh ones for each launch, as good as processes of their own, and much faster. */
export function inProcess(
  make: () => BindableDevice,
  between: Between | null = null,
  options: InProcessOptions = {},
): Launcher {
  const subject = 'a server in this process';
  return { fresh: true, subject, launch: async () => launch(make, between, options) };
}

function launch(
  make: () => BindableDevice,
  between: Between | null,
  { control = false, v1 = false }: InProcessOptions,
): Instance {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-check-test-'));
  const socketPath = join(folder, 'server.sock');
  const inner = between === null ? socketPath : join(folder, 'inner.sock');
  const reactor = new HurriedReactor(native, { spinMicroseconds: 0 });
  const controlPath = control ? `${socketPath}.control` : null;
  const common = { socketPath: inner, controlPath, reactor, holdLimitMs: 40_000 };
  const served = serveDevice(make(), { ...common, v1: v1 ? {} : null });
  const proxy = between?.(socketPath, inner);
  return {
    ...{ socketPath, controlPath },
    get pid() {
      return proxy?.crashed === true ? null : process.pid;
    },
    ended: async () => (proxy?.crashed === true ? 'SIGABRT' : null),
    takeLog: () => '',
    stop: async () => {
      proxy?.close();
      served.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Tries rules on servers of a launcher. */
export async function tried(
  launcher: Launcher,
  options: Partial<ServerStageOptions> & { readonly rules?: typeof SERVER_RULES } = {},
): Promise<readonly Result[]> {
  const { rules = SERVER_RULES, ...more } = options;
  const usual = { native, launcher, timeoutMs: 6000, seed: 1, silenceMs: 6000, effort: 0.1 };
  const stage = new ServerStage({ ...usual, ...more });
  try {
    await stage.prepare();
    return await runRules({ rules, stage, limitMs: 120_000 });
  } finally {
    await stage.close();
  }
}
