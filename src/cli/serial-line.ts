import { Socket } from 'node:net';
import { Serial } from '../devices/index.ts';
import { loadNative } from '../native/index.ts';
import { EventLoopReactor, listen } from '../transport/index.ts';
import type { AttendedDevice } from './attended-device.ts';
import { PseudoTerminal } from './backends/pseudo-terminal.ts';
import type { SerialEnd } from './serial-end.ts';
import { StreamBackend } from './stream-backend.ts';

const OWNER_ONLY = 0o600;

/** A serial device with somebody at its other end. Throws TransportError or NativeError when that can't be made. */
export function serialLine(end: SerialEnd): AttendedDevice {
  const backend = new StreamBackend();
  const device = new Serial({ backend });
  switch (end.kind) {
    case 'stdio':
      return { device, close: attachTerminal(backend) };
    case 'pty':
      return { device, ...openTerminal(backend) };
    case 'unix':
      return { device, close: acceptAt(backend, end.path) };
  }
}

function openTerminal(backend: StreamBackend): { readonly line: string; readonly close: () => void } {
  const terminal = new PseudoTerminal(loadNative(), (session) => {
    session.once('close', () => backend.detach());
    backend.attach(session, session);
  });
  return { line: terminal.path, close: () => terminal.close() };
}

/** An input that ends leaves the line up: the guest may still send. */
function attachTerminal(backend: StreamBackend): () => void {
  const { stdin, stdout } = process;
  // Whoever read what the guest sends has gone, or whoever sent to it.
  stdout.on('error', () => backend.detach());
  stdin.on('error', () => backend.detach());
  backend.attach(stdin, stdout);
  return () => {
    backend.detach();
    stdin.destroy();
  };
}

function acceptAt(backend: StreamBackend, path: string): () => void {
  const native = loadNative();
  let current: Socket | null = null;
  const accepted = (fd: number): void => {
    const socket = new Socket({ fd, readable: true, writable: true });
    // What goes wrong with a connection also closes it.
    socket.on('error', () => {});
    // A line has two ends: who comes while somebody is there sees the connection end.
    if (backend.attached) {
      socket.destroy();
      return;
    }
    current = socket;
    socket.on('close', () => backend.detach());
    backend.attach(socket, socket);
  };
  const listener = listen({
    native,
    reactor: new EventLoopReactor(native),
    path,
    mode: OWNER_ONLY,
    accepted,
  });
  return () => {
    listener.close();
    current?.destroy();
  };
}
