// Everything that went wrong in the transcript, as the client tells it. Run with the UUIDs of two devices; prints JSON.
import { KernelDevice } from '../../../dist/kernel/index.js';
import { MigrationState, stateName } from '../../../dist/states/index.js';

const [first = '', second = ''] = process.argv.slice(2);
const b = await KernelDevice.open(second);
const { migration } = b;
const found = {};

/** What an attempt was answered, and where the device is then. */
async function attempt(name, act) {
  try {
    await act();
    found[name] = 'no error';
  } catch (error) {
    const { code, errno, reached, message } = error;
    const state = stateName(await migration.state().catch(() => -1));
    found[name] = {
      code,
      errno,
      state,
      ...(reached === undefined ? {} : { reached: stateName(reached) }),
      message,
    };
  }
}

const to = (state) => migration.setState(MigrationState[state]);

await b.reset();
await attempt('another process or another opening', () => KernelDevice.open(second));
await attempt('a device that there is not', () => KernelDevice.open('83b8f4f2-509f-382f-3c1e-e6bfe0faffff'));
await attempt('to ERROR', () => to('ERROR'));
await attempt('to a state that there is not', () => migration.setState(8));
await to('STOP_COPY');
await attempt('from STOP_COPY to PRE_COPY', () => to('PRE_COPY'));
await attempt('write while saving', () => migration.write(new Uint8Array(8)));
await b.reset();
await attempt('read after a reset', () => migration.read(16, () => {}));
await to('RESUMING');
await attempt('read while resuming', () => migration.read(16, () => {}));
await migration.write(new Uint8Array(20));
await attempt('to STOP, incomplete', () => to('STOP'));
await attempt('to RUNNING, incomplete', () => to('RUNNING'));
await b.reset();
await attempt('write after a reset', () => migration.write(new Uint8Array(8)));
await to('RESUMING');
await attempt('a header that is none', () => migration.write(new Uint8Array(96).fill(0xee)));
await b.reset();
await to('RESUMING');
await attempt('more than there can be', () => migration.write(new Uint8Array(70_000)));
b.close();

// Another process, here another opening, finds what was left behind.
const again = await KernelDevice.open(second);
try {
  await again.migration.setState(MigrationState.RESUMING);
  found['left over'] = 'no error';
} catch ({ code, message }) {
  found['left over'] = { code, message };
}
await again.reset();
found['after it'] = stateName(await again.migration.state());
await again.reset();
again.close();

const a = await KernelDevice.open(first);
found['registers that there are not'] = await a.read(0, 7, 2).then(
  () => 'no error',
  ({ code, errno }) => ({ code, errno }),
);
found['a region that can not be mapped'] = await a.mapRegion(0).then(
  () => 'no error',
  ({ code, errno }) => ({ code, errno }),
);
const interrupts = [];
a.interrupts.listen(0, 1, (vector, times) => interrupts.push([vector, times]));
a.interrupts.set(0, 0, 'trigger', { count: 1 });
await new Promise((resolve) => setTimeout(resolve, 100));
found.interrupts = interrupts;
try {
  a.interrupts.set(2, 0, 'trigger', { count: 1 });
  found['MSI-X'] = 'no error';
} catch ({ code, errno }) {
  found['MSI-X'] = { code, errno };
}
a.interrupts.disable(0);
a.close();
console.log(JSON.stringify(found));
