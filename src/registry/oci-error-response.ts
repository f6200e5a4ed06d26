import type { ServerResponse } from 'node:http';

/** The error codes of the distribution protocol that Slipway itself answers with. */
export type OciErrorCode =
  | 'UNAUTHORIZED'
  | 'DENIED'
  | 'NAME_INVALID'
  | 'TAG_INVALID'
  | 'MANIFEST_INVALID'
  | 'SIZE_INVALID'
  | 'UNSUPPORTED'
  | 'NOT_FOUND'
  | 'UNAVAILABLE';

/** Sends `{ errors: [{ code, message }] }`, the protocol's form of an error; nothing when an answer has begun. */
export function sendOciError(
  response: ServerResponse,
  status: number,
  code: OciErrorCode,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const body = Buffer.from(JSON.stringify({ errors: [{ code, message }] }));
  response.writeHead(status, {
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': String(body.length),
    'Docker-Distribution-Api-Version': 'registry/2.0',
    'X-Content-Type-Options': 'nosniff',
    ...headers,
  });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}
