import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { type Answer, refusal } from './answer.ts';
import { copySource } from './object-target.ts';
import { isSignedBy, parseAuthorization, type SigningKeys, sha256 } from './signature.ts';

/** A request that was signed with the proxy's key and is for its bucket. */
export interface AcceptedRequest {
  readonly method: string;
  readonly target: string;
  readonly query: URLSearchParams;
  /** SHA-256 of the body, as it was signed. */
  readonly payloadHash: string;
  /** Key of the object that is to be copied. */
  readonly source?: string;
}

/** A signature is good for so long, before and after its time. */
const validity = 15 * 60_000;

/** Turns away, before anything of the body is read, what was not signed with these keys or is not of this bucket. */
export function acceptRequest(
  request: IncomingMessage,
  bucket: string,
  keys: SigningKeys,
  now: number,
): { readonly request: AcceptedRequest } | { readonly refused: Answer } {
  const { method = '', url: target = '' } = request;
  const text = (name: string) => headerText(request, name);
  const time = text('x-amz-date');
  const payloadHash = text('x-amz-content-sha256');
  const authorization = parseAuthorization(text('authorization'), time);
  if (authorization === undefined || !isSame(authorization.accessKey, keys.accessKey))
    return refused('InvalidAccessKeyId', 'Only the registry of this server may use this port.');
  if (!(Math.abs(now - millisecondsOf(time)) <= validity))
    return refused('RequestTimeTooSkewed', 'The signature is too old, or of the future.');
  if (!/^[0-9a-f]{64}$/.test(payloadHash))
    return refused('AccessDenied', 'The body has to be signed (x-amz-content-sha256).');
  // Whatever is passed on or decides what is done has to be signed.
  const needed = ['host', ...Object.keys(request.headers).filter((name) => name.startsWith('x-amz-'))];
  const { signedHeaders } = authorization;
  if (needed.some((name) => !signedHeaders.includes(name)))
    return refused('AccessDenied', 'Host and all headers that begin with x-amz- have to be signed.');
  const headers = Object.fromEntries(signedHeaders.map((name) => [name, text(name)]));
  if (!isSignedBy({ method, target, headers, payloadHash }, time, authorization, keys.secretKey))
    return refused('SignatureDoesNotMatch', 'The signature is not that of the request.');

  const [path = '', query = ''] = target.split(/\?(.*)/s, 2);
  if (path !== `/${bucket}` && !path.startsWith(`/${bucket}/`))
    return refused('AccessDenied', 'This port leads to one bucket only, and it is another one.');
  const accepted = { method, target, query: new URLSearchParams(query), payloadHash };
  const copied = text('x-amz-copy-source');
  if (copied === '') return { request: accepted };
  const source = copySource(copied, bucket);
  return source === undefined
    ? refused('AccessDenied', 'Only what is in the bucket can be copied.')
    : { request: { ...accepted, source } };
}

function refused(code: string, message: string): { readonly refused: Answer } {
  return { refused: refusal(403, code, message) };
}

function headerText(request: IncomingMessage, name: string): string {
  const value = request.headers[name];
  return typeof value === 'string' ? value : '';
}

function isSame(first: string, second: string): boolean {
  return timingSafeEqual(Buffer.from(sha256(first)), Buffer.from(sha256(second)));
}

/** NaN for what is no time. */
function millisecondsOf(time: string): number {
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(time) ?? [];
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}
