import { CONTROL_SUFFIX } from '../protocol/index.ts';
import { MigrationFlag, stateName } from '../states/index.ts';
import type { NotLooked, Seen } from './diagnosis.ts';
import { permissionsText } from './file-facts.ts';
import { textAt } from './json-value.ts';
import { processText } from './process-facts.ts';
import { looksLikeLibvfioUser } from './rules/peers.ts';
import { connectionsText, type DeviceFacts, deviceOf, type SocketFacts } from './socket-facts.ts';

/** What was seen of a socket and what is behind it. */
export function seenOfSocket(facts: SocketFacts): Seen[] {
  const device = deviceOf(facts);
  return [...seenOutside(facts), ...(device === null ? [] : seenDevice(device))];
}

/** What was not looked at, and why. */
export function notLookedOfSocket({ conversation, listening, server }: SocketFacts): NotLooked[] {
  const missed: NotLooked[] = [];
  if (listening === null)
    missed.push({ what: 'who listens and is connected', why: '/proc/net/unix can not be read' });
  else if (listening && server === null)
    missed.push({ what: 'the process that listens', why: 'it belongs to another account or namespace' });
  if (conversation.kind === 'none') missed.push({ what: 'the device', why: conversation.why });
  if (conversation.kind !== 'answered') return missed;
  const { description, vmm } = conversation.device;
  for (const { message } of description.refused) missed.push({ what: 'a part of the device', why: message });
  if (description.server === null)
    missed.push({
      what: 'holds, claims and the VMM',
      why: 'only a server of Ferry tells them',
    });
  if (vmm !== null && vmm.args.length === 0)
    missed.push({ what: `the command line of ${processText(vmm)}`, why: 'it belongs to another account' });
  return missed;
}

function seenOutside({ file, control, isControl, server, listening, clients, waiting }: SocketFacts): Seen[] {
  if (file.kind === 'missing' || file.kind === 'out of reach') return [];
  const seen: Seen[] = [{ what: 'file', is: `${file.kind}, mode ${permissionsText(file)}` }];
  if (file.kind !== 'socket') return seen;
  const beside = control === null ? 'none' : isControl ? 'this one' : `*${CONTROL_SUFFIX}`;
  seen.push({ what: 'control socket', is: beside });
  if (server !== null) seen.push({ what: 'server', is: processText(server) });
  else if (listening === false) seen.push({ what: 'server', is: 'nobody of this network namespace listens' });
  if (clients !== null) seen.push({ what: 'clients of the main socket', is: String(clients) });
  if (waiting !== null && waiting > 0) seen.push({ what: 'not accepted yet', is: connectionsText(waiting) });
  return seen;
}

function seenDevice(device: DeviceFacts): Seen[] {
  const { description, vmm } = device;
  const { agreement, info, migration, server } = description;
  const { maxDataXferSize, maxMsgFds } = agreement.send;
  const kind = textAt(server, 'identity', 'kind');
  const maker = looksLikeLibvfioUser(device) ? ', looks like libvfio-user' : '';
  return [
    { what: 'protocol', is: `${agreement.major}.${agreement.minor}${server === null ? maker : ', Ferry'}` },
    {
      what: 'limits',
      is: `${maxDataXferSize} bytes and ${maxMsgFds} fds per message, ${agreement.maxDmaMaps} DMA maps`,
    },
    ...(info === null
      ? []
      : [
          {
            what: 'device',
            is: `${kind ?? 'device'}, ${info.regionCount} regions, ${info.irqCount} interrupts`,
          },
        ]),
    { what: 'migration', is: migrationText(migration) },
    ...(device.logsDma === null
      ? []
      : [{ what: 'DMA logging', is: device.logsDma ? 'offered' : 'not offered' }]),
    ...(vmm === null ? [] : [{ what: 'VMM', is: processText(vmm) }]),
  ];
}

function migrationText({ flags, state, dataSize, v1 }: DeviceFacts['description']['migration']): string {
  if (v1 !== undefined) return `by v1, through region ${v1.region}`;
  if (flags === null) return 'not offered';
  const names = Object.entries(MigrationFlag).filter(([, bit]) => (flags & BigInt(bit)) !== 0n);
  const size = dataSize === null ? 'size unknown' : `about ${dataSize} bytes`;
  return `${names.map(([name]) => name).join(', ')}; ${state === null ? 'state unknown' : stateName(state)}; ${size}`;
}
