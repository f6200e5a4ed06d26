import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Principal } from '../account/accounts.ts';
import { parseRobotName } from '../account/robot-name.ts';
import type { AuditOrigin } from '../audit/audit-log.ts';
import type { ImageChange } from '../registry/gateway.ts';
import {
  parseBasic,
  type TokenRefusal,
  type TokenRequest,
  TokenRequestError,
} from '../registry/token-endpoint.ts';
import type { AuditTrail } from './audit-trail.ts';
import type { RegistryMount } from './dependencies.ts';

export interface RegistryHandlerOptions {
  readonly registry: RegistryMount;
  readonly trail: AuditTrail;
  /** IP address of whoever sent a request, with what trusted proxies say of it. */
  readonly addressOf: (request: IncomingMessage) => string;
  /** Told of faults of ours. */
  readonly onFault: (error: unknown) => void;
}

/** Whether a request is for the registry, which has its own protocol from the first byte to the last. */
export function isForRegistry(url: string): boolean {
  return url === '/v2' || url.startsWith('/v2/') || url.startsWith('/v2?');
}

/** Answers what is below `/v2/`: tokens here, all else by the registry's gateway. */
export function registryHandler({
  registry,
  trail,
  addressOf,
  onFault,
}: RegistryHandlerOptions): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
    if (pathname !== '/v2/auth') {
      const witness = async (change: ImageChange) =>
        await trail.imageChanged(change, originOf(request, addressOf));
      void Promise.resolve(registry.handle(request, response, witness)).catch(onFault);
      return;
    }
    answerToken({ registry, trail, addressOf }, request, response, searchParams).catch((error: unknown) => {
      onFault(error);
      if (!response.headersSent)
        sendError(response, 500, 'UNKNOWN', 'Something in Slipway failed. Try again.');
    });
  };
}

const refusals: Readonly<Record<TokenRequestError['code'], readonly [number, string]>> = {
  unauthorized: [401, 'UNAUTHORIZED'],
  invalid: [400, 'UNSUPPORTED'],
  locked: [429, 'TOOMANYREQUESTS'],
  busy: [503, 'UNAVAILABLE'],
};

async function answerToken(
  { registry, trail, addressOf }: Omit<RegistryHandlerOptions, 'onFault'>,
  request: IncomingMessage,
  response: ServerResponse,
  query: URLSearchParams,
): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    // Clients that try the OAuth form of the protocol first go on with GET after a 404 or 405.
    response.setHeader('allow', 'GET, HEAD');
    sendError(response, 405, 'UNSUPPORTED', 'Tokens are asked for with GET.');
    request.resume();
    return;
  }
  const credentials = parseBasic(request.headers.authorization);
  const origin = originOf(request, addressOf);
  const signedIn: string[] = [];
  const withheld: TokenRefusal[] = [];
  const wanted: TokenRequest = {
    service: query.get('service') ?? undefined,
    scopes: query.getAll('scope'),
    credentials: credentials === undefined ? undefined : { ...credentials, address: addressOf(request) },
    witness: {
      signedIn: (username) => signedIn.push(username),
      refused: (refusal) => withheld.push(refusal),
    },
  };
  try {
    const answer = await registry.tokens.answer(wanted).finally(async () => {
      for (const username of signedIn) {
        await trail.signedIn(principalNamed(username), 'registry', origin);
      }
      for (const refusal of withheld) await trail.registryRefused(refusal, origin);
    });
    send(response, 200, answer);
  } catch (error) {
    if (!(error instanceof TokenRequestError)) throw error;
    const { code, retryAfter } = error;
    if (code === 'unauthorized') response.setHeader('www-authenticate', 'Basic realm="Slipway"');
    if (retryAfter !== undefined) response.setHeader('retry-after', Math.ceil(retryAfter / 1000));
    const [status, name] = refusals[code];
    sendError(response, status, name, error.message);
  }
}

/** As whom somebody signed in, as far as a record of it goes. */
function principalNamed(name: string): Principal {
  const robot = parseRobotName(name);
  return robot === undefined
    ? { kind: 'user', username: name, superuser: false, scopes: [] }
    : { kind: 'robot', name, namespace: robot.namespace };
}

/** Where a request to the registry comes from. */
function originOf(request: IncomingMessage, addressOf: RegistryHandlerOptions['addressOf']): AuditOrigin {
  const agent = request.headers['user-agent'];
  return {
    address: addressOf(request),
    requestId: randomUUID(),
    ...(agent === undefined ? {} : { userAgent: agent }),
  };
}

function sendError(response: ServerResponse, status: number, code: string, message: string): void {
  send(response, status, { errors: [{ code, message }] });
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  response.end(text);
}
