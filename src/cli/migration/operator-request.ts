import type { ChangeableLimits, MigrationControl, MigrationStatus } from '../../engine/index.ts';
import { field } from '../access/server-report.ts';

/** What an operator may ask of a migration that goes on. */
export type OperatorRequest =
  | { readonly do: 'status' | 'pause' | 'continue' | 'cancel' }
  | ({ readonly do: 'limits' } & ChangeableLimits);

/** Reads one line; null when it asks for nothing that there is. */
export function readRequest(line: string): OperatorRequest | null {
  const json = parsed(line);
  const what = field(json, 'do');
  switch (what) {
    case 'status':
    case 'pause':
    case 'continue':
    case 'cancel':
      return { do: what };
    case 'limits':
      return readLimits(json);
    default:
      return null;
  }
}

/** Does what is asked; how the migration goes, null before it has started. */
export function obey(control: MigrationControl, request: OperatorRequest): MigrationStatus | null {
  switch (request.do) {
    case 'pause':
      control.pauseBeforeSwitch();
      break;
    case 'continue':
      control.resume();
      break;
    case 'cancel':
      control.cancel();
      break;
    case 'limits': {
      const { do: _, ...limits } = request;
      control.setLimits(limits);
      break;
    }
    case 'status':
  }
  return control.status();
}

function readLimits(json: unknown): OperatorRequest | null {
  const [downtimeMs, bytesPerSecond] = [field(json, 'downtimeMs'), field(json, 'bytesPerSecond')];
  if (downtimeMs !== undefined && !isCount(downtimeMs)) return null;
  if (bytesPerSecond !== undefined && bytesPerSecond !== null && !isCount(bytesPerSecond)) return null;
  return {
    do: 'limits',
    ...(downtimeMs === undefined ? {} : { downtimeMs }),
    ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
  };
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0;
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}
