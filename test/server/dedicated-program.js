// Serves a device on a thread of its own and does what its standard input says. Run with the options as JSON.
import { createInterface } from 'node:readline';
import { Worker } from 'node:worker_threads';
import { serveDedicated } from '../../dist/server/index.js';

const say = (event) => console.log(JSON.stringify(event));
const options = JSON.parse(process.argv[2] ?? '{}');
const factory = new URL('./dedicated-devices.js', import.meta.url).href;

if (options.worker) {
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const thread = new URL('../../dist/server/dedicated-thread.js', import.meta.url);
  const worker = new Worker(thread, { workerData: { options: { factory, ...options }, stop } });
  worker.once('message', say);
  createInterface(process.stdin).on('line', async () => {
    await worker.terminate();
    process.exit(0);
  });
} else {
  const report = ({ code, message }) => say({ report: { code, message } });
  const actions = {
    close: (server) => server.close().then(() => process.stdin.destroy()),
    exit: () => process.exit(3),
    echo: () => say({ echo: true }),
  };
  serveDedicated({ factory, report, ...options }).then(
    (server) => {
      say({ listening: [server.socketPath, server.controlPath] });
      server.ended.then(() => say({ ended: true }));
      createInterface(process.stdin).on('line', (line) => actions[line](server));
    },
    ({ code, errno, message }) => say({ refused: { code, errno, message } }),
  );
}
