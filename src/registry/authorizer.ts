import type { AttemptId } from '../model/ids.ts';
import type { RegistryAction } from './registry-access.ts';

/** A user name and password, as given to `docker login`. */
export interface RegistryCredentials {
  readonly username: string;
  readonly password: string;
  /** Where they came from, for the counting of failed sign-ins. */
  readonly address?: string;
}

/** A known user or robot. `name` stands in the token's `sub` and is the pusher in records. */
export interface RegistrySubject {
  readonly name: string;
}

/** The credentials were not looked at: too many were wrong before, or too many are looked at now. */
export interface SignInDelay {
  readonly tryLater: 'locked' | 'busy';
  /** Milliseconds. */
  readonly retryAfter: number;
}

/**
 * Who may do what with the embedded registry; implemented over accounts and permissions. Called by the token
 * endpoint only, once per token. Credentials of builds (`$token`) never come here.
 */
export interface Authorizer {
  /** The subject of these credentials, or undefined when they are wrong. */
  authenticate(credentials: RegistryCredentials): Promise<RegistrySubject | SignInDelay | undefined>;

  /**
   * The subject on whose behalf a build reads: a user or robot of this name who may still sign in, with no more than the
   * right to read. Undefined: there is none.
   */
  readerNamed(name: string): Promise<RegistrySubject | undefined>;

  /**
   * Those of the `requested` actions that `subject` (undefined: nobody is logged in) may do with the repository
   * `<namespace>/<name>`. A repository that does not exist grants nothing, so that its name is not given away.
   */
  authorize(
    subject: RegistrySubject | undefined,
    repository: string,
    requested: readonly RegistryAction[],
  ): Promise<readonly RegistryAction[]>;
}

/**
 * Whether an attempt still is the one that may act for its job: its epoch is the job's newest and it is not
 * over. Asked by the gateway before every write of a build; the answer must come from the database.
 */
export interface AttemptGate {
  isCurrent(attemptId: AttemptId, epoch: number): Promise<boolean>;
  /**
   * The time of day, in milliseconds since 1970, by the clock of the manager that claimed the attempt, which its credentials
   * end by. Undefined: it is not current.
   */
  timeOf(attemptId: AttemptId, epoch: number): Promise<number | undefined>;
}
