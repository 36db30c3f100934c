import { DeviceClient } from '../../client/index.ts';
import { FerryError } from '../../errors/index.ts';
import { loadNative } from '../../native/index.ts';
import { Feature, FeatureFlag } from '../../protocol/index.ts';
import { EventLoopReactor } from '../../transport/index.ts';
import { numberAt } from '../json-value.ts';
import { isQemu } from '../process-facts.ts';
import { readQemuArguments } from '../qemu-command-line.ts';
import type { Conversation, DeviceFacts } from '../socket-facts.ts';
import { readGreeting } from './greeting.ts';
import type { Host } from './host.ts';
import { processFacts } from './processes.ts';
import { RecordingReactor } from './recording-reactor.ts';

/** What {@link converse} found out besides what was said. */
export interface Talk {
  readonly conversation: Conversation;
  /** The process that listens, by SO_PEERCRED; null when nobody does. */
  readonly pid: number | null;
}

/**
 * Asks a server everything that can be asked without changing its device, over one connection: VERSION, information,
 * the configuration space, device features by GET and PROBE. `asVmm`: over the main socket, where nobody else is then.
 * Never rejects for what the server does.
 */
export async function converse(host: Host, path: string, asVmm: boolean, timeoutMs: number): Promise<Talk> {
  const real = loadNative();
  const reactor = new RecordingReactor(new EventLoopReactor(real));
  let pid: number | null = null;
  let greeted = false;
  const connect = (to: string): number => {
    const fd = real.connect(to);
    const credentials = new Int32Array(3);
    if (fd >= 0 && real.peerCredentials(fd, credentials) >= 0) pid = credentials[0] || null;
    return fd;
  };
  try {
    const client = await DeviceClient.connect(path, { native: { ...real, connect }, reactor, timeoutMs });
    greeted = true;
    try {
      return {
        conversation: { kind: 'answered', device: await ask(host, client, asVmm, reactor.first) },
        pid,
      };
    } finally {
      client.close();
    }
  } catch (error) {
    if (!(error instanceof FerryError)) throw error;
    const { code, errno, message } = error;
    return { conversation: { kind: 'failed', code, errno, message, greeted }, pid };
  }
}

async function ask(
  host: Host,
  client: DeviceClient,
  asVmm: boolean,
  greeting: Uint8Array,
): Promise<DeviceFacts> {
  const description = await client.describe();
  const { flags } = description.migration;
  const logsDma =
    flags === null ? null : await client.probeFeature(Feature.DMA_LOGGING_START, FeatureFlag.SET);
  const pid = asVmm ? null : numberAt(description.server, 'main', 'pid');
  const vmm = pid === null ? null : processFacts(host, pid);
  const qemu = vmm !== null && isQemu(vmm) ? readQemuArguments(vmm.args) : null;
  return { greeting: readGreeting(greeting), description, logsDma, vmm, qemu };
}
