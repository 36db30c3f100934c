import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ChannelError, messageOf } from './channel-error.ts';
import type { TlsIdentity } from './tls-identity.ts';

const run = promisify(execFile);

/** How long the certificates are valid, in days: long enough for a trial, too short to be forgotten in use. */
const DAYS = '30';

/** Where the files of a test authority are. */
export interface TestCertificates {
  /** The authority's certificate, which both sides need. */
  readonly ca: string;
  /** For each name its certificate and private key. */
  readonly hosts: ReadonlyMap<string, { readonly cert: string; readonly key: string }>;
}

/**
 * Makes an authority for tests in `folder`, and a certificate with private key for each name (a host name or an IP
 * address): `ca.pem`, `NAME.pem`, `NAME.key`. The authority's own key is deleted, so that nothing can be added later.
 * @throws ChannelError ERR_CHANNEL_TLS when the command `openssl` is missing or fails, or a name is unusable
 */
export async function makeTestCertificates(
  folder: string,
  names: readonly string[],
): Promise<TestCertificates> {
  const wrong = names.find((name) => !/^[A-Za-z0-9][A-Za-z0-9.:-]{0,62}$/.test(name));
  if (wrong !== undefined)
    throw new ChannelError('ERR_CHANNEL_TLS', `${JSON.stringify(wrong)} is no host name`);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const at = (name: string): string => join(folder, name);
  const ca = at('ca.pem');
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const subject = ['-subj', '/CN=Ferry test authority'];
  await openssl(['req', '-x509', ...newKey, ...subject, '-days', DAYS, '-keyout', at('ca.key'), '-out', ca]);
  const hosts = new Map<string, { cert: string; key: string }>();
  for (const name of names) {
    const [cert, key, request, extensions] = [`${name}.pem`, `${name}.key`, `${name}.csr`, `${name}.ext`].map(
      at,
    );
    if (cert === undefined || key === undefined || request === undefined || extensions === undefined)
      continue;
    await writeFile(
      extensions,
      `subjectAltName=${isIP(name) ? 'IP' : 'DNS'}:${name}\nbasicConstraints=CA:FALSE\n`,
    );
    await openssl(['req', ...newKey, '-subj', `/CN=${name}`, '-keyout', key, '-out', request]);
    const authority = ['-CA', ca, '-CAkey', at('ca.key'), '-set_serial', `0x${serial()}`];
    await openssl([
      'x509',
      '-req',
      '-in',
      request,
      ...authority,
      '-days',
      DAYS,
      '-extfile',
      extensions,
      '-out',
      cert,
    ]);
    await Promise.all([rm(request), rm(extensions)]);
    hosts.set(name, { cert, key });
  }
  await rm(at('ca.key'));
  return { ca, hosts };
}

/** Reads one side's identity from the files of {@link makeTestCertificates}. */
export async function readTlsIdentity(files: {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}): Promise<TlsIdentity> {
  const [ca, cert, key] = await Promise.all([files.ca, files.cert, files.key].map(readPem));
  if (ca === undefined || cert === undefined || key === undefined)
    throw new TypeError('three files were named');
  return { ca, cert, key };
}

async function readPem(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new ChannelError('ERR_CHANNEL_TLS', `cannot read ${path}: ${messageOf(cause)}`, { cause });
  }
}

function serial(): string {
  return crypto.randomUUID().replaceAll('-', '').slice(0, 16).replace(/^./, '1');
}

async function openssl(args: readonly string[]): Promise<void> {
  try {
    await run('openssl', args, { timeout: 30_000 });
  } catch (cause) {
    const missing = Reflect.get(Object(cause), 'code') === 'ENOENT';
    const why = missing
      ? 'the command openssl is not there: install it, or bring certificates of your own'
      : `openssl ${args[0]} failed: ${messageOf(cause)}`;
    throw new ChannelError('ERR_CHANNEL_TLS', why, { cause });
  }
}
