import { Errno } from '../../errors/index.ts';
import { MAX_SOCKET_PATH } from '../../transport/index.ts';
import { mayUse, permissionsText } from '../file-facts.ts';
import type { Rule } from '../finding.ts';
import { isStopped, processText } from '../process-facts.ts';
import { failureOf, type SocketFacts } from '../socket-facts.ts';

const SERVE = 'start a server there, such as: ferry serve memory --socket-path ';

/** As `lspci -nn` shows them. */
const VENDOR_AND_DEVICE = /^[0-9a-f]{4}:[0-9a-f]{4}$/i;

/** The file whose permissions decide: that of the socket which a migration is driven through. */
const door = ({ control, file }: SocketFacts) => control ?? file;

/** What can be wrong before a word is said. */
export const socketRules: readonly Rule<SocketFacts>[] = [
  {
    id: 'socket-missing',
    certainty: 'certain',
    effect: 'prevents',
    finding: ({ file, missingFolder }) => {
      if (file.kind !== 'missing') return null;
      return missingFolder === null ? `${file.path} does not exist` : `${missingFolder} does not exist`;
    },
    why: 'The server makes the socket when it starts; it has not started, listens elsewhere, or in another mount namespace.',
    next: ({ path }) =>
      VENDOR_AND_DEVICE.test(path)
        ? [`if these are the ids of vendor and device, name the address: lspci -D -d ${path}`]
        : [`${SERVE}${path}`, 'compare the path with the one on the command line of the server'],
  },
  {
    id: 'folder-out-of-reach',
    certainty: 'certain',
    effect: 'prevents',
    finding: ({ file }) =>
      file.kind === 'out of reach' ? `a folder of ${file.path} may not be entered by this account` : null,
    why: 'Every folder on the way to a socket needs the permission to search it (x).',
    next: () => ['use the account that the server runs under', 'or give the folders the permission x for it'],
  },
  {
    id: 'not-a-socket',
    certainty: 'certain',
    effect: 'prevents',
    finding: ({ file }) =>
      ['missing', 'out of reach', 'socket'].includes(file.kind)
        ? null
        : `${file.path} is no socket but a ${file.kind}`,
    why: 'vfio-user is spoken over a UNIX stream socket.',
    next: ({ file }) =>
      file.kind === 'directory'
        ? [`name the socket in it: ls -l ${file.path}`]
        : [
            'name the socket of the server',
            'a kernel device is named by its PCI address or by the UUID of its mdev',
          ],
  },
  {
    id: 'path-too-long',
    certainty: 'certain',
    effect: 'prevents',
    finding: ({ path }) => {
      const bytes = new TextEncoder().encode(path).length;
      return bytes > MAX_SOCKET_PATH
        ? `the path has ${bytes} bytes; a socket's has at most ${MAX_SOCKET_PATH}`
        : null;
    },
    why: 'The address of a UNIX socket holds 108 bytes with its end (unix(7)); QEMU is bound by that too.',
    next: () => ['use a shorter path, such as one in /run', 'or a symbolic link to its folder'],
  },
  {
    id: 'not-permitted',
    certainty: 'certain',
    effect: 'prevents',
    finding: (facts) => {
      const file = door(facts);
      if (file.kind !== 'socket' || mayUse(file, facts.caller)) return null;
      return `${file.path} may not be used by user ${facts.caller.uid} (${permissionsText(file)})`;
    },
    why: 'Connecting needs the permission to write to the socket.',
    next: (facts) => [
      `use the account of its owner: user ${door(facts).uid}`,
      'a main socket is opened to others by socketMode of serveDevice(); the control socket is for its owner alone',
    ],
  },
  {
    id: 'nobody-listens',
    certainty: 'certain',
    effect: 'prevents',
    finding: (facts) => {
      const refused = failureOf(facts)?.errno === Errno.ECONNREFUSED;
      return facts.file.kind === 'socket' && refused ? `nobody listens on ${door(facts).path}` : null;
    },
    why: 'The server that made this socket has ended without removing it.',
    next: ({ path }) => [`${SERVE}${path}`, 'its guest has lost the device: QEMU does not connect again'],
  },
  {
    id: 'server-stopped',
    certainty: 'certain',
    effect: 'prevents',
    finding: ({ server }) =>
      server !== null && isStopped(server) ? `${processText(server)} is stopped` : null,
    why: 'A stopped server answers nobody; QEMU gives up on each access after 5 s and then reads all ones.',
    next: ({ server }) => [
      `let it go on: kill -CONT ${server?.pid}`,
      'if a debugger holds it, continue there',
    ],
  },
];
