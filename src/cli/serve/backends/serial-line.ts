import { Serial } from '../../../devices/index.ts';
import { loadNative } from '../../../native/index.ts';
import { EventLoopReactor } from '../../../transport/index.ts';
import type { AttendedDevice } from '../attended-device.ts';
import { PseudoTerminal } from './pseudo-terminal.ts';
import type { SerialEnd } from './serial-end.ts';
import { SocketLine } from './socket-line.ts';
import { StreamBackend } from './stream-backend.ts';

/**
 * A serial device with somebody at its other end, who is with the process that has the device if it is to be taken over.
 * Throws TransportError or NativeError when that can't be made.
 */
export function serialLine(end: SerialEnd, takingOver = false): AttendedDevice {
  if (end.kind === 'unix') return lineAt(end.path, takingOver);
  const backend = new StreamBackend();
  const device = new Serial({ backend });
  switch (end.kind) {
    case 'stdio':
      return { device, close: attachTerminal(backend), stays: STAYS };
    case 'pty':
      return { device, ...openTerminal(backend), stays: STAYS };
  }
}

const STAYS = 'the other end of its line is this process (--backend unix:PATH can be handed over)';

function lineAt(path: string, takingOver: boolean): AttendedDevice {
  const native = loadNative();
  const backend = new SocketLine(native, new EventLoopReactor(native));
  const device = new Serial({ backend });
  if (!takingOver) backend.listen(path);
  return { device, close: () => backend.close(), abandon: () => backend.abandon() };
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
