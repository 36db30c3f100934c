// Moves the state of a mediated device by the engine: to another one, to a device behind a socket, and back from there.
// Run with the UUIDs of two devices; prints what was found, as JSON.
import { DeviceClient } from '../../../dist/client/index.js';
import { deviceEnd, migrate } from '../../../dist/engine/index.js';
import { KernelDevice } from '../../../dist/kernel/index.js';
import { serveDevice } from '../../../dist/server/index.js';
import { MigrationState, stateName } from '../../../dist/states/index.js';
import { makeTwin, REGISTERS_AT } from './twin.js';

const [LCR, SCRATCH] = [3, 7];
/** An emulated processor on a machine that is busy takes its time for everything. */
const PATIENT = { limits: { downtimeMs: 60_000 }, timeoutMs: 60_000 };
const [first = '', second = ''] = process.argv.slice(2);
const a = await KernelDevice.open(first);
const b = await KernelDevice.open(second);
const { twin, device } = makeTwin();
const socketPath = `/run/twin-${process.pid}.sock`;
const server = serveDevice(device, { socketPath });
const client = await DeviceClient.connect(`${socketPath}.control`);
const clock = performance.now();

async function fill(kernel, value) {
  await kernel.writeU8(0, SCRATCH, value);
  await kernel.writeU8(0, LCR, 0x1b);
}

async function read(kernel) {
  return [await kernel.readU8(0, LCR), await kernel.readU8(0, SCRATCH)];
}

async function move(from, to, preCopy) {
  const source = await deviceEnd(from);
  const report = await migrate(source, await deviceEnd(to, source), { preCopy, ...PATIENT });
  const states = await Promise.all([from, to].map(async (each) => stateName(await each.migrationState())));
  return { bytes: report.bytes.total, states };
}

const found = {};
try {
  await a.reset();
  await b.reset();
  await fill(a, 0xa1);
  await fill(b, 0);
  found.precopy = { ...(await move(a, b, true)), registers: await read(b) };
  await fill(b, 0xb2);
  await a.setMigrationState(MigrationState.RUNNING);
  found.stopped = { ...(await move(b, a, false)), registers: await read(a) };
  await fill(a, 0xc3);
  found.toSocket = {
    ...(await move(a, client, true)),
    registers: [twin.state[REGISTERS_AT + 3], twin.state[REGISTERS_AT + 7]],
  };
  twin.state[REGISTERS_AT + 7] = 0xd4;
  await b.setMigrationState(MigrationState.RUNNING);
  found.fromSocket = { ...(await move(client, b, true)), registers: await read(b) };
  console.log(JSON.stringify({ found, ms: Math.round(performance.now() - clock) }));
} finally {
  client.close();
  server.close();
  a.close();
  b.close();
}
