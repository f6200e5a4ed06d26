import { CodedError } from '../base/coded-error.ts';

/** One row a code: its HTTP status and what it means. `error_type` of an answer is one of these. */
export const apiErrorTable = {
  invalid_request: { status: 400, meaning: 'the request is malformed or asks for something impossible' },
  invalid_token: { status: 401, meaning: 'credentials are missing, wrong or expired' },
  insufficient_scope: { status: 403, meaning: 'who asks may not do this' },
  csrf: {
    status: 403,
    meaning: 'a browser sent it, and nothing shows that a page of this site made it do so',
  },
  not_found: { status: 404, meaning: 'there is nothing at this address' },
  method_not_allowed: { status: 405, meaning: 'the address does not know this method' },
  too_slow: { status: 408, meaning: 'the body did not come in time' },
  conflict: { status: 409, meaning: 'the state of the thing forbids it now' },
  too_large: { status: 413, meaning: 'the body is larger than is allowed here' },
  unsupported_media_type: { status: 415, meaning: 'the content type of the body is not understood' },
  rate_limited: { status: 429, meaning: 'too many requests; wait before the next one' },
  internal_error: { status: 500, meaning: 'something in Slipway failed; the log of the server says what' },
  read_only: { status: 503, meaning: 'the server is set to be read only for now' },
  unavailable: { status: 503, meaning: 'something Slipway needs does not answer' },
  downstream_issue: {
    status: 502,
    meaning: 'another service that had to be asked refused, or did not answer as it should',
  },
  insufficient_storage: { status: 507, meaning: 'the disk of the server is full' },
} as const satisfies Record<string, { status: number; meaning: string }>;

export type ApiErrorCode = keyof typeof apiErrorTable;

export function isApiErrorCode(text: string): text is ApiErrorCode {
  return Object.hasOwn(apiErrorTable, text);
}

/** An error that a client gets to see as it is: the message says what is wrong and what to do. */
export class ApiError extends CodedError<ApiErrorCode> {
  /** Seconds until another try is worth it. */
  readonly retryAfter: number | undefined;

  constructor(code: ApiErrorCode, message: string, options: { cause?: unknown; retryAfter?: number } = {}) {
    super(code, message, options.cause);
    this.retryAfter = options.retryAfter;
  }

  get status(): number {
    return apiErrorTable[this.code].status;
  }
}

/** The body of every answer that is an error. `error_message` and `detail` are the same text. */
export interface ErrorBody {
  readonly status: number;
  readonly title: ApiErrorCode;
  readonly error_type: ApiErrorCode;
  readonly error_message: string;
  readonly detail: string;
  /** Where the type is explained. */
  readonly type: string;
}

export function errorBody(code: ApiErrorCode, message: string): ErrorBody {
  return {
    detail: message,
    error_message: message,
    error_type: code,
    title: code,
    type: `/api/v1/error/${code}`,
    status: apiErrorTable[code].status,
  };
}
