import { type PciConfig, parsePciConfig } from '../../src/client/index.ts';
import type { FileFacts } from '../../src/doctor/file-facts.ts';
import type { Conversation, DeviceFacts, SocketFacts } from '../../src/doctor/socket-facts.ts';
import { negotiate, OUR_CAPABILITIES } from '../../src/protocol/index.ts';

/** A socket that anybody of its account may use. */
export const SOCKET: FileFacts = { path: '/run/a.sock', kind: 'socket', mode: 0o600, uid: 0, gid: 0 };

/** A process that serves. */
export const SERVER = { pid: 100, name: 'node', args: ['node', 'serve.js'], state: 'S' };

/** A QEMU as it should be started. */
export const QEMU = {
  pid: 200,
  name: 'qemu-system-x86',
  args: [
    'qemu-system-x86_64',
    '-machine',
    'q35,memory-backend=m',
    '-object',
    'memory-backend-memfd,id=m,size=1G,share=on',
  ],
  state: 'S',
};

/** Configuration space with an MSI-X capability: four vectors in BAR 0, pending bits behind them. */
export function configBytes(change: (bytes: Buffer) => void = () => {}): PciConfig {
  const bytes = Buffer.alloc(256);
  bytes.writeUInt16LE(0x1234, 0);
  bytes[0x06] = 0x10;
  bytes[0x34] = 0x40;
  Buffer.from([0x11, 0, 3, 0, 0, 0, 0, 0, 0x40, 0, 0, 0]).copy(bytes, 0x40);
  change(bytes);
  const config = parsePciConfig(bytes);
  if (config === null) throw new Error('too short');
  return config;
}

const region = (index: number, size: bigint) => ({
  index,
  size,
  fileOffset: 0n,
  readable: true,
  writable: true,
  mappable: false,
  areas: [],
});
const irq = (index: number, count: number) => ({
  index,
  count,
  eventfd: true,
  maskable: false,
  autoMasked: false,
  noResize: false,
});

/** A server of Ferry with a device that has nothing wrong with it. */
export function healthyDevice(): DeviceFacts {
  return {
    greeting: { bytes: 200, capabilities: { max_msg_fds: 16, max_data_xfer_size: 1 << 20 } },
    description: {
      agreement: negotiate({ major: 0, minor: 2, capabilities: OUR_CAPABILITIES }, OUR_CAPABILITIES).agreed,
      info: { resettable: true, pci: true, regionCount: 9, irqCount: 5 },
      regions: [region(0, 4096n), region(7, 256n)],
      interrupts: [irq(0, 1), irq(2, 4)],
      config: configBytes(),
      migration: { flags: 7n, state: 2, dataSize: 4096n },
      server: {
        identity: { kind: 'memory' },
        migration: { sessionOwner: null, lastError: null },
        claim: null,
        hold: { active: false, expired: false, droppedWrites: 0 },
        main: { connected: false, pid: null, dmaMaps: 0, dmaDirect: '0', dmaByMessage: '0' },
      },
      refused: [],
    },
    logsDma: true,
    vmm: null,
    qemu: null,
  };
}

/** A socket with {@link healthyDevice} behind it, with changes. */
export function healthySocket(change: Partial<SocketFacts> = {}): SocketFacts {
  return {
    path: SOCKET.path,
    file: SOCKET,
    missingFolder: null,
    caller: { uid: 0, gids: [0] },
    isControl: false,
    control: { ...SOCKET, path: '/run/a.sock.control' },
    listening: true,
    clients: 0,
    waiting: 0,
    server: SERVER,
    conversation: { kind: 'answered', device: healthyDevice() },
    ...change,
  };
}

/** The same with a device that is changed. */
export function withDevice(change: (device: DeviceFacts) => Partial<DeviceFacts>): SocketFacts {
  const device = healthyDevice();
  return healthySocket({ conversation: { kind: 'answered', device: { ...device, ...change(device) } } });
}

/** The same with a part of the description changed. */
export function described(change: Partial<DeviceFacts['description']>): SocketFacts {
  return withDevice(({ description }) => ({ description: { ...description, ...change } }));
}

/** The same with a part of what the server tells of itself changed. */
export function told(change: object): SocketFacts {
  const { server } = healthyDevice().description;
  return described({ server: { ...(typeof server === 'object' ? server : {}), ...change } });
}

/** A conversation that failed. */
export function failed(code: string, errno: number, greeted = false): Conversation {
  return { kind: 'failed', code, errno, message: 'it failed', greeted };
}
