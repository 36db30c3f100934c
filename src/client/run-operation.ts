import type { FerryError } from '../errors/index.ts';
import type { IncomingMessage } from '../transport/index.ts';
import type { Operation, Request, Settle } from './operation.ts';
import { RemoteError } from './remote-error.ts';
import type { Requester } from './requester.ts';

/** Carries out an operation. Each step runs inside the callback that brought its reply, so that it can read it. */
export function runOperation<T>(operation: Operation<T>, requester: Requester, settle: Settle<T>): void {
  advance(operation, requester, settle, () => operation.next());
}

function advance<T>(
  operation: Operation<T>,
  requester: Requester,
  settle: Settle<T>,
  resume: () => IteratorResult<Request, T>,
): void {
  let step: IteratorResult<Request, T>;
  try {
    step = resume();
  } catch (error) {
    settle.reject(error);
    return;
  }
  if (step.done === true) {
    settle.resolve(step.value);
    return;
  }
  requester.submit(step.value, (reply, error) => {
    advance(operation, requester, settle, () => {
      const failure = failureOf(reply, error);
      // Without a failure there is a reply.
      return failure !== null || reply === null ? operation.throw(failure) : operation.next(reply);
    });
  });
}

/** Why a request failed; null when `reply` is a good answer. */
export function failureOf(reply: IncomingMessage | null, error: FerryError | null): FerryError | null {
  if (error !== null || reply === null) return error;
  return reply.failed ? new RemoteError(reply.command, reply.error) : null;
}
