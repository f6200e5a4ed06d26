import { type Digest, digestOf } from '../../model/digest.ts';
import type { PushedImage, PushTarget, RegistryCredentials } from './engine.ts';

/**
 * Reads back the manifest a push has left in the registry: buildah says its digest but not what a pull will cost,
 * and so it is also certain that the registry serves what the engine reports. Throws an ordinary Error; the push
 * is tried again with it.
 */
export async function readPushedManifest(
  digest: Digest,
  target: PushTarget,
  signal: AbortSignal,
): Promise<PushedImage> {
  const path = `/v2/${target.repository}/manifests/${digest}`;
  let response: Response | undefined;
  if (target.insecure) {
    response = await get(`http://${target.registry}${path}`, target.credentials, signal).catch((thrown) => {
      signal.throwIfAborted();
      // An insecure registry may also be one with a certificate.
      return thrown instanceof TypeError ? undefined : Promise.reject(thrown);
    });
  }
  response ??= await get(`https://${target.registry}${path}`, target.credentials, signal);
  if (!response.ok) {
    await response.body?.cancel();
    throw new Error(`${target.registry} answered ${response.status} for the manifest just pushed`);
  }
  const bytes = await boundedBody(response);
  if (digestOf(bytes) !== digest) {
    throw new Error(`${target.registry} serves another manifest than the one pushed (${digest})`);
  }
  const manifest: unknown = JSON.parse(bytes.toString('utf8'));
  return { digest, size: sizeOf(manifest), mediaType: mediaTypeOf(manifest, response) };
}

const accepted = [
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
].join(', ');

const maximumManifestBytes = 4 * 1024 * 1024;

async function get(
  url: string,
  credentials: RegistryCredentials | undefined,
  signal: AbortSignal,
): Promise<Response> {
  const first = await fetch(url, { headers: { accept: accepted }, signal });
  if (first.status !== 401) return first;
  await first.body?.cancel();
  const authorization = await answerChallenge(
    first.headers.get('www-authenticate') ?? '',
    credentials,
    signal,
  );
  return await fetch(url, { headers: { accept: accepted, authorization }, signal });
}

/** RFC 6750 and the distribution project's token protocol, or plain Basic. */
async function answerChallenge(
  challenge: string,
  credentials: RegistryCredentials | undefined,
  signal: AbortSignal,
): Promise<string> {
  const basic =
    credentials === undefined
      ? undefined
      : `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`;
  if (/^basic\b/i.test(challenge) && basic !== undefined) return basic;
  const realm = parameter(challenge, 'realm');
  if (!/^bearer\b/i.test(challenge) || realm === undefined) {
    throw new Error('the registry asks for credentials that it was not given');
  }
  const url = new URL(realm);
  for (const name of ['service', 'scope']) {
    const value = parameter(challenge, name);
    if (value !== undefined) url.searchParams.set(name, value);
  }
  const response = await fetch(url, {
    signal,
    ...(basic === undefined ? {} : { headers: { authorization: basic } }),
  });
  if (!response.ok) {
    await response.body?.cancel();
    throw new Error(`the token service of the registry answered ${response.status}`);
  }
  const body: unknown = JSON.parse((await boundedBody(response)).toString('utf8'));
  const token = field(body, 'token') ?? field(body, 'access_token');
  if (typeof token !== 'string') throw new Error('the token service of the registry sent no token');
  return `Bearer ${token}`;
}

function parameter(challenge: string, name: string): string | undefined {
  return new RegExp(`[\\s,]${name}="([^"]*)"`, 'i').exec(challenge)?.[1];
}

async function boundedBody(response: Response): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    parts.push(part);
    length += part.length;
    if (length > maximumManifestBytes) throw new Error('the registry sent more than 4 MiB for a manifest');
  }
  return Buffer.concat(parts);
}

function sizeOf(manifest: unknown): number {
  const layers = field(manifest, 'layers');
  const parts = [field(manifest, 'config'), ...(Array.isArray(layers) ? layers : [])];
  return parts.reduce<number>((sum, part) => {
    const size = field(part, 'size');
    if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
      throw new Error('the registry serves a manifest without sizes');
    }
    return sum + size;
  }, 0);
}

function mediaTypeOf(manifest: unknown, response: Response): string {
  const own = field(manifest, 'mediaType');
  return typeof own === 'string' ? own : (response.headers.get('content-type') ?? 'application/json');
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}
