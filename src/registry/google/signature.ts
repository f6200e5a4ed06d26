import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

/** A request as the signature of S3 (AWS4-HMAC-SHA256) sees it. */
export interface SignedRequest {
  readonly method: string;
  /** Path and query as they are on the wire, percent-encoded once. */
  readonly target: string;
  /** The headers that are signed, by their names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** SHA-256 of the body in hexadecimal, or `UNSIGNED-PAYLOAD`. */
  readonly payloadHash: string;
}

export interface SigningKeys {
  readonly accessKey: string;
  readonly secretKey: string;
}

export const unsignedPayload = 'UNSIGNED-PAYLOAD';
const algorithm = 'AWS4-HMAC-SHA256';

/** `20260131T235959Z` */
export function signingTime(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(/[:-]|\.\d{3}/g, '');
}

/** The value of the header `authorization`. `time` is that of the header `x-amz-date`, which has to be signed. */
export function authorizationOf(
  request: SignedRequest,
  time: string,
  region: string,
  { accessKey, secretKey }: SigningKeys,
): string {
  const signature = signatureOf(request, time, region, secretKey).toString('hex');
  const names = Object.keys(request.headers).sort().join(';');
  const scope = scopeOf(time, region);
  return `${algorithm} Credential=${accessKey}/${scope}, SignedHeaders=${names}, Signature=${signature}`;
}

/** What a request says of its signature. */
export interface Authorization {
  readonly accessKey: string;
  readonly region: string;
  readonly signedHeaders: readonly string[];
  readonly signature: Buffer;
}

const authorizationForm =
  /^AWS4-HMAC-SHA256 Credential=([^/,\s]+)\/(\d{8})\/([^/,\s]+)\/s3\/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$/;

/** Undefined for what is not of this form, or of another day than `time`. */
export function parseAuthorization(value: string, time: string): Authorization | undefined {
  const [, accessKey, day, region, names, signature] = authorizationForm.exec(value) ?? [];
  if (accessKey === undefined || region === undefined || names === undefined || signature === undefined)
    return undefined;
  if (day !== time.slice(0, 8)) return undefined;
  return { accessKey, region, signedHeaders: names.split(';'), signature: Buffer.from(signature, 'hex') };
}

/** Whether a signature is that of the request; takes as long for a wrong one as for a right one. */
export function isSignedBy(
  request: SignedRequest,
  time: string,
  { region, signature }: Pick<Authorization, 'region' | 'signature'>,
  secretKey: string,
): boolean {
  const expected = signatureOf(request, time, region, secretKey);
  return expected.length === signature.length && timingSafeEqual(expected, signature);
}

function signatureOf(request: SignedRequest, time: string, region: string, secretKey: string): Buffer {
  const text = [algorithm, time, scopeOf(time, region), sha256(canonicalOf(request))].join('\n');
  const key = [time.slice(0, 8), region, 's3', 'aws4_request'].reduce<string | Buffer>(
    (outer, part) => hmac(outer, part),
    `AWS4${secretKey}`,
  );
  return hmac(key, text);
}

function scopeOf(time: string, region: string): string {
  return `${time.slice(0, 8)}/${region}/s3/aws4_request`;
}

function canonicalOf({ method, target, headers, payloadHash }: SignedRequest): string {
  const at = target.indexOf('?');
  const path = at < 0 ? target : target.slice(0, at);
  const query = at < 0 ? '' : target.slice(at + 1);
  const names = Object.keys(headers).sort();
  const lines = names.map((name) => `${name}:${(headers[name] ?? '').trim().replace(/ +/g, ' ')}\n`);
  return [method, path, canonicalQuery(query), lines.join(''), names.join(';'), payloadHash].join('\n');
}

function canonicalQuery(query: string): string {
  return query
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => (pair.includes('=') ? pair : `${pair}=`))
    .map((pair) => pair.split(/=(.*)/s, 2))
    .sort(([a = '', x = ''], [b = '', y = '']) => compare(a, b) || compare(x, y))
    .map(([name = '', value = '']) => `${name}=${value}`)
    .join('&');
}

/** By code point, as the signature wants it, whatever the language of the machine. */
function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

export function sha256(bytes: string | Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
