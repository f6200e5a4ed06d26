import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { AccountError, type AccountErrorCode } from '../account/account-error.ts';
import { CodedError, messageOf } from '../base/coded-error.ts';
import { unreachable } from '../base/unreachable.ts';
import { BlobError } from '../blob/blob-error.ts';
import { ContextError } from '../context/context-error.ts';
import { EgressError } from '../egress/egress-error.ts';
import { FleetError, type FleetErrorCode } from '../fleet/fleet-error.ts';
import { LogError } from '../log/log-error.ts';
import { LoginError, type LoginErrorCode } from '../login/login-error.ts';
import { QueueError } from '../queue/queue-error.ts';
import { RegistriesError, type RegistriesErrorCode } from '../registries/registries-error.ts';
import { HostError } from '../trigger/host-error.ts';
import { TriggerError, type TriggerErrorCode } from '../trigger/trigger-error.ts';
import { UploadError, type UploadErrorCode } from '../upload/upload-error.ts';
import { ApiError, type ApiErrorCode, apiErrorTable, errorBody } from './api-error.ts';
import { discardBody } from './unread-body.ts';

/** The one place where what was thrown becomes an answer. */
export function handleError(thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const error = translate(thrown);
  if (error.status >= 500) request.log.error({ err: thrown }, 'request failed');
  if (error.status === 401) {
    // A browser would ask for a password in a window of its own, and keep it for what other sites make it send. It says
    // that it is one, or by plain http at least that it wants pages.
    const { 'sec-fetch-site': site, accept = '' } = request.headers;
    const page = site !== undefined || /text\/html/i.test(accept);
    reply.header('www-authenticate', `${page ? '' : 'Basic realm="Slipway", '}Bearer realm="Slipway"`);
  }
  if (error.retryAfter !== undefined) reply.header('retry-after', String(Math.ceil(error.retryAfter)));
  // A client that still sends has to find its answer, but may not go on for ever.
  discardBody(request.raw);
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
  'not-current': 'insufficient_scope',
  'bad-type': 'invalid_request',
  'too-many': 'rate_limited',
};

const accountCodes: Record<AccountErrorCode, ApiErrorCode> = {
  'bad-name': 'invalid_request',
  'bad-password': 'invalid_request',
  'bad-token': 'invalid_request',
  exists: 'conflict',
  'last-admin': 'conflict',
  'not-empty': 'conflict',
  'too-many': 'conflict',
  'too-often': 'rate_limited',
  unknown: 'not_found',
};

const loginCodes: Record<LoginErrorCode, ApiErrorCode> = {
  'unknown-provider': 'not_found',
  denied: 'insufficient_scope',
  'wrong-state': 'invalid_request',
  expired: 'invalid_request',
  used: 'invalid_request',
  unreachable: 'unavailable',
  refused: 'insufficient_scope',
  'bad-answer': 'insufficient_scope',
  'not-member': 'insufficient_scope',
  'no-account': 'insufficient_scope',
  disabled: 'insufficient_scope',
  taken: 'conflict',
  'too-many': 'conflict',
  'signed-out': 'insufficient_scope',
  busy: 'unavailable',
};

const fleetCodes: Record<FleetErrorCode, ApiErrorCode> = {
  'unknown-executor': 'not_found',
  configured: 'conflict',
  elsewhere: 'conflict',
};

const registriesCodes: Record<RegistriesErrorCode, ApiErrorCode> = {
  'bad-value': 'invalid_request',
  'password-needed': 'invalid_request',
  exists: 'conflict',
  unknown: 'not_found',
  'in-use': 'conflict',
  'too-many': 'conflict',
};

const triggerCodes: Record<TriggerErrorCode, ApiErrorCode> = {
  malformed: 'invalid_request',
  'wrong-type': 'unsupported_media_type',
  'too-large': 'too_large',
  unknown: 'not_found',
  forbidden: 'insufficient_scope',
  'not-active': 'invalid_request',
  disabled: 'invalid_request',
  active: 'invalid_request',
  'bad-config': 'invalid_request',
  'queue-full': 'rate_limited',
  'read-only': 'unavailable',
  host: 'downstream_issue',
};

/** Seconds after which a queue that is full, or a server that takes no builds now, may be asked again. */
const worthAnotherTry: Partial<Record<TriggerErrorCode, number>> = { 'queue-full': 30, 'read-only': 60 };

function translateTrigger(error: TriggerError): ApiError {
  const { cause, code } = error;
  const waits = cause instanceof HostError ? cause.retryAfter : undefined;
  const retryAfter = waits === undefined ? worthAnotherTry[code] : waits / 1000;
  return new ApiError(triggerCodes[code], error.message, {
    cause: error,
    ...(retryAfter === undefined ? {} : { retryAfter }),
  });
}

export function translate(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  if (thrown instanceof UploadError) return new ApiError(uploadCodes[thrown.code], thrown.message);
  if (thrown instanceof ContextError) return new ApiError('invalid_request', thrown.message);
  if (thrown instanceof EgressError) return new ApiError('invalid_request', thrown.message);
  if (thrown instanceof BlobError) return translateBlob(thrown);
  // Which log and why: there is nothing to keep from who may read it.
  if (thrown instanceof LogError) return new ApiError('internal_error', thrown.message, { cause: thrown });
  if (thrown instanceof LoginError) return new ApiError(loginCodes[thrown.code], thrown.message);
  if (thrown instanceof AccountError) return new ApiError(accountCodes[thrown.code], thrown.message);
  if (thrown instanceof FleetError) return new ApiError(fleetCodes[thrown.code], thrown.message);
  if (thrown instanceof RegistriesError) return new ApiError(registriesCodes[thrown.code], thrown.message);
  if (thrown instanceof TriggerError) return translateTrigger(thrown);
  if (thrown instanceof QueueError && thrown.code === 'queue-full')
    return new ApiError('rate_limited', 'Maximum queued build rate exceeded.', { retryAfter: 30 });
  // Whichever part ran into it: the database has a code of this name as well.
  if (thrown instanceof CodedError && thrown.code === 'disk-full') return diskFull(thrown);
  // What no check has found; see storable-requests.ts.
  if (thrown instanceof CodedError && thrown.code === 'bad-text')
    return new ApiError(
      'invalid_request',
      'A text in the request has a zero byte or half of a character in it, and cannot be stored.',
      { cause: thrown },
    );
  // A database that is being restarted, a registry that is away: nothing is wrong with the request, nor with Slipway.
  if (thrown instanceof CodedError && ['unavailable', 'serialization'].includes(thrown.code)) {
    return new ApiError(
      'unavailable',
      'The database or another service that Slipway needs does not answer at this moment. Try again later.',
      { cause: thrown, retryAfter: 5 },
    );
  }
  if (isFastifyError(thrown)) return translateFastify(thrown);
  return new ApiError(
    'internal_error',
    'Something in Slipway failed. Try again; if it stays, ask an administrator to look into the log of the server.',
    { cause: thrown },
  );
}

function translateBlob(error: BlobError): ApiError {
  switch (error.code) {
    case 'too-large':
      return new ApiError('too_large', error.message);
    case 'disk-full':
      return diskFull(error);
    case 'interrupted':
      return new ApiError('invalid_request', 'The upload was broken off before its end. Send it again.');
    case 'bad-key':
    case 'unavailable':
    case 'refused':
    case 'no-bucket':
    case 'throttled':
      return new ApiError(
        'unavailable',
        'The store of files and logs cannot be used at this moment. Try again later.',
        {
          cause: error,
          retryAfter: 10,
        },
      );
    default:
      return unreachable(error.code);
  }
}

function diskFull(cause: unknown): ApiError {
  return new ApiError(
    'insufficient_storage',
    'The disk of the server is full, so nothing was stored. Try again later, or tell an administrator.',
    { cause },
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
