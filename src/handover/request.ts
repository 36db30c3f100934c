import type { Connection, IncomingMessage } from '../transport/index.ts';

/** A command and its payload. */
export interface Request {
  readonly command: number;
  readonly payload: Uint8Array;
  /** They go with it, and stay the caller's. */
  readonly fds?: readonly number[];
  readonly timeoutMs: number;
}

/** Sends a request; settles with what `read` makes of its reply, which is valid only there. Rejects with what it throws. */
export function request<T>(
  connection: Connection,
  { command, payload, fds = [], timeoutMs }: Request,
  read: (reply: IncomingMessage) => T,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const at = connection.request(command, payload.length, timeoutMs, (reply, error) => {
      try {
        if (reply === null) throw error;
        resolve(read(reply));
      } catch (problem) {
        reject(problem);
      }
    });
    connection.out.bytes.set(payload, at);
    if (fds.length > 0) connection.attachFds(fds);
    connection.flush();
  });
}
