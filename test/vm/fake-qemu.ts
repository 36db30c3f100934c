import { writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { encodePacket } from '../../src/vm/gdb/gdb-packet.ts';
import { configSpace } from './pci-bytes.ts';

/** What goes wrong with a {@link FakeQemu}: at a command of its monitor, or at a packet of its gdb stub. */
export interface Trouble {
  /** A command's name, or `gdb` with the beginning of a packet. */
  readonly at: string;
  readonly how: 'refuses' | 'dies' | 'is silent';
  /** The first so many times go well. */
  readonly after?: number;
}

const ECAM = 0xb000_0000n;
const GREETING = '{"QMP": {"version": {}, "capabilities": []}}\r\n';
/** What is sent of the VM before it stops, and after. */
const BEFORE = Buffer.alloc(300_000, 1);
const AFTER = Buffer.alloc(50_000, 2);

/** As much of a QEMU as a migration needs: a monitor, a gdb stub, a stream, and a VM that runs or does not. */
export class FakeQemu {
  readonly qmpPath: string;
  readonly gdbPath: string;
  readonly commands: string[] = [];
  /** The VM runs. */
  running: boolean;
  /** What has arrived of another VM. */
  readonly received: Buffer[] = [];
  trouble: Trouble | null = null;
  dead = false;
  #status = 'none';
  #state: string;
  readonly #socketPath: string;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #memory = new Map<bigint, Uint8Array>();
  #out: Socket | null = null;

  constructor(folder: string, name: string, role: 'source' | 'destination', socketPath: string) {
    this.qmpPath = join(folder, `${name}.qmp`);
    this.gdbPath = join(folder, `${name}.gdb`);
    this.#socketPath = socketPath;
    this.running = role === 'source';
    this.#state = role === 'source' ? 'running' : 'inmigrate';
    const bridge = new Uint8Array(256);
    new DataView(bridge.buffer).setUint32(0, 0x29c0_8086, true);
    new DataView(bridge.buffer).setBigUint64(0x60, ECAM | 1n, true);
    this.#memory.set(ECAM, bridge);
    const set = role === 'source' ? { command: 0x0107, line: 11, bars: { 0: 0xfe00_0000 } } : {};
    this.#memory.set(ECAM + (0x10n << 15n), configSpace(set));
  }

  /** The configuration space of its device. */
  get config(): Uint8Array {
    return this.#memory.get(ECAM + (0x10n << 15n)) ?? new Uint8Array(0);
  }

  async start(): Promise<this> {
    await this.#listen(this.qmpPath, (socket) => {
      socket.write(GREETING);
      this.#lines(socket, (line) => this.#command(socket, line));
    });
    await this.#listen(this.gdbPath, (socket) => {
      socket.on('data', (bytes) => {
        for (const [, packet = ''] of bytes.toString('latin1').matchAll(/\$([^#]*)#../g))
          this.#packet(socket, packet);
      });
    });
    return this;
  }

  /** It ends, and all its connections with it. */
  die(): void {
    this.dead = true;
    this.running = false;
    for (const socket of this.#sockets) socket.destroy();
    for (const server of this.#servers) server.close();
    this.#out?.destroy();
  }

  #listen(path: string, accept: (socket: Socket) => void): Promise<void> {
    const server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
      accept(socket);
    });
    this.#servers.push(server);
    return new Promise((resolve) => server.listen(path, resolve));
  }

  #lines(socket: Socket, take: (line: string) => void): void {
    let text = '';
    socket.on('data', (bytes) => {
      const lines = (text + bytes.toString()).split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) if (!this.dead) take(line);
    });
  }

  #command(socket: Socket, line: string): void {
    const { execute, id, arguments: args = {} } = JSON.parse(line);
    this.commands.push(execute);
    const say = (what: object): void => void socket.write(`${JSON.stringify({ ...what, id })}\r\n`);
    if (this.#fails(execute, () => say({ error: { class: 'GenericError', desc: 'it will not' } }))) return;
    say({ return: this.#answer(execute, args) });
    if (execute === 'quit') setImmediate(() => this.die());
  }

  /** True: trouble has answered, or has not. */
  #fails(at: string, refuse: () => void): boolean {
    const trouble = this.trouble;
    if (trouble === null || trouble.at !== at) return false;
    if ((trouble.after ?? 0) > 0) {
      this.trouble = { ...trouble, after: (trouble.after ?? 0) - 1 };
      return false;
    }
    if (trouble.how === 'dies') this.die();
    else if (trouble.how === 'refuses') refuse();
    return true;
  }

  #answer(command: string, args: Record<string, unknown>): unknown {
    switch (command) {
      case 'query-version':
        return { qemu: { major: 11, minor: 1, micro: 3 } };
      case 'query-status':
        return { status: this.running ? 'running' : this.#state, running: this.running };
      case 'query-migrate':
        return this.#status === 'none'
          ? {}
          : { status: this.#status, ram: { remaining: 0, total: 1, 'dirty-sync-count': 1 } };
      case 'query-pci':
        return [{ bus: 0, devices: [{ bus: 0, slot: 0x10, function: 0, qdev_id: 'd0' }] }];
      case 'qom-get':
        return args['property'] === 'type'
          ? 'pc-q35-11.1-machine'
          : args['property'] === 'addr'
            ? '10.0'
            : '/machine/q35/pcie.0';
      case 'qom-list':
        return this.#tree(String(args['path']));
      case 'pmemsave':
        writeFileSync(
          String(args['filename']),
          this.#peek(BigInt(Number(args['val'])), Number(args['size'])) ?? Buffer.alloc(Number(args['size'])),
        );
        return {};
      case 'query-memdev':
      case 'query-cpus-fast':
      case 'query-migrate-capabilities':
        return [];
      default:
        return this.#act(command, args);
    }
  }

  #act(command: string, args: Record<string, unknown>): unknown {
    const path = String(args['uri'] ?? '').replace('unix:', '');
    if (command === 'migrate') this.#send(path);
    else if (command === 'migrate-incoming') this.#receive(path);
    else if (command === 'stop') this.#stop();
    else if (command === 'migrate-set-parameters' && args['downtime-limit'] === 2_000_000) this.#pause();
    else if (command === 'migrate-continue') this.#finish();
    else if (command === 'migrate_cancel') {
      this.#out?.destroy();
      this.#status = 'cancelled';
      this.running = true;
    } else if (command === 'cont') this.running = true;
    return {};
  }

  #tree(path: string): readonly object[] {
    if (path === '/machine/peripheral') return [{ name: 'd0', type: 'child<vfio-user-pci>' }];
    if (path !== '/machine/peripheral/d0') return [];
    return [{ name: `vfio-user:${this.#socketPath} BAR 0[0]`, type: 'child<memory-region>' }];
  }

  #send(path: string): void {
    this.#status = 'active';
    this.#out = connect(path);
    this.#out.on('error', () => {});
    this.#out.write(BEFORE);
  }

  #stop(): void {
    if (this.running) this.#state = 'paused';
    this.running = false;
  }

  #pause(): void {
    this.#stop();
    this.#status = 'pre-switchover';
  }

  #finish(): void {
    this.#status = 'device';
    this.#out?.end(AFTER, () => {
      this.#status = 'completed';
      this.#state = 'postmigrate';
    });
  }

  #receive(path: string): void {
    this.#status = 'setup';
    void this.#listen(path, (socket) => {
      this.#status = 'active';
      const over = (): void => {
        const whole = Buffer.concat(this.received).equals(Buffer.concat([BEFORE, AFTER]));
        this.#status = whole ? 'completed' : 'failed';
        if (whole) this.#state = 'paused';
      };
      socket.on('end', over);
      // What it is sent has an end of its own, at which it hangs up.
      socket.on('data', (bytes) => {
        this.received.push(bytes);
        if (this.received.reduce((sum, { length }) => sum + length, 0) < BEFORE.length + AFTER.length) return;
        over();
        socket.destroy();
      });
    });
  }

  #packet(socket: Socket, packet: string): void {
    const say = (text: string): void => void socket.write(`+${encodePacket(text)}`);
    if (this.#fails(`gdb ${packet[0]}`, () => say('E22'))) return;
    if (packet === 'Qqemu.PhyMemMode:1') return say('OK');
    if (packet === 'qqemu.PhyMemMode') return say('1');
    const [, what, address = '', length = '', digits = ''] =
      /^([mM])([0-9a-f]+),([0-9a-f]+):?(.*)$/.exec(packet) ?? [];
    const [start, size] = [BigInt(`0x${address}`), Number.parseInt(length, 16)];
    const there = this.#peek(start, size);
    if (there === null) return say('E14');
    if (what === 'm') return say(Buffer.from(there).toString('hex'));
    there.set(Buffer.from(digits, 'hex'));
    say('OK');
  }

  #peek(address: bigint, length: number): Uint8Array | null {
    for (const [start, bytes] of this.#memory) {
      const offset = Number(address - start);
      if (offset >= 0 && offset + length <= bytes.length) return bytes.subarray(offset, offset + length);
    }
    return null;
  }
}
