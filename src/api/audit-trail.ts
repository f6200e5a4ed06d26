import type { FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import type { Accounts, Principal } from '../account/accounts.ts';
import { isRobotName, parseRobotName } from '../account/robot-name.ts';
import type {
  AuditActor,
  AuditEvent,
  AuditLog,
  AuditOrigin,
  AuditResult,
  AuditTarget,
} from '../audit/audit-log.ts';
import { RefusalBudget } from '../audit/refusal-budget.ts';
import type { Clock } from '../base/clock.ts';
import { unreachable } from '../base/unreachable.ts';
import type { BuildId } from '../model/ids.ts';
import { formatRepositoryName, type RepositoryName } from '../model/repository-name.ts';
import type { ImageChange } from '../registry/gateway.ts';
import type { TokenRefusal } from '../registry/token-endpoint.ts';
import type { TriggerId } from '../trigger/trigger.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import { type AuditRule, auditRules, plainDetail } from './audit-rules.ts';

/** Somebody who signs in with a password at every request is recorded as signing in once in this time. */
const sameSignIn = 15 * 60_000;
const rememberedSignIns = 10_000;
const harmless = new Set(['GET', 'HEAD', 'OPTIONS']);

/** The door somebody came in by. */
type Door = 'api' | 'registry' | 'browser';

/**
 * Writes the audit log's records of what comes over HTTP: every request that changes something, once and before it
 * is answered; signing in, or trying to; registry tokens that were refused.
 */
export class AuditTrail {
  readonly #audit: AuditLog;
  readonly #accounts: Pick<Accounts, 'isEnabled'>;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #budget: RefusalBudget;
  /** When each was recorded, the oldest first. */
  readonly #signIns = new Map<string, number>();

  constructor({
    audit,
    accounts,
    clock,
    logger,
  }: {
    readonly audit: AuditLog;
    readonly accounts: Pick<Accounts, 'isEnabled'>;
    readonly clock: Clock;
    readonly logger: Logger;
  }) {
    this.#audit = audit;
    this.#accounts = accounts;
    this.#clock = clock;
    this.#logger = logger;
    this.#budget = new RefusalBudget({ clock });
  }

  /** Records what the routes do that are added to `api` from now on. */
  watch(api: Api): void {
    api.decorateRequest('auditAnswer');
    api.decorateRequest('audited', false);
    api.addHook('preSerialization', async (request, _reply, payload) => {
      request.auditAnswer = payload;
      return payload;
    });
    api.addHook('onSend', async (request, reply, payload) => {
      const rule = ruleOf(request);
      if (rule === undefined || request.audited || rule.only?.(reply.statusCode) === false) return payload;
      request.audited = true;
      const event = eventOf(request, rule, reply.statusCode);
      try {
        await this.#write(event);
      } catch (thrown) {
        this.#logger.error({ audit: event, err: thrown }, 'a record of the audit log could not be written');
        if (reply.statusCode < 400)
          throw new ApiError(
            'unavailable',
            'It was done, but could not be recorded in the audit log. Look whether it is there before you repeat it.',
            { cause: thrown },
          );
      }
      return payload;
    });
  }

  /** Somebody signed in with a user name and a password, or with a token in its place. */
  async signedIn(principal: Principal, door: Door, origin: AuditOrigin): Promise<void> {
    const actor = actorOf(principal);
    if (actor.kind === 'anonymous') return;
    const tokenId = actor.kind === 'user' ? actor.tokenId : undefined;
    const key = [actor.kind, actor.name, tokenId ?? '', door, origin.address ?? ''].join('\n');
    const now = this.#clock.now();
    const last = this.#signIns.get(key);
    if (last !== undefined && now - last < sameSignIn) return;
    this.#signIns.delete(key);
    this.#signIns.set(key, now);
    if (this.#signIns.size > rememberedSignIns) {
      const [oldest] = this.#signIns.keys();
      if (oldest !== undefined) this.#signIns.delete(oldest);
    }
    await this.#writeOrLog({
      ...origin,
      actor,
      action: 'sign-in',
      target: accountTarget(actor.name),
      result: 'done',
      detail: { door, way: tokenId === undefined && actor.kind === 'user' ? 'password' : 'token' },
    });
  }

  /** Credentials that are wrong. The name is recorded if it is somebody's: what people type there may be a password. */
  async signInRefused(
    username: string | undefined,
    reason: 'wrong-credentials' | 'locked',
    door: Door,
    origin: AuditOrigin,
  ): Promise<void> {
    const known = username !== undefined && (await this.#accounts.isEnabled(username).catch(() => false));
    await this.#writeOrLog({
      ...origin,
      actor: { kind: 'anonymous' },
      action: 'sign-in',
      ...(known ? { target: accountTarget(username) } : {}),
      result: 'refused',
      reason,
      detail: { door, way: username === undefined ? 'token' : 'password' },
    });
  }

  /** The token service gave less than was asked for, or nothing. */
  async registryRefused(refusal: TokenRefusal, origin: AuditOrigin): Promise<void> {
    const { reason, repository, actions, by } = refusal;
    if ((reason === 'wrong-credentials' || reason === 'locked') && by.kind === 'user')
      return await this.signInRefused(by.name, reason, 'registry', origin);
    const [namespace = ''] = (repository ?? '').split('/');
    await this.#writeOrLog({
      ...origin,
      actor: registryActor(by),
      action: 'registry.token',
      ...(repository === undefined
        ? {}
        : { target: { kind: 'repository', name: repository, namespace } as const }),
      result: 'refused',
      reason,
      detail: plainDetail({ actions: actions === undefined ? undefined : [...actions] }),
    });
  }

  /** Somebody put an image into the registry, or took one out of it, by hand. Throws when it cannot be recorded. */
  async imageChanged(
    { kind, by, repository, reference, digest }: ImageChange,
    origin: AuditOrigin,
  ): Promise<void> {
    const [namespace = ''] = repository.split('/');
    await this.#write({
      ...origin,
      actor: by === '' ? { kind: 'anonymous' } : accountActor(by),
      action: `image.${kind}`,
      target: { kind: 'repository', name: repository, namespace },
      result: 'done',
      detail: plainDetail({ reference, digest }),
    });
  }

  /** A build that waits has ended because somebody asked for a newer one that makes it needless. */
  async superseded(
    request: FastifyRequest,
    {
      id,
      by,
      repository,
    }: { readonly id: BuildId; readonly by: BuildId; readonly repository: RepositoryName },
  ): Promise<void> {
    await this.#writeOrLog({
      ...originOf(request),
      actor: actorOf(request.principal),
      action: 'build.supersede',
      target: { kind: 'build', name: id, namespace: repository.namespace },
      result: 'done',
      detail: { repository: formatRepositoryName(repository), superseded_by: by },
    });
  }

  /** A build trigger went with its repository. */
  async triggerRemoved(
    request: FastifyRequest,
    {
      id,
      repository,
      leftAtHost,
    }: {
      readonly id: TriggerId;
      readonly repository: RepositoryName;
      readonly leftAtHost: readonly string[];
    },
  ): Promise<void> {
    await this.#writeOrLog({
      ...originOf(request),
      actor: actorOf(request.principal),
      action: 'trigger.delete',
      target: { kind: 'trigger', name: id, namespace: repository.namespace },
      result: 'done',
      detail: plainDetail({ repository: formatRepositoryName(repository), left_at_host: leftAtHost }),
    });
  }

  /** A record of what no rule is about. One that cannot be written stands in the server's log. */
  async record(event: AuditEvent): Promise<void> {
    await this.#writeOrLog(event);
  }

  /** A record that is not worth an answer: what it is about changed nothing. */
  async #writeOrLog(event: AuditEvent): Promise<void> {
    await this.#write(event).catch((thrown: unknown) => {
      this.#logger.error({ audit: event, err: thrown }, 'a record of the audit log could not be written');
    });
  }

  async #write(event: AuditEvent): Promise<void> {
    // What strangers make fail, they can make fail as often as what is refused.
    const free = event.result === 'done' || (event.result === 'failed' && event.actor.kind !== 'anonymous');
    if (free) return await this.#audit.write(event);
    const leftOut = this.#budget.take(event.address ?? '');
    if (leftOut === undefined) return;
    await this.#audit.write(
      leftOut === 0 ? event : { ...event, detail: { ...event.detail, refusals_left_out: leftOut } },
    );
  }
}

/** The record's rule; undefined: the route is not recorded. */
function ruleOf(request: FastifyRequest): AuditRule | undefined {
  const operationId = request.routeOptions.schema?.operationId;
  if (operationId === undefined) return undefined;
  const rule = Object.hasOwn(auditRules, operationId) ? auditRules[operationId] : undefined;
  if (rule?.superusersOnly === true) return request.byPrivilege ? rule : undefined;
  return rule ?? (harmless.has(request.method) ? undefined : { action: operationId });
}

function eventOf(request: FastifyRequest, rule: AuditRule, status: number): AuditEvent {
  const actor = actorOf(request.principal ?? { kind: 'anonymous' });
  const answer = objectOf(request.auditAnswer);
  const call = {
    params: objectOf(request.params),
    body: objectOf(request.body),
    answer,
    username: actor.kind === 'user' ? actor.name : undefined,
  };
  const target = rule.target?.(call);
  // What was refused was not checked: a field may hold anything, a password or a URL with one too.
  const checked = status < 400 ? call : { ...call, body: {} };
  const reason = status >= 400 ? answer.error_type : undefined;
  return {
    ...originOf(request),
    actor,
    action: rule.action,
    ...(target === undefined || !isTargetName(target.name, status) ? {} : { target }),
    result: resultOf(status),
    ...(typeof reason === 'string' ? { reason } : {}),
    detail: plainDetail(rule.detail?.(checked) ?? {}),
  };
}

/** Names in what was refused may be anything; only what could be one is kept. */
function isTargetName(name: string, status: number): boolean {
  return name !== '' && (status < 400 || /^[A-Za-z0-9_.+/-]{1,255}$/.test(name));
}

/** Where a request to the REST interface comes from. */
export function originOf(request: FastifyRequest): AuditOrigin {
  const agent = request.headers['user-agent'];
  return {
    address: request.ip,
    requestId: request.id,
    ...(agent === undefined ? {} : { userAgent: agent }),
  };
}

function actorOf(principal: Principal): AuditActor {
  switch (principal.kind) {
    case 'anonymous':
      return { kind: 'anonymous' };
    case 'user':
      return {
        kind: 'user',
        name: principal.username,
        ...(principal.tokenId === undefined ? {} : { tokenId: principal.tokenId }),
      };
    case 'robot':
      return { kind: 'robot', name: principal.name };
    default:
      return unreachable(principal);
  }
}

function registryActor(by: TokenRefusal['by']): AuditActor {
  if (by.kind === 'nobody') return { kind: 'anonymous' };
  return by.kind === 'user' ? accountActor(by.name) : { kind: 'worker', name: by.name };
}

/** A registry knows people and robots by their names. */
function accountActor(name: string): AuditActor {
  return isRobotName(name) ? { kind: 'robot', name } : { kind: 'user', name };
}

function accountTarget(name: string): AuditTarget {
  const robot = parseRobotName(name);
  return robot === undefined
    ? { kind: 'user', name, namespace: name }
    : { kind: 'robot', name, namespace: robot.namespace };
}

function resultOf(status: number): AuditResult {
  if (status < 400) return 'done';
  return status === 401 || status === 403 || status === 429 ? 'refused' : 'failed';
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}
