// A device of the kernel whose BARs a client may map: served by the command, used by a client, with and without a proxy. Run
// with the address of edu; prints what was found, as JSON.
import { setTimeout as sleep } from 'node:timers/promises';
import { DeviceClient, GuestMemory } from '../../../dist/client/index.js';
import { EduRegister } from '../../../dist/devices/index.js';
import { endAll, run, start } from './commands.js';

const [BAR0, CONFIG, COMMAND, ENABLED] = [0, 7, 4, 0x6];
/** Where messages of interrupts go, and so no memory. */
const RESERVED = 0xfee00000n;
const socket = `/run/mapped-${process.pid}.sock`;
const [listen, operators] = [`/run/before-${process.pid}.sock`, `/run/before-${process.pid}.control`];
const found = {};

async function used(path, use) {
  const memory = new GuestMemory();
  const client = await DeviceClient.connect(path, { memory });
  try {
    return await use(client, memory);
  } finally {
    client.close();
    memory.close();
  }
}

try {
  await start('serve', `kernel:${process.argv[2]}`, '--socket-path', socket, '--map-bars');
  await used(socket, async (client, memory) => {
    await client.writeU8(CONFIG, COMMAND, ENABLED);
    const mapped = await client.mapRegion(BAR0);
    const registers = new Uint32Array(mapped.areas[0].bytes.buffer);
    registers[EduRegister.LIVENESS / 4] = 0x12345678;
    found.identification = registers[EduRegister.IDENTIFICATION / 4];
    // What was written to the memory is there by message as well: it is the device itself.
    found.liveness = await client.readU32(BAR0, EduRegister.LIVENESS);
    mapped.close();

    const signals = [];
    await client.enableInterrupts(1, 1, (vector) => signals.push(vector));
    await client.writeU32(BAR0, EduRegister.INTERRUPT_RAISE, 0x42);
    for (let i = 0; i < 600 && signals.length === 0; i += 1) await sleep(50);
    found.signals = signals;

    await client.mapMemory(memory.add({ iova: RESERVED, size: 4096 }));
    const { output } = await run('inspect', socket);
    found.health = output.split('\n').filter((line) => line.includes('health:'));
  });

  const { output, status } = await run('serve', `kernel:${process.argv[2]}`, '--take-over', socket);
  found.takeOver = { status, output };

  await start('proxy', '--listen', listen, '--backend', socket, '--control', operators, '--mmap');
  await used(listen, async (client) => {
    found.mappable = (await client.regionInfo(BAR0)).mappable;
    found.swap = await run('proxy', 'swap', operators, socket);
  });
} finally {
  console.log(JSON.stringify(found));
  await endAll();
}
