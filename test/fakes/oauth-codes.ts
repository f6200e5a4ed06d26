import { createHash, randomBytes } from 'node:crypto';

interface Issued {
  readonly clientId: string;
  readonly redirectUri: string;
  readonly challenge: string;
}

/** The codes of an OAuth server: each for one client, one address, one verifier, and one use. */
export class OAuthCodes {
  readonly #codes = new Map<string, Issued>();

  /** Where the browser goes back to, as the query of an authorization request says. */
  issue(query: URLSearchParams): string {
    const code = randomBytes(10).toString('hex');
    const redirectUri = query.get('redirect_uri') ?? '';
    this.#codes.set(code, {
      clientId: query.get('client_id') ?? '',
      redirectUri,
      challenge: query.get('code_challenge') ?? '',
    });
    const back = new URL(redirectUri);
    back.searchParams.set('code', code);
    back.searchParams.set('state', query.get('state') ?? '');
    return back.href;
  }

  deny(query: URLSearchParams): string {
    const back = new URL(query.get('redirect_uri') ?? '');
    back.searchParams.set('error', 'access_denied');
    back.searchParams.set('error_description', 'The user has denied your application access.');
    back.searchParams.set('state', query.get('state') ?? '');
    return back.href;
  }

  redeem(form: URLSearchParams): boolean {
    const code = form.get('code') ?? '';
    const issued = this.#codes.get(code);
    this.#codes.delete(code);
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url');
    return (
      issued !== undefined &&
      issued.clientId === form.get('client_id') &&
      issued.redirectUri === form.get('redirect_uri') &&
      issued.challenge === challenge
    );
  }
}
