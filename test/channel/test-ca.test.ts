import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { makeTestCertificates, readTlsIdentity } from '../../src/channel/index.ts';
import { temporaryFolder } from './carriers.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
const { PATH } = process.env;
beforeEach(async () => {
  folder = await temporaryFolder();
});
afterEach(async () => {
  process.env['PATH'] = PATH;
  await folder.remove();
});

it('leaves certificates and keys for their owner alone, and nothing with which more could be made', async () => {
  const { ca, hosts } = await makeTestCertificates(join(folder.path, 'certificates'), [
    'a.example',
    '127.0.0.1',
  ]);
  expect((await readdir(join(folder.path, 'certificates'))).sort()).toEqual(
    ['127.0.0.1.key', '127.0.0.1.pem', 'a.example.key', 'a.example.pem', 'ca.pem'].sort(),
  );
  for (const { key } of hosts.values()) expect((await stat(key)).mode & 0o077).toBe(0);
  const files = hosts.get('a.example');
  if (files === undefined) throw new Error('it was asked for');
  expect((await readTlsIdentity({ ca, ...files })).cert.toString()).toContain('BEGIN CERTIFICATE');
});

it('says when openssl is missing', async () => {
  process.env['PATH'] = '';
  await expect(makeTestCertificates(folder.path, ['a'])).rejects.toMatchObject({
    code: 'ERR_CHANNEL_TLS',
    message: expect.stringContaining('openssl is not there'),
  });
});

it.each(['', '../a', '-x', 'a b', 'a/CN=b'])('takes no name such as %j', async (name) => {
  await expect(makeTestCertificates(folder.path, [name])).rejects.toThrow('is no host name');
});

it('names the file that it can not read', async () => {
  const missing = join(folder.path, 'missing.pem');
  await expect(readTlsIdentity({ ca: missing, cert: missing, key: missing })).rejects.toThrow(missing);
});
