import {
  Command,
  DEFAULT_MAX_DMA_MAPS,
  HEADER_SIZE,
  littleEndian,
  version,
} from '../../../protocol/index.ts';
import { practice, specification } from '../../rule.ts';
import { broken, demand, notApplicable } from '../../verdict.ts';
import { fields, u32At, versionPayload, viewOf } from '../../wire/bytes.ts';
import type { Received } from '../../wire/message-cutter.ts';
import { decoded, failed, worked } from '../ask.ts';
import { capabilitiesOf, PROPOSAL } from '../facts.ts';
import { capabilities, greet, turnedAway } from '../first-words.ts';
import { type ServerRule, serverRule } from '../server-rule.ts';
import type { ServerWorld } from '../world.ts';

const VERSION = specification('VFIO_USER_VERSION');

function minorOf({ payload }: Received): number {
  return viewOf(payload).getUint16(2, littleEndian);
}

const accepts = (json: string | null, what: string) => async (world: ServerWorld) => {
  worked(await greet(world, versionPayload(json)), what);
};

/** The first words of a connection. */
export const negotiationRules: readonly ServerRule[] = [
  serverRule({
    ...{ id: 'negotiation.reply', severity: 'must', clause: VERSION },
    title: 'VERSION is answered with the major version that was proposed, and version data that can be read',
    why: 'without an answer that it understands no client gets any further',
    async check(world) {
      const reply = await greet(world, versionPayload(PROPOSAL));
      const { major } = decoded(version.reply, worked(reply));
      demand(major === 0, `the reply says major version ${major}`, 'major version 0, as proposed');
    },
  }),
  serverRule({
    ...{ id: 'negotiation.minor', severity: 'must' },
    clause: specification('VFIO_USER_VERSION: the minor version in the reply is at most the one proposed'),
    title: 'The minor version in the reply is not above the one proposed',
    why: 'QEMU proposes minor 0 and gives up on a server that answers with more',
    async check(world) {
      for (const minor of [0, 1, 0xffff]) {
        const reply = await greet(world, versionPayload(PROPOSAL, { minor }));
        worked(reply, `VERSION 0.${minor}`);
        const answered = minorOf(reply);
        demand(answered <= minor, `minor ${minor} was answered with ${answered}`, `at most ${minor}`);
      }
    },
  }),
  serverRule({
    ...{ id: 'negotiation.no-version-data', severity: 'must' },
    clause: specification('VFIO_USER_VERSION, version data: optional'),
    title: 'A proposal without version data is accepted',
    why: 'the defaults then hold; a small client has nothing to say',
    check: accepts(null, 'VERSION without version data'),
  }),
  serverRule({
    ...{ id: 'negotiation.no-capabilities', severity: 'must' },
    clause: specification('VFIO_USER_VERSION, capabilities: optional'),
    title: 'Version data without capabilities are accepted',
    why: 'the capabilities are optional, each and all',
    async check(world) {
      await accepts('{}', 'VERSION with {}')(world);
      await accepts('{"capabilities":{}}', 'VERSION with empty capabilities')(world);
    },
  }),
  serverRule({
    ...{ id: 'negotiation.unknown-capability', severity: 'must' },
    clause: specification('VFIO_USER_VERSION: compatible changes such as adding new capabilities'),
    title: 'Capabilities that the server does not know are ignored',
    why: 'otherwise no later client can talk to this server',
    check: accepts(
      '{"capabilities":{"unheard_of":{"deep":[1,"x",null]},"max_msg_fds":8}}',
      'an unknown capability',
    ),
  }),
  serverRule({
    ...{ id: 'negotiation.subset', severity: 'must' },
    clause: specification('VFIO_USER_VERSION: the capability list must be a subset of those proposed'),
    title: 'The reply names no capability that was not proposed',
    why: 'a client that did not propose a capability can not be held to it; QEMU warns of each',
    async check(world) {
      const reply = await greet(world, capabilities('"max_data_xfer_size":1048576'));
      worked(reply);
      const extra = [...capabilitiesOf(reply.payload).keys()].filter((name) => name !== 'max_data_xfer_size');
      demand(
        extra.length === 0,
        `max_data_xfer_size was proposed, and the reply also names ${extra.join(', ')}`,
        'a subset of what was proposed',
      );
    },
  }),
  serverRule({
    ...{ id: 'negotiation.fits-qemu', severity: 'interoperability' },
    clause: practice(
      'QEMU 11.1, hw/vfio-user/proxy.c: a reply larger than the request does not fit its buffer',
    ),
    title: "The reply to QEMU's proposal is not longer than the proposal",
    why: 'QEMU can not attach otherwise ("reply larger than recv buffer")',
    async check(world) {
      const proposal = versionPayload(PROPOSAL);
      const { payload } = await greet(world, proposal);
      const size = HEADER_SIZE + payload.length;
      const most = HEADER_SIZE + proposal.length;
      demand(size <= most, `the reply has ${size} bytes`, `at most ${most}`);
    },
  }),
  serverRule({
    ...{ id: 'negotiation.qemu-limits', severity: 'interoperability' },
    clause: practice('QEMU 11.1, hw/vfio-user/proxy.c: check_max_fds, check_max_xfer, check_max_dma'),
    title: 'The limits of the reply are such that QEMU takes them',
    why: 'QEMU refuses a server that names more',
    async check(world) {
      const named = capabilitiesOf(worked(await greet(world, versionPayload(PROPOSAL))));
      for (const [name, most] of [
        ['max_msg_fds', 16],
        ['max_data_xfer_size', 64 * 1024 * 1024],
        ['max_dma_maps', DEFAULT_MAX_DMA_MAPS],
      ] as const) {
        const value = named.get(name);
        if (typeof value === 'number') demand(value <= most, `${name} is ${value}`, `at most ${most}`);
      }
    },
  }),
  serverRule({
    ...{ id: 'negotiation.major', severity: 'must' },
    clause: specification(
      'Connection Initiation: closes the connection if it cannot support the advertised version',
    ),
    title: 'A major version that the server does not speak ends the connection',
    why: 'the rest of the conversation would be misunderstood',
    async check(world) {
      const wire = await world.connect();
      await wire.post(Command.VERSION, versionPayload(PROPOSAL, { major: 0x7fff }));
      demand(
        await wire.closes(),
        'the connection goes on after VERSION 32767.0',
        'the end of the connection',
      );
      const reply = wire.take();
      if (reply !== null && !failed(reply)) broken('VERSION 32767.0 was accepted', 'an error, or no reply');
    },
  }),
  serverRule({
    ...{ id: 'negotiation.comes-first', severity: 'must' },
    clause: specification('VFIO_USER_VERSION: the initial message sent by the client'),
    title: 'Nothing is served before VERSION',
    why: 'limits and features have not been agreed on; a stranger gets at the device',
    check: (world) =>
      turnedAway(world, 'DEVICE_GET_INFO as the first message', Command.DEVICE_GET_INFO, fields(16, 0, 0, 0)),
  }),
  serverRule({
    ...{ id: 'negotiation.once', severity: 'should', clause: VERSION },
    title: 'A second VERSION is refused',
    why: 'limits that change in the middle of a connection invalidate what is under way',
    async check(world) {
      const wire = await world.open();
      const id = await wire.post(Command.VERSION, versionPayload(PROPOSAL));
      const reply = await wire.replyOrEnd(id, 'a second VERSION');
      if (reply !== null) demand(failed(reply), 'a second VERSION was accepted', 'an error reply');
    },
  }),
  serverRule({
    ...{ id: 'negotiation.twin-unasked', severity: 'must' },
    clause: specification(
      'VFIO_USER_VERSION: if and only if the client has indicated support for twin-socket mode',
    ),
    title: 'The twin socket is not enabled for a client that did not ask for it',
    why: 'the client would never see the commands of the server',
    async check(world) {
      const reply = await greet(world, versionPayload(PROPOSAL));
      demand(!supports(twinOf(reply)), 'the reply enables a twin socket', 'none');
      demand(reply.fds.length === 0, `${reply.fds.length} descriptors came along`, 'none');
    },
  }),
  serverRule({
    ...{ id: 'negotiation.twin', severity: 'must' },
    clause: specification('VFIO_USER_VERSION: twin_socket.fd_index refers to a valid file descriptor'),
    title: 'A twin socket that is enabled comes along as a descriptor that the reply names',
    why: 'the client has to give up the connection otherwise',
    async check(world) {
      const reply = await greet(world, capabilities('"max_msg_fds":8,"twin_socket":{"supported":true}'));
      const twin = twinOf(reply);
      if (!supports(twin)) notApplicable('the server enables no twin socket');
      const index = twin.get('fd_index');
      const there =
        typeof index === 'number' && Number.isInteger(index) && index >= 0 && index < reply.fds.length;
      demand(there, `fd_index is ${String(index)}, and ${reply.fds.length} descriptors came`, 'one of them');
    },
  }),
  serverRule({
    ...{ id: 'negotiation.busy', severity: 'should', needs: ['spawn'] },
    clause: specification('Socket: dedicated sockets per client/server connection'),
    title: 'A second client does not disturb the first',
    why: 'a stray connection, from a tool or a second VMM, would take the device away from a guest',
    async check(world) {
      const first = await world.open();
      const second = await world.connect();
      await second.post(Command.VERSION, versionPayload(PROPOSAL));
      const reply = await first.request(Command.DEVICE_GET_INFO, fields(16, 0, 0, 0));
      demand(
        !failed(reply) && u32At(reply.payload, 8) > 0,
        'the first client is not served any more',
        'it to be',
      );
      second.close();
      demand(
        !failed(await first.request(Command.DEVICE_GET_INFO, fields(16, 0, 0, 0))),
        'the first client is not served any more',
        'it to be',
      );
    },
  }),
];

function twinOf({ payload }: Received): ReadonlyMap<string, unknown> {
  const twin = capabilitiesOf(payload).get('twin_socket');
  return new Map(typeof twin === 'object' && twin !== null ? Object.entries(twin) : []);
}

function supports(twin: ReadonlyMap<string, unknown>): boolean {
  return twin.get('supported') === true;
}
