import type { Rule } from '../finding.ts';
import { field, numberAt } from '../json-value.ts';
import type { DeviceFacts, SocketFacts } from '../socket-facts.ts';
import { deviceRule } from './device-rule.ts';

/** What libvfio-user always names in its reply, asked or not (lib/tran.c). */
const LIBVFIO_USER = { maxMsgFds: 8, migrationPgsize: 4096 } as const;

/** libvfio-user names these in every reply, and none of what only the text has. */
export function looksLikeLibvfioUser({
  greeting: { capabilities },
  description: { server },
}: DeviceFacts): boolean {
  return (
    server === null &&
    numberAt(capabilities, 'max_msg_fds') === LIBVFIO_USER.maxMsgFds &&
    field(capabilities, 'max_dma_maps') === undefined &&
    field(capabilities, 'pgsizes') === undefined
  );
}

/** Known defects of servers that can be recognised. */
export const peerRules: readonly Rule<SocketFacts>[] = [
  deviceRule({
    id: 'libvfio-user-large-messages',
    certainty: 'suspected',
    effect: 'endangers',
    finding: (device) =>
      looksLikeLibvfioUser(device)
        ? 'the server looks like libvfio-user, which loses track of large messages'
        : null,
    why:
      'It reads a body with one recv(): a message above 36,544 bytes that arrives in pieces breaks the connection (its issue ' +
      '306), although it offers 1 MiB.',
    next: () => [
      'nothing with Ferry, which sends it 32 KiB at most',
      'another controller: limit messages to 32 KiB',
    ],
  }),
  deviceRule({
    id: 'libvfio-user-stuck',
    certainty: 'suspected',
    effect: 'endangers',
    finding: (device) =>
      looksLikeLibvfioUser(device) &&
      device.description.refused.length > 0 &&
      device.description.info === null
        ? 'the server refuses DEVICE_GET_INFO, as libvfio-user does while its device is stopped'
        : null,
    why: 'Its state survives a client: the next one gets EINVAL for everything, DEVICE_RESET too, until RUNNING is set.',
    next: ({ path }) => [`ferry state ${path} --set RUNNING`],
  }),
];
