import type { ExternalPerson } from '../account/external-identities.ts';

/** What one login is recognised by; it is made anew for each. */
export interface LoginAttempt {
  /** Where the provider sends the browser back to. */
  readonly redirectUri: string;
  /** Comes back with the browser. */
  readonly state: string;
  /** Comes back in what the provider signs. */
  readonly nonce: string;
  /** PKCE: shows that whoever redeems the code is whoever began. */
  readonly verifier: string;
}

/** A service that people sign in with. Throws LoginError. */
export interface LoginProvider {
  /** In paths: `/oauth2/ID/callback`. */
  readonly id: string;
  /** For people. */
  readonly name: string;
  /** Where the browser goes. */
  begin(attempt: LoginAttempt, signal: AbortSignal): Promise<URL>;
  /** Who came back. `answer` is the query of the callback; its state was checked. */
  finish(attempt: LoginAttempt, answer: URLSearchParams, signal: AbortSignal): Promise<ExternalPerson>;
}
