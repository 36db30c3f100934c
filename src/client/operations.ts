import type { FerryError } from '../errors/index.ts';
import type { Agreement } from '../protocol/index.ts';
import type { Answer, Mode } from './answer.ts';
import type { Operation, Settle } from './operation.ts';
import { runOperation } from './run-operation.ts';
import type { Session } from './session.ts';

/** A session with a server, whose operations both clients wait for in their own way, which is all that differs. */
export abstract class Operations<M extends Mode> {
  readonly agreement: Agreement;
  protected readonly session: Session;

  protected constructor(session: Session) {
    this.session = session;
    this.agreement = session.agreement;
  }

  /** Starts something, and waits for what it settles with in the client's own way. */
  protected abstract answer<T>(start: (settle: Settle<T>) => void): Answer<M, T>;

  protected run<T>(operation: Operation<T>): Answer<M, T> {
    return this.answer<T>((settle) => runOperation(operation, this.session.link.requester, settle));
  }

  get path(): string {
    return this.session.link.path;
  }

  get closedBecause(): FerryError | null {
    return this.session.link.connection.closedBecause;
  }
}
