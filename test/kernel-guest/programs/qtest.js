// A QEMU whose bus is used by a program in place of a processor.
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

/** QEMU without a processor of its own: its bus is used by text (docs/devel/testing/qtest.rst). */
export class Qtest {
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

  close() {
    this.#process.kill('SIGKILL');
  }
}
