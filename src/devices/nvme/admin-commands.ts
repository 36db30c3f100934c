import type { Command } from './command.ts';
import type { ErrorLog } from './error-log.ts';
import type { Events } from './events.ts';
import type { Features } from './features.ts';
import { identifyController } from './identify-controller.ts';
import { identifyNamespace, namespaceDescriptors, namespaceList } from './identify-namespace.ts';
import { chain, type Later } from './later.ts';
import { ALL_NAMESPACES, MAX_TRANSFER, NAMESPACE } from './limits.ts';
import { logPage } from './log-pages.ts';
import type { NamespaceBackend } from './namespace.ts';
import { AdminOpcode, Identify } from './opcodes.ts';
import type { QueueCommands } from './queue-commands.ts';
import type { NvmeState } from './state.ts';
import { Status } from './status.ts';

/** In place of a status: the command stays outstanding. */
export const OUTSTANDING = -1;

/** Retain Asynchronous Event in dword 10 of Get Log Page: reading the page acknowledges nothing. */
const RETAIN_EVENT = 1 << 15;

/** The result of Abort: the command was not aborted. */
const NOT_ABORTED = 1;

/** What the commands work on. */
export interface AdminParts {
  readonly state: NvmeState;
  readonly vendor: number;
  readonly backend: NamespaceBackend;
  readonly features: Features;
  readonly events: Events;
  readonly errors: ErrorLog;
  readonly queueCommands: QueueCommands;
  readonly pageSize: () => number;
  /** Ends an asynchronous event request with ABORT_REQUESTED; false when there is none with this id, or no room. */
  readonly abortRequest: (commandId: number) => boolean;
}

/** The admin commands (NVM Express 1.4, section 5). */
export class AdminCommands {
  readonly #parts: AdminParts;

  constructor(parts: AdminParts) {
    this.#parts = parts;
  }

  /** Carries out a command: its status, or {@link OUTSTANDING}. */
  execute(command: Command): Later<number> {
    const { queueCommands, features, events } = this.#parts;
    switch (command.opcode) {
      case AdminOpcode.DELETE_SUBMISSION_QUEUE:
        return queueCommands.deleteSubmission(command);
      case AdminOpcode.CREATE_SUBMISSION_QUEUE:
        return queueCommands.createSubmission(command);
      case AdminOpcode.DELETE_COMPLETION_QUEUE:
        return queueCommands.deleteCompletion(command);
      case AdminOpcode.CREATE_COMPLETION_QUEUE:
        return queueCommands.createCompletion(command);
      case AdminOpcode.GET_LOG_PAGE:
        return this.#getLogPage(command);
      case AdminOpcode.IDENTIFY:
        return this.#identify(command);
      case AdminOpcode.ABORT:
        return this.#abort(command);
      case AdminOpcode.SET_FEATURES:
        return features.set(command);
      case AdminOpcode.GET_FEATURES:
        return features.get(command);
      case AdminOpcode.ASYNCHRONOUS_EVENT_REQUEST:
        return events.request(command.id) || OUTSTANDING;
      default:
        return Status.INVALID_OPCODE;
    }
  }

  #identify(command: Command): Later<number> {
    const { namespace } = command;
    switch (command.dword10 & 0xff) {
      case Identify.CONTROLLER:
        return this.#send(command, this.#controller());
      case Identify.NAMESPACE:
        if (namespace !== NAMESPACE) return Status.INVALID_NAMESPACE;
        return this.#send(command, this.#namespace());
      case Identify.ACTIVE_NAMESPACES:
        if (namespace >= ALL_NAMESPACES - 1) return Status.INVALID_NAMESPACE;
        return this.#send(command, namespaceList(namespace < NAMESPACE ? [NAMESPACE] : []));
      case Identify.NAMESPACE_DESCRIPTORS:
        if (namespace !== NAMESPACE) return Status.INVALID_NAMESPACE;
        return this.#send(command, namespaceDescriptors(this.#parts.state.uuid));
      default:
        return Status.INVALID_FIELD;
    }
  }

  #controller(): Uint8Array {
    const { vendor, backend, state } = this.#parts;
    return identifyController({
      vendor,
      serial: String.fromCharCode(...state.serial),
      uuid: uuidText(state.uuid),
      volatileCache: backend.volatileCache,
      canDiscard: backend.discard !== undefined,
    });
  }

  #namespace(): Uint8Array {
    const { blocks, blockSize, discard } = this.#parts.backend;
    const { uuid } = this.#parts.state;
    return identifyNamespace({ blocks, blockSize, canDiscard: discard !== undefined, uuid });
  }

  #getLogPage(command: Command): Later<number> {
    const { state, errors, events } = this.#parts;
    const id = command.dword10 & 0xff;
    const page = logPage(id, state, errors);
    if (page === null) return Status.INVALID_LOG_PAGE;
    if (command.namespace !== 0 && command.namespace !== ALL_NAMESPACES) return Status.INVALID_FIELD;
    const length = ((command.dword11 & 0xffff) * 0x10000 + (command.dword10 >>> 16) + 1) * 4;
    const offset = command.dword13 * 2 ** 32 + command.dword12;
    if (length > MAX_TRANSFER || offset > page.length || offset % 4 !== 0) return Status.INVALID_FIELD;
    const data = new Uint8Array(length);
    data.set(page.subarray(offset, offset + length));
    return chain(this.#send(command, data), (status) => {
      if (status === Status.SUCCESS && (command.dword10 & RETAIN_EVENT) === 0) events.acknowledge(id);
      return status;
    });
  }

  /** Commands are not kept waiting, so only an asynchronous event request can be aborted. */
  #abort(command: Command): number {
    const queue = command.dword10 & 0xffff;
    const aborted = queue === 0 && this.#parts.abortRequest(command.dword10 >>> 16);
    command.result = aborted ? 0 : NOT_ABORTED;
    return Status.SUCCESS;
  }

  #send({ transfer, prp1, prp2 }: Command, data: Uint8Array): Later<number> {
    return chain(transfer.locate(prp1, prp2, data.length, this.#parts.pageSize()), (status) =>
      status === Status.SUCCESS ? transfer.send(data) : status,
    );
  }
}

/** The text form of 16 bytes (RFC 4122, section 3). */
function uuidText(uuid: Uint8Array): string {
  const hex = Buffer.from(uuid).toString('hex');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
