import type { ReconnectionStatus, SwitchoverRequest, SwitchoverStatus } from '../../src/client/index.ts';
import { MigrationState, stateName } from '../../src/states/index.ts';
import type { VmOutcome, VmReply, VmSequence, VmStep } from '../../src/vm/step.ts';
import { VmError } from '../../src/vm/vm-error.ts';

/** What a fake QEMU answers to a command; a function is asked each time, an Error is thrown. */
export type Answers = Readonly<Record<string, unknown>>;

/** A QEMU and its devices, in memory: answers by command, memory by address, and everything that was asked. */
export class FakeVm {
  readonly answers: Map<string, unknown>;
  /** Physical memory: pieces by their addresses. */
  readonly memory = new Map<bigint, Uint8Array>();
  readonly commands: string[] = [];
  readonly writes: { address: bigint; bytes: Uint8Array }[] = [];
  readonly asked: string[] = [];
  status: (device: number, request: SwitchoverRequest) => Partial<SwitchoverStatus> = () => ({});
  configuration: Uint8Array = new Uint8Array(256);
  kept: (device: number) => Partial<ReconnectionStatus> = () => ({});
  detached = 0;
  /** How often the gdb stub was read by. */
  reads = 0;

  constructor(answers: Answers = {}) {
    this.answers = new Map(Object.entries(answers));
  }

  /** Carries a sequence out. */
  run<T>(sequence: VmSequence<T>): T {
    let turn = sequence.next();
    for (let steps = 0; !turn.done; steps += 1) {
      if (steps > 100_000) throw new Error('the sequence does not end');
      let reply: VmReply;
      try {
        reply = this.#perform(turn.value);
      } catch (error) {
        turn = sequence.throw(error);
        continue;
      }
      turn = sequence.next(reply);
    }
    return turn.value;
  }

  #perform(step: VmStep): VmReply {
    switch (step.do) {
      case 'qmp':
        return { kind: 'value', value: this.#answer(step.command, step.args) };
      case 'save':
      case 'read':
        if (step.do === 'read') this.reads += 1;
        return {
          kind: 'pieces',
          pieces: step.ranges.map(({ address, length }) => this.#peek(address, length)),
        };
      case 'write':
        for (const { address, bytes } of step.writes) this.#poke(address, bytes);
        return { kind: 'done' };
      case 'switchover':
        return {
          kind: 'statuses',
          statuses: step.requests.map(({ device, request }) => {
            this.asked.push(`${request.do} ${device}`);
            return { ...IDLE, ...this.status(device, request) };
          }),
        };
      case 'configuration':
        return { kind: 'bytes', bytes: this.configuration };
      case 'reconnection':
        return {
          kind: 'reconnections',
          statuses: step.requests.map(({ device, choice }) => {
            if (choice !== null) this.asked.push(`${choice} ${device}`);
            return { ...KEEPS_NOTHING, ...this.kept(device) };
          }),
        };
      case 'setState':
        for (const device of step.devices) this.asked.push(`${stateName(step.state)} ${device}`);
        return { kind: 'done' };
      case 'detach':
        this.detached += 1;
        return { kind: 'done' };
      case 'pause':
        return { kind: 'paused', ms: step.ms };
      case 'together':
        return { kind: 'outcomes', outcomes: step.steps.map((each) => this.#outcome(each)) };
    }
  }

  #outcome(step: VmStep): VmOutcome {
    try {
      return { is: 'reply', reply: this.#perform(step) };
    } catch (error) {
      return { is: 'failure', error };
    }
  }

  #answer(command: string, args: object | null): unknown {
    this.commands.push(args === null ? command : `${command} ${JSON.stringify(args)}`);
    const found = this.answers.get(command);
    const answer: unknown = typeof found === 'function' ? found(args) : found;
    if (answer instanceof Error) throw answer;
    return answer ?? {};
  }

  #peek(address: bigint, length: number): Uint8Array {
    for (const [start, bytes] of this.memory) {
      const offset = Number(address - start);
      if (offset >= 0 && offset + length <= bytes.length) return bytes.slice(offset, offset + length);
    }
    throw new VmError('ERR_VM_COMMAND', `E14 at 0x${address.toString(16)}`);
  }

  #poke(address: bigint, bytes: Uint8Array): void {
    this.writes.push({ address, bytes });
    for (const [start, there] of this.memory) {
      const offset = Number(address - start);
      if (offset >= 0 && offset + bytes.length <= there.length) return there.set(bytes, offset);
    }
    throw new VmError('ERR_VM_COMMAND', `E14 at 0x${address.toString(16)}`);
  }
}

const KEEPS_NOTHING: ReconnectionStatus = { policy: 'reset', kept: null, state: MigrationState.RUNNING };
const IDLE: SwitchoverStatus = { withheld: false, intx: false, outstanding: false, logging: true, pages: 0 };
