import { createHash, randomBytes } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/coded-error.ts';
import { type SecretBox, SecretBoxError } from '../../db/secret-box.ts';
import {
  formatRepositoryName,
  parseRepositoryName,
  type RepositoryName,
} from '../../model/repository-name.ts';
import type { GitHost, HostAuthorization } from '../git-host.ts';
import { HostError } from '../host-error.ts';
import type { TriggerService } from '../trigger.ts';
import { TriggerError } from '../trigger-error.ts';

/** Milliseconds a person has to say yes at the host. */
export const connectTime = 10 * 60_000;
const purpose = 'connection of a trigger';

/** Who connects a trigger, in which session of a browser. */
export interface Connecting {
  readonly username: string;
  /** The name of the session, which is no secret. */
  readonly session: string;
}

/** What was begun, until the person comes back. */
interface Begun extends Connecting {
  readonly service: TriggerService;
  readonly repository: string;
  /** Where the host sends the person; it has to be told the same again. */
  readonly redirect: string;
  readonly verifier: string;
  readonly expiresAt: number;
}

/**
 * Leads a person to a git host and back, for a token that acts as their account: the authorization code flow. Nothing is
 * kept here between: what was begun is in `state`, sealed, so that nobody fills anything by beginning, and every server
 * can finish what another one began. It is finished once, by who began it, in the same session, for the same repository.
 *
 * The routes are those of whoever has this: `/oauth2/HOST/callback/trigger/NAMESPACE/REPOSITORY`, or without the repository at
 * GitLab, where every address has to be registered: the state knows it.
 */
export class HostConnection {
  readonly #hosts: ReadonlyMap<TriggerService, GitHost>;
  readonly #box: SecretBox;
  readonly #clock: Clock;
  readonly #use: (hash: string, forgetAt: number) => Promise<boolean>;

  constructor(options: {
    readonly hosts: ReadonlyMap<TriggerService, GitHost>;
    readonly box: SecretBox;
    readonly clock: Clock;
    /**
     * Remembers a hash until a time; false: it was there already. All servers of a cluster ask the same memory.
     */
    readonly use: (hash: string, forgetAt: number) => Promise<boolean>;
  }) {
    this.#hosts = options.hosts;
    this.#box = options.box;
    this.#clock = options.clock;
    this.#use = options.use;
  }

  /** Whether people can be sent there; else they bring a token that they made at the host. */
  canConnect(service: TriggerService): boolean {
    return this.#hosts.get(service)?.oauth !== undefined;
  }

  /** Where to send the person. `redirect`: the URL of the callback, as registered at the host or below that. */
  begin(
    service: TriggerService,
    about: Connecting & { readonly repository: RepositoryName; readonly redirect: string },
  ): string {
    const oauth = this.#oauth(service);
    const verifier = randomBytes(32).toString('base64url');
    const begun: Begun = {
      service,
      repository: formatRepositoryName(about.repository),
      username: about.username,
      session: about.session,
      redirect: about.redirect,
      verifier,
      expiresAt: this.#clock.now() + connectTime,
    };
    const state = Buffer.from(this.#box.seal(Buffer.from(JSON.stringify(begun)), purpose));
    return oauth.authorizeUrl({
      state: state.toString('base64url'),
      redirect: about.redirect,
      challenge: createHash('sha256').update(verifier).digest('base64url'),
    });
  }

  /**
   * The token, as `Triggers.create` takes it, and what it is for. Throws TriggerError: `forbidden` when it was not begun so, was finished
   * before, took too long, or the person said no; `host` when the host gave no token.
   */
  async finish(
    service: TriggerService,
    back: Connecting & {
      /** That of the callback's path, if there is one in it. */
      readonly repository?: RepositoryName;
      /** The query of the callback. */
      readonly query: {
        readonly state?: string | undefined;
        readonly code?: string | undefined;
        readonly error?: string | undefined;
      };
    },
    signal: AbortSignal,
  ): Promise<{ readonly repository: RepositoryName; readonly token: string }> {
    const oauth = this.#oauth(service);
    const { state = '', code, error } = back.query;
    const begun = this.#open(state);
    const repository = parseRepositoryName(begun.repository);
    if (repository === undefined) throw foreign();
    const same =
      begun.service === service &&
      (back.repository === undefined || begun.repository === formatRepositoryName(back.repository)) &&
      begun.username === back.username &&
      begun.session === back.session;
    if (!same) throw foreign();
    if (begun.expiresAt <= this.#clock.now())
      throw new TriggerError('forbidden', 'Connecting took too long. Begin again.');
    // Not of the state as it came: texts that differ may stand for the same bytes.
    const hash = createHash('sha256').update(`${purpose}\n${begun.verifier}`).digest('hex');
    if (!(await this.#use(hash, begun.expiresAt)))
      throw new TriggerError('forbidden', 'This connection was made already. Begin again for another one.');
    if (error !== undefined || code === undefined || !/^[\x21-\x7e]{1,2048}$/.test(code))
      throw new TriggerError(
        'forbidden',
        'The host was not allowed to connect the account. Begin again, and allow it there.',
      );
    try {
      const { redirect, verifier } = begun;
      return { repository, token: await oauth.exchange({ code, redirect, verifier }, signal) };
    } catch (thrown) {
      if (thrown instanceof HostError && thrown.code !== 'cancelled')
        throw new TriggerError('host', messageOf(thrown), thrown);
      throw thrown;
    }
  }

  #oauth(service: TriggerService): HostAuthorization {
    const oauth = this.#hosts.get(service)?.oauth;
    if (oauth !== undefined) return oauth;
    throw new TriggerError(
      'bad-config',
      `Nobody can be sent to ${service}: this server is not registered there. Ask an administrator, or create the trigger with a token of yours.`,
    );
  }

  #open(state: string): Begun {
    const sealed = Buffer.from(state.slice(0, 4096), 'base64url');
    if (sealed.toString('base64url') !== state) throw foreign();
    try {
      const opened = this.#box.open(sealed, purpose);
      // What opens was sealed here.
      return JSON.parse(Buffer.from(opened).toString()) as Begun;
    } catch (thrown) {
      if (thrown instanceof SecretBoxError) throw foreign();
      throw thrown;
    }
  }
}

function foreign(): TriggerError {
  return new TriggerError(
    'forbidden',
    'This connection was not begun in this session for this repository. Begin again here.',
  );
}
