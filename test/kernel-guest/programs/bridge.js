// Serves devices of the kernel as an operator does, by the command, and has a QEMU inside of the guest use them: registers,
// INTx, MSI, DMA, and a swap of the device underneath. Run with QEMU's command line as JSON, the address of edu, and the
// UUIDs of two devices; prints what was found, as JSON.
import { setTimeout as sleep } from 'node:timers/promises';
import { EDU_BUFFER, EduDmaCommand, EduRegister } from '../../../dist/devices/index.js';
import { endAll, run, start } from './commands.js';
import { Qtest } from './qtest.js';

const [command = '[]', edu = '', first = '', second = ''] = process.argv.slice(2);
/** An emulated processor that emulates another one takes its time. */
const PATIENCE_MS = '120000';
/** Slots of QEMU's bus, and where the BARs are put. */
const [TTY_SLOT, EDU_SLOT, TTY_AT, EDU_AT] = [4, 5, 0xc000, 0xe0000000];
const [IER, MCR, SCRATCH] = [1, 4, 7];
/** Where edu has its capability MSI; its message is written to memory, where it can be seen. */
const [MSI, MESSAGE_AT, MESSAGE] = [0x40, 0x104000, 0x1234];
const PAGE = 4096;
const found = {};

async function serve(name, address) {
  const socket = `/run/${name}-${process.pid}.sock`;
  await start('serve', `kernel:${address}`, '--socket-path', socket, '--hold-limit', PATIENCE_MS);
  return socket;
}

const hex = (number) => `0x${number.toString(16)}`;

async function useTty(qtest, value) {
  await qtest.do(`outb ${hex(TTY_AT + SCRATCH)} ${hex(value)}`);
  return qtest.number(`inb ${hex(TTY_AT + SCRATCH)}`);
}

/** The transmitter is empty: that raises an interrupt as soon as it may. */
async function interrupt(qtest) {
  qtest.interrupts = [];
  await qtest.do(`outb ${hex(TTY_AT + MCR)} 0x8`);
  await qtest.do(`outb ${hex(TTY_AT + IER)} 0x0`);
  await qtest.do(`outb ${hex(TTY_AT + IER)} 0x2`);
  return qtest.raised();
}

const at = (register) => hex(EDU_AT + register);

/** Asks until the answer is wanted. */
async function until(ask, isWanted) {
  for (let i = 0; i < 200; i += 1) {
    if (isWanted(await ask())) return true;
    await sleep(50);
  }
  return false;
}

async function useEdu(qtest) {
  await qtest.config(EDU_SLOT, 0x10, EDU_AT);
  await qtest.config(EDU_SLOT, 0x04, 0x6);
  found.identification = await qtest.number(`readl ${at(EduRegister.IDENTIFICATION)}`);
  await qtest.do(`writel ${at(EduRegister.LIVENESS)} 0x12345678`);
  found.liveness = await qtest.number(`readl ${at(EduRegister.LIVENESS)}`);
}

async function moveByDma(qtest) {
  const pattern = Buffer.from(Array.from({ length: PAGE }, (_, i) => (i * 5 + 1) & 0xff));
  await qtest.do(`write 0x100000 0x1000 0x${pattern.toString('hex')}`);
  const { RUN, TO_MEMORY } = EduDmaCommand;
  const transfer = async (from, to, how) => {
    for (const [register, value] of [
      [EduRegister.DMA_SOURCE, from],
      [EduRegister.DMA_DESTINATION, to],
      [EduRegister.DMA_COUNT, PAGE],
      [EduRegister.DMA_COMMAND, how],
    ]) {
      await qtest.do(`writeq ${at(register)} ${hex(value)}`);
    }
    const ask = () => qtest.number(`readl ${at(EduRegister.DMA_COMMAND)}`);
    await until(ask, (value) => (value & 1) === 0);
  };
  await transfer(0x100000, EDU_BUFFER, RUN);
  await transfer(EDU_BUFFER, 0x102000, RUN | TO_MEMORY);
  const copied = await qtest.do('read 0x102000 0x1000');
  found.dma = copied.trim() === `0x${pattern.toString('hex')}`;
}

/** From the device through the kernel and an eventfd to QEMU, which writes the message where the guest wants it. */
async function signal(qtest) {
  await qtest.config(EDU_SLOT, MSI + 4, MESSAGE_AT);
  await qtest.config(EDU_SLOT, MSI + 8, 0);
  await qtest.config(EDU_SLOT, MSI + 12, MESSAGE);
  const control = await qtest.config(EDU_SLOT, MSI);
  await qtest.config(EDU_SLOT, MSI, control | 0x10000);
  await qtest.do(`writel ${at(EduRegister.INTERRUPT_RAISE)} 0x42`);
  const ask = () => qtest.number(`readl ${hex(MESSAGE_AT)}`);
  found.msi = await until(ask, (value) => value === MESSAGE);
}

let qtest = null;
try {
  const [one, two, three] = [await serve('one', first), await serve('two', second), await serve('edu', edu)];
  const [listen, operators] = [`/run/proxy-${process.pid}.sock`, `/run/proxy-${process.pid}.control`];
  const limits = ['--hold-limit', PATIENCE_MS, '--timeout', PATIENCE_MS];
  await start('proxy', '--listen', listen, '--backend', one, '--control', operators, ...limits);

  const vfio = (path, slot) =>
    JSON.stringify({
      ...{ driver: 'vfio-user-pci', socket: { type: 'unix', path }, addr: hex(slot) },
      'x-msg-timeout': Number(PATIENCE_MS),
    });
  qtest = new Qtest(
    JSON.parse(command),
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-accel', 'qtest', '-qtest', 'stdio'],
    ...['-object', 'memory-backend-memfd,id=memory,size=32M,share=on', '-m', '32'],
    ...['-machine', 'pc,memory-backend=memory'],
    ...['-device', vfio(listen, TTY_SLOT), '-device', vfio(three, EDU_SLOT)],
  );
  await qtest.do('irq_intercept_in ioapic');
  found.ids = [await qtest.config(TTY_SLOT, 0), await qtest.config(EDU_SLOT, 0)];
  await useEdu(qtest);
  await moveByDma(qtest);
  await signal(qtest);

  await qtest.config(TTY_SLOT, 0x10, TTY_AT);
  await qtest.config(TTY_SLOT, 0x14, TTY_AT + 0x10);
  await qtest.config(TTY_SLOT, 0x04, 0x1);
  found.scratch = await useTty(qtest, 0xa5);
  found.interrupt = await interrupt(qtest);

  const report = await run('inspect', three, '--json');
  const { main, device } = JSON.parse(report.output).server;
  found.maps = main.dmaMaps > 0;
  found.health = (device.health ?? []).map((each) => each.replace(/0x[0-9a-f-x]+/, '...'));

  const swapped = await run('proxy', 'swap', operators, two, '--json');
  found.swap = swapped.status === 0 ? JSON.parse(swapped.output).swap.stateBytes : swapped;
  found.scratchAfter = await qtest.number(`inb ${hex(TTY_AT + SCRATCH)}`);
  found.interruptAfter = await interrupt(qtest);
} finally {
  console.log(JSON.stringify(found));
  qtest?.close();
  await endAll();
}
