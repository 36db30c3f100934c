// Serves devices of the kernel, and has a QEMU inside of the guest use them: registers, interrupts, DMA, and a swap of the
// device underneath. Run with QEMU's command line as JSON, the address of edu, and the UUIDs of two devices.
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { KernelBridge } from '../../../dist/bridge/index.js';
import { DeviceClient } from '../../../dist/client/index.js';
import { EDU_BUFFER, EduDmaCommand, EduRegister } from '../../../dist/devices/index.js';
import { KernelDevice } from '../../../dist/kernel/index.js';
import { DeviceProxy } from '../../../dist/proxy/index.js';
import { serveDevice } from '../../../dist/server/index.js';

const [command = '[]', edu = '', first = '', second = ''] = process.argv.slice(2);
/** An emulated processor that emulates another one takes its time. */
const PATIENCE_MS = 120_000;
/** Slots of QEMU's bus, and where the BARs are put. */
const [TTY_SLOT, EDU_SLOT, TTY_AT, EDU_AT] = [4, 5, 0xc000, 0xe0000000];
const [IER, MCR, SCRATCH] = [1, 4, 7];
const PAGE = 4096;
const found = {};
const closers = [];

async function serve(name, address, map = false) {
  const device = await KernelDevice.open(address);
  const bridge = await KernelBridge.over(device, { map });
  const socketPath = `/run/${name}-${process.pid}.sock`;
  const server = serveDevice(bridge, {
    socketPath,
    holdLimitMs: PATIENCE_MS,
    transitionTimeoutMs: PATIENCE_MS,
  });
  closers.push(() => server.close());
  return socketPath;
}

/** QEMU without a processor of its own: its bus is used by text (docs/devel/testing/qtest.rst). */
class Qtest {
  #process;
  #waiting = [];
  #lines = '';
  interrupts = [];
  errors = '';

  constructor([program, ...before], ...args) {
    // A QEMU that was unpacked beside the system does not know where its modules are.
    const libraries = before[before.indexOf('--library-path') + 1]?.split(':')[0];
    const env = { ...process.env, ...(before.length > 0 ? { QEMU_MODULE_DIR: `${libraries}/qemu` } : {}) };
    this.#process = spawn(program, [...before, ...args], { stdio: ['pipe', 'pipe', 'pipe'], env });
    this.#process.stderr.on('data', (text) => {
      this.errors += text;
    });
    this.#process.stdout.setEncoding('latin1').on('data', (text) => this.#take(text));
    this.#process.on('exit', () => {
      for (const { reject } of this.#waiting.splice(0)) reject(new Error(`QEMU has ended: ${this.errors}`));
    });
    closers.push(() => this.#process.kill('SIGKILL'));
  }

  #take(text) {
    this.#lines += text;
    const lines = this.#lines.split('\n');
    this.#lines = lines.pop() ?? '';
    for (const line of lines) {
      if (line.startsWith('IRQ')) this.interrupts.push(line.trim());
      else if (/^(OK|FAIL|ERR)/.test(line)) this.#waiting.shift()?.resolve(line);
    }
  }

  async do(text) {
    const answer = new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
    this.#process.stdin.write(`${text}\n`);
    const line = await answer;
    if (!line.startsWith('OK')) throw new Error(`${text}: ${line}`);
    return line.slice(3);
  }

  async number(text) {
    return Number(await this.do(text));
  }

  async config(slot, register, value) {
    await this.do(`outl 0xcf8 0x${(0x80000000 + slot * 0x800 + register).toString(16)}`);
    if (value === undefined) return this.number('inl 0xcfc');
    return this.do(`outl 0xcfc 0x${value.toString(16)}`);
  }

  /** Whether an interrupt is seen soon. */
  async raised() {
    for (let i = 0; i < 200; i += 1) {
      // What QEMU has to say comes with its next answer.
      await this.do('clock_step');
      if (this.interrupts.some((line) => line.includes('raise'))) return true;
      await sleep(50);
    }
    return false;
  }
}

async function useTty(qtest, value) {
  await qtest.do(`outb 0x${(TTY_AT + SCRATCH).toString(16)} 0x${value.toString(16)}`);
  return qtest.number(`inb 0x${(TTY_AT + SCRATCH).toString(16)}`);
}

/** The transmitter is empty: that raises an interrupt as soon as it may. */
async function interrupt(qtest) {
  qtest.interrupts = [];
  await qtest.do(`outb 0x${(TTY_AT + MCR).toString(16)} 0x8`);
  await qtest.do(`outb 0x${(TTY_AT + IER).toString(16)} 0x0`);
  await qtest.do(`outb 0x${(TTY_AT + IER).toString(16)} 0x2`);
  return qtest.raised();
}

async function useEdu(qtest) {
  await qtest.config(EDU_SLOT, 0x10, EDU_AT);
  await qtest.config(EDU_SLOT, 0x04, 0x6);
  const at = (register) => `0x${(EDU_AT + register).toString(16)}`;
  found.identification = await qtest.number(`readl ${at(EduRegister.IDENTIFICATION)}`);
  await qtest.do(`writel ${at(EduRegister.LIVENESS)} 0x12345678`);
  found.liveness = await qtest.number(`readl ${at(EduRegister.LIVENESS)}`);
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
      await qtest.do(`writeq ${at(register)} 0x${value.toString(16)}`);
    }
    for (let i = 0; i < 200; i += 1) {
      if (((await qtest.number(`readl ${at(EduRegister.DMA_COMMAND)}`)) & 1) === 0) return;
      await sleep(50);
    }
  };
  await transfer(0x100000, EDU_BUFFER, RUN);
  await transfer(EDU_BUFFER, 0x102000, RUN | TO_MEMORY);
  const copied = await qtest.do('read 0x102000 0x1000');
  found.dma = copied.trim() === `0x${pattern.toString('hex')}`;
}

try {
  const [one, two] = [await serve('one', first), await serve('two', second)];
  const three = await serve('edu', edu);
  const listen = `/run/proxy-${process.pid}.sock`;
  const limits = { holdLimitMs: PATIENCE_MS, timeoutMs: PATIENCE_MS };
  const proxy = new DeviceProxy({ listen, backend: one, ...limits });
  closers.push(() => proxy.close());

  const vfio = (path, slot) =>
    JSON.stringify({
      ...{ driver: 'vfio-user-pci', socket: { type: 'unix', path }, addr: `0x${slot}` },
      'x-msg-timeout': PATIENCE_MS,
    });
  const qtest = new Qtest(
    JSON.parse(command),
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-accel', 'qtest', '-qtest', 'stdio'],
    ...['-object', 'memory-backend-memfd,id=memory,size=32M,share=on', '-m', '32'],
    ...['-machine', 'pc,memory-backend=memory'],
    ...['-device', vfio(listen, TTY_SLOT), '-device', vfio(three, EDU_SLOT)],
  );
  await qtest.do('irq_intercept_in ioapic');
  found.ids = [await qtest.config(TTY_SLOT, 0), await qtest.config(EDU_SLOT, 0)];
  await useEdu(qtest);

  await qtest.config(TTY_SLOT, 0x10, TTY_AT);
  await qtest.config(TTY_SLOT, 0x14, TTY_AT + 0x10);
  await qtest.config(TTY_SLOT, 0x04, 0x1);
  found.scratch = await useTty(qtest, 0xa5);
  found.interrupt = await interrupt(qtest);

  const control = await DeviceClient.connect(`${three}.control`);
  const report = await control.inspectServer();
  control.close();
  found.maps = report.main.dmaMaps > 0;
  found.health = (report.device.health ?? []).map((each) => each.replace(/0x[0-9a-f-x]+/, '...'));

  const swapped = await proxy.swap(two);
  found.swap = swapped.stateBytes;
  found.scratchAfter = await qtest.number(`inb 0x${(TTY_AT + SCRATCH).toString(16)}`);
  found.interruptAfter = await interrupt(qtest);
  console.log(JSON.stringify(found));
} catch (error) {
  console.log(JSON.stringify(found));
  throw error;
} finally {
  for (const close of closers.reverse()) close();
}
