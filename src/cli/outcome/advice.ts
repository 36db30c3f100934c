import { Errno, type FerryError } from '../../errors/index.ts';

/** What to do about an error, by its code and, where that matters, its errno. */
const advice: readonly (readonly [code: string, errno: number | null, next: string])[] = [
  ['ERR_SOCKET', Errno.ENOENT, 'start the server with: ferry serve <device> --socket-path <path>'],
  [
    'ERR_SOCKET',
    Errno.ECONNREFUSED,
    'start the server again; it replaces the socket file that was left behind',
  ],
  ['ERR_SOCKET', Errno.EACCES, 'use the account that the server runs under'],
  ['ERR_SOCKET_LISTEN', Errno.ENOENT, 'make the folder, or choose another path for the socket'],
  ['ERR_SOCKET_LISTEN', Errno.ENOTDIR, 'choose another path for the socket'],
  ['ERR_SOCKET_LISTEN', Errno.EACCES, 'choose a folder that is yours, such as one in /tmp or /run/user'],
  ['ERR_SOCKET_IN_USE', null, 'choose another --socket-path, or end the server that listens there'],
  ['ERR_SOCKET_PATH', null, 'choose a shorter path, such as one in /tmp or /run'],
  ['ERR_TIMEOUT', null, 'look whether the server process is alive and not stopped'],
  ['ERR_CLAIMED', null, 'ferry recover, which tells who has the device'],
  [
    'ERR_CLAIMED',
    null,
    'or, when you are certain that its state runs nowhere else: the same command with --force',
  ],
  ['ERR_CLAIM_STALE', null, 'ferry recover, which tells who has the device'],
  ['ERR_RETIRED', null, 'ferry recover, which tells who has the device'],
  ['ERR_SESSION_BUSY', null, 'wait for the other controller to finish, or end it'],
  ['ERR_DEVICE_ASYNCHRONOUS', null, 'leave out --dedicated'],
  ['ERR_ASYNCHRONOUS', null, 'leave out --dedicated'],
  ['ERR_MODULE_SYNTAX', null, 'correct that line and start again'],
  ['ERR_MODULE_COMMONJS', null, 'npm pkg set type=module'],
  ['ERR_MODULE_IMPORT', null, 'correct the name, or install the package where the module is (npm install)'],
  ['ERR_MODULE_FAILED', null, 'correct what threw, and start again'],
  [
    'ERR_MODULE_NO_DEVICE',
    null,
    'export the device from there: export default class MyDevice extends PciDevice { ... }',
  ],
  ['ERR_TRACE_FILE', null, 'name a file that ferry trace -w has written'],
  ['ERR_TRACE_FILTER', null, 'see what a filter may hold: ferry trace --help'],
  ['ERR_STATE_LOG', null, 'see what a log may hold: ferry states check --help'],
  ['ERR_CHANNEL_CONNECT', null, 'start it there: ferry receive <control>... --listen <address>'],
  ['ERR_CHANNEL_INSECURE', null, 'name certificates: --tls-cert, --tls-key and --tls-ca'],
  ['ERR_CHANNEL_KEY', null, 'name what it was encrypted with: --key-file or --passphrase-file'],
  ['ERR_JOURNAL_ACCESS', null, 'name another directory: --journal <directory>'],
  ['ERR_JOURNAL_MISSING', null, 'name the directory in which it is: --journal <directory>'],
  [
    'ERR_DEVICE_IN_USE',
    null,
    'or, when its guest is paused and waits for this state: the same command with --force',
  ],
  ['ERR_SWAP_STRANDED', null, 'look at the old back end; ferry proxy status <control> says how the proxy is'],
  ['ERR_PROXY_CONTROL', null, 'start it with: ferry proxy --listen <path> --backend <path> --control <path>'],
  ['ERR_VM_CONNECT', null, 'start its QEMU with -qmp, and a destination with -gdb too: docs/vm-migration.md'],
  [
    'ERR_VM_TIMEOUT',
    null,
    'end whoever else is connected to that monitor, and look whether its QEMU is alive',
  ],
  [
    'ERR_VM_STRANDED',
    null,
    'ferry recover, which says who has the VM, and goes on; if the new QEMU has failed, start one in its place before',
  ],
  ['ERR_VM_LOST', null, 'start servers that have ended again, and start the guest anew'],
  ['ERR_VM_GONE', null, 'look whether that QEMU is alive'],
  ['ERR_RESET_FAILED', null, 'restart the server; its device can no longer be used'],
];

/** VERSION is refused with EBUSY when the one place of a VMM is taken. */
const OCCUPIED = 'another client is connected there: use the control socket, or end that client';

/** What to do next; empty where nobody can say in general. */
export function adviceFor({ code, errno, context }: FerryError): readonly string[] {
  if (errno === Errno.EBUSY && context['command'] === 'VERSION') return [OCCUPIED];
  const applies = ([wanted, number]: (typeof advice)[number]): boolean =>
    wanted === code && (number === null || number === errno);
  return advice.filter(applies).map(([, , next]) => next);
}
