import type { RunningServer } from '../../server/index.ts';

/** How often to look whether the only client has gone, in milliseconds. */
const LOOK_MS = 100;

/** Settles when the last client of a server has gone to which nobody can connect; never for one that listens. */
export function untilAlone({
  server,
  listeners,
}: Pick<RunningServer, 'server' | 'listeners'>): Promise<void> {
  if (listeners.length > 0) return new Promise(() => {});
  return new Promise((resolve) => {
    const look = server.reactor.every(LOOK_MS, () => {
      if (server.clients > 0) return;
      look.close();
      resolve();
    });
  });
}
