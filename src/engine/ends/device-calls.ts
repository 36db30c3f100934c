import { FerryError } from '../../errors/index.ts';
import { stateName } from '../../states/index.ts';
import type { Clock } from '../clock.ts';
import { calling } from '../course.ts';
import type { ClaimTicket, MigrationEnd } from '../migration-end.ts';
import type { DeviceAnswer, DeviceRequest, EndName } from '../step.ts';
import { messageOf, StepError } from '../step-error.ts';
import { within } from '../within.ts';

/** How devices are asked. */
export interface DeviceCallsOptions {
  readonly clock: Clock;
  readonly end: EndName;
  readonly devices: readonly MigrationEnd[];
  /** How long each request may take, in milliseconds. */
  readonly timeoutMs: number;
  readonly ticket: ClaimTicket;
  /** Called when a device has changed its state; how long that took. */
  readonly changed: (device: number, state: number, ms: number) => void;
}

const DONE: DeviceAnswer = { is: 'done' };

/** Asks the devices of one side, each request in bounded time. */
export class DeviceCalls {
  readonly #options: DeviceCallsOptions;

  constructor(options: DeviceCallsOptions) {
    this.#options = options;
  }

  /** All at once; never rejects. */
  ask(requests: readonly DeviceRequest[]): Promise<readonly DeviceAnswer[]> {
    return Promise.all(requests.map((request) => this.#ask(request)));
  }

  /** What a device threw, in words that name it. */
  error(device: number, what: string, cause: unknown): StepError {
    const { end, devices } = this.#options;
    const aborted = cause instanceof FerryError && cause.code === 'ERR_SESSION_ABORTED';
    const who = calling(end, device, devices[device]?.name ?? '', devices.length);
    const why = aborted ? 'somebody else has reset it' : messageOf(cause);
    const code = aborted ? 'ERR_SESSION_ABORTED' : 'ERR_STEP_FAILED';
    return new StepError(code, end, `${who} ${what}: ${why}`, cause);
  }

  async #ask(request: DeviceRequest): Promise<DeviceAnswer> {
    const { clock, end, devices, timeoutMs } = this.#options;
    const device = devices[request.device];
    if (device === undefined) throw new TypeError(`there is no device ${request.device}`);
    const what = describe(request);
    const started = clock.now();
    let late: StepError | null = null;
    const tooLate = (): StepError => {
      const who = calling(end, request.device, device.name, devices.length);
      late = new StepError('ERR_STEP_TIMEOUT', end, `${who} ${what}: no answer in ${timeoutMs} ms`);
      return late;
    };
    try {
      const answer = await within(clock, timeoutMs, this.#answer(device, request), tooLate);
      if (request.ask === 'setState')
        this.#options.changed(request.device, request.state, clock.now() - started);
      return answer;
    } catch (error) {
      return { is: 'failed', error: late ?? this.error(request.device, what, error) };
    }
  }

  async #answer(device: MigrationEnd, request: DeviceRequest): Promise<DeviceAnswer> {
    switch (request.ask) {
      case 'flags':
        return { is: 'flags', flags: await device.flags() };
      case 'inspect':
        return { is: 'inspection', inspection: await device.inspect() };
      case 'configurationNeed':
        return { is: 'need', need: (await device.configurationNeed?.()) ?? null };
      case 'state':
        return { is: 'state', state: await device.state() };
      case 'dataSize':
        return { is: 'size', size: await device.dataSize() };
      case 'precopyInfo':
        return { is: 'estimate', estimate: await device.precopyInfo() };
      default:
        await this.#carryOut(device, request);
        return DONE;
    }
  }

  #carryOut(device: MigrationEnd, request: DeviceRequest): Promise<unknown> | undefined {
    const { ticket } = this.#options;
    switch (request.ask) {
      case 'setState':
        return device.setState(request.state);
      case 'reset':
        return device.reset();
      case 'actions':
        return device.performActions?.(request.actions);
      case 'claim':
        return device.claim?.(ticket);
      case 'retire':
        return device.retire?.(ticket);
      case 'release':
        return device.release?.(ticket);
      default:
        throw new TypeError(`${request.ask} is no request`);
    }
  }
}

/** What the device failed to do, after "the source ...". */
function describe(request: DeviceRequest): string {
  switch (request.ask) {
    case 'setState':
      return `did not go to ${stateName(request.state)}`;
    case 'state':
      return 'did not tell its state';
    case 'reset':
      return 'was not reset';
    case 'precopyInfo':
    case 'dataSize':
      return 'did not tell what is left';
    case 'actions':
      return 'did not do what had been withheld';
    case 'claim':
      return 'could not be claimed';
    case 'retire':
      return 'could not be retired';
    case 'release':
      return 'could not be released';
    default:
      return 'could not be inspected';
  }
}
