import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BindableDevice } from '../../src/device/index.ts';
import type { FerryError } from '../../src/errors/index.ts';
import { type ServeOptions, serveDevice } from '../../src/server/index.ts';
import { RawClient } from './raw-client.ts';

/** A served device in this process, with raw clients on its sockets, and everything removed at the end. */
export function serveForTest(device: BindableDevice, options: ServeOptions = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-test-'));
  const socketPath = join(folder, 'device.sock');
  const reported: FerryError[] = [];
  const running = serveDevice(device, { socketPath, report: (error) => reported.push(error), ...options });
  const clients: RawClient[] = [];
  const track = (client: RawClient): RawClient => {
    clients.push(client);
    return client;
  };
  return {
    server: running.server,
    socketPath,
    controlPath: `${socketPath}.control`,
    reported,
    /** A client that has negotiated on the main socket. */
    main: async (json?: string) => track(await RawClient.open(socketPath, json)),
    /** A client that has negotiated on the control socket. */
    control: async (json?: string) => track(await RawClient.open(`${socketPath}.control`, json)),
    /** A connection that has said nothing yet. */
    connect: (path = socketPath) => track(RawClient.connect(path)),
    close() {
      for (const client of clients) client.close();
      running.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Lets everything that is ready happen. */
export function settle(ms = 20): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
