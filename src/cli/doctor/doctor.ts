import { Command } from 'commander';
import { diagnose } from '../../doctor/index.ts';
import { wholeNumber } from '../options/quantities.ts';
import { ExitCode } from '../outcome/exit-code.ts';
import { ExitRequest } from '../outcome/exit-request.ts';
import { print, toJson } from '../output/terminal.ts';
import { describeDiagnosis } from './diagnosis-text.ts';

interface Options {
  readonly json?: boolean;
  readonly connect: boolean;
  readonly timeout: number;
}

const HELP = `
Why can't this be migrated? Findings come from certain to suspected, each with what to do next. Nothing is changed, and
a VMM that is connected does not notice; what could not be looked at is said. A server without a control socket is
connected to only while nobody else is, and a device of the kernel opened only while nobody has it: some reset their
device, or end, when that client leaves (--no-connect prevents both).

Examples:
  ferry doctor                                            the machine: VFIO, IOMMU, drivers
  ferry doctor /tmp/a.sock                                a server of vfio-user, by either socket
  ferry doctor 0000:00:05.0                               a PCI device
  ferry doctor 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001       a mediated device

Exit codes:
  0  nothing certain or likely keeps it from being migrated
  1  something does
  2  the command line is wrong`;

/** `ferry doctor`. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description("say why a device can't be migrated, and what to do about it")
    .argument('[what]', "a socket, a PCI address, or an mdev's UUID; the machine if left out")
    .option('--no-connect', 'look only from outside: connect to no server, open no device')
    .option('--timeout <ms>', 'how long to wait for each answer of a server', wholeNumber(1), 2000)
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .action(doctor);
}

async function doctor(what: string | undefined, { json, connect, timeout }: Options): Promise<void> {
  const diagnosis = await diagnose(what, { connect, timeoutMs: timeout });
  if (json === true) print(toJson(diagnosis));
  else for (const line of describeDiagnosis(diagnosis)) print(line);
  if (!diagnosis.migratable) throw new ExitRequest(ExitCode.FAILED);
}
