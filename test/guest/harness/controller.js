// A migration controller that gets as far as it is told, says so, and waits to be killed. Run with the control socket, a
// file for the state, and one of STEPS.
import { writeFileSync } from 'node:fs';
import { DeviceClient } from '../../../dist/client/index.js';
import { MigrationState } from '../../../dist/states/index.js';

const STEPS = ['saved', 'reset', 'resuming'];
const CHUNK = 1024 * 1024;
const [path = '', file = '', last = ''] = process.argv.slice(2);
if (!STEPS.includes(last)) throw new Error(`the last step is one of ${STEPS}`);

const client = await DeviceClient.connect(path);

async function save() {
  const chunks = [];
  const keep = (chunk) => chunks.push(Buffer.from(chunk));
  await client.setMigrationState(MigrationState.STOP_COPY);
  while ((await client.readMigrationData(CHUNK, keep)) > 0);
  const state = Buffer.concat(chunks);
  writeFileSync(file, state);
  return state;
}

async function walk() {
  const state = await save();
  if (last === 'saved') return;
  await client.reset();
  if (last === 'reset') return;
  await client.setMigrationState(MigrationState.RESUMING);
  await client.writeMigrationData(state.subarray(0, state.length / 2));
}

await walk();
console.log(last);
setInterval(() => {}, 1000);
