/** The two ends of a relayed connection, named by what they are to each other. */
export type Side = 'client' | 'server';

/** The end across. */
export function across(side: Side): Side {
  return side === 'client' ? 'server' : 'client';
}
