/** What can be looked at. */
export type Target =
  | { readonly kind: 'machine' }
  | { readonly kind: 'socket'; readonly path: string }
  | { readonly kind: 'pci' | 'mdev'; readonly name: string };

const PCI = /^(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])$/i;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * What a word names: nothing the machine; `0000:00:05.0` or `00:05.0` a PCI device, a UUID a mediated device, both also
 * with `kernel:` before it; anything else the socket of a server.
 */
export function parseTarget(word: string | undefined): Target {
  if (word === undefined) return { kind: 'machine' };
  const name = word.replace(/^kernel:/, '');
  const [, domain = '0000', address] = PCI.exec(name) ?? [];
  if (address !== undefined) return { kind: 'pci', name: `${domain}:${address}`.toLowerCase() };
  return UUID.test(name) ? { kind: 'mdev', name: name.toLowerCase() } : { kind: 'socket', path: word };
}
