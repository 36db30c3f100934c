import type { Socket } from 'node:net';
import { connectTo, VmmSocket } from '../socket.ts';
import { VmError } from '../vm-error.ts';
import { encodePacket, GdbDecoder, type GdbToken } from './gdb-packet.ts';

/** How a stub is spoken to. */
export interface GdbOptions {
  /** How long connecting and each answer may take, in milliseconds. */
  readonly timeoutMs: number;
}

/** The most bytes of one read or write: twice that in digits has to fit into QEMU's packets with some room. */
export const MAX_TRANSFER = 16 * 1024;

interface Waiter {
  readonly resolve: (text: string) => void;
  readonly reject: (error: VmError) => void;
  readonly timer: NodeJS.Timeout;
}

/**
 * A connection to the gdb stub of a QEMU (`-gdb`), by which physical memory is read and written, device registers
 * included. Connecting stops a VM that runs, so only a VM that does not run is connected to; closing changes nothing.
 */
export class GdbClient {
  readonly path: string;
  readonly #socket: VmmSocket;
  readonly #timeoutMs: number;
  readonly #decoder = new GdbDecoder();
  /** In the order in which they were asked: answers carry no number. */
  readonly #waiters: Waiter[] = [];

  private constructor(path: string, socket: Socket, { timeoutMs }: GdbOptions) {
    this.path = path;
    this.#timeoutMs = timeoutMs;
    this.#socket = new VmmSocket(socket, {
      take: (bytes) => {
        const tokens = this.#decoder.push(bytes);
        this.#acknowledge(tokens);
        for (const token of tokens) this.#take(token);
      },
      ended: (why) => this.#rejectAll(why),
      gone: (cause) => gone(path, cause),
    });
  }

  /**
   * Connects, and has addresses be physical ones (Qqemu.PhyMemMode, docs/system/gdb.rst of QEMU). Rejects with VmError:
   * ERR_VM_REFUSED when the stub does not know that.
   */
  static async connect(path: string, options: GdbOptions): Promise<GdbClient> {
    const socket = await connectTo(path, 'the gdb stub', options.timeoutMs);
    const client = new GdbClient(path, socket, options);
    try {
      await client.#usePhysicalAddresses();
      return client;
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /** Reads physical memory. Rejects with VmError: ERR_VM_COMMAND (E14) where nothing answers. */
  async read(address: bigint, length: number): Promise<Uint8Array> {
    requireTransfer(length);
    const answer = await this.#exchange(`m${address.toString(16)},${length.toString(16)}`);
    requireNoError(answer, 'read', address, length);
    if (answer.length !== 2 * length || !/^[0-9a-f]*$/i.test(answer)) {
      throw new VmError(
        'ERR_VM_PROTOCOL',
        `the gdb stub answered ${answer.length} digits for ${length} bytes`,
      );
    }
    return Buffer.from(answer, 'hex');
  }

  /**
   * Writes physical memory. 1, 2 and 4 bytes at an aligned address are one access of that size, which is what registers
   * need. Rejects as {@link read} does.
   */
  async write(address: bigint, bytes: Uint8Array): Promise<void> {
    requireTransfer(bytes.length);
    const digits = Buffer.from(bytes).toString('hex');
    const answer = await this.#exchange(`M${address.toString(16)},${bytes.length.toString(16)}:${digits}`);
    requireNoError(answer, 'written', address, bytes.length);
    if (answer !== 'OK')
      throw new VmError('ERR_VM_PROTOCOL', `the gdb stub answered ${quoted(answer)} to a write`);
  }

  /** Ends the connection; the VM stays as it is. Idempotent. */
  close(): void {
    this.#socket.end(new VmError('ERR_VM_GONE', `the connection to the gdb stub at ${this.path} was closed`));
  }

  async #usePhysicalAddresses(): Promise<void> {
    const accepted = await this.#exchange('Qqemu.PhyMemMode:1');
    const mode = accepted === 'OK' ? await this.#exchange('qqemu.PhyMemMode') : '';
    if (mode === '1') return;
    const why = 'this stub has no physical-memory mode (Qqemu.PhyMemMode), or it is no QEMU';
    throw new VmError('ERR_VM_REFUSED', `the gdb stub at ${this.path} can't be used: ${why}`, {
      path: this.path,
    });
  }

  /** Several may be under way: the stub answers one after the other. */
  #exchange(text: string): Promise<string> {
    const { ended } = this.#socket;
    if (ended !== null) return Promise.reject(ended);
    return new Promise((resolve, reject) => {
      // After that an answer could be taken for that of another packet.
      const timer = setTimeout(() => this.#socket.end(late(this.path, this.#timeoutMs)), this.#timeoutMs);
      this.#waiters.push({ resolve, reject, timer });
      this.#socket.write(encodePacket(text));
    });
  }

  #acknowledge(tokens: readonly GdbToken[]): void {
    const packets = tokens.filter(({ is }) => is === 'packet').length;
    if (packets > 0) this.#socket.write('+'.repeat(packets));
  }

  #take(token: GdbToken): void {
    if (token.is === 'nack') throw new VmError('ERR_VM_PROTOCOL', 'the gdb stub did not understand a packet');
    if (token.is !== 'packet') return;
    // Without a waiter it is a stop reply that nobody asked for.
    const waiter = this.#waiters.shift();
    if (waiter === undefined) return;
    clearTimeout(waiter.timer);
    waiter.resolve(token.text);
  }

  #rejectAll(why: VmError): void {
    for (const { reject, timer } of this.#waiters.splice(0)) {
      clearTimeout(timer);
      reject(why);
    }
  }
}

function requireTransfer(length: number): void {
  if (length >= 1 && length <= MAX_TRANSFER) return;
  throw new RangeError(`${length} bytes can't be moved at once`);
}

function requireNoError(answer: string, what: string, address: bigint, length: number): void {
  if (!/^E[0-9a-f]{2}$/i.test(answer)) return;
  const where = `0x${address.toString(16)}`;
  const text = `${length} bytes at ${where} could not be ${what} (${answer}): nothing answers there`;
  throw new VmError('ERR_VM_COMMAND', text, { address, length, answer });
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 40));
}

function gone(path: string, cause?: unknown): VmError {
  const text = `the gdb stub at ${path} has closed the connection: its QEMU has ended, or serves somebody else`;
  return new VmError('ERR_VM_GONE', text, { path }, cause);
}

function late(path: string, ms: number): VmError {
  return new VmError('ERR_VM_TIMEOUT', `the gdb stub at ${path} did not answer in ${ms} ms`, { path });
}
