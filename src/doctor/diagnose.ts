import type { Diagnosis } from './diagnosis.ts';
import { type Finding, isPrevented, judge } from './finding.ts';
import { Host } from './gather/host.ts';
import { gatherKernelDevice, type KernelProber } from './gather/kernel-device.ts';
import { gatherMachine } from './gather/machine.ts';
import { gatherSocket } from './gather/socket.ts';
import { KERNEL_DEVICE_RULES, MACHINE_RULES, SOCKET_RULES } from './rules/index.ts';
import {
  notLookedOfKernelDevice,
  notLookedOfMachine,
  seenOfKernelDevice,
  seenOfMachine,
} from './seen-kernel.ts';
import { notLookedOfSocket, seenOfSocket } from './seen-socket.ts';
import { parseTarget } from './target.ts';

/** How {@link diagnose} looks. */
export interface DiagnoseOptions {
  /** Whether a server may be connected to, or a device opened; true by default. Neither is where that disturbs anybody. */
  readonly connect?: boolean;
  /** How long to wait for each answer of a server, in milliseconds; 2000 by default. */
  readonly timeoutMs?: number;
  /** The machine; this one by default. */
  readonly host?: Host;
  /** Opens a device of the kernel and asks it; by default for real. */
  readonly probe?: KernelProber;
}

const DEFAULT_TIMEOUT_MS = 2000;

/**
 * Why can't this be migrated? Looks at the socket of a vfio-user server, at a PCI address, at the UUID of a mediated
 * device, or at the machine (undefined), and changes nothing. Never rejects for what it finds.
 */
export async function diagnose(
  target: string | undefined,
  options: DiagnoseOptions = {},
): Promise<Diagnosis> {
  const { host = new Host(), connect = true, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const named = parseTarget(target);
  switch (named.kind) {
    case 'socket': {
      const facts = await gatherSocket(host, named.path, { connect, timeoutMs });
      const [seen, notLooked] = [seenOfSocket(facts), notLookedOfSocket(facts)];
      return conclude({ kind: 'socket', target: named.path, seen, notLooked }, judge(SOCKET_RULES, facts));
    }
    case 'machine': {
      const facts = gatherMachine(host);
      const [seen, notLooked] = [seenOfMachine(facts), notLookedOfMachine(facts)];
      return conclude({ kind: 'machine', target: null, seen, notLooked }, judge(MACHINE_RULES, facts));
    }
    default: {
      const facts = await gatherKernelDevice(host, named.kind, named.name, connect ? options.probe : null);
      const [seen, notLooked] = [seenOfKernelDevice(facts), notLookedOfKernelDevice(facts)];
      return conclude(
        { kind: named.kind, target: named.name, seen, notLooked },
        judge(KERNEL_DEVICE_RULES, facts),
      );
    }
  }
}

function conclude(
  looked: Omit<Diagnosis, 'findings' | 'migratable'>,
  findings: readonly Finding[],
): Diagnosis {
  return { ...looked, findings, migratable: !isPrevented(findings) };
}
