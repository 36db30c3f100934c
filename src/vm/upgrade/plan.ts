import { type Json, parseJson } from '../../protocol/index.ts';
import { listIn, member, textIn } from '../json.ts';
import { VmError } from '../vm-error.ts';

/** Where the other QEMU listens. */
export interface UpgradeChannels {
  readonly main: string;
  /** Of the type cpr: over it the other one gets the memory, before it has a monitor. */
  readonly cpr: string;
}

/** How QEMU migrates, as far as an upgrade changes it. */
export interface UpgradeSettings {
  readonly mode: string;
  readonly capabilities: readonly { readonly capability: string; readonly state: boolean }[];
}

/** What becomes of the state of a device when its VMM comes back. */
export type Policy = 'keep' | 'reset';

/** What is as it was before an upgrade, and is put back. */
export interface Before {
  readonly settings: UpgradeSettings;
  /** Of the devices, in their order. */
  readonly policies: readonly Policy[];
}

/** Where the new QEMU is; all paths are absolute. */
export interface Successor {
  readonly channels: UpgradeChannels;
  /** The monitor that it makes once it has the memory. */
  readonly newMonitorPath: string;
  /** Likewise its gdb stub. */
  readonly newGdbPath: string;
}

/** What the journal of an upgrade holds for whoever goes on with it. */
export interface UpgradePlan extends Successor, Before {
  /** What QEMU calls the devices. */
  readonly ids: readonly string[];
  /** Where QEMU and ferry exchange files, if somebody has said so. */
  readonly scratch: string | null;
}

const VERSION = 1;

/** The plan as it is kept: JSON. */
export function encodePlan(plan: UpgradePlan): Uint8Array {
  const { channels, newMonitorPath, newGdbPath, settings, policies, ids, scratch } = plan;
  const json: Json = {
    version: VERSION,
    ...{ main: channels.main, cpr: channels.cpr, monitor: newMonitorPath, gdb: newGdbPath, scratch },
    mode: settings.mode,
    capabilities: settings.capabilities.map(({ capability, state }) => ({ capability, state })),
    devices: policies.map((policy, i) => ({ policy, id: ids[i] ?? '' })),
  };
  return new TextEncoder().encode(JSON.stringify(json));
}

/** Reads what {@link encodePlan} has made. @throws VmError ERR_VM_RECORD */
export function decodePlan(bytes: Uint8Array): UpgradePlan {
  const json = parseJson(bytes, 4, (reason) => refuse(reason));
  if (member(json, 'version') !== VERSION) return refuse('it is of another version');
  const text = (name: string): string => textIn(json, name) ?? refuse(`it has no ${name}`);
  const capabilities = listIn(json, 'capabilities').map((each) => ({
    capability: textIn(each, 'capability') ?? refuse('a capability has no name'),
    state: member(each, 'state') === true,
  }));
  const devices = listIn(json, 'devices');
  return {
    channels: { main: text('main'), cpr: text('cpr') },
    ...{ newMonitorPath: text('monitor'), newGdbPath: text('gdb') },
    settings: { mode: text('mode'), capabilities },
    policies: devices.map((each) => (textIn(each, 'policy') === 'keep' ? 'keep' : 'reset')),
    ids: devices.map((each) => textIn(each, 'id') ?? refuse('a device has no name')),
    scratch: textIn(json, 'scratch'),
  };
}

function refuse(why: string): never {
  throw new VmError('ERR_VM_RECORD', `what the journal holds of an upgrade makes no sense: ${why}`);
}
