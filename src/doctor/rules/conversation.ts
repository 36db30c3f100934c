import { Errno, errnoName } from '../../errors/index.ts';
import type { Rule } from '../finding.ts';
import { isStopped, processText } from '../process-facts.ts';
import { connectionsText, type Failed, failureOf, type SocketFacts } from '../socket-facts.ts';

type Test = (failure: Failed, facts: SocketFacts) => boolean;

const failed =
  (test: Test, sentence: (failure: Failed, facts: SocketFacts) => string) => (facts: SocketFacts) => {
    const failure = failureOf(facts);
    return failure !== null && test(failure, facts) ? sentence(failure, facts) : null;
  };

const isBusy: Test = ({ errno, greeted, code }) => code === 'ERR_REMOTE' && errno === Errno.EBUSY && !greeted;
const isBreach: Test = ({ code }) =>
  code === 'ERR_FRAMING' || (code.startsWith('ERR_PROTOCOL') && code !== 'ERR_PROTOCOL_VERSION');
const isVersion: Test = (failure, facts) =>
  failure.code === 'ERR_PROTOCOL_VERSION' ||
  (failure.code === 'ERR_REMOTE' && !failure.greeted && !isBusy(failure, facts));
const isHangUp: Test = ({ code }) => code === 'ERR_CONNECTION_CLOSED' || code === 'ERR_CONNECTION_LOST';

/** A connection is not even queued (unix(7), EAGAIN). */
const isQueueFull = ({ code, errno, greeted }: Failed): boolean =>
  code === 'ERR_SOCKET' && errno === Errno.EAGAIN && !greeted;

/** Somebody listens who has not accepted the connection; of one that is known to be stopped, another rule tells. */
function isWaiting(facts: SocketFacts): boolean {
  const failure = failureOf(facts);
  if (failure === null || (facts.server !== null && isStopped(facts.server))) return false;
  const late = failure.code === 'ERR_TIMEOUT' && !failure.greeted && (facts.waiting ?? 0) > 0;
  return late || isQueueFull(failure);
}

function unacceptedText({ server, waiting, clients }: SocketFacts): string {
  const who = server === null ? 'somebody listens' : `${processText(server)} listens`;
  const queue = waiting === null || waiting === 0 ? '' : ` (not accepted yet: ${connectionsText(waiting)})`;
  const next = (clients ?? 0) > 0 ? 'accepts nobody else' : 'accepts nobody';
  return `${who}, but ${next}${queue}${doingText(server)}`;
}

/** What a process does while it does not answer (proc(5), the state of /proc/<pid>/stat). */
function doingText(server: SocketFacts['server']): string {
  switch (server?.state) {
    case 'R':
      return '; it is running all the time';
    case 'S':
      return '; it sleeps, waiting for something else';
    case 'D':
      return '; it waits in the kernel for a device or a disk';
    default:
      return '';
  }
}

function lookAt({ server }: SocketFacts): string[] {
  if (server === null) return ['see which process listens, and what it does: ss -xlp'];
  const { pid } = server;
  return [
    `see what it does: cat /proc/${pid}/wchan, or gdb -p ${pid} -batch -ex 'thread apply all backtrace'`,
  ];
}

/** What can go wrong while the server is talked to. */
export const conversationRules: readonly Rule<SocketFacts>[] = [
  {
    id: 'no-control-socket-busy',
    certainty: 'certain',
    effect: 'prevents',
    finding: (facts) => {
      const { control, clients, conversation, file } = facts;
      if (control !== null || file.kind !== 'socket') return null;
      const failure = failureOf(facts);
      const refused = failure !== null && isBusy(failure, facts);
      const taken = conversation.kind === 'none' && (clients ?? 0) > 0;
      return refused || taken ? 'a client has the only socket of this server' : null;
    },
    why: 'A VMM such as QEMU never speaks migration, and a server without a control socket has no place for who does.',
    next: () => [
      'a server of Ferry: start it without --no-control',
      'another server: its device can be looked at and moved only while no VMM is connected',
    ],
  },
  {
    id: 'main-taken',
    certainty: 'certain',
    effect: 'prevents',
    finding: (facts) =>
      facts.control === null ? null : failed(isBusy, () => 'the control socket has no free place')(facts),
    why: 'A server of Ferry takes eight controllers at once.',
    next: () => ['end the other controllers: ss -xp names their processes'],
  },
  {
    id: 'nobody-accepts',
    certainty: 'certain',
    effect: 'prevents',
    finding: (facts) => (isWaiting(facts) ? unacceptedText(facts) : null),
    why:
      'It serves another client first, hangs, or has given its socket up without closing it. A server that serves one client ' +
      'at a time accepts the next one when that has gone.',
    next: (facts) => [...lookAt(facts), 'see who is connected to it: ss -xp'],
  },
  {
    id: 'server-silent',
    certainty: 'certain',
    effect: 'prevents',
    finding: (facts) => {
      const { server, waiting } = facts;
      if (failureOf(facts)?.code !== 'ERR_TIMEOUT' || isWaiting(facts)) return null;
      if (server !== null && isStopped(server)) return null;
      if (failureOf(facts)?.greeted === true) return 'the server stopped answering';
      return waiting === null
        ? 'the server does not answer'
        : 'the server has accepted the connection but does not answer';
    },
    why: 'It hangs, serves another client first, or does not speak vfio-user.',
    next: (facts) => [...lookAt(facts), 'see whether another client is connected: ss -xp'],
  },
  {
    id: 'version-refused',
    certainty: 'certain',
    effect: 'prevents',
    finding: failed(isVersion, ({ message }) => message),
    why: 'Without a common version and page size no command may follow.',
    next: () => ['compare the versions and the VERSION settings of both sides (docs/protocol.md)'],
  },
  {
    id: 'protocol-broken',
    certainty: 'certain',
    effect: 'prevents',
    finding: failed(isBreach, ({ message }) => `the server breaks the protocol: ${message}`),
    why: 'A client can only guess what such an answer means; another client may guess otherwise.',
    next: () => ['see each rule that it breaks: ferry check', 'see the conversation: ferry trace'],
  },
  {
    id: 'server-hangs-up',
    certainty: 'certain',
    effect: 'prevents',
    finding: failed(isHangUp, ({ greeted }) =>
      greeted
        ? 'the server hung up in the middle of harmless questions'
        : 'the server hung up instead of answering VERSION',
    ),
    why: 'It has crashed, refuses this client, or is no vfio-user server.',
    next: () => ['look into the log of the server', 'see where it happens: ferry trace'],
  },
  {
    id: 'connection-failed',
    certainty: 'certain',
    effect: 'prevents',
    finding: failed(
      (failure, facts) =>
        ![isBusy, isBreach, isVersion, isHangUp].some((test) => test(failure, facts)) &&
        failure.code !== 'ERR_TIMEOUT' &&
        failure.errno !== Errno.ECONNREFUSED &&
        !isQueueFull(failure),
      ({ message, errno }) => `${message} (${errnoName(errno)})`,
    ),
    why: 'Nothing more can be told without an answer.',
    next: () => ['look whether the server process is alive', 'see the conversation: ferry trace'],
  },
  {
    id: 'no-control-socket',
    certainty: 'certain',
    effect: 'endangers',
    finding: ({ control, conversation }) =>
      control === null && conversation.kind === 'answered' ? 'the server has no control socket' : null,
    why: 'It can be moved only while no VMM is connected: a VMM takes the only place and never speaks migration.',
    next: () => [
      'a server of Ferry: start it without --no-control',
      'another server: put a proxy before it that keeps the VMM connected (ferry proxy, docs/cli.md)',
    ],
  },
];
