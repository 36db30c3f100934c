import { checkServerIdentity, type PeerCertificate, type TLSSocket } from 'node:tls';
import { ChannelError, messageOf } from './channel-error.ts';

/** Who this side is under TLS and whom it trusts. All are PEM. */
export interface TlsIdentity {
  /** The certificates of the authorities that the other side's certificate must come from. */
  readonly ca: string | Buffer;
  /** Our certificate. */
  readonly cert: string | Buffer;
  /** Its private key. */
  readonly key: string | Buffer;
  /**
   * The name that the other side's certificate must have. A sender checks the host that it connects to by default; a
   * receiver takes everybody whom the authorities vouch for.
   */
  readonly peerName?: string;
}

/** What both sides of a TLS connection demand. */
export function tlsDemands({ ca, cert, key }: TlsIdentity) {
  return { ca, cert, key, minVersion: 'TLSv1.3', rejectUnauthorized: true, requestCert: true } as const;
}

/** What is known of the other side once its certificate has been verified. */
export interface VerifiedPeer {
  readonly identity: string;
  readonly fingerprint: string;
}

/**
 * The verified certificate's name and fingerprint.
 * @throws ChannelError ERR_CHANNEL_TLS when there is none, or it has not the name that was asked for
 */
export function verifiedPeer(socket: TLSSocket, peerName: string | undefined): VerifiedPeer {
  const certificate: PeerCertificate | undefined = socket.getPeerCertificate();
  if (!socket.authorized || certificate?.fingerprint256 === undefined) {
    const why = `the other side has no certificate that is valid here: ${messageOf(socket.authorizationError)}`;
    throw new ChannelError('ERR_CHANNEL_TLS', why);
  }
  const problem = peerName === undefined ? undefined : checkServerIdentity(peerName, certificate);
  if (problem !== undefined) throw wrongName(problem.message);
  const names: string | readonly string[] | undefined = certificate.subject.CN;
  const identity = typeof names === 'string' ? names : (certificate.subjectaltname ?? 'unnamed');
  return { identity, fingerprint: certificate.fingerprint256 };
}

function wrongName(why: string): ChannelError {
  const hint = 'if that is whom you mean, say a name that is in its certificate';
  return new ChannelError('ERR_CHANNEL_TLS', `the certificate is of somebody else: ${why.trim()}; ${hint}`);
}

/** A failure of TLS in words that say what to do. */
export function tlsFailure(address: string, cause: Error): ChannelError {
  const code: unknown = Reflect.get(cause, 'code');
  const hint = HINTS.get(typeof code === 'string' ? code : '') ?? '';
  return new ChannelError('ERR_CHANNEL_TLS', `TLS with ${address} failed: ${reasonOf(cause)}${hint}`, {
    cause,
    context: { address },
  });
}

/** OpenSSL's own word for it, where there is one: its whole message names files of its sources. */
function reasonOf(cause: Error): string {
  const reason: unknown = Reflect.get(cause, 'reason');
  return typeof reason === 'string' ? reason : cause.message;
}

const HINTS = new Map<string, string>([
  ['ERR_TLS_CERT_ALTNAME_INVALID', '; if that is whom you mean, say the name in its certificate'],
  ['SELF_SIGNED_CERT_IN_CHAIN', '; its authority is not the one that you named'],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', '; its authority is not the one that you named'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', '; it is signed by itself'],
  ['ERR_SSL_WRONG_VERSION_NUMBER', '; that side does not speak TLS: it has to name certificates too'],
  ['CERT_HAS_EXPIRED', '; make new certificates'],
  ['ECONNRESET', '; does that side speak TLS, and does it take our certificate?'],
]);
