/** Serves a device for the bench: node serve.js KIND MODE SOCKET, MODE being loop, busy or dedicated. */
import { serveDedicated, serveDevice } from '../dist/server/index.js';
import makeDevice from './devices.js';

const [, , kind, mode, socketPath] = process.argv;
const report = ({ code, message }) => console.error(`${code}: ${message}`);

/** Busy polling: look for the next message for as long as the budget allows, again and again. */
const BUSY = { spinMicroseconds: 100_000, budgetMicroseconds: 100_000 };

if (mode === 'dedicated') {
  const factory = new URL('./devices.js', import.meta.url).href;
  await serveDedicated({ factory, factoryOptions: { kind, dedicated: true }, socketPath, report });
} else {
  serveDevice(makeDevice({ kind }), { socketPath, report, ...(mode === 'busy' ? BUSY : {}) });
}
process.on('SIGTERM', () => process.exit(0));
