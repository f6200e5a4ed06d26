import { messageOf } from '../../base/coded-error.ts';
import { ExecutorError } from '../executor-error.ts';
import { ApiFailure, NoAnswer } from './api-client.ts';

/** What is known about who asked, for messages. Holds no secret. */
export interface ErrorContext {
  readonly executor: string;
  readonly namespace: string;
}

const longest = 600;

/**
 * What the Kubernetes API, or the way to it, said, as an ExecutorError. It has no cause: a foreign error may hold the
 * request.
 */
export function translateApiError(thrown: unknown, context: ErrorContext): ExecutorError {
  if (thrown instanceof ExecutorError) return thrown;
  if (thrown instanceof ApiFailure) return ofFailure(thrown, context);
  if (thrown instanceof NoAnswer) return ofSilence(thrown, context);
  return new ExecutorError('start-failed', `Executor ${context.executor}: ${brief(messageOf(thrown))}`);
}

function ofFailure(failure: ApiFailure, { executor, namespace }: ErrorContext): ExecutorError {
  const { status, reason, message, call } = failure;
  const what = `${call.verb} ${call.resource} in namespace ${namespace}`;
  const said = brief(message === '' ? `status ${status}` : message);
  const error = (code: ExecutorError['code'], text: string) =>
    new ExecutorError(code, `Executor ${executor}: ${text}`);
  if (isQuota(message))
    return error(
      'at-capacity',
      `the quota of namespace ${namespace} is used up: ${said}. The build waits; raise the ResourceQuota, or lower MAX_WORKERS.`,
    );
  if (isAdmission(message))
    return error(
      'start-failed',
      `the cluster does not admit the worker: ${said}. Ask who runs its admission rules, or adapt the executor's settings.`,
    );
  switch (status) {
    case 401:
      return error(
        'misconfigured',
        'Kubernetes does not know its token or certificate (401). It may have expired: give a new SERVICE_ACCOUNT_TOKEN, or a SERVICE_ACCOUNT_TOKEN_FILE, which is read again when it rotates.',
      );
    case 403:
      return isRight(message)
        ? error(
            'misconfigured',
            `its account may not ${what} (403): ${said}. Apply docs/kubernetes/role.yaml and role-binding.yaml, which give this right.`,
          )
        : error('start-failed', `Kubernetes refuses to ${what} (403): ${said}`);
    case 404:
      return reason === 'NotFound' && /^namespaces? /.test(message)
        ? error(
            'misconfigured',
            `there is no namespace ${namespace}: create it (docs/kubernetes/namespace.yaml), or set BUILDER_NAMESPACE.`,
          )
        : error(
            'misconfigured',
            `Kubernetes cannot ${what} (404): ${said}. Check K8S_API_SERVER and BUILDER_NAMESPACE.`,
          );
    case 429:
      return error('unavailable', `the Kubernetes API has too much to do (429): ${said}`);
    default:
      if (status >= 500)
        return error('unavailable', `the Kubernetes API failed to ${what} (${status}): ${said}`);
      return error('start-failed', `Kubernetes refuses to ${what} (${status}): ${said}`);
  }
}

function ofSilence({ cause }: NoAnswer, { executor }: ErrorContext): ExecutorError {
  const code = codeOf(cause);
  if (tlsCodes.test(code))
    return new ExecutorError(
      'misconfigured',
      `Executor ${executor}: no TLS connection to the Kubernetes API (${code}). Check that K8S_API_TLS_CA signed its certificate, that K8S_API_SERVER names it as its certificate does, and K8S_API_TLS_CERT if it asks for one.`,
    );
  const how =
    cause instanceof Error && cause.name === 'TimeoutError' ? 'no answer within K8S_API_TIMEOUT' : code;
  return new ExecutorError(
    'unavailable',
    `Executor ${executor}: the Kubernetes API cannot be reached (${how}). Check K8S_API_SERVER and the network.`,
  );
}

const tlsCodes = /CERT|SIGNATURE|SSL|TLS|ISSUER|EPROTO/;

function codeOf(cause: unknown): string {
  const code = (cause as { readonly code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? code : brief(messageOf(cause));
}

export function isQuota(message: string): boolean {
  return message.includes('exceeded quota:');
}

/** A Role is missing, as RBAC says it; or whoever answers says nothing at all. */
function isRight(message: string): boolean {
  return message === '' || /cannot \S+ (resource|path)/.test(message);
}

/** Refused by the cluster's rules; asking again brings the same. */
export function isAdmission(message: string): boolean {
  return /admission webhook .* denied|violates PodSecurity|denied the request|unable to validate against any security context constraint|ValidatingAdmissionPolicy/i.test(
    message,
  );
}

export function brief(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return line.length > longest ? `${line.slice(0, longest)}…` : line;
}

/** Whether the call may be made again at once: it may have had its effect, or none. */
export function isPassing(thrown: unknown): boolean {
  if (thrown instanceof NoAnswer) return !tlsCodes.test(codeOf(thrown.cause));
  return thrown instanceof ApiFailure && (thrown.status === 429 || thrown.status >= 500);
}
