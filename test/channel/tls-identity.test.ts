import { describe, expect, it } from 'vitest';
import { tlsFailure } from '../../src/channel/tls-identity.ts';

describe('a failure of TLS', () => {
  it('names the reason, not files of OpenSSL, and says what to do', () => {
    const cause = Object.assign(new Error('00:error:0A:SSL routines:ssl3_get_record:ssl3_record.c:350:\n'), {
      code: 'ERR_SSL_WRONG_VERSION_NUMBER',
      reason: 'wrong version number',
    });
    expect(tlsFailure('there', cause).message).toBe(
      'TLS with there failed: wrong version number; that side does not speak TLS: it has to name certificates too',
    );
  });

  it('is said in its own words when OpenSSL has no other', () => {
    expect(tlsFailure('there', new Error('socket hang up')).message).toBe(
      'TLS with there failed: socket hang up',
    );
  });
});
