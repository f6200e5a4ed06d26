import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { CodedError, messageOf } from '../base/coded-error.ts';
import { BlobError } from '../blob/blob-error.ts';
import { ContextError } from '../context/context-error.ts';
import { EgressError } from '../egress/egress-error.ts';
import { QueueError } from '../queue/queue-error.ts';
import { UploadError, type UploadErrorCode } from '../upload/upload-error.ts';
import { ApiError, type ApiErrorCode, apiErrorTable, errorBody } from './api-error.ts';

/** The one place where what was thrown becomes an answer. */
export function handleError(thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const error = translate(thrown);
  if (error.status >= 500) request.log.error({ err: thrown }, 'request failed');
  if (error.status === 401) reply.header('www-authenticate', 'Basic realm="Slipway", Bearer realm="Slipway"');
  if (error.retryAfter !== undefined) reply.header('retry-after', String(Math.ceil(error.retryAfter)));
  const unread = !request.raw.complete && request.raw.headers['content-length'] !== '0';
  if (error.code === 'too_large' || (error.status >= 400 && unread)) reply.header('connection', 'close');
  reply
    .removeHeader('content-disposition')
    .status(error.status)
    .type('application/json; charset=utf-8')
    .send(errorBody(error.code, error.message));
}

const uploadCodes: Record<UploadErrorCode, ApiErrorCode> = {
  'bad-signature': 'insufficient_scope',
  expired: 'insufficient_scope',
  unknown: 'not_found',
  'already-stored': 'conflict',
  'not-stored': 'invalid_request',
  forbidden: 'insufficient_scope',
  'bad-type': 'invalid_request',
  'too-many': 'rate_limited',
};

export function translate(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  if (thrown instanceof UploadError) return new ApiError(uploadCodes[thrown.code], thrown.message);
  if (thrown instanceof ContextError) return new ApiError('invalid_request', thrown.message);
  if (thrown instanceof EgressError) return new ApiError('invalid_request', thrown.message);
  if (thrown instanceof BlobError && thrown.code === 'too-large')
    return new ApiError('too_large', thrown.message);
  if (thrown instanceof BlobError && thrown.code === 'disk-full')
    return new ApiError('insufficient_storage', thrown.message);
  if (thrown instanceof QueueError && thrown.code === 'queue-full')
    return new ApiError('rate_limited', 'Maximum queued build rate exceeded.', { retryAfter: 30 });
  if (isFastifyError(thrown)) return translateFastify(thrown);
  return new ApiError(
    'internal_error',
    'Something in Slipway failed. Try again; if it stays, ask an administrator to look into the log of the server.',
    { cause: thrown },
  );
}

function isFastifyError(thrown: unknown): thrown is FastifyError {
  if (!(thrown instanceof Error) || thrown instanceof CodedError) return false;
  const { statusCode } = thrown as Partial<FastifyError>;
  return typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500;
}

function translateFastify(error: FastifyError): ApiError {
  const message = messageOf(error);
  switch (error.statusCode) {
    case 413:
      return new ApiError('too_large', `${message}. Large files go through POST /api/v1/filedrop/.`);
    case 415:
      return new ApiError(
        'unsupported_media_type',
        'Send the body as JSON, with content-type: application/json.',
      );
    default: {
      const code = (Object.keys(apiErrorTable) as ApiErrorCode[]).find(
        (candidate) => apiErrorTable[candidate].status === error.statusCode,
      );
      return new ApiError(code ?? 'invalid_request', message, { cause: error });
    }
  }
}
