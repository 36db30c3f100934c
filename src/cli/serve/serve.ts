import { Command } from 'commander';
import { EXIT_CODES_HELP } from '../outcome/exit-code.ts';
import { failureJson, failureOf } from '../outcome/failure.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { print, printError, toJson } from '../output/terminal.ts';
import { announcement, tellStarter } from './announcement.ts';
import { DEVICE_NAMES, type DeviceSpec, deviceSpec } from './device-spec.ts';
import { addServeOptions, requireOneSocket, type ServeCommandOptions } from './serve-options.ts';
import { type Service, startService } from './service.ts';

const HELP = `
Devices:
  edu      QEMU's educational device: factorials, interrupts, DMA to a buffer
  memory   a large memory that clients can map, with a checksum engine and a clock
  gpio     the ACCES PCI-IDIO-16 (Linux: gpio-pci-idio-16), 16 outputs and 16 inputs
  serial   a 16550A on PCI (Linux: 8250_pci)
  nvme     an NVMe 1.4 controller with one namespace (Linux: nvme)
  kernel:NAME  a device that a driver of Linux gives by VFIO: kernel:0000:00:05.0, the UUID of a mediated device, its
           file below /dev/vfio (docs/kernel-devices.md)
  PATH     a module in TypeScript or JavaScript whose default export is a class that extends PciDevice

Outputs of gpio are printed when they change, as "out3=1 out4=0"; inputs are set by lines such as "in3=1" on standard
input. The other end of serial is standard input and output (stdio), a new pseudo-terminal whose path is printed (pty),
or whoever connects to a UNIX socket, one at a time (unix:PATH).

The namespace of nvme is memory that migrates with the device (--ram), or a regular file of whole blocks of 512 bytes
(--backend), which both ends of a migration share: it is locked while a guest uses it.

QEMU (10.1 or newer) attaches any of them with
  -object memory-backend-memfd,id=mem,size=1G,share=on -machine q35,memory-backend=mem
  -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"/tmp/a.sock"}}'

It stays in the foreground, prints one line when it listens (on standard error with --backend stdio), and ends with status 0 on SIGTERM or SIGINT.

Examples:
  ferry serve memory --socket-path /tmp/a.sock --size 64M --image disk.img
  ferry serve edu --socket-path /tmp/edu.sock --no-control
  ferry serve edu --socket-path /tmp/old.sock --migration v1 --v1-rule v1-libvfio-user
  ferry serve gpio --socket-path /tmp/gpio.sock --inputs in0=1,in7=1
  ferry serve serial --socket-path /tmp/serial.sock --backend unix:/tmp/line
  ferry serve serial --socket-path /tmp/serial.sock --backend pty
  ferry serve nvme --socket-path /tmp/nvme.sock --ram 256M
  ferry serve nvme --socket-path /tmp/nvme.sock --backend disk.img
  ferry serve kernel:0000:00:05.0 --socket-path /tmp/real.sock
  ferry serve ./my-device.ts --socket-path /tmp/mine.sock --option period=50
  ferry serve ./my-device.js --socket-path /tmp/mine.sock --control-path /run/mine.control
${EXIT_CODES_HELP}`;

/** `ferry serve`. */
export function serveCommand(): Command {
  const command = new Command('serve')
    .description('serve a device over vfio-user')
    .argument(
      '<device>',
      `${DEVICE_NAMES.join(', ')}, kernel:NAME, or the path of a module in TypeScript or JavaScript`,
    );
  return addServeOptions(command).addHelpText('after', HELP).action(serve);
}

async function serve(device: string, options: ServeCommandOptions): Promise<void> {
  const spec = deviceSpec(device, options);
  requireOneSocket(options);
  requireFreeInput(spec, options);
  const signalled = nextSignal();
  const service = await startService(spec, options).catch((error: unknown) => {
    tellStarter(options.readyFd, toJson(failureJson(failureOf(error))));
    throw error;
  });
  const listening = announcement({ device, ...service }, options.json === true);
  tellStarter(options.readyFd, announcement({ device, ...service }, true));
  // With stdio, standard output is the guest's.
  if (usesStdio(spec)) printError(listening);
  else print(listening);
  const over = [service.ended, ...(options.untilStdinEnds === true ? [stdinEnd()] : [])];
  await untilLeft(service, signalled, over);
  await service.close();
}

/** Settles when there is nobody to serve any more, or at a signal; one that can't leave its device then goes on. */
async function untilLeft(
  { leave }: Service,
  signalled: Promise<void>,
  over: readonly Promise<void>[],
): Promise<void> {
  let signal = signalled.then(() => true);
  const end = Promise.race(over).then(() => false);
  while ((await Promise.race([signal, end])) && leave !== undefined) {
    if (await leave()) return;
    signal = nextSignal().then(() => true);
  }
}

function usesStdio(spec: DeviceSpec): boolean {
  return spec.kind === 'serial' && spec.end.kind === 'stdio';
}

function requireFreeInput(spec: DeviceSpec, { untilStdinEnds }: ServeCommandOptions): void {
  if (untilStdinEnds === true && (usesStdio(spec) || spec.kind === 'gpio')) {
    throw new UsageError('--until-stdin-ends: standard input is what the device is told');
  }
}

/** Settles when standard input ends: of a pipe, when whoever holds its other end has gone. */
function stdinEnd(): Promise<void> {
  return new Promise((resolve) => {
    process.stdin
      .once('close', resolve)
      .once('end', resolve)
      .once('error', () => resolve());
    process.stdin.resume();
  });
}

/** Settles at the first SIGTERM or SIGINT; a second one ends the process as usual. */
function nextSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
}
