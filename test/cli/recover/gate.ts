import { createServer, connect as open, type Server, type Socket } from 'node:net';
import { FRAME_HEADER_SIZE, FrameHeader } from '../../../src/channel/frame.ts';
import { type MessageKind, messages } from '../../../src/channel/index.ts';

/** Stands between a sender and a receiver, lets frames through, and keeps back one kind of message and all after it. */
export interface Gate {
  /** Resolves when it keeps a message of that kind back. */
  readonly reached: Promise<void>;
  /** Lets through what it has kept back, and everything from now on. */
  open(): void;
  close(): Promise<void>;
}

/** Listens on the UNIX socket `path` for what is meant for the one at `target`. */
export async function gate(path: string, target: string, kind: MessageKind): Promise<Gate> {
  let resolve = (): void => {};
  const reached = new Promise<void>((done) => {
    resolve = done;
  });
  const valves = new Set<Valve>();
  const sockets = new Set<Socket>();
  let isOpen = false;
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = open({ path: target, allowHalfOpen: true });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      const valve = new Valve(to, isOpen ? null : messages[kind].number, () => resolve());
      valves.add(valve);
      from.on('data', (bytes) => valve.take(bytes));
      from.on('end', () => to.end());
      from.on('error', () => to.destroy());
    }
  });
  await listening(server, path);
  return {
    reached,
    open: () => {
      isOpen = true;
      for (const valve of valves) valve.open();
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((done) => server.close(done));
    },
  };
}

function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve) => server.listen(path, resolve));
}

/** One direction of one connection. */
class Valve {
  readonly #to: Socket;
  readonly #reached: () => void;
  #kind: number | null;
  #waiting = Buffer.alloc(0);
  #shut = false;

  /** `kind`: the number of what is kept back; null: nothing is. */
  constructor(to: Socket, kind: number | null, reached: () => void) {
    this.#to = to;
    this.#kind = kind;
    this.#reached = reached;
  }

  take(bytes: Buffer): void {
    this.#waiting = Buffer.concat([this.#waiting, bytes]);
    if (this.#shut) return;
    while (this.#waiting.length >= FRAME_HEADER_SIZE) {
      const view = new DataView(this.#waiting.buffer, this.#waiting.byteOffset, this.#waiting.length);
      const { kind, length } = FrameHeader.read(view, 0);
      if (kind === this.#kind) {
        this.#shut = true;
        return this.#reached();
      }
      const size = FRAME_HEADER_SIZE + length;
      if (this.#waiting.length < size) return;
      this.#to.write(this.#waiting.subarray(0, size));
      this.#waiting = this.#waiting.subarray(size);
    }
  }

  open(): void {
    this.#kind = null;
    this.#shut = false;
    this.take(Buffer.alloc(0));
  }
}
