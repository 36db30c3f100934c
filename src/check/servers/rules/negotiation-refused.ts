import { Command } from '../../../protocol/index.ts';
import { practice, specification } from '../../rule.ts';
import { demand } from '../../verdict.ts';
import { fields, versionPayload } from '../../wire/bytes.ts';
import { outcomeOf } from '../ask.ts';
import { PROPOSAL } from '../facts.ts';
import { capabilities, greet, refusesFirst } from '../first-words.ts';
import { type ServerRule, serverRule } from '../server-rule.ts';

const VERSION = specification('VFIO_USER_VERSION');

/** First words that are wrong. */
export const negotiationRefusedRules: readonly ServerRule[] = [
  serverRule({
    ...{ id: 'negotiation.json-without-nul', severity: 'must' },
    clause: specification('VFIO_USER_VERSION, version data: including terminating NUL'),
    title: 'Version data without their NUL are refused',
    why: 'who takes them as a string reads what is behind them in memory',
    check: refusesFirst([['version data without a NUL', versionPayload(PROPOSAL, { nul: false })]]),
  }),
  serverRule({
    ...{ id: 'negotiation.json-malformed', severity: 'must' },
    clause: specification('VFIO_USER_VERSION, version data: JSON'),
    title: 'Version data that are no JSON object are refused',
    why: 'the two ends would go on with different ideas of what was agreed',
    check: refusesFirst([
      ['an open brace', versionPayload('{')],
      ['an open quote', versionPayload('"')],
      ['invalid UTF-8', fields(0, Uint8Array.of(0x7b, 0xff, 0x7d, 0))],
    ]),
  }),
  serverRule({
    ...{ id: 'negotiation.wrong-types', severity: 'should' },
    clause: specification('VFIO_USER_VERSION, Capabilities: the types'),
    title: 'Capabilities of a wrong type are refused',
    why: 'a limit that can not be read is not known to either side',
    check: refusesFirst([
      ['max_msg_fds that is a string', capabilities('"max_msg_fds":"foo"')],
      ['capabilities that are a string', versionPayload('{"capabilities":"23"}')],
    ]),
  }),
  serverRule({
    ...{ id: 'negotiation.impossible-limits', severity: 'hardening' },
    clause: practice(
      'libvfio-user takes 0 and -1, and then sends empty messages for ever, or replies of 256 MiB',
    ),
    title: 'Limits that nobody can keep to are refused',
    why: 'a server that divides what it sends by the limit of its client does not come to an end with 0',
    check: refusesFirst([
      ['max_data_xfer_size of 0', capabilities('"max_data_xfer_size":0')],
      ['max_data_xfer_size of -1', capabilities('"max_data_xfer_size":-1')],
      ['max_msg_fds of -1', capabilities('"max_msg_fds":-1')],
    ]),
  }),
  serverRule({
    ...{ id: 'negotiation.short', severity: 'must', clause: VERSION },
    title: 'VERSION without a whole version is refused',
    why: 'what is read behind the end of the message is not what the client said',
    check: refusesFirst([
      ['VERSION without payload', fields()],
      ['VERSION of 3 bytes', Uint8Array.of(0, 0, 0)],
    ]),
  }),
  serverRule({
    ...{ id: 'negotiation.deep-json', severity: 'hardening', needs: ['spawn'] },
    clause: specification('Security Considerations'),
    title: 'Version data that nest without end are survived',
    why: 'a parser that calls itself for each level runs out of stack',
    async check(world) {
      const wire = await world.connect();
      const deep = `{"capabilities":{"x":${'['.repeat(5000)}${']'.repeat(5000)}}}`;
      const id = await wire.post(Command.VERSION, versionPayload(deep));
      await wire.replyOrEnd(id, 'VERSION with deep JSON');
      await world.stillServes('VERSION with JSON that nests 5000 levels deep');
    },
  }),
  serverRule({
    ...{ id: 'negotiation.fds', severity: 'hardening' },
    clause: specification('Security Considerations'),
    title: 'Descriptors with VERSION get an answer, not silence',
    why: 'a client that sends one by mistake never learns why it can not connect',
    async check(world) {
      const reply = await greet(world, versionPayload(PROPOSAL), [world.memfd(4096)]);
      demand(
        reply.header.command === Command.VERSION,
        `it was answered with ${outcomeOf(reply)}`,
        'a reply to VERSION',
      );
    },
  }),
];
