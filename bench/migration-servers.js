/**
 * Serves the devices of one side of a migration for the bench, and says when all listen:
 *
 *   node bench/migration-servers.js KIND SIZE COUNT FOLDER SIDE
 *
 * `SIDE` is `source`, whose devices are filled, or `destination`. Sockets are FOLDER/SIDE-0.sock and so on.
 */
import { join } from 'node:path';
import { serveDevice } from '../dist/server/index.js';
import makeDevice from './migration-devices.js';

const [kind, size, count, folder, side] = process.argv.slice(2);
for (let i = 0; i < Number(count); i++) {
  const { device, fill } = makeDevice({ kind, size: Number(size) });
  const report = ({ code, message }) => console.error(`${side} ${i}: ${code}: ${message}`);
  serveDevice(device, { socketPath: join(folder, `${side}-${i}.sock`), report });
  if (side === 'source') fill();
}
process.send({ ready: true });
process.on('disconnect', () => process.exit());
