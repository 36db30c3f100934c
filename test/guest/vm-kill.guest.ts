import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lastJson, type Running, Shell } from '../cli/ferry.ts';
import { until } from '../helpers/until.ts';
import { describeInGuests } from './harness/lab.ts';
import { startAndStop } from './stop-at-step.ts';
import {
  forgetJournal,
  journal,
  moveArguments,
  receiveArguments,
  sendArguments,
  vmWithServer,
} from './vm-lab.ts';

const LONG = process.env['FERRY_VM'] === 'long';
/** What is lost once must not be forgiven. */
const ONCE = { retry: 0, timeout: 120_000 };

/** The sender stands still at a point of each phase while somebody is killed, so that none is missed by coming too late. */
const POINTS = {
  prepare: 'after BEGIN',
  'pre-copy': 'after migrate',
  stop: 'after pmemsave',
  'stop-copy': 'before migrate-continue',
  verify: 'before detach',
} as const;
type Step = keyof typeof POINTS;
const STEPS = ['prepare', 'pre-copy', 'stop', 'stop-copy', 'verify'] as const satisfies readonly Step[];
const VICTIMS = ['ferry', 'the destination QEMU', "the destination's server"] as const;
type Victim = (typeof VICTIMS)[number];

/** In the short form each process dies once, and each of the later steps is met. */
const SHORT: readonly (readonly [Victim, Step])[] = [
  ['ferry', 'stop-copy'],
  ['the destination QEMU', 'stop'],
  ["the destination's server", 'stop-copy'],
];
const CASES = LONG ? VICTIMS.flatMap((victim) => STEPS.map((step) => [victim, step] as const)) : SHORT;
/** In the last step the receiver, which is another process then, says READY: after that the sender commits. */
const RECEIVED: readonly Step[] = LONG ? STEPS.slice(0, -1) : ['stop'];

describeInGuests('a VM whose migration is killed', (lab) => {
  describe.runIf(lab.kernel.flavour === 'full')('on q35', () => {
    let shell: Shell;
    let vm: Awaited<ReturnType<typeof vmWithServer>>;
    let count = 0;

    beforeAll(async () => {
      shell = new Shell();
      vm = await vmWithServer(lab, shell, 'source', false);
      await vm.guest.load('nvme');
      await vm.guest.until('test -b /dev/nvme0n1');
      await vm.guest.run(
        'head -c 1000000 /dev/urandom > /tmp/data; dd if=/tmp/data of=/dev/nvme0n1 bs=4k conv=fsync',
      );
    });
    afterAll(async () => {
      await vm?.close();
      await shell?.close();
      forgetJournal();
    });

    it.each(CASES)('runs on at the source when %s is killed in %s', ONCE, async (victim, step) => {
      count += 1;
      const target = await vmWithServer(lab, shell, `target-${count}`, true);
      try {
        const ferry = await stoppedAt(step, moveArguments(vm, target));
        if (victim === 'ferry') await ferry.kill('SIGKILL');
        else if (victim === 'the destination QEMU') process.kill(target.guest.pid, 'SIGKILL');
        else await target.server.kill('SIGKILL');
        ferry.process.kill('SIGCONT');
        await expectBack(ferry, victim, step);
        await expectAlive();
      } finally {
        await target.close();
      }
    });

    it.each(RECEIVED)('runs on at the source when ferry vm receive is killed in %s', ONCE, async (step) => {
      count += 1;
      const target = await vmWithServer(lab, shell, `target-${count}`, true);
      const way = `unix:${shell.path(`way-${count}`)}`;
      const receiver = shell.start([...receiveArguments(target), '--listen', way]);
      try {
        await receiver.sees('listening');
        const ferry = await stoppedAt(step, [...sendArguments(vm), '--to', way, '--wait', '0']);
        await receiver.kill('SIGKILL');
        ferry.process.kill('SIGCONT');
        await expectBack(ferry, 'ferry vm receive', step);
        await expectAlive();
      } finally {
        await receiver.kill('SIGKILL');
        await target.close();
      }
    });

    // Last: there is nothing left to try it with.
    it.runIf(LONG)(
      'runs on at the source, without its device, when the server of that is killed in stop',
      ONCE,
      async () => {
        const target = await vmWithServer(lab, shell, 'target-last', true);
        try {
          const ferry = await stoppedAt('stop', moveArguments(vm, target));
          await vm.server.kill('SIGKILL');
          ferry.process.kill('SIGCONT');
          const { status, stdout, stderr } = await ferry.ended;
          expect(status, `${stdout}\n${stderr.slice(-2000)}`).toBe(3);
          expect(lastJson(stdout)['error']).toMatchObject({
            ...{ owner: 'in doubt', sourceState: 'RUNNING' },
            message: expect.stringContaining('If its server has been killed'),
          });
          expect(await vm.guest.run('echo runs', 100_000)).toBe('runs');
          await until(() => hasEnded(target.guest.pid), 'the destination has ended');
        } finally {
          await target.close();
        }
      },
    );

    function stoppedAt(step: Step, command: readonly string[]): Promise<Running> {
      return startAndStop(shell, command, POINTS[step], shell.path('stopped'));
    }

    /** The command has failed and says so; what a killed one has left is finished by ferry recover. */
    async function expectBack(
      ferry: Running,
      victim: Victim | 'ferry vm receive',
      step: string,
    ): Promise<void> {
      const { status, stdout, stderr } = await ferry.ended;
      if (victim !== 'ferry') {
        expect(status, `${stdout}\n${stderr.slice(-2000)}`).toBe(1);
        expect(lastJson(stdout)['error']).toMatchObject({ owner: 'source' });
        return;
      }
      const recovered = await shell.run('recover', '--json', ...journal());
      // Killed before its first record, it has not begun.
      const nothing = step === 'prepare' && recovered.stdout.includes('ERR_JOURNAL_MISSING');
      expect(nothing ? 0 : recovered.status, recovered.stdout + recovered.stderr).toBe(0);
    }

    async function expectAlive(): Promise<void> {
      const { guest } = vm;
      await guest.run(
        'echo 3 > /proc/sys/vm/drop_caches; head -c 1000000 /dev/nvme0n1 | cmp - /tmp/data',
        10_000,
      );
      await guest.run('dd if=/tmp/data of=/dev/nvme0n1 bs=4k conv=fsync 2>/dev/null', 10_000);
    }
  });
});

/** Node has been told of the end of its child. */
function hasEnded(pid: number): boolean {
  try {
    return !process.kill(pid, 0);
  } catch {
    return true;
  }
}
